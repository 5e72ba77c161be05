"""One model, from its finished runs to verdicts and figures: measure, judge, explain, draw.

Everything here is a function of stored runs and happens in a worker process. An analysis that
needs something first (draws, a library, remedies) says so, and takes another round.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import judgement
from harness.intake import DrawsError, read_reference
from harness.methods import METHODS, makes
from harness.metrics import WorstPair, measure
from harness.metrics.measure import REFERENCE
from harness.metrics.summaries import MEAN, SD
from harness.records import Draws, Measure, Model, ModelComparison, Reference, RunResult, Verdict
from harness.records.names import base_name
from harness.records.text import listed
from harness.report.files.netcdf import write_draws
from harness.study import explain
from harness.study.looks import Looks
from harness.study.measuring import Measuring
from harness.study.movement import with_movement
from harness.study.reference import choose_reference, exact_draws, made_again
from harness.study.standing import with_standings
from harness.study.store import Store, digest
from harness.study.task import (
    Analysis,
    AnalysisTask,
    Judged,
    Known,
    Needs,
    Want,
    code_hash,
    reference_hash,
    with_draws,
)
from harness.study.unconstrained import with_distances
from harness.study.worker import limited
from harness.why.verdicts import explained as with_facts


def analyse(task: AnalysisTask) -> Analysis:
    """Do one round of an analysis: judge the model, or say what it needs first."""
    said: list[str] = []
    store = Store(task.store_root, said.append)
    found = _round(task, store)
    tried = (run for _, runs in task.trials or () for run in runs)
    # What the machine ended may be there the next time.
    whole = all(r.status != "killed" for r in (*task.results, *task.earlier, *tried))
    return dataclasses.replace(found, said=tuple(said), lasting=found.lasting and whole)


def _round(task: AnalysisTask, store: Store) -> Analysis:
    judged = task.known.judged
    yardstick: measure.Yardstick | None = None
    known = Known()
    if judged is None:
        found = _first_round(task, store)
        if isinstance(found, Analysis):
            return found
        judged, yardstick, known = found
    if task.explain:
        if task.trials and yardstick is None:
            yardstick = _yardstick(task, judged, store)
        judged = dataclasses.replace(
            judged, comparison=explain.with_remedies(task, judged, yardstick, store)
        )
    again = made_again(judged.comparison.reference.attempts)
    notes = (*task.notes, *judged.selection.notes, *(f"NUTS was {words}" for words in again))
    comparison = dataclasses.replace(judged.comparison, notes=notes)
    lasting = explain.complete(comparison)
    return Analysis(comparison, judged.figures, known=known, lasting=lasting)


def _first_round(
    task: AnalysisTask, store: Store
) -> Analysis | tuple[Judged, measure.Yardstick | None, Known]:
    """Judge the model and explain its fits, or say what is needed first."""
    only = Looks(task)
    runs = store.with_arrays(task.results, only)
    _check_choice(task.model, runs)
    with limited(task.timeout_s):
        doubt = explain.doubt(task, runs, store) if task.agreement else ""
    if doubt:
        return Analysis(None, needs=Needs(doubt=doubt), known=task.known)
    measuring = Measuring(task.known.found)
    earlier = store.with_arrays(task.earlier, only)
    chosen = choose_reference(
        task.model,
        runs,
        task.reference,
        task.data_hash,
        measuring,
        earlier,
        iid=task.reference_iid,
    )
    if chosen.again and not task.final:
        needs = Needs(nuts=chosen.again)
        return Analysis(None, needs=needs, known=Known(measuring.found))
    reference, selection = chosen.reference, only.said(chosen.selection)
    fallen_back = chosen.nuts in earlier
    runs, results = (_with_nuts(those, chosen.nuts) for those in (runs, task.results))
    task = dataclasses.replace(task, results=results)
    judged, yardstick = judge_model(task, runs, reference, selection, measuring)
    wants = () if fallen_back or task.final else _wants(judged.comparison, runs, reference)
    if wants:
        wants = _narrowed(wants, runs, reference, only)
        return Analysis(None, needs=Needs(draws=wants), known=Known(measuring.found))
    proposing = task.explain and task.remedies and task.trials is None
    if explain.lacks_density(task, store, proposing=proposing):
        known = Known(measuring.found)
        return Analysis(None, needs=Needs(density=True), known=known, lasting=False)
    with limited(task.timeout_s):
        explanation, reference = explain.explained(task, reference, runs, store)
    if reference.refuted is not None:
        judged, yardstick = judge_model(task, runs, reference, selection, measuring)
    comparison = dataclasses.replace(judged.comparison, explanation=explanation)
    if reference.unsought:
        comparison = dataclasses.replace(comparison, reference=reference)
    comparison = with_facts(_by_density(task, comparison, runs, measuring))
    proposals: tuple[Any, ...] = ()
    if proposing and yardstick is not None:
        with limited(task.timeout_s):
            proposals = explain.proposed(task, comparison, runs)
    judged = dataclasses.replace(
        judged,
        comparison=without_arrays(comparison),
        figures=figures_of(comparison) if task.figures else (),
    )
    if task.draws_folder is not None:
        write_all(task, task.draws_folder / task.model.name, runs, reference)
    if not proposals:
        return judged, yardstick, Known(measuring.found)
    lasting = explain.complete(comparison)
    known = Known(judged=judged)
    return Analysis(None, needs=Needs(remedies=proposals), known=known, lasting=lasting)


def _by_density(
    task: AnalysisTask, comparison: ModelComparison, runs: Sequence[RunResult], measuring: Measuring
) -> ModelComparison:
    """Return a comparison with what only the density tells; first verdicts do without."""
    if task.first:
        return comparison
    with limited(task.timeout_s):
        found = with_distances(task, with_movement(task, comparison, runs), runs)
    return with_standings(found, runs, measuring) if found.standings else found


def _with_nuts(runs: Sequence[RunResult], chosen: RunResult | None) -> tuple[RunResult, ...]:
    """Return the runs with the NUTS that is the reference in the place of the last one made."""
    first = next((r for r in runs if r.spec.method == "nuts"), None)
    if chosen is None or first is None:
        return tuple(runs)
    light = first.draws is None
    chosen = dataclasses.replace(chosen, draws=None, trace=None) if light else chosen
    return tuple(chosen if r is first else r for r in runs)


def _yardstick(task: AnalysisTask, judged: Judged, store: Store) -> measure.Yardstick | None:
    """Return the yardstick of an earlier round; its reference has left its draws there."""
    reference = judged.comparison.reference
    draws: Draws | None = None
    if reference.kind == "exact":
        draws = exact_draws(task.model, task.data_hash)
    elif reference.kind == "supplied":
        draws = read_reference(task.reference, iid=task.reference_iid)
    elif reference.method:
        sampled = next(r for r in judged.comparison.runs if r.spec.method == reference.method)
        draws = store.with_arrays([sampled])[0].draws
    if draws is None:
        return None
    reference = dataclasses.replace(reference, draws=draws)
    return measure.Yardstick(task.model.name, reference, judged.selection)


def figures_of(comparison: ModelComparison) -> tuple[Any, ...]:
    """Draw a comparison that has its arrays."""
    from harness.report.figures import figures_for

    return () if comparison.error is not None else tuple(figures_for(comparison))


def write_all(
    task: AnalysisTask, folder: Path, runs: Sequence[RunResult], reference: Reference
) -> None:
    """Write the draws of all runs and of the reference as NetCDF."""
    for run in runs:
        if run.draws is not None or run.trace is not None:
            name = f"{run.spec.method}-{run.spec.seed}"
            made_by = makes(run.spec.method)
            write_draws(folder, name, run.key, run.draws, run.trace, made_by, clock=task.seconds)
    if reference.draws is not None and not reference.method:
        key = digest([reference_hash(task), task.model.reference, task.data_hash, code_hash()])
        write_draws(folder, "reference", key, reference.draws, None)


def without_arrays(comparison: ModelComparison) -> ModelComparison:
    """Return a comparison light enough to keep and to send between processes."""
    return dataclasses.replace(
        comparison,
        reference=dataclasses.replace(comparison.reference, draws=None),
        runs=tuple(dataclasses.replace(r, draws=None, trace=None) for r in comparison.runs),
    )


def judge_model(
    task: AnalysisTask,
    runs: tuple[RunResult, ...],
    reference: Reference,
    selection: measure.Selection,
    measuring: Measuring,
) -> tuple[Judged, measure.Yardstick | None]:
    """Measure every run and judge every method; without a reference there is no yardstick."""
    model = task.model
    rules = judgement.rules_for(model)
    notes = (*task.notes, *selection.notes)
    if reference.draws is None or not selection.names:
        why, short = reference.why, reference.short
        if reference.draws is not None:
            why = short = "there is no quantity to compare"
        if selection.notes:
            why += f" ({'; '.join(selection.notes)})"
        empty = Reference("none", trusted=False, why=why, findings=reference.findings, short=short)
        verdicts = tuple(
            judgement.judge_method(
                model,
                m,
                [r for r in runs if r.spec.method == m],
                [],
                empty,
                judgement.JudgeContext(0),
            )
            for m in task.judged
        )
        comparison = ModelComparison(model, None, empty, runs, verdicts=verdicts, notes=notes)
        return Judged(with_standings(comparison, runs, measuring), selection, {}), None
    yardstick = measure.Yardstick(model.name, reference, selection)
    nuts = next((r for r in runs if r.sampled), None)
    anchor = next((r for r in runs if r.spec.method == reference.method), None)
    against = reference.kind if anchor is None else anchor.key
    own = yardstick.own_summaries()
    measures: list[Measure] = []
    pairs: dict[str, dict[int, WorstPair]] = {}
    for run in runs:
        if run.spec.method not in {*task.judged, "nuts", reference.method}:
            continue  # it was made to confirm the reference
        found = measuring.distances(run, against, yardstick)
        measures += found.measures
        if found.pair is not None:
            pairs.setdefault(run.spec.method, {})[run.spec.seed] = found.pair
        if run.sampled:
            measures += measuring.chains(run, against, reference.kind, selection.names)
    measures += yardstick.spread(measures)
    context = judgement.JudgeContext(
        dimension=len(selection.names),
        chains=4 if nuts is None or nuts.draws is None else len(nuts.draws.values),
        correlations=yardstick.correlations(),
        modes=yardstick.modes(),
        kinds=yardstick.kinds(),
        generated=selection.generated,
        mode_shares={} if nuts is None else measuring.mode_shares(nuts, against, selection.names),
    )
    judged: list[Verdict] = []
    contexts: dict[str, judgement.JudgeContext] = {}
    for method in task.judged:
        its = [r for r in runs if r.spec.method == method]
        if its:
            of_method = [*own, *(m for m in measures if m.method == method)]
            contexts[method] = dataclasses.replace(context, pairs=pairs.get(method, {}))
            judged.append(
                judgement.judge_method(model, method, its, of_method, reference, contexts[method])
            )
    every = (*own, *measures)
    levels = judgement.levels(every, rules, context)
    comparison = ModelComparison(model, None, reference, runs, every, levels, tuple(judged), notes)
    return Judged(comparison, selection, contexts), yardstick


def _wants(
    comparison: ModelComparison, runs: Sequence[RunResult], reference: Reference
) -> tuple[Want, ...]:
    """Ask for more draws of what limits, if only they keep a verdict open and there may be more."""
    if not reference.trusted:
        return ()
    wants: dict[tuple[str, int], int] = {}
    by_run = {(r.spec.method, r.spec.seed): r for r in runs if r.draws is not None}
    anchor = min((at for at in by_run if at[0] == reference.method), default=None)
    worth = _effective_sizes(comparison.measures)
    open_seeds = ((v, s) for v in comparison.verdicts if v.level == "unknown" for s in v.by_seed)
    for verdict, seed in open_seeds:
        for f in seed.findings:
            if f.level != "unsure" or f.draws_needed is None or f.rule.alarm:
                continue
            scarce: tuple[str, int] | None = (verdict.method, seed.seed)
            row, quantity = METHODS.get(verdict.method), f.measure.quantity
            extends = row is None or row.extends
            if reference.method:
                # q has 10 000 independent draws, weighted ones fewer; chains have their ESS.
                ours = worth.get((verdict.method, seed.seed, quantity), math.inf)
                theirs = worth.get((REFERENCE, None, quantity), 0.0)
                extends, scarce = True, scarce if extends and ours < theirs else anchor
            run = by_run.get(scarce) if extends and scarce is not None else None
            if scarce is None or run is None or run.draws is None:
                continue
            grow = f.draws_needed / max(math.prod(run.draws.values.shape[:2]), 1)
            wanted = math.ceil(run.spec.draws * max(1.3 * grow, 1.5))
            if with_draws(run.spec, wanted) != run.spec:
                wants[scarce] = max(wants.get(scarce, 0), wanted)
    return tuple(Want(method, seed, draws) for (method, seed), draws in sorted(wants.items()))


def _check_choice(model: Model, runs: Sequence[RunResult]) -> None:
    """Raise DrawsError if none of the quantities that were chosen is among those drawn.

    Variables are known from the program, and refused before anything is run, but their sizes from
    its data.
    """
    names = next((r.draws.names for r in runs if r.draws is not None), None)
    if names is None or not model.quantities:
        return
    if not set(model.quantities) & {*names, *map(base_name, names)}:
        raise DrawsError(f"nothing to compare: there is no quantity {listed(model.quantities, 8)}")


def _narrowed(
    wants: Sequence[Want], runs: Sequence[RunResult], reference: Reference, only: Looks
) -> tuple[Want, ...]:
    """Return wants that leave out what nothing looks at: more draws of all may fill the memory.

    A reference keeps all its quantities, which say what is left out.
    """
    names = {(r.spec.method, r.spec.seed): r.draws.names for r in runs if r.draws is not None}
    return tuple(
        want
        if want.method == reference.method
        else dataclasses.replace(want, left_out=only.left_out(names[want.method, want.seed]))
        for want in wants
    )


def _effective_sizes(
    measures: Sequence[Measure],
) -> dict[tuple[str, int | None, str | None], float]:
    """Return what each sample of a quantity is worth, in independent draws.

    Without a quantity: the least of all quantities.
    """
    found: dict[tuple[str, int | None, str | None], float] = {}
    sds = {(m.method, m.seed, m.quantity): m.value for m in measures if m.metric == SD.id}
    for m in measures:
        at = (m.method, m.seed, m.quantity)
        if m.metric == MEAN.id and m.mcse > 0 and at in sds:
            found[at] = (sds[at] / m.mcse) ** 2
            whole = (m.method, m.seed, None)
            found[whole] = min(found.get(whole, math.inf), found[at])
    return found
