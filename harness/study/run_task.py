"""One run in a worker process: made, stored, and a result whatever goes wrong."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from harness.methods import METHODS
from harness.methods.method import Method, timed_out
from harness.records import Cost, EngineName, Reason, RunContext, RunResult, RunSpec, Status
from harness.records.faults import fault_words, machine_fault, memory_fault
from harness.study import worker
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
    """Run one spec in this process, store it, and return it without its arrays."""
    return stored(task, made(task), Store(store_root))


def made(task: RunTask) -> RunResult:
    """Run one spec in this process.

    Whatever goes wrong becomes a failed result: the message names the exception. What the machine
    is to blame for becomes a killed one.

    Raises
    ------
    ValueError
        If it wants generated quantities of a program without them: stored under its key, it would
        serve comparisons of them.
    """
    if not (task.context.program.generated or task.spec.left_out):
        raise ValueError("the program is without generated quantities, and the run wants them")
    scratch: Path | None = None
    try:
        scratch = Path(tempfile.mkdtemp(prefix="harness-run-"))
        if task.row.bridge:
            import_module("arviz_stats.base")  # seconds, once in a process, that are not the run's
        with worker.limited(task.context.timeout_s):
            result = task.row.run(task.spec, task.context, scratch)
    except Exception as error:  # noqa: BLE001 - a run that fails is a result
        result = ended_by(task, error)
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    diagnostics = {**result.diagnostics, "timeout_s": task.context.timeout_s}
    result = dataclasses.replace(result, key=task.key, diagnostics=diagnostics, engine=task.engine)
    return _out_of_memory(result) if result.reason is Reason.MEMORY else result


def stored(task: RunTask, result: RunResult, store: Store) -> RunResult:
    """Store a result unless another time may end otherwise; return it without its arrays."""
    program = task.context.program
    unbuilt = task.row.bridge and not (program.embedded or program.library)
    # What was killed may succeed next time, and so may what needs memory; a library may build.
    lasting = result.status != "killed" and result.reason is not Reason.MEMORY
    if lasting and not unbuilt:
        store.put(result)
    return dataclasses.replace(result, draws=None, trace=None)


def _out_of_memory(result: RunResult) -> RunResult:
    """Say what limit a run has reached; without one, the machine's memory was at its end."""
    words = worker.over_limit()
    if not words:
        return dataclasses.replace(result, reason=Reason.MACHINE)
    return dataclasses.replace(result, status="failed", message=words)


def ended_by(task: RunTask, error: BaseException) -> RunResult:
    """Return the result of a run that an exception ended, the method's or the machine's."""
    if isinstance(error, ChildProcessError):
        return _ended(task, "killed", Reason.KILLED, str(error))
    if memory_fault(error):
        return _ended(task, "killed", Reason.MEMORY, fault_words(error))
    if machine_fault(error):
        return _ended(task, "killed", Reason.MACHINE, fault_words(error))
    return _ended(task, "failed", Reason.PROGRAM_ERROR, f"{type(error).__name__}: {error}")


def _ended(task: RunTask, status: Status, reason: Reason, message: str) -> RunResult:
    return RunResult(
        spec=task.spec,
        key=task.key,
        status=status,
        message=message,
        draws=None,
        trace=None,
        diagnostics={},
        cost=Cost(float("nan")),
        versions=task.context.program.versions,
        reason=reason,
        engine=task.engine,
    )


def overdue(task: RunTask, store_root: Path) -> RunResult:
    """Return and store the result of a run that was ended with its process at its time limit."""
    said = timed_out(task.context, Cost(task.context.timeout_s))
    words = f"{said.message} (it was stuck, and its process was ended)"
    result = dataclasses.replace(
        _ended(task, said.status, Reason.TIME_LIMIT, words),
        cost=said.cost,
        diagnostics={"timeout_s": task.context.timeout_s},
    )
    Store(store_root).put(result)
    return result
