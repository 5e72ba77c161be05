"""Tasks on a pool of processes: compile, run, analyse; nothing a task does loses another.

The pool is loky's: it notices a worker that was killed, and it does not import the caller's
script again, so ``harness.compare()`` works from an unguarded script.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from filelock import FileLock

from harness.study import worker

_PREFIX = "harness-pool-"
_LOCK = "lock"
_OLD_S = 3600.0

_LEAST = 1e9
"""A share of the memory that every worker gets, in bytes: the libraries alone take a quarter."""


class ClusterError(OSError):
    """A Dask cluster that cannot be used; the message says why."""


class Turn(IntEnum):
    """Which of the calls that wait is made next: what is cheap and shows something goes first."""

    AGAIN = 0
    START = 1
    TELL = 2
    CHEAP = 3
    JUDGE = 4
    BUILD = 5
    RUN = 6


class Job(NamedTuple):
    """A submitted call: when it is its turn, its number, and its label."""

    turn: Turn
    number: int
    label: Any
    function: Callable[..., Any]
    args: tuple[Any, ...]


class Place(Protocol):
    """A place where one call is made at a time."""

    job: Job | None
    future: Future[Any] | None

    def start(self, job: Job) -> None:
        """Hand a call to the worker."""

    @property
    def open(self) -> bool:
        """Whether it takes a call."""

    @property
    def lost(self) -> bool:
        """Whether the worker has died with its call."""

    @property
    def overdue(self) -> str | None:
        """What its call does where it has taken longer than it may; else None."""

    def free(self) -> None:
        """Forget a call that has ended."""

    def kill(self) -> None:
        """End the worker with its call."""


class Slot:
    """A place for one worker, with an executor of its own.

    In ``concurrent.futures`` a worker that dies breaks its whole executor: so it breaks no other.
    """

    def __init__(self, number: int, folder: Path, memory: float) -> None:
        self._number = number
        self._memory = memory
        self._folder = folder
        self._executor: Executor | None = None
        self.job: Job | None = None
        self.future: Future[Any] | None = None

    def start(self, job: Job) -> None:
        """Hand a call to the worker."""
        from concurrent.futures.process import BrokenProcessPool

        try:
            self.future = self._started().submit(job.function, *job.args)
        except BrokenProcessPool:
            # It died while it had nothing to do.
            self.kill()
            self.future = self._started().submit(job.function, *job.args)
        self.job = job

    def _started(self) -> Executor:
        import loky

        if self._executor is None:
            self._executor = loky.ProcessPoolExecutor(
                max_workers=1,
                initializer=worker.begin,
                initargs=(str(self._folder), self._number, os.getpid(), self._memory),
            )
        return self._executor

    @property
    def open(self) -> bool:
        """Whether it takes a call."""
        return self.job is None

    def _marks(self) -> list[Path]:
        return list(self._folder.glob(f"worker-{self._number}-*"))

    @property
    def lost(self) -> bool:
        """Whether the worker has died with its call."""
        from concurrent.futures.process import BrokenProcessPool

        future = self.future
        return (
            future is not None
            and future.done()
            and isinstance(future.exception(), BrokenProcessPool)
        )

    @property
    def overdue(self) -> str | None:
        """What its call does where it has taken longer than it may; else None."""
        late = map(worker.overdue, self._marks() if self.job is not None else ())
        return next((doing for doing in late if doing is not None), None)

    def free(self) -> None:
        """Forget a call that has ended."""
        self.job = self.future = None

    def kill(self) -> None:
        """Kill the worker and its children; the next call gets a new one."""
        self.free()
        for mark in self._marks():
            worker.kill_group(int(mark.name.rpartition("-")[2]))
            mark.unlink(missing_ok=True)
        if self._executor is not None:
            # Only loky's executor knows kill_workers, and _started makes no other.
            self._executor.shutdown(wait=False, kill_workers=True)  # type: ignore[call-arg]
            self._executor = None

    def close(self) -> None:
        """Let the worker end."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)
            self._executor = None


class Queue:
    """Calls that wait for a place, so that one may overtake those whose turn is later.

    A call whose worker dies is made once more; if that worker dies too, the call counts as killed.
    A call that passes its time limit is ended with its worker, and its error is an
    ``OverdueError``.
    """

    alone = True
    """Whether a call that is made once more runs alone, because it may need all the memory."""

    def __init__(self, places: Sequence[Place] = ()) -> None:
        self._slots: list[Place] = list(places)
        self._held: list[Job] = []
        self._numbers = itertools.count()

    def submit(
        self, label: Any, function: Callable[..., Any], *args: Any, turn: Turn = Turn.RUN
    ) -> None:
        """Submit ``function(*args)``; its outcome is returned with ``label``."""
        heapq.heappush(self._held, Job(turn, next(self._numbers), label, function, args))
        self._release()

    @property
    def _at_work(self) -> list[Place]:
        return [slot for slot in self._slots if slot.job is not None]

    def _release(self) -> None:
        """Start calls that wait, one a place."""
        free = [slot for slot in self._slots if slot.open]
        while self._held and free:
            if self.alone:
                again = Turn.AGAIN in (self._held[0].turn, *_turns(self._at_work))
                if again and self._at_work:
                    return
            free.pop(0).start(heapq.heappop(self._held))

    @property
    def busy(self) -> bool:
        """Whether any call is unfinished."""
        return bool(self._held or self._at_work)

    @property
    def futures(self) -> list[Future[Any]]:
        """Those of the calls that are being made."""
        return [slot.future for slot in self._at_work if slot.future is not None]

    def finished(self, poll_s: float = 0.2) -> Iterator[tuple[Any, Any, BaseException | None]]:
        """Yield ``(label, value, error)`` of what has finished, after at most ``poll_s``."""
        return finished([self], poll_s)

    def ended(self) -> Iterator[tuple[Any, Any, BaseException | None]]:
        """Yield ``(label, value, error)`` of what has finished by now."""
        for slot in self._at_work:
            job, future = slot.job, slot.future
            assert job is not None  # noqa: S101 - it is at work
            assert future is not None  # noqa: S101 - as every job at work
            if slot.lost:
                slot.kill()
                if job.turn is Turn.AGAIN:
                    words = "its process was killed twice, perhaps for memory"
                    yield job.label, None, ChildProcessError(words)
                else:
                    heapq.heappush(self._held, job._replace(turn=Turn.AGAIN))
            elif future.done():
                slot.free()
                # What is submitted now may overtake what waits.
                error = future.exception()
                yield job.label, None if error else future.result(), error
            elif (doing := slot.overdue) is not None:
                slot.kill()
                yield job.label, None, worker.OverdueError(doing)
        self._release()

    def cancel(self) -> None:
        """End the calls that are being made, with their workers, and forget those that wait."""
        self._held.clear()
        for slot in self._slots:
            slot.kill()


def finished(
    queues: Sequence[Queue], poll_s: float = 0.2
) -> Iterator[tuple[Any, Any, BaseException | None]]:
    """Yield ``(label, value, error)`` of what has finished anywhere, after at most ``poll_s``."""
    futures = [future for queue in queues for future in queue.futures]
    if futures:
        wait(futures, timeout=poll_s, return_when=FIRST_COMPLETED)
    else:
        time.sleep(poll_s)  # for a place
    for queue in queues:
        yield from queue.ended()


class Pool(Queue):
    """A pool of processes that survives the death of a worker, and ends calls that are overdue.

    A call sets its time limit itself, by :func:`harness.study.worker.limited`.

    A worker and each process that it starts may have ``memory_gb`` of memory where the system can
    limit it, by default the machine's divided by the number of jobs.

    The pool's folder has all temporary files of its workers.
    """

    def __init__(self, jobs: int, memory_gb: float | None = None) -> None:
        # One BLAS thread per worker: the pool already uses every core.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        # Workers grow with the data that they hold, and a new one is as good.
        warnings.filterwarnings("ignore", "A worker was restarted", module="loky")
        sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = FileLock(self._folder / _LOCK)
        self._lock.acquire()
        memory = share(jobs) if memory_gb is None else memory_gb * 1e9
        self._own = [Slot(number, self._folder, memory) for number in range(jobs)]
        super().__init__(self._own)

    def close(self, *, kill: bool = False) -> None:
        """Close the pool. With ``kill``, stop the workers and their children at once."""
        if kill:
            self.cancel()
        for slot in self._own:
            slot.close()
        self._held.clear()
        self._lock.release()
        shutil.rmtree(self._folder, ignore_errors=True)


def share(jobs: int) -> float:
    """Return the memory that each of several workers may take, in bytes: its part of all."""
    found = [float("inf")]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    with contextlib.suppress(OSError, ValueError):  # a container's own limit
        found.append(float(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return max(min(found) / jobs, _LEAST)


def sweep() -> None:
    """Remove the folders of this user's pools whose process has ended without doing so.

    A pool holds a lock in its folder as long as it lives, however it ends. A folder without a lock
    may be a moment old.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            mine = not hasattr(os, "getuid") or found.st_uid == os.getuid()
            if not (stat.S_ISDIR(found.st_mode) and mine):
                continue
            if not (folder / _LOCK).exists():
                if time.time() - found.st_mtime > _OLD_S:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with FileLock(folder / _LOCK, timeout=0):  # Timeout is an OSError: its pool lives
                for path in folder.iterdir():
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path, ignore_errors=True)
                    elif path.name != _LOCK:
                        path.unlink(missing_ok=True)
            # Where a dying worker still wrote, the folder keeps its lock for the next sweep.
            if [path.name for path in folder.iterdir()] == [_LOCK]:
                shutil.rmtree(folder, ignore_errors=True)


def _turns(slots: Iterable[Place]) -> list[Turn]:
    return [slot.job.turn for slot in slots if slot.job is not None]
