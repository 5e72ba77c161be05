"""Tasks on a pool of processes: compile, run, analyse; nothing a task does loses another.

The pool is loky's: it notices a worker that was killed, and it does not import the caller's
script again, so ``harness.compare()`` works from an unguarded script.
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import itertools
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from harness.methods import METHODS
from harness.methods.method import Method
from harness.records import Cost, EngineName, Reason, RunContext, RunResult, RunSpec
from harness.study.store import Store


class RunTask(NamedTuple):
    """A run with the key it will be stored under. Plain data, but for ``own``."""

    key: str
    spec: RunSpec
    context: RunContext
    engine: EngineName | None = None
    own: Method | None = None
    """The row of a method that is not in METHODS."""

    @property
    def row(self) -> Method:
        """The row of its method."""
        return self.own or METHODS[self.spec.method]


def run_task(task: RunTask, store_root: Path) -> RunResult:
    """Run one spec in this process, store it, and return it without its arrays.

    Whatever goes wrong becomes a failed result: the message names the exception.
    """
    scratch = Path(tempfile.mkdtemp(prefix="harness-run-"))
    try:
        result = task.row.run(task.spec, task.context, scratch)
    except Exception as error:  # noqa: BLE001 - a run that fails is a result
        result = failed(task, f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    diagnostics = {**result.diagnostics, "timeout_s": task.context.timeout_s}
    result = dataclasses.replace(result, key=task.key, diagnostics=diagnostics, engine=task.engine)
    program = task.context.program
    unbuilt = task.row.bridge and not (program.embedded or program.library)
    # What was killed may succeed next time, and a library may build: a full disk is no result.
    if result.status != "killed" and not unbuilt:
        Store(store_root).put(result)
    return dataclasses.replace(result, draws=None, trace=None)


def failed(task: RunTask, message: str, *, killed: bool = False) -> RunResult:
    """Return the result of a run whose process ended before the run did."""
    return RunResult(
        spec=task.spec,
        key=task.key,
        status="killed" if killed else "failed",
        message=message,
        draws=None,
        trace=None,
        diagnostics={},
        cost=Cost(float("nan")),
        versions=task.context.program.versions,
        reason=Reason.KILLED if killed else Reason.PROGRAM_ERROR,
        engine=task.engine,
    )


def _isolate(register: str) -> None:
    """Give a worker its own process group: Ctrl-C reaches only the parent, which handles it.

    Windows has neither process groups nor priorities by number.
    """
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):
            os.setsid()
    (Path(register) / str(os.getpid())).touch()
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            # Leave the machine responsive for its user.
            os.nice(5)


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


class Pool:
    """A pool of processes that survives the death of a worker.

    In ``concurrent.futures`` a worker that dies breaks its whole pool. Here a new pool runs the
    unfinished calls one at a time until the culprit is found: a call whose process dies while it
    runs alone counts as killed, and the others go on.

    The executor holds only as many calls as there are workers: the others wait here, so that a
    call may overtake those whose turn is later.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._register = Path(tempfile.mkdtemp(prefix="harness-pool-"))
        self._executor: Executor | None = None
        self._pending: dict[Future[Any], Job] = {}
        self._held: list[Job] = []
        self._numbers = itertools.count()
        self._singly = 0

    def _start(self) -> Executor:
        import loky

        if self._executor is None:
            # One BLAS thread per worker: the pool already uses every core.
            for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
                os.environ.setdefault(name, "1")
            # Workers grow with the data that they hold, and a new one is as good.
            warnings.filterwarnings("ignore", "A worker was restarted", module="loky")
            self._executor = loky.ProcessPoolExecutor(
                max_workers=self._jobs, initializer=_isolate, initargs=(str(self._register),)
            )
        return self._executor

    def submit(
        self, label: Any, function: Callable[..., Any], *args: Any, turn: Turn = Turn.RUN
    ) -> None:
        """Submit ``function(*args)``; its outcome is returned with ``label``."""
        self._hold(Job(turn, next(self._numbers), label, function, args))
        self._release()

    def _hold(self, job: Job) -> None:
        heapq.heappush(self._held, job)

    def _release(self) -> None:
        """Start calls that wait: one a worker, or one at a time while the culprit is sought."""
        from concurrent.futures.process import BrokenProcessPool

        while self._held and len(self._pending) < (1 if self._singly else self._jobs):
            job = heapq.heappop(self._held)
            try:
                future = self._start().submit(job.function, *job.args)
            except BrokenProcessPool:
                # A worker died a moment ago.
                self._hold(job)
                if self._pending:
                    return  # `finished` sees to it
                self._kill()
            else:
                self._pending[future] = job

    @property
    def busy(self) -> bool:
        """Whether any call is unfinished."""
        return bool(self._pending or self._held)

    def finished(self, poll_s: float = 0.2) -> Iterator[tuple[Any, Any, BaseException | None]]:
        """Yield ``(label, value, error)`` of what has finished, after at most ``poll_s``."""
        from concurrent.futures.process import BrokenProcessPool

        done, _ = wait(self._pending, timeout=poll_s, return_when=FIRST_COMPLETED)
        was_alone = self._singly > 0
        broken: list[Job] = []
        for future in done:
            job = self._pending.pop(future)
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                broken.append(job)
                continue
            self._singly = max(self._singly - 1, 0)
            # What is submitted now may overtake what waits.
            yield job.label, None if error else future.result(), error
        if broken:
            broken += self._pending.values()
            self._pending.clear()
            self._kill()
            if was_alone:
                self._singly = 0
                dead = ChildProcessError("its process was killed twice, perhaps for memory")
                yield broken[0].label, None, dead
            else:
                for job in broken:
                    self._hold(job._replace(turn=Turn.AGAIN))
                self._singly = len(broken)
        self._release()

    def _kill(self) -> None:
        """Kill the workers and their children."""
        for entry in self._register.iterdir():
            if hasattr(os, "killpg"):
                with contextlib.suppress(OSError, ValueError):
                    os.killpg(int(entry.name), signal.SIGKILL)
            entry.unlink(missing_ok=True)
        if self._executor is not None:
            # Only loky's executor knows kill_workers, and _start makes no other.
            self._executor.shutdown(wait=False, kill_workers=True)  # type: ignore[call-arg]
            self._executor = None

    def close(self, *, kill: bool = False) -> None:
        """Close the pool. With ``kill``, stop the workers and their children at once."""
        if kill:
            self._kill()
        elif self._executor is not None:
            self._executor.shutdown(wait=True)
            self._executor = None
        self._pending.clear()
        self._held.clear()
        shutil.rmtree(self._register, ignore_errors=True)


def cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def longest_first(tasks: Iterable[RunTask], work: Callable[[RunSpec], float]) -> list[RunTask]:
    """Order tasks by length, so that no long one starts last and leaves cores idle."""
    return sorted(tasks, key=lambda t: -work(t.spec))
