"""A model's program made ready: loaded into the embedded engine, or compiled."""

from __future__ import annotations

import dataclasses

from harness.records import EngineName, Model, Program
from harness.records.faults import fault_words, machine_fault
from harness.records.text import seconds
from harness.study import prepare
from harness.study.desk import Desk
from harness.study.plan import Work, explain
from harness.study.pool import Turn
from harness.study.prepare import Prepared
from harness.study.worker import OverdueError

ENDLESS = (
    "a solver or a loop in it may come to no end where its input is NaN or out of range; bound "
    "the parameters it depends on, or allow more: a tenth of --timeout is for this"
)
"""Where a program may hang, and what to do."""


def load(desk: Desk, work: Work) -> None:
    """Load a program into the embedded engine, or compile it where that does not serve."""
    if desk.engines.embedded and "embedded" not in work.refused:
        work.building = True
        args = (_model(work), desk.engines, desk.plan.timeout_s, work.data_hash)
        desk.pool.submit(("start", work), prepare.start, *args, turn=Turn.START)
    else:
        work.program = _compiled(desk, work)
        desk.go_on(work)


def _model(work: Work) -> Model:
    """Return a model as it is prepared: without generated quantities that nothing looks at."""
    return dataclasses.replace(work.model, generated=not work.bare)


def _compiled(desk: Desk, work: Work) -> Program:
    """Return a model's program before anything of it is built."""
    why = {**desk.engines.absent, **work.refused}.get("embedded", "")
    versions = desk.engines.versions
    return Program(work.model.stan_file, versions, embedded_error=why, generated=not work.bare)


def started(desk: Desk, work: Work, value: Prepared | None, error: BaseException | None) -> None:
    """Take what came of loading a program."""
    if isinstance(error, OverdueError):
        said = f"loading it {too_long(desk.plan.timeout_s)}"
        if error.doing == prepare.TRYING:
            limit = seconds(prepare.trying_s(desk.plan.timeout_s))
            said = f"trying it at random points took longer than the limit of {limit}: {ENDLESS}"
        value = Prepared(refused=said, lasting=False)
    _prepared(desk, work, "embedded", value, error)


def _prepared(
    desk: Desk, work: Work, engine: EngineName, value: Prepared | None, error: BaseException | None
) -> None:
    work.building = False
    if value is None:
        assert error is not None  # noqa: S101 - a call returns or raises
        fault = machine_fault(error)
        words = fault_words(error) if fault else explain(error)
        if fault and engine not in work.again:
            work.again.add(engine)
            desk.progress.say(f"{work.model.name}: {words}; it is prepared again")
            desk.go_on(work)
            return
        value = Prepared(error=words)
        if engine == "embedded" and not fault:
            value = Prepared(refused=words, lasting=False)
    if value.refused:
        desk.planner.refuse(work, engine, value.refused, lasting=value.lasting)
        if work.error is not None:
            desk.give_up(work, work.error)
            return
        if engine == "embedded" and desk.engines.spare:
            desk.progress.say(f"{work.model.name} is compiled for CmdStan: {value.refused}")
        desk.progress.phase("run", desk.runs())
    elif value.error and work.waiting:
        desk.give_up(work, value.error)
        return
    elif value.error:
        # All runs are there; only their causes stay unknown.
        work.program = dataclasses.replace(_compiled(desk, work), library_error=value.error)
    else:
        work.program = value.program
        if engine == "embedded" and value.program is not None:
            desk.planner.accept(work, value.program)
    desk.go_on(work)


def build(desk: Desk, work: Work, *, executable: bool, library: bool) -> None:
    """Compile parts of a model's program."""
    work.building = True
    desk.builds += 1
    desk.progress.phase("compile", desk.builds)
    parts = (executable, library)
    limits = (desk.plan.compile_timeout_s, desk.plan.timeout_s)
    args = (_model(work), desk.engines, work.program, parts, limits, work.data_hash)
    desk.pool.submit(("build", work, parts), prepare.build, *args, turn=Turn.BUILD)


def built(
    desk: Desk,
    work: Work,
    parts: tuple[bool, bool],
    value: Prepared | None,
    error: BaseException | None,
) -> None:
    """Take what came of compiling a program."""
    desk.builds_done += 1
    desk.progress.advance("compile", work.model.name)
    if isinstance(error, OverdueError):
        executable, library = parts
        said = too_long(desk.plan.compile_timeout_s, "--compile-timeout")
        value = Prepared(refused=f"compiling it {said}")
        if library:
            # CmdStan's methods go on without it, if they can be built.
            made = work.program or _compiled(desk, work)
            work.program = dataclasses.replace(made, library_error=value.refused)
            value = Prepared(work.program)
            if executable:
                build(desk, work, executable=True, library=False)
                return
    _prepared(desk, work, "cmdstan", value, error)


def library_known(program: Program) -> bool:
    """Tell whether a program's library is built, or cannot be."""
    return bool(program.library or program.library_error)


def evaluates(program: Program | None) -> bool:
    """Tell whether the program's density can be evaluated, or is known to be out of reach."""
    return program is not None and (program.embedded or library_known(program))


def too_long(limit_s: float, option: str = "--timeout") -> str:
    """Say that a call has passed its limit, and which option sets it."""
    return f"took longer than the limit of {seconds(limit_s)}; a longer one: {option}"
