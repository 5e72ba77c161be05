"""Stan data: read, checked and hashed once, and kept as arrays for the worker processes."""

from __future__ import annotations

import codecs
import contextlib
import difflib
import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from stanio.json import process_dictionary, process_value

from harness import stan
from harness.records import Model
from harness.records.text import count
from harness.records.untrusted import parse_json, read_bytes
from harness.stan.compile import Declaration
from harness.stan.usage import forget, used


class ModelError(ValueError):
    """A model that cannot be used, with what to do about it."""


def read_data(path: Path) -> dict[str, Any]:
    """Read a JSON data file.

    Raises
    ------
    ModelError
        If it is missing, empty, too large, or not a JSON object.
    """
    try:
        return _parsed(path, _content(path))
    except OSError as error:
        raise ModelError(f"cannot read the data file {path}: {error}") from error


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except ValueError as error:
        raise ModelError(f"cannot read the data file {path}: {error}") from error


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    if content.startswith(codecs.BOM_UTF8):
        raise ModelError(f"{path} begins with a byte order mark; save it as UTF-8 without one")
    if not content.strip():
        raise ModelError(f"{path} is empty; a program without data takes {{}}")
    try:
        data = parse_json(content)
    except ValueError as error:
        raise ModelError(f"{path} {_no_json(path, content, error)}") from error
    if not isinstance(data, dict):
        msg = f'{path} holds a JSON {type(data).__name__}; Stan data are an object: {{"N": 3, …}}'
        raise ModelError(msg)
    if path.suffix != ".json":
        # CmdStan takes every other name for an R dump.
        raise ModelError(f"{path} holds JSON: rename it to {path.with_suffix('.json').name}")
    try:
        return {name: _with_infinities(value) for name, value in data.items()}
    except ValueError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error


def _no_json(path: Path, content: bytes, error: ValueError) -> str:
    """Say what is wrong with a file that is no JSON, and how to write it."""
    if isinstance(error, UnicodeDecodeError):
        return f"is not a JSON file ({error}); {HOW_TO_WRITE}"
    if not isinstance(error, json.JSONDecodeError):
        return f"cannot be read: {error}"
    if _R_DUMP.match(content.decode()):
        return f"is an R dump, which the harness does not read; {HOW_TO_WRITE}"
    words = f"is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
    return words if path.suffix == ".json" else f"{words}; {HOW_TO_WRITE}"


HOW_TO_WRITE = (
    "write JSON: from Python cmdstanpy.write_stan_json('data.json', data), from R "
    "cmdstanr::write_stan_json(data, 'data.json') or "
    "jsonlite::write_json(data, 'data.json', auto_unbox = TRUE, digits = NA)"
)

_R_DUMP = re.compile(r"""\s*(#.*\s*)*["'`]?[\w.]+["'`]?\s*(<-|=)""")

_NOT_FINITE = {"Inf", "-Inf", "Infinity", "-Infinity", "NaN"}
"""Strings that CmdStan reads as numbers."""


_DEEPEST = 32
"""Lists in lists; NumPy's arrays have as many dimensions at most."""


def _with_infinities(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, list):
        if {int, float}.issuperset(map(type, value)):
            return value
        return [_with_infinities(v, depth + 1) for v in value]
    if isinstance(value, dict):
        return {k: _with_infinities(v, depth + 1) for k, v in value.items()}
    return float(value) if isinstance(value, str) and value in _NOT_FINITE else value


def load_data(model: Model) -> dict[str, Any]:
    """Return the model's data as plain Python, ``{}`` for a program without data."""
    return {} if model.data_file is None else read_data(model.data_file)


def data_hash(model: Model) -> str:
    """Return the SHA-256 of the data file's bytes, and keep its numbers for :func:`kept_data`.

    A process reads a file again only if it has changed.

    Raises
    ------
    OSError, ModelError
        If the file cannot be read, or is no valid Stan data.
    """
    if model.data_file is None:
        return hashlib.sha256(b"{}").hexdigest()
    status = model.data_file.stat()
    return _taken_in(model.data_file, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _taken_in(path: Path, *_: int) -> str:
    content = _content(path)
    found = hashlib.sha256(content).hexdigest()
    target = _arrays_file(found)
    if target.is_file():
        used(target)
    else:
        data = _parsed(path, content)
        arrays: dict[str, Any] = {
            f"data.{k}": a for k, v in data.items() if (a := _array(v)) is not None
        }
        if len(arrays) == len(data):
            # If the cache cannot be written, every worker reads the JSON itself.
            with contextlib.suppress(OSError):
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_suffix(f".{os.getpid()}.npz")
                checksum = np.array(_checksum(found, arrays))
                np.savez(partial, checksum=checksum, **arrays)  # type: ignore[arg-type]
                partial.replace(target)
    return found


def kept_data(data_file: Path | None, data_hash: str) -> Mapping[str, Any]:
    """Return the data that :func:`data_hash` kept under their hash, as read-only arrays.

    A process reads them once. Data that are no arrays (ragged lists, Stan's tuples), or are not
    kept, come from the file.
    """
    if data_file is None:
        return {}
    return _kept(data_file, data_hash) if data_hash else read_data(data_file)


@lru_cache(maxsize=2)
def _kept(data_file: Path, data_hash: str) -> Mapping[str, Any]:
    try:
        # NumPy leaves a file open that it opened itself and that is no archive.
        with (
            _arrays_file(data_hash).open("rb") as file,
            np.load(file, allow_pickle=False) as stored,
        ):
            arrays = {name: stored[name] for name in stored.files}
        damaged = str(arrays.pop("checksum")) != _checksum(data_hash, arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        damaged = True
    if damaged:
        return _unchanged(data_file, data_hash)
    found = {name.removeprefix("data."): array for name, array in arrays.items()}
    for array in found.values():
        array.setflags(write=False)
    return found


def _checksum(data_hash: str, arrays: Mapping[str, Any]) -> str:
    """Return the SHA-256 of arrays with their names, and of the hash under which they are kept."""
    content = hashlib.sha256(data_hash.encode())
    for name in sorted(arrays):
        array = arrays[name]
        content.update(f"{name} {array.dtype.str} {array.shape}".encode())
        content.update(array.tobytes())
    return content.hexdigest()


def _unchanged(data_file: Path, data_hash: str) -> dict[str, Any]:
    """Return the data of a file that still has this hash.

    Raises
    ------
    ModelError
        If the file was changed since it was hashed.
    """
    content = _content(data_file)
    if hashlib.sha256(content).hexdigest() != data_hash:
        raise ModelError(f"{data_file} was changed while the comparison ran; start it again")
    return _parsed(data_file, content)


def _arrays_file(data_hash: str) -> Path:
    return stan.cache_dir() / "data" / f"{data_hash}.npz"


def _array(value: Any) -> np.ndarray[Any, Any] | None:
    """Return numbers as an array, None for what is none."""
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array if array.dtype.kind in "biufc" else None


def check_data(
    data: Mapping[str, Any], info: stan.ProgramInfo, data_name: str = "the data"
) -> list[str]:
    """Compare data with the program's declarations; return complaints, empty if they fit.

    Checking bounds and sizes is left to CmdStan. Names, kinds and numbers of dimensions are checked
    here, before anything is compiled, because CmdStan stops at the first mistake.
    """
    complaints = []
    for name, declared in info.inputs.items():
        if name not in data:
            same = {k.lower(): k for k in data if k not in info.inputs}
            near = difflib.get_close_matches(name.lower(), same, n=1)
            hint = f" (did you mean {same[near[0]]!r}?)" if near else ""
            complaints.append(f"the program's data variable {name!r} is not in {data_name}{hint}")
            continue
        wrong = _unlike(data[name], declared)
        if wrong:
            complaints.append(f"{name!r} in {data_name} {wrong}")
    for name, value in data.items():
        if name not in info.inputs and (wrong := _no_number(value)):
            what = wrong.partition(",")[0]
            complaints.append(
                f"{name!r} in {data_name} {what}: the program does not use it, but CmdStan refuses "
                "it; remove it"
            )
    return complaints


_INT32 = 2**31


def _unlike(value: Any, declared: Declaration) -> str:
    """Say how a value differs from its declaration, and how to write it; empty if it does not."""
    kind, wanted = declared["type"], declared["dimensions"]
    if kind not in {"int", "real"} or isinstance(value, dict):
        return ""
    array = _array(value)
    if array is None or array.dtype.kind == "b":
        return _no_number(value)
    shape = "a single number" if wanted == 0 else f"an array of {count(wanted, 'dimension')}"
    if array.ndim != wanted and not (array.size == 0 and array.ndim <= wanted):
        got, how = f"an array of {count(array.ndim, 'dimension')}", ""
        if array.ndim == 0:
            got = f"the single number {array.item()}"
            how = f"; write {'[' * wanted}{array.item()}{']' * wanted}" if wanted > 0 else ""
        elif wanted == 0 and array.size == 1:
            how = f"; write {array.item()}"
        else:
            got += f" ({' × '.join(map(str, array.shape))})"
        return f"is {got}, but declared {kind}, {shape}{how}"
    return _not_whole(array) if kind == "int" and array.size else ""


def _not_whole(array: np.ndarray[Any, Any]) -> str:
    """Say why Stan cannot read numbers as int; empty if it can."""
    flat = array.ravel()
    if array.dtype.kind == "f":
        bad = flat[flat != np.rint(flat)] if np.all(np.isfinite(flat)) else flat[~np.isfinite(flat)]
        first = float((bad if bad.size else flat)[0])
        how = "give whole numbers" if bad.size else f"write {int(first)}, without a point"
        return f"holds {first}, but declared int; {how}"
    if flat.max() >= _INT32 or flat.min() < -_INT32:
        return f"holds {flat[np.argmax(np.abs(flat))]}, beyond Stan's integers of 32 bits"
    return ""


def _no_number(value: Any) -> str:
    """Say what among values is no number for CmdStan; empty if all are."""
    stack = [value.tolist() if isinstance(value, np.ndarray) else value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item[::-1])
        elif isinstance(item, (bool, np.bool_)):
            return "holds true or false, but CmdStan reads numbers only; write 1 and 0"
        elif item is None:
            return "holds null, but Stan has no missing values; leave them out, or model them"
        elif isinstance(item, (str, dict)):
            what = f"text ({item!r:.40})" if isinstance(item, str) else "an object"
            return f"holds {what}, but CmdStan reads numbers only; write numbers"
    return "" if _array(value) is not None else "has rows of different lengths; make them equal"


def write_data(data: Mapping[str, Any]) -> Path:
    """Write data given from Python into the cache, as JSON for CmdStan; return the file.

    Whole numbers lose their point, so that 1.0 serves where an int is declared.
    """
    if odd := [k for k in data if not isinstance(k, str)]:
        raise ModelError(f"{odd[0]!r:.60} names no variable of the data; allowed: text")
    try:
        text = to_json({k: _plain(v, whole=True) for k, v in data.items()})
    except RecursionError as error:
        raise ModelError("the data are nested too deeply; use numbers, lists and arrays") from error
    return publish(hashlib.sha256(text.encode()).hexdigest()[:24], text)


def to_json(data: Mapping[str, Any]) -> str:
    """Return data as Stan's JSON.

    Raises
    ------
    ModelError
        If they hold something that is no number.
    """
    try:
        return json.dumps(process_dictionary({k: _plain(v) for k, v in data.items()}))
    except (TypeError, ValueError) as error:
        msg = f"the data cannot be written as JSON: {error}; use numbers, lists and arrays"
        raise ModelError(msg) from error


def _plain(value: Any, *, whole: bool = False) -> Any:
    """Return numbers, ranges, sequences, arrays and tables as numbers and nested lists.

    Python's tuples are taken for lists; stanio takes them for Stan's tuples.
    """
    if isinstance(value, dict):
        return {k: _plain(v, whole=whole) for k, v in value.items()}
    if np.ma.is_masked(value):
        raise ModelError(
            "masked elements in the data, but Stan has no missing values; leave them out"
        )
    array = _array(value)
    if array is None:
        nested = isinstance(value, Iterable) and not isinstance(value, str)
        return [_plain(v, whole=whole) for v in value] if nested else value
    if whole and array.dtype.kind == "f":
        zero = (array == 0) & np.signbit(array)
        if np.all((np.abs(array) < _INT32) & (array == np.rint(array)) & ~zero):
            array = array.astype(np.int64)
    return array.astype(np.int64).tolist() if array.dtype.kind == "b" else process_value(array)


def data_file(key: str) -> Path:
    """Return where the cache keeps data that were made, not supplied."""
    return stan.cache_dir() / "data" / f"{key}.json"


def _holds(file: Path, text: str) -> bool:
    """Tell whether a file has this text; a damaged one is written again."""
    try:
        return file.read_bytes() == text.encode()
    except OSError:
        return False


def publish(key: str, text: str) -> Path:
    """Write JSON into the cache under a key, unless it is there undamaged; return the file.

    Raises
    ------
    ModelError
        If the cache cannot be written.
    """
    target = data_file(key)
    if _holds(target, text):
        used(target)
    else:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(f".{os.getpid()}.part")
            partial.write_text(text, encoding="utf-8")
            partial.replace(target)
            forget(target.parent)
        except OSError as error:
            msg = f"cannot write to the cache: {error}; set HARNESS_CACHE to a writable folder"
            raise ModelError(msg) from error
    return target
