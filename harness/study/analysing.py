"""The analysis of a model's runs, round by round, and the first verdicts before all have ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from harness import records
from harness.intake import DrawsError
from harness.records import Program, RunSpec
from harness.records.text import count, setting
from harness.report.files.netcdf import written_keys
from harness.report.standing import first_words
from harness.study.desk import Desk
from harness.study.expected import cheap
from harness.study.plan import QUICK, Work, explain
from harness.study.pool import Turn
from harness.study.preparing import too_long
from harness.study.store import Store
from harness.study.task import Analysis, AnalysisTask, analysis_key, keep, recall
from harness.study.worker import OverdueError


def tell_soon(desk: Desk, work: Work) -> None:
    """Once the cheap runs of a model are made, judge them while the others are made.

    Without NUTS only short chains are left: their verdicts come as soon.
    """
    left = work.waiting.values()
    if not desk.plan.nuts or any(cheap(s, desk.planner.engine(work, s.method)) for s in left):
        return
    work.told = True
    unfinished = {s.method for s in left}
    ready = [s for s in work.specs if s.method not in unfinished and s.method in QUICK]
    task = _first_task(desk, work, ready)
    if task is not None:
        desk.pool.submit(("tell", work), analyse, task, turn=Turn.TELL)


def _first_task(desk: Desk, work: Work, ready: Sequence[RunSpec]) -> AnalysisTask | None:
    """Return the task of judging the methods that are ready; None if there is none."""
    methods = tuple(m for m in work.judged if any(s.method == m for s in ready))
    if not methods:
        return None
    return dataclasses.replace(
        _task(desk, work, ready),
        earlier=(),
        judged=methods,
        draws_folder=None,
        figures=False,
        first=True,
        explain=False,
        remedies=False,
        trials=None,
        agreement="",
    )


def _task(desk: Desk, work: Work, specs: Sequence[RunSpec]) -> AnalysisTask:
    return AnalysisTask(
        model=work.model,
        program_hash=work.program_hash,
        data_hash=work.data_hash,
        results=desk.planner.results(work, specs),
        earlier=desk.planner.results(work, work.earlier),
        reference=work.reference,
        reference_iid=desk.plan.reference_iid,
        judged=work.judged,
        notes=(*work.notes, *_engine_notes(work)),
        store_root=desk.store.root,
        draws_folder=desk.plan.draws_folder,
        seconds=desk.plan.seconds,
        figures=desk.plan.figures,
        explain=desk.plan.explain,
        program=_unless_stuck(work),
        engine=desk.plan.engine,
        agreement=desk.planner.agreement(work),
        remedies=desk.plan.remedies,
        trials=desk.planner.trials(work),
        options=desk.plan.options,
        timeout_s=desk.plan.timeout_s,
        known=work.known,
    )


def tell(desk: Desk, work: Work, value: Analysis | None, error: BaseException | None) -> None:
    """Print the first verdicts; the analysis of all runs meets what kept them from being."""
    del error
    if value is None:
        return
    if work.waiting and not work.met:
        work.known = value.known
    if value.comparison is not None and work.waiting:
        for sentence in first_words(value.comparison, len(work.waiting)):
            desk.progress.say(sentence)


def judge(desk: Desk, work: Work) -> None:
    """Hand out a round of a model's analysis, unless it is kept."""
    task = _task(desk, work, work.specs)
    try:
        key = analysis_key(task)
    except (OSError, ValueError) as error:
        judged(desk, work, None, error)
        return
    if work.first_key is None:
        work.first_key = key
    known = recall(desk.store, key)
    if known is not None and _draws_written(task, known):
        judged(desk, work, known, None)
    elif desk.plan.own:
        # Its runs are never made again under these keys.
        work.first_key = ""
        desk.pool.submit(("judge", work), analyse, task, turn=Turn.JUDGE)
    else:
        desk.pool.submit(("judge", work), analyse_and_keep, task, key, turn=Turn.JUDGE)


def judged(desk: Desk, work: Work, value: Any, error: BaseException | None) -> None:
    """Take what a round of an analysis found, or what it needs."""
    if isinstance(error, OverdueError) and not work.stuck:
        # Figures and verdicts need no density: once more, without one.
        work.stuck = f"evaluating the program {too_long(desk.plan.timeout_s)}"
        work.first_key = ""
        judge(desk, work)
        return
    if error is not None:
        said = work.proposals or isinstance(error, DrawsError)
        whose = "" if said else "the comparison itself failed: "
        desk.give_up(work, f"{whose}{explain(error)}")
        return
    for sentence in value.said:
        desk.say_once(sentence)
    if value.needs.doubt:
        _take_over(desk, work, value.needs.doubt)
    elif value.needs:
        _meet(desk, work, value)
    else:
        work.analysis = value
        if work.first_key and work.met:
            # The next comparison need not go through the rounds.
            keep(desk.store, work.first_key, value)
        desk.progress.advance("judge", work.model.name)


def _take_over(desk: Desk, work: Work, doubt: str) -> None:
    """Give the runs of the embedded engine, whose density is doubted, to the bridge."""
    desk.say_once(f"{work.model.name}: {doubt}; the compiled bridge takes over")
    desk.planner.refuse(work, "embedded", doubt, doubt=True)
    if work.program is not None:
        work.program = dataclasses.replace(work.program, embedded=False, embedded_error=doubt)
    desk.progress.phase("run", desk.runs())
    desk.go_on(work)


def _meet(desk: Desk, work: Work, value: Analysis) -> None:
    """Plan what an analysis needs, and say which runs that takes."""
    needs = value.needs
    desk.planner.meet(work, needs, value.known)
    if work.waiting:
        why = "not enough draws to decide" if needs.draws else "remedies to try"
        if needs.nuts:
            asked = ", ".join(f"{k} {setting(v)}" for k, v in needs.nuts.items())
            why = f"NUTS is no reference yet: again with {asked}"
        runs = count(len(work.waiting), "more run")
        desk.progress.say(f"{work.model.name}: {why}; {runs}")
        desk.progress.phase("run", desk.runs())
    desk.go_on(work)


def judge_finished(desk: Desk) -> bool:
    """Judge the methods whose runs have all finished; tell whether there are any.

    Nothing else is run, and no causes are looked for.
    """
    desk.interrupted = True
    for work in desk.works:
        if work.error is not None or work.analysis is not None:
            continue
        done, missing = len(work.specs) - len(work.waiting), len(work.waiting)
        said = f"interrupted: {done} of {count(done + missing, 'run')} had finished"
        work.notes.append(said)
        unfinished = {s.method for s in work.waiting.values()}
        ready = [s for s in work.specs if s.method not in unfinished]
        task = _first_task(desk, work, ready)
        if task is None:
            work.error = f"{said}, and no method had all of its runs"
            continue
        task = dataclasses.replace(task, figures=desk.plan.figures, first=False, final=True)
        with desk.alone(work):
            work.analysis = analyse(task)
    return any(w.analysis is not None for w in desk.works)


def _draws_written(task: AnalysisTask, known: Analysis) -> bool:
    """Tell whether the draws of a kept analysis are still in the output folder."""
    if task.draws_folder is None or known.comparison is None:
        return True
    keys = written_keys(task.draws_folder / task.model.name, clock=task.seconds)
    runs = [r for r in known.comparison.runs if r.status not in records.WITHOUT_DRAWS]
    return all(keys.get(f"{r.spec.method}-{r.spec.seed}") == r.key for r in runs)


def analyse(task: AnalysisTask) -> Analysis:
    """Analyse in a worker process."""
    from harness.study import analysis

    return analysis.analyse(task)


def analyse_and_keep(task: AnalysisTask, key: str) -> Analysis:
    """Analyse in a worker process and keep the outcome for the next comparison."""
    analysis = analyse(task)
    keep(Store(task.store_root), key, analysis)
    return analysis


def _engine_notes(work: Work) -> list[str]:
    """Say which engine does not serve a program, and what stands in for it."""
    said = []
    if why := work.refused.get("embedded"):
        verb = "was not used" if work.doubt else "refuses the program"
        said.append(f"the embedded engine {verb}: {why}; the compiled bridge took over")
    if why := work.refused.get("cmdstan"):
        said.append(f"CmdStan cannot build the program: {why}; the embedded engine took over")
    return said


def _unless_stuck(work: Work) -> Program | None:
    """Return a model's program, without its density where evaluating that came to no end."""
    if not work.stuck:
        return work.program
    made = work.program or Program(work.model.stan_file, {})
    return dataclasses.replace(
        made, embedded=False, embedded_error=work.stuck, library=None, library_error=work.stuck
    )
