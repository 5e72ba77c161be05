"""Content-addressed results: written in a temporary folder, then renamed.

A key is the SHA-256 of everything a result depends on, so nothing is ever overwritten and
nothing is ever stale. What cannot be read back whole is treated as absent, and said once.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness.records import Cost, Draws, RunResult, RunSpec, Trace

_FORMAT = 1


class StoreError(OSError):
    """The cache cannot be written, with what to do."""


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str, allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def run_key(
    spec: RunSpec, program_hash: str, data_hash: str, version: int, versions: Mapping[str, str]
) -> str:
    """Return the key of a run.

    ``versions`` are those that can change a draw: CmdStan, compiler, bridge.
    """
    return digest(
        {
            "format": _FORMAT,
            "spec": asdict(spec),
            "program": program_hash,
            "data": data_hash,
            "method_version": version,
            "versions": dict(versions),
        }
    )


def cmdstan_seed(spec: RunSpec) -> int:
    """Return a well-mixed CmdStan seed in [1, 2³¹ − 2] for a spec.

    The number of draws does not enter: more draws of one run must be draws of the same q.
    """
    text = canonical([spec.model, spec.method, dict(spec.options), spec.seed])
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) % (2**31 - 2) + 1


class Store:
    """A folder of results by key.

    Parameters
    ----------
    root
        The folder; made when first written to.
    tell
        Called with a sentence when a damaged entry is dropped.
    """

    def __init__(self, root: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        """Keep the folder's name; nothing is touched until something is read or written."""
        self.root = root
        self._tell = tell

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def has(self, key: str) -> bool:
        """Tell whether an entry is there; only :meth:`get` finds out whether it is whole."""
        return (self._folder(key) / "result.json").is_file()

    def get(self, key: str, *, with_arrays: bool = True) -> RunResult | None:
        """Return the result under a key, or None if it is absent or damaged.

        Without arrays the checksums are still verified, so that a result that would later
        be missing its draws is recomputed now.
        """
        folder = self._folder(key)
        try:
            meta = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            content = (folder / "arrays.npz").read_bytes()
            if hashlib.sha256(content).hexdigest() != meta["arrays_sha256"]:
                self._drop(folder, "its arrays do not match their checksum")
                return None
            return _from_meta(meta, folder / "arrays.npz" if with_arrays else None)
        except FileNotFoundError:
            if folder.exists():
                self._drop(folder, "a file is missing")
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            self._drop(folder, str(error))
        return None

    def _drop(self, folder: Path, why: str) -> None:
        self._tell(f"damaged cache entry {folder.name[:12]} ({why}): it is computed again")
        shutil.rmtree(folder, ignore_errors=True)

    def discard(self, key: str) -> None:
        """Forget an entry, so that it is made again."""
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
            meta["arrays_sha256"] = hashlib.sha256(
                (partial / "arrays.npz").read_bytes()
            ).hexdigest()
            (partial / "result.json").write_text(json.dumps(meta), encoding="utf-8")
            if folder.exists():
                shutil.rmtree(partial)
            else:
                partial.rename(folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            msg = (
                f"cannot write to the cache {self.root}: {error}; "
                "set HARNESS_CACHE to a writable folder"
            )
            raise StoreError(msg) from error

    def memo(self, key: str) -> Any | None:
        """Return a pickled value of this store's own making, or None."""
        path = self.root / "memo" / f"{key}.pickle"
        try:
            content = path.read_bytes()
            checksum, body = content[:32], content[32:]
            if hashlib.sha256(body).digest() != checksum:
                self._tell(f"damaged cache entry {key[:12]} (checksum): it is computed again")
                path.unlink(missing_ok=True)
                return None
            # The file is our own and checksummed; the cache is as trusted as the code.
            return pickle.loads(body)  # noqa: S301
        except FileNotFoundError:
            return None
        except (OSError, pickle.UnpicklingError, EOFError, AttributeError, ImportError) as error:
            self._tell(f"damaged cache entry {key[:12]} ({error}): it is computed again")
            path.unlink(missing_ok=True)
            return None

    def put_memo(self, key: str, value: Any) -> None:
        """Keep a picklable value under a key."""
        path = self.root / "memo" / f"{key}.pickle"
        body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.part")
            partial.write_bytes(hashlib.sha256(body).digest() + body)
            partial.replace(path)
        except OSError as error:
            msg = (
                f"cannot write to the cache {self.root}: {error}; "
                "set HARNESS_CACHE to a writable folder"
            )
            raise StoreError(msg) from error


def _arrays(result: RunResult) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    if result.draws is not None:
        arrays["draws"] = result.draws.values
        if result.draws.log_p is not None:
            arrays["log_p"] = result.draws.log_p
        if result.draws.log_q is not None:
            arrays["log_q"] = result.draws.log_q
        arrays |= {f"stats.{k}": v for k, v in result.draws.stats.items()}
    if result.trace is not None:
        arrays["trace.iteration"] = result.trace.iteration
        arrays["trace.elapsed_s"] = result.trace.elapsed_s
        arrays["trace.elbo"] = result.trace.elbo
        arrays |= {f"extras.{k}": v for k, v in result.trace.extras.items()}
    return arrays


def _meta(result: RunResult) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "spec": asdict(result.spec),
        "key": result.key,
        "status": result.status,
        "message": result.message,
        "names": None if result.draws is None else list(result.draws.names),
        "iid": None if result.draws is None else result.draws.iid,
        "trace": result.trace is not None,
        # JSON has no infinity; repr keeps every digit and reads back with float().
        "diagnostics": {k: repr(float(v)) for k, v in result.diagnostics.items()},
        "cost": asdict(result.cost),
        "versions": dict(result.versions),
        "console": result.console,
    }


def _from_meta(meta: Mapping[str, Any], arrays_file: Path | None) -> RunResult:
    if meta["format"] != _FORMAT:
        msg = f"format {meta['format']}, expected {_FORMAT}"
        raise ValueError(msg)
    draws: Draws | None = None
    trace: Trace | None = None
    if arrays_file is not None:
        with np.load(arrays_file) as stored:
            arrays = {k: stored[k] for k in stored.files}
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
            trace = Trace(
                iteration=arrays["trace.iteration"],
                elapsed_s=arrays["trace.elapsed_s"],
                elbo=arrays["trace.elbo"],
                extras=_prefixed(arrays, "extras."),
            )
    return RunResult(
        spec=RunSpec(**meta["spec"]),
        key=meta["key"],
        status=meta["status"],
        message=meta["message"],
        draws=draws,
        trace=trace,
        diagnostics={k: float(v) for k, v in meta["diagnostics"].items()},
        cost=Cost(**meta["cost"]),
        versions=meta["versions"],
        console=meta["console"],
    )


def _prefixed(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
