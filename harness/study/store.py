"""Content-addressed results: written in a temporary folder, then renamed.

A key is the SHA-256 of everything a result depends on, so that no entry is overwritten or stale.
Nothing that is read is trusted: an entry holds its own key and a checksum over all its bytes, and
one that is damaged, or stands in another's place, counts as absent, with a message. The checksum is
the SHA-256 of the description, and the CRC-32 of the arrays: one damaged entry in four thousand
million would pass, and reading takes half the time that it takes with SHA-256.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter

from harness.records import Draws, RunResult, RunSpec, Trace
from harness.records.faults import machine_fault
from harness.records.names import of_names
from harness.records.text import clip, one_line
from harness.stan.usage import used
from harness.study.arrays import Bytes, packed, read_bytes, unpacked

T = TypeVar("T")

_FORMAT = 3
_ARRAYS = "arrays.bin"
_TRACE = ("iteration", "elapsed_s", "elbo")
_SHA256 = 64
_WRITING_S = 3600.0
"""No entry takes longer to write: an older unfinished one was left by a killed process."""


class StoreError(OSError):
    """The cache cannot be read or written; the message says what to do."""


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

    ``versions`` are those that can change a draw: CmdStan, compiler, bridge. Which generated
    quantities a run has none of is part of its key, so it never serves a comparison of them.
    """
    return digest(
        {
            "format": _FORMAT,
            # What leaves nothing out has the key that it had before there was a choice.
            "spec": {
                k: v for k, v in asdict(spec).items() if k != "model" and (v or k != "left_out")
            },
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

        All bytes are verified even if the arrays are not wanted: a result without its draws must
        be recomputed now, not later.

        Raises
        ------
        StoreError
            If the machine kept it from being read: the entry itself may be whole, and stays.
        """
        folder = self._folder(key)
        try:
            found = _read(folder)
            if found is None and folder.exists():
                # It may have come between the two looks.
                found = _read(folder)
                if found is None and folder.exists():
                    raise ValueError("a file is missing")
            if found is None:
                return None
            checksum, body, arrays, crc = found
            given = checksum.decode()
            whole = len(given) == _SHA256  # an entry of an earlier version
            if given != (_sha256(body, arrays) if whole else _checksum(body, crc)):
                raise ValueError("checksum")
            used(folder)
            return _from_meta(json.loads(body), key, arrays if with_arrays else None)
        except Exception as error:
            if machine_fault(error):
                raise self._unreadable(error) from error
            self._drop(folder, error)
            return None

    def with_arrays(
        self,
        results: Iterable[RunResult],
        only: Callable[[Sequence[str]], Sequence[str]] | None = None,
    ) -> tuple[RunResult, ...]:
        """Return results with their draws and traces; what is not stored stays as it is.

        ``only`` returns, of the names of a run's quantities, those whose draws are wanted. The
        others are let go of before the next run is read: all of them together may not fit.
        """
        found = []
        for r in results:
            stored = self.get(r.key)
            if stored is None:
                found.append(r)
                continue
            draws = stored.draws
            if draws is not None and only is not None:
                draws = of_names(draws, only(draws.names))
            # It may be stored under another model's name, or by a version that knew one engine.
            found.append(dataclasses.replace(stored, spec=r.spec, engine=r.engine, draws=draws))
        return tuple(found)

    def _drop(self, folder: Path, why: object) -> None:
        self._damaged(folder.name, why)
        self._remove(folder)

    def _remove(self, folder: Path) -> None:
        """Take an entry out of sight at once, so that no reader finds half of it."""
        with suppress(OSError):
            aside = self._aside(folder.name)
            folder.rename(aside / "removed")
            shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)

    def _aside(self, key: str) -> Path:
        """Make a folder of this call's own, from which an entry is renamed into its place."""
        partial = self.root / "partial"
        partial.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{key[:12]}-", dir=partial))

    def _damaged(self, key: str, why: object) -> None:
        words = clip(one_line(str(why)), 120)
        self._tell(f"damaged cache entry {key[:12]} ({words}): it is computed again")

    def discard(self, key: str) -> None:
        """Remove an entry, so that it is computed again."""
        self._remove(self._folder(key))

    def sweep(self) -> None:
        """Remove what processes that were killed in the middle of writing left behind."""
        for left in (self.root / "partial").glob("*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _WRITING_S:
                    shutil.rmtree(left, ignore_errors=True)
                    left.unlink(missing_ok=True)

    def put(self, result: RunResult) -> None:
        """Write a result under its key; an existing entry stays as it is.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        folder = self._folder(result.key)
        aside: Path | None = None
        try:
            aside = self._aside(result.key)
            body = json.dumps(_meta(result)).encode()
            entry = aside / "entry"
            entry.mkdir()
            crc = 0
            with (entry / _ARRAYS).open("wb") as file:
                for piece in packed(_arrays(result)):
                    crc = zlib.crc32(piece, crc)
                    file.write(piece)
            (entry / "result.json").write_bytes(_checksum(body, crc).encode() + b"\n" + body)
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                entry.rename(folder)
            except OSError:
                # Another process was faster (ENOTEMPTY, EEXIST; Windows has words of its own), and
                # what it wrote is the same.
                if not folder.is_dir():
                    raise
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            if aside is not None:
                shutil.rmtree(aside, ignore_errors=True)

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write to the cache {self.root}: {error}; "
            "set HARNESS_CACHE to a writable folder"
        )

    def _unreadable(self, error: Exception) -> StoreError:
        words = clip(one_line(f"{type(error).__name__}: {error}"), 120)
        return StoreError(f"cannot read the cache {self.root}: {words}")

    def _record(self, key: str) -> Path:
        return self.root / "memo" / f"{key}.record"

    def keeps(self, key: str) -> bool:
        """Tell whether a record is kept; only :meth:`recall` finds out whether it is whole."""
        return self._record(key).is_file()

    def recall(self, key: str, kind: TypeAdapter[T]) -> T | None:
        """Return the record kept under a key, or None if it is absent or damaged."""
        path = self._record(key)
        try:
            checksum, _, body = path.read_bytes().partition(b"\n")
            if _sha256(key.encode() + body) != checksum.decode():
                raise ValueError("checksum")
            used(path)
            return kind.validate_json(body)
        except FileNotFoundError:
            return None
        except Exception as error:
            if machine_fault(error):
                raise self._unreadable(error) from error
            self._damaged(key, error)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None

    def keep(self, key: str, kind: TypeAdapter[T], value: T) -> None:
        """Keep a record without arrays under a key: the checksum of both, then its JSON.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        path = self._record(key)
        body = kind.dump_json(value)
        aside: Path | None = None
        try:
            aside = self._aside(key)
            (aside / "entry").write_bytes(_sha256(key.encode() + body).encode() + b"\n" + body)
            path.parent.mkdir(parents=True, exist_ok=True)
            (aside / "entry").replace(path)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            if aside is not None:
                shutil.rmtree(aside, ignore_errors=True)


def _checksum(body: bytes, crc: int) -> str:
    return f"{_sha256(body)}-{crc:08x}"


def _sha256(*pieces: bytes | Bytes) -> str:
    whole = hashlib.sha256()
    for piece in pieces:
        whole.update(piece if isinstance(piece, bytes) else piece.data)
    return whole.hexdigest()


def _read(folder: Path) -> tuple[bytes, bytes, Bytes, int] | None:
    """Return the checksum, JSON, arrays and their CRC-32 of an entry; None if a file is missing."""
    try:
        checksum, _, body = (folder / "result.json").read_bytes().partition(b"\n")
        return checksum, body, *read_bytes(folder / _ARRAYS)
    except FileNotFoundError:
        return None


@cache
def _run_kind() -> TypeAdapter[RunResult]:
    FloatArray = Any  # noqa: F841 - the annotations' name; arrays are kept apart
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
    return {k: np.asarray(v) for k, v in arrays.items() if v is not None}


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


def _from_meta(meta: Mapping[str, Any], key: str, arrays: Bytes | None) -> RunResult:
    if meta["format"] != _FORMAT:
        raise ValueError(f"format {meta['format']}, expected {_FORMAT}")
    if meta["key"] != key:
        raise ValueError(f"it is the entry of {str(meta['key'])[:12]}")
    light = _run_kind().validate_python({**meta, "draws": None, "trace": None})
    if arrays is None:
        return light
    found = unpacked(arrays)
    draws: Draws | None = None
    trace: Trace | None = None
    if meta["names"] is not None:
        draws = Draws(
            names=tuple(meta["names"]),
            values=found["draws"],
            log_p=found.get("log_p"),
            log_q=found.get("log_q"),
            stats=_prefixed(found, "stats."),
            iid=bool(meta["iid"]),
        )
        shape = draws.values.shape
        if draws.values.ndim != len(("chain", "draw", "quantity")) or shape[-1] != len(draws.names):
            raise ValueError(f"draws of shape {shape} for {len(draws.names)} quantities")
    if meta["trace"]:
        path = {k: found[f"trace.{k}"] for k in _TRACE}
        trace = Trace(**path, extras=_prefixed(found, "extras."))
    return dataclasses.replace(light, draws=draws, trace=trace)


def _prefixed(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
