"""The runs of a model: handed out once their engine is ready, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from harness.methods import METHODS
from harness.records import RunContext, RunSpec
from harness.study.analysing import tell_soon
from harness.study.desk import Desk
from harness.study.expected import cheap, expected_seconds, expected_work
from harness.study.plan import Work
from harness.study.pool import Turn
from harness.study.preparing import build, library_known
from harness.study.run_task import RunTask, ended_by, overdue
from harness.study.store import cmdstan_seed
from harness.study.worker import OverdueError


def hand_out(desk: Desk, work: Work) -> None:
    """Hand out the runs whose engine is ready, and build what the others need."""
    assert work.program is not None  # noqa: S101 - prepared before
    hashes = work.program_hash, work.data_hash
    tasks, executable, library = [], False, False
    for key, spec in work.waiting.items():
        engine, own = desk.planner.engine(work, spec.method), desk.plan.own.get(spec.method)
        row = own or METHODS[spec.method]
        if key in work.handed_out:
            continue
        if engine == "cmdstan" and row.bridge and not library_known(work.program):
            library = True
            continue
        if engine == "cmdstan" and row.since and work.program.executable is None:
            executable = True
            continue
        program = desk.engines.of_run(work.program, engine, row, spec)
        context = RunContext(
            program,
            work.model.data_file,
            desk.plan.timeout_s,
            cmdstan_seed(spec, *hashes),
            work.data_hash,
        )
        tasks.append(RunTask(key, spec, context, engine, own))
    first = [t for t in tasks if cheap(t.spec, t.engine)]
    others = [t for t in tasks if not cheap(t.spec, t.engine)]
    # Idle workers take what comes first.
    for task in (*first, *longest_first(others, expected_work)):
        work.handed_out.add(task.key)
        turn = Turn.CHEAP if cheap(task.spec, task.engine) else Turn.RUN
        desk.make(work, task, turn)
    if executable or library:
        build(desk, work, executable=executable, library=library)


def ran(desk: Desk, work: Work, task: RunTask, value: Any, error: BaseException | None) -> None:
    """Take the result of a run."""
    if isinstance(error, OverdueError):
        value = overdue(task, desk.store.root)
    elif error is not None:
        value = ended_by(task, error)
    elif value.status == "killed" and _once_more(desk, work, task, value.message):
        return
    work.done[task.key] = value
    wanted = work.waiting.pop(task.key, None)
    desk.runs_done += 1
    desk.spent_s += expected_seconds(task.spec, work.model)
    desk.progress.advance("run", f"{work.model.name} {task.spec.method}")
    if wanted is not None and not work.waiting:
        desk.go_on(work)
    elif wanted is not None and not (work.told or work.met):
        tell_soon(desk, work)


def _once_more(desk: Desk, work: Work, task: RunTask, why: str) -> bool:
    """Make a run that the machine ended once more, after those that wait; tell if it is."""
    if task.key in work.again or task.key not in work.waiting:
        return False
    work.again.add(task.key)
    spec = task.spec
    run = f"{work.model.name} {spec.method} (seed {spec.seed})"
    desk.progress.say(f"{run}: {why}; it is run again")
    desk.make(work, task, Turn.RUN)
    return True


def longest_first(tasks: Iterable[RunTask], work: Callable[[RunSpec], float]) -> list[RunTask]:
    """Order tasks by length, so that no long one starts last and leaves cores idle."""
    return sorted(tasks, key=lambda t: -work(t.spec))
