"""The worker's side of the pool: its process group, who watches it, and how long a call may take.

A worker leads a process group of its own, to which CmdStan, make and the compiler belong that it
starts; killing the group ends them all. Its mark, a file in the pool's folder, is named by its slot
and process id, and says what the worker does where that has a limit of its own. The mark's time of
modification is the worker's deadline: the pool kills the group of a worker that is still at work
after it, because code that is stuck in one C++ call can be stopped in no other way.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.records.text import fixed

GRACE_S = 1.0
GRACE_SHARE = 0.05
"""What a call may take beyond its limit, to end by itself: a second and a share of the limit."""

WATCH_S = 0.5
"""How often a worker looks whether the pool's process is still there."""


class OverdueError(Exception):
    """A call that was ended with its process, because it took longer than it may.

    ``doing`` is what it did, as :func:`limited` was told.
    """

    def __init__(self, doing: str = "") -> None:
        super().__init__("it took longer than its limit")
        self.doing = doing


MAPPED = 1e9
"""Bytes of address space that libraries take without using them; a worker has 0.7 GB."""

_memory: float | None = None
"""The limit of this worker's memory in bytes; None where there is none."""

_mark: Path | None = None
"""This worker's mark; None in a process that is no worker."""


def begin(folder: str, slot: int, parent: int, memory: float) -> None:
    """Make this process a worker: the initializer of the pool's executors. Memory is in bytes.

    Windows has neither process groups nor priorities by number.
    """
    global _mark, _memory  # noqa: PLW0603 - there is one worker in a process
    # Ctrl-C reaches only the parent, which handles it.
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):
            os.setsid()
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            # Leave the machine responsive for its user.
            os.nice(5)
    # What this process and its children leave in temporary files goes with the pool's folder.
    tempfile.tempdir = folder
    os.environ.update(dict.fromkeys(("TMPDIR", "TMP", "TEMP"), folder))
    for left in Path(folder).glob(f"worker-{slot}-*"):
        left.unlink(missing_ok=True)
    mark = Path(folder) / f"worker-{slot}-{os.getpid()}"
    mark.touch()
    os.utime(mark, (0, 0))
    _mark = mark
    if math.isfinite(memory) and _address_space(memory + MAPPED):
        _memory = memory
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def memory_limit() -> float | None:
    """Return the memory that this process may have, in bytes; None where nothing limits it."""
    return _memory


def over_limit() -> str:
    """Say what limit of memory was reached; empty where nothing limits it."""
    if _memory is None:
        return ""
    limit = fixed(_memory / 1e9, 1)
    return f"it needed more memory than the limit of {limit} GB; a larger one: --memory"


@contextmanager
def unlimited_memory() -> Iterator[None]:
    """Lift the limit for what is started in the block: a compiler needs what it needs."""
    if _memory is not None:
        _address_space(math.inf)
    try:
        yield
    finally:
        if _memory is not None:
            _address_space(_memory + MAPPED)


def _address_space(size: float) -> bool:
    """Limit this process and those that it starts, each by itself; tell whether that is done."""
    try:
        import resource  # not on Windows
    except ImportError:
        return False
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = hard
    if math.isfinite(size):
        soft = int(size) if hard == resource.RLIM_INFINITY else min(int(size), hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    except (OSError, ValueError):  # macOS has the call, and refuses it
        return False
    return True


def _watch(parent: int) -> None:
    """End this process and its children when its parent is gone, however that ended."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    kill_group(os.getpid())
    os._exit(1)


def kill_group(leader: int) -> None:
    """Kill a worker and its children, where there are process groups."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(leader, signal.SIGKILL)


@contextmanager
def limited(limit_s: float, doing: str = "") -> Iterator[None]:
    """Let the pool kill this worker if the block takes longer, and a grace; nothing elsewhere.

    Of nested blocks the inner one counts while it lasts. ``doing`` says what the block does.
    """
    if _mark is None:
        yield
        return
    before, outer = _mark.stat().st_mtime, _mark.read_text(encoding="utf-8")
    _set(time.monotonic() + limit_s + GRACE_S + GRACE_SHARE * limit_s, doing)
    try:
        yield
    finally:
        _set(before, outer)


def _set(deadline: float, doing: str) -> None:
    assert _mark is not None  # noqa: S101 - only a worker has limits
    with contextlib.suppress(OSError):  # the pool is closing: its folder is gone
        # Until its time is set, the mark has that of today, which is no deadline that has passed.
        _mark.write_text(doing, encoding="utf-8")
        os.utime(_mark, (deadline, deadline))


def overdue(mark: Path) -> str | None:
    """Return, in the pool's process, what a worker does after its deadline; None before it."""
    try:
        deadline = mark.stat().st_mtime
        return mark.read_text(encoding="utf-8") if 0 < deadline < time.monotonic() else None
    except OSError:
        return None
