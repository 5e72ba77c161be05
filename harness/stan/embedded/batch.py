"""Batches of gradients: by a small C loop where a compiler is found, else by Python's.

Both call the same function of the engine, so the numbers are the same to the last bit. On a small
program a call from Python costs several times the gradient (``benchmarks/gradients.py``).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import os
import platform
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.stan.bridge.loading import content_hash, intact
from harness.stan.cache import (
    ToolchainError,
    cache_dir,
    cache_folder,
    locked,
    run_tool,
    scratch_folder,
)
from harness.stan.find import default_compiler

if TYPE_CHECKING:
    from harness.stan.embedded.buffers import Staged

_SOURCE = Path(__file__).with_name("batch.c")
_FLAGS = ("-x", "c", "-O2", "-fPIC", "-shared")

AT_ONCE = 1000
"""Points a call of the C loop, which Ctrl-C does not interrupt."""

_P, _L = ctypes.c_void_p, ctypes.c_int64


def rejected(
    gradient_of: Callable[..., int], handle: int, staged: Staged, n: int, *, gradient: bool
) -> list[int]:
    """Evaluate the first ``n`` points of the buffers; return which the program rejects.

    Without a place for it the engine computes no gradient, and the same value.
    """
    at_x, at_value, at_slope = staged.at
    loop = c_loop() if n > 1 else None
    if loop is None:
        # A map over addresses, because a turn of Python's loop costs more than a small gradient.
        slopes = at_slope if gradient else itertools.repeat(None, n)
        codes = map(gradient_of, itertools.repeat(handle, n), at_x, at_value, slopes)
        return [i for i, code in enumerate(codes) if code]
    d, bad = staged.x.shape[1], 0
    for i in range(0, n, AT_ONCE):
        bad += loop(
            gradient_of, handle, min(AT_ONCE, n - i), d,
            at_x[i], at_value[i], at_slope[i] if gradient else None, staged.at_code + 4 * i,
        )  # fmt: skip
    return np.flatnonzero(staged.code[:n]).tolist() if bad else []


@functools.cache
def c_loop() -> Callable[..., int] | None:
    """Return the C loop, built once per cache; None where it cannot be built or opened."""
    if os.name == "nt":
        return None
    try:
        loop = ctypes.CDLL(str(_built())).harness_batch
    except (ToolchainError, OSError, AttributeError):
        return None
    loop.restype, loop.argtypes = _L, (_P, _P, _L, _L, _P, _P, _P, _P)
    return loop


def _built() -> Path:
    """Return the loop's library; build it if it is not in the cache.

    Raises
    ------
    ToolchainError
        If there is no compiler, it fails, or the cache cannot be written to.
    """
    built_from = "\0".join((_SOURCE.read_text("utf-8"), platform.machine(), *_FLAGS))
    name = f"batch-{hashlib.sha256(built_from.encode()).hexdigest()[:24]}"
    if found := _finished(name):
        return found
    command = next(
        (c for c in (shlex.split(default_compiler()), ["cc"]) if c and shutil.which(c[0])), None
    )
    if command is None:
        raise ToolchainError("there is no compiler")
    folder = cache_folder("embedded")
    with locked(name):
        if found := _finished(name):  # another process may have built it meanwhile
            return found
        with scratch_folder(name, folder) as scratch:
            built = scratch / f"{name}.so"
            code, _, errors = run_tool([*command, *_FLAGS, "-o", str(built), str(_SOURCE)], scratch)
            if code != 0 or not built.is_file():
                raise ToolchainError(errors.strip() or f"the compiler ended with {code}")
            done = folder / f"{name}-{content_hash(built)}.so"
            built.replace(done)
    return done


def _finished(name: str) -> Path | None:
    """Return the intact library of this name: opening a truncated one would end the process."""
    return next((p for p in (cache_dir() / "embedded").glob(f"{name}-*.so") if intact(p)), None)
