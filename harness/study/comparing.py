"""The pipeline: plan, build, run, analyse, gather.

Building, running and analysing different models overlap on one pool of processes. Stored runs
are not made again. A failure becomes a result or a model's error, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.records import Comparison, RunResult
from harness.study import analysing, preparing, running
from harness.study.desk import Desk
from harness.study.expected import data_size
from harness.study.gathering import gather
from harness.study.plan import Plan, Work
from harness.study.pool import finished
from harness.study.progress import Progress, Quiet
from harness.study.store import StoreError


class NothingToRunError(RuntimeError):
    """No model could be run; the message gives the reason for each."""


class Interrupted(KeyboardInterrupt):
    """The user pressed Ctrl-C; the message says how many runs are kept."""


Compared = tuple[Comparison, Mapping[str, tuple[Any, ...]]]

_ENDS: Mapping[str, Callable[..., None]] = {
    "start": preparing.started,
    "build": preparing.built,
    "run": running.ran,
    "tell": analysing.tell,
    "judge": analysing.judged,
}
"""What takes the outcome of each kind of call."""


def compare(plan: Plan, progress: Progress | None = None, *, partial: bool = False) -> Compared:
    """Run a plan; return the comparison and each model's figures.

    It has no arrays, but for the runs of methods of one's own, which nothing else keeps. With
    ``partial``, Ctrl-C ends the runs, and what has finished by then is judged: the provenance of
    such a comparison has ``interrupted``.

    Raises
    ------
    harness.stan.ToolchainError
        If there is no CmdStan and none can be installed.
    NothingToRunError
        If no model could be run.
    Interrupted
        On Ctrl-C; finished runs are stored. With ``partial`` only if no method has finished, or
        Ctrl-C is pressed again.
    """
    comparison, figures = run(plan, progress, partial=partial)
    models = comparison.models
    if models and all(m.error is not None for m in models):
        raise NothingToRunError("\n".join(f"{m.model.name}: {m.error}" for m in models))
    return comparison, figures


def run(plan: Plan, progress: Progress | None = None, *, partial: bool = False) -> Compared:
    """Do what :func:`compare` does, but do not raise if no model could be run."""
    desk = Desk(plan, progress or Quiet())
    try:
        _work_through(desk)
    except KeyboardInterrupt as interrupt:
        desk.close(kill=True)
        kept = f"{desk.runs_done} of {desk.runs()} runs finished and are kept"
        msg = f"interrupted: {kept}; the same command goes on from there"
        if not (partial and analysing.judge_finished(desk)):
            raise Interrupted(msg) from interrupt
    except BaseException:
        desk.close(kill=True)
        raise
    finally:
        own = _with_own_draws(desk)
    desk.close()
    figures = {w.model.name: w.analysis.figures for w in desk.works if w.analysis}
    return gather(desk, own), figures


def _work_through(desk: Desk) -> None:
    """Take each model through building, running and analysis until the analysis needs nothing."""
    if desk.runs():
        desk.progress.phase("run", desk.runs())
    desk.progress.phase("judge", sum(w.error is None for w in desk.works))
    # Models with large data first: their runs are long, and must not start last.
    for work in sorted(desk.works, key=lambda w: (not w.waiting, -data_size(w.model))):
        desk.go_on(work)
        _steps(desk)
    while any(queue.busy for queue in desk.queues):
        for (kind, *about), value, error in finished(desk.queues):
            if isinstance(error, StoreError):
                # The cache is at fault: no method may be blamed.
                raise error
            with desk.alone(about[0]):
                _ENDS[kind](desk, *about, value, error)
            _steps(desk)
        desk.outlook()


def _steps(desk: Desk) -> None:
    """Take the steps that are due."""
    while desk.due:
        work = desk.due.pop()
        with desk.alone(work):
            _step(desk, work)


def _step(desk: Desk, work: Work) -> None:
    """Do what a model needs next: prepare its program, run its methods, or analyse."""
    if work.error is not None or work.building:
        return
    if (work.waiting or work.wants_density) and work.program is None:
        preparing.load(desk, work)
    elif work.waiting:
        running.hand_out(desk, work)
    elif work.wants_density and not preparing.evaluates(work.program):
        preparing.build(desk, work, executable=False, library=True)
    else:
        analysing.judge(desk, work)


def _with_own_draws(desk: Desk) -> dict[str, RunResult]:
    """Take the runs of own methods, by key, out of the store, which only passed them on."""
    found = {
        key: result
        for work in desk.works
        for key, result in work.done.items()
        if result.spec.method in desk.plan.own
    }
    kept = dict(zip(found, desk.store.with_arrays(found.values()), strict=True))
    for key in kept:
        desk.store.discard(key)
    return kept
