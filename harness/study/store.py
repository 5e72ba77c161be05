"""Content-addressed results: written in a temporary folder, then renamed.

A key is the SHA-256 of everything a result depends on, so that no entry is overwritten or stale.
An entry that is damaged counts as absent, with a message.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter

from harness.records import Draws, RunResult, RunSpec, Trace
from harness.records.text import clip, one_line

T = TypeVar("T")

_FORMAT = 1
_TRACE = ("iteration", "elapsed_s", "elbo")


class StoreError(OSError):
    """The cache cannot be written; the message says what to do."""


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str, allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def run_key(
    spec: RunSpec, program_hash: str, data_hash: str, version: int, versions: Mapping[str, str]
) -> str:
    """Return the key of a run: all that its draws depend on, but not the model's name.

    ``versions`` are those that can change a draw: CmdStan, compiler, bridge.
    """
    return digest(
        {
            "format": _FORMAT,
            "spec": {k: v for k, v in asdict(spec).items() if k != "model"},
            "program": program_hash,
            "data": data_hash,
            "method_version": version,
            "versions": dict(versions),
        }
    )


def cmdstan_seed(spec: RunSpec, program_hash: str, data_hash: str) -> int:
    """Return a well-mixed CmdStan seed in [1, 2³¹ − 2] for a spec on a program and its data.

    No name enters: a file, folder or model that is renamed has the same figures. The number of
    draws does not enter either: more draws of one run must be draws of the same q.
    """
    about = [program_hash, data_hash, spec.method, dict(spec.options), spec.seed]
    return int(digest(about)[:12], 16) % (2**31 - 2) + 1


class Store:
    """A folder of results by key, made when first written to.

    ``tell`` is called with a message when a damaged entry is dropped.
    """

    def __init__(self, root: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        self.root = root
        self._tell = tell

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def get(self, key: str, *, with_arrays: bool = True) -> RunResult | None:
        """Return the result under a key, or None if it is absent or damaged.

        The checksum of the arrays is verified even if they are not wanted: a result without its
        draws must be recomputed now, not later.
        """
        folder = self._folder(key)
        try:
            meta = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            content = (folder / "arrays.npz").read_bytes()
            if _sha256(content) != meta["arrays_sha256"]:
                self._drop(folder, "its arrays do not match their checksum")
                return None
            return _from_meta(meta, folder / "arrays.npz" if with_arrays else None)
        except FileNotFoundError:
            if folder.exists():
                self._drop(folder, "a file is missing")
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            self._drop(folder, error)
        return None

    def with_arrays(self, results: Iterable[RunResult]) -> tuple[RunResult, ...]:
        """Return results with their draws and traces; what is not stored stays as it is."""
        # The run may be stored under another model's name, or by a version that knew one engine.
        return tuple(
            r
            if (s := self.get(r.key)) is None
            else dataclasses.replace(s, spec=r.spec, engine=r.engine)
            for r in results
        )

    def _drop(self, folder: Path, why: object) -> None:
        self._damaged(folder.name, why)
        shutil.rmtree(folder, ignore_errors=True)

    def _damaged(self, key: str, why: object) -> None:
        words = clip(one_line(str(why)), 120)
        self._tell(f"damaged cache entry {key[:12]} ({words}): it is computed again")

    def discard(self, key: str) -> None:
        """Remove an entry, so that it is computed again."""
        shutil.rmtree(self._folder(key), ignore_errors=True)

    def put(self, result: RunResult) -> None:
        """Write a result under its key; an existing entry stays as it is.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        folder = self._folder(result.key)
        partial = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            partial.mkdir(parents=True, exist_ok=True)
            np.savez(partial / "arrays.npz", **_arrays(result))
            meta = _meta(result)
            meta["arrays_sha256"] = _sha256((partial / "arrays.npz").read_bytes())
            (partial / "result.json").write_text(json.dumps(meta), encoding="utf-8")
            if folder.exists():
                shutil.rmtree(partial)
            else:
                partial.rename(folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write to the cache {self.root}: {error}; "
            "set HARNESS_CACHE to a writable folder"
        )

    def _record(self, key: str) -> Path:
        return self.root / "memo" / f"{key}.json"

    def keeps(self, key: str) -> bool:
        """Tell whether a record is kept; only :meth:`recall` finds out whether it is whole."""
        return self._record(key).is_file()

    def recall(self, key: str, kind: TypeAdapter[T]) -> T | None:
        """Return the record kept under a key, or None if it is absent or damaged."""
        path = self._record(key)
        try:
            kept = path.read_bytes()
            checksum, _, body = kept.partition(b"\n")
            if _sha256(body) != checksum.decode():
                raise ValueError("checksum")
            return kind.validate_json(body)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._damaged(key, error)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None

    def keep(self, key: str, kind: TypeAdapter[T], value: T) -> None:
        """Keep a record without arrays under a key: its checksum, then its JSON.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        path = self._record(key)
        body = kind.dump_json(value)
        partial = path.with_suffix(f".{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(_sha256(body).encode() + b"\n" + body)
            partial.replace(path)
        except OSError as error:
            raise self._unwritable(error) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def _run_kind() -> TypeAdapter[RunResult]:
    FloatArray = Any  # noqa: F841 - the annotations' name; arrays are kept apart, as npz
    return TypeAdapter(RunResult)


def _arrays(result: RunResult) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    draws, trace = result.draws, result.trace
    if draws is not None:
        arrays |= {"draws": draws.values, "log_p": draws.log_p, "log_q": draws.log_q}
        arrays |= {f"stats.{k}": v for k, v in draws.stats.items()}
    if trace is not None:
        arrays |= {f"trace.{k}": getattr(trace, k) for k in _TRACE}
        arrays |= {f"extras.{k}": v for k, v in trace.extras.items()}
    return {k: v for k, v in arrays.items() if v is not None}


def _meta(result: RunResult) -> dict[str, Any]:
    light = dataclasses.replace(result, draws=None, trace=None)
    return {
        "format": _FORMAT,
        **_run_kind().dump_python(light, mode="json"),
        "names": None if result.draws is None else list(result.draws.names),
        "iid": None if result.draws is None else result.draws.iid,
        "trace": result.trace is not None,
        # JSON has no infinity; repr keeps every digit and reads back with float().
        "diagnostics": {k: repr(float(v)) for k, v in result.diagnostics.items()},
    }


def _from_meta(meta: Mapping[str, Any], arrays_file: Path | None) -> RunResult:
    if meta["format"] != _FORMAT:
        raise ValueError(f"format {meta['format']}, expected {_FORMAT}")
    light = _run_kind().validate_python({**meta, "draws": None, "trace": None})
    if arrays_file is None:
        return light
    with np.load(arrays_file) as stored:
        arrays = {k: stored[k] for k in stored.files}
    draws: Draws | None = None
    trace: Trace | None = None
    if meta["names"] is not None:
        draws = Draws(
            names=tuple(meta["names"]),
            values=arrays["draws"],
            log_p=arrays.get("log_p"),
            log_q=arrays.get("log_q"),
            stats=_prefixed(arrays, "stats."),
            iid=bool(meta["iid"]),
        )
    if meta["trace"]:
        path = {k: arrays[f"trace.{k}"] for k in _TRACE}
        trace = Trace(**path, extras=_prefixed(arrays, "extras."))
    return dataclasses.replace(light, draws=draws, trace=trace)


def _prefixed(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
