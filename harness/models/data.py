"""Stan data: read, checked and hashed once, and kept as arrays for the worker processes."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import math
import os
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from stanio.json import process_dictionary

from harness import stan
from harness.records import Model


class ModelError(ValueError):
    """A model that cannot be used, with what to do about it."""


def read_data(path: Path) -> dict[str, Any]:
    """Read a JSON data file.

    Raises
    ------
    ModelError
        If it is missing, empty, not a JSON object, or holds NaN or infinity.
    """
    try:
        return _parsed(path, path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read the data file {path}: {error}") from error


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        msg = f"{path}: {constant} in the data; Stan programs cannot use it: remove or impute it"
        raise ModelError(msg)

    try:
        text = content.decode()
        if not text.strip():
            raise ModelError(f"{path} is empty; a program without data takes {{}}")
        data = json.loads(text, parse_constant=refuse)
    except UnicodeDecodeError as error:
        msg = f"cannot read the data file {path}: {error}"
        raise ModelError(msg) from error
    except json.JSONDecodeError as error:
        msg = f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        raise ModelError(msg) from error
    if not isinstance(data, dict):
        msg = f'{path} holds a JSON {type(data).__name__}; Stan data are an object: {{"N": 3, …}}'
        raise ModelError(msg)
    for name, value in data.items():
        _refuse_non_finite(path, name, value)
    return data


def _refuse_non_finite(path: Path, name: str, value: Any) -> None:
    """Refuse null, and numbers such as 1e999 that JSON reads as infinity."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            # Lists of plain floats are the large ones: math.fsum would hide inf - inf.
            stack.extend(x for x in item if not isinstance(x, float) or not math.isfinite(x))
        elif item is None or (isinstance(item, float) and not math.isfinite(item)):
            raise ModelError(f"{path}: {name} holds {item}; Stan data are finite numbers")
        elif isinstance(item, (str, dict)) and not isinstance(value, dict):
            msg = f"{path}: {name} holds {type(item).__name__} {item!r:.40}; expected numbers"
            raise ModelError(msg)


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
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    target = _arrays_file(found)
    if not target.is_file():
        data = _parsed(path, content)
        arrays: dict[str, Any] = {
            f"data.{k}": a for k, v in data.items() if (a := _array(v)) is not None
        }
        if len(arrays) == len(data):
            # If the cache cannot be written, every worker reads the JSON itself.
            with contextlib.suppress(OSError):
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_suffix(f".{os.getpid()}.npz")
                np.savez(partial, **arrays)
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
        with np.load(_arrays_file(data_hash), allow_pickle=False) as stored:
            found = {name.removeprefix("data."): stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return read_data(data_file)
    for array in found.values():
        array.setflags(write=False)
    return found


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

    Checking bounds and sizes is left to CmdStan. Names and numbers of dimensions are checked
    here, because CmdStan stops at the first mistake.
    """
    complaints = []
    for name, declared in info.inputs.items():
        if name not in data:
            same = {k.lower(): k for k in data if k not in info.inputs}
            near = difflib.get_close_matches(name.lower(), same, n=1)
            hint = f" (did you mean {same[near[0]]!r}?)" if near else ""
            complaints.append(f"the program's data variable {name!r} is not in {data_name}{hint}")
            continue
        array = _array(data[name])
        if array is None:
            continue
        wanted = int(declared["dimensions"])
        if array.ndim != wanted and not (array.size == 0 and array.ndim <= wanted):
            complaints.append(
                f"{name!r} has {array.ndim} dimensions in {data_name}, declared {wanted}"
            )
        elif declared["type"] == "int" and array.dtype.kind == "f" and np.any(array % 1):
            complaints.append(f"{name!r} is declared int and has fractions in {data_name}")
    return complaints


def write_data(data: Mapping[str, Any]) -> Path:
    """Write data given from Python into the cache, as JSON for CmdStan; return the file."""
    text = to_json(data)
    return publish(hashlib.sha256(text.encode()).hexdigest()[:24], text)


def to_json(data: Mapping[str, Any]) -> str:
    """Return data as Stan's JSON.

    Raises
    ------
    ModelError
        If they hold NaN, infinity or something that is no number.
    """
    try:
        return json.dumps(process_dictionary(_lists(dict(data))), allow_nan=False)
    except ValueError as error:
        msg = f"the data hold NaN or infinity ({error}); Stan data are finite numbers"
        raise ModelError(msg) from error
    except TypeError as error:
        msg = f"the data cannot be written as JSON: {error}; use numbers, lists and arrays"
        raise ModelError(msg) from error


def _lists(value: Any) -> Any:
    """Take Python's tuples for lists; stanio takes them for Stan's tuples."""
    if isinstance(value, dict):
        return {k: _lists(v) for k, v in value.items()}
    return [_lists(v) for v in value] if isinstance(value, (list, tuple)) else value


def data_file(key: str) -> Path:
    """Return where the cache keeps data that were made, not supplied."""
    return stan.cache_dir() / "data" / f"{key}.json"


def publish(key: str, text: str) -> Path:
    """Write JSON into the cache under a key, unless it is there; return the file.

    Raises
    ------
    ModelError
        If the cache cannot be written.
    """
    target = data_file(key)
    if not target.is_file():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(f".{os.getpid()}.part")
            partial.write_text(text, encoding="utf-8")
            partial.replace(target)
        except OSError as error:
            msg = f"cannot write to the cache: {error}; set HARNESS_CACHE to a writable folder"
            raise ModelError(msg) from error
    return target
