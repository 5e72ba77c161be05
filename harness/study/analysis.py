"""One model, from its finished runs to verdicts and figures: compare, judge, draw.

Everything here is a function of stored runs, so it is kept under a key of theirs and of the
code that made it, and is done in a worker process.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import judge, stan
from harness.methods import METHODS
from harness.metrics import WorstPair, measure
from harness.models.data import data_hash, load_data
from harness.records import (
    Cost,
    Draws,
    Measure,
    Model,
    ModelComparison,
    Reference,
    RunResult,
    RunSpec,
    Verdict,
)
from harness.records.names import scalars
from harness.records.text import integer
from harness.report.files.netcdf import draws_from_datatree, write_draws
from harness.study import explain
from harness.study.store import Store, digest
from harness.study.task import Analysis, AnalysisTask, Want, code_hash

if TYPE_CHECKING:
    from harness.why.remedies import Proposal

EXACT_DRAWS = 40_000
"""Exact draws are nearly free; four times q's own make its error the one that counts."""


def analyse(task: AnalysisTask) -> Analysis:
    """Judge one model's runs. Meant for a worker process; loads arrays from the store."""
    said: list[str] = []
    store = Store(task.store_root, said.append)
    runs = with_arrays(task.results, store)
    reference, selection = choose_reference(task.model, runs, task.reference)
    judged = judge_model(task, runs, reference, selection)
    comparison, wants = judged.comparison, judged.wants
    proposals: tuple[Proposal, ...] = ()
    if task.explain and not wants:
        comparison = explain.explained(task, comparison, runs, store)
        if task.propose and judged.yardstick is not None:
            proposals = explain.proposed(task, comparison, runs)
        scale = None
        if judged.yardstick is not None:
            scale = explain.Scale(judged.yardstick, judged.contexts)
        comparison = explain.with_remedies(task, comparison, runs, scale, store)
    figures: tuple[Any, ...] = ()
    if task.figures and comparison.error is None:
        from harness.report.figures import figures_for

        figures = tuple(figures_for(comparison))
    if task.draws_folder is not None:
        folder = task.draws_folder / task.model.name
        for run in runs:
            if run.draws is not None or run.trace is not None:
                name = f"{run.spec.method}-{run.spec.seed}"
                write_draws(folder, name, run.key, run.draws, run.trace)
        if reference.draws is not None and reference.kind != "nuts":
            key = digest([task.model.reference, data_hash(task.model), code_hash()])
            write_draws(folder, "reference", key, reference.draws, None)
    return Analysis(without_arrays(comparison), figures, wants, tuple(said), proposals)


def without_arrays(comparison: ModelComparison) -> ModelComparison:
    """Return a comparison light enough to keep and to send between processes."""
    return dataclasses.replace(
        comparison,
        reference=dataclasses.replace(comparison.reference, draws=None),
        runs=tuple(dataclasses.replace(r, draws=None, trace=None) for r in comparison.runs),
    )


def with_arrays(results: Sequence[RunResult], store: Store) -> tuple[RunResult, ...]:
    """Return results as the store holds them, with draws and traces."""
    stored = [(r, store.get(r.key)) for r in results]
    return tuple(r if s is None else s for r, s in stored)


def choose_reference(
    model: Model, runs: Sequence[RunResult], choice: str
) -> tuple[Reference, measure.Selection]:
    """Take the most trustworthy reference there is: exact, supplied, NUTS that passes.

    The reference is judged before anything is compared with it; ``choice="nuts"`` switches
    exact and supplied references off.
    """
    if choice not in {"auto", "nuts"}:
        return _supplied(model, Path(choice))
    if choice == "auto" and model.reference is not None:
        draws = exact_draws(model)
        why = f"{integer(draws.values.shape[1])} independent draws of the exact posterior"
        selection = measure.select(model, draws)
        return Reference("exact", trusted=True, why=why, draws=draws), selection
    nuts = next((r for r in runs if r.spec.method == "nuts" and r.draws is not None), None)
    if nuts is None or nuts.draws is None:
        failed = next((r for r in runs if r.spec.method == "nuts"), None)
        words = "NUTS was not run" if failed is None else f"NUTS {failed.status}: {failed.message}"
        none = Reference("none", trusted=False, why=f"no reference: {words}", short=words)
        return none, measure.Selection((), ())
    selection = measure.select(model, nuts.draws, _parameters(model, nuts.draws))
    measures = measure.chain_measures(nuts, selection.names, "nuts")
    context = judge.JudgeContext(mode_shares=measure.mode_shares(nuts, selection.names))
    found = judge.judge_chains(measures, judge.rules_for(model), context)
    reference = Reference(
        "nuts", found.trusted, found.sentence("NUTS"), nuts.draws, found.findings, found.short
    )
    return reference, selection


def exact_draws(model: Model) -> Draws:
    """Draw from the model's exact posterior, the same draws every time."""
    from harness.models import exact

    sampler = exact.SAMPLERS[str(model.reference)]
    seed = measure.seed_of(model.name)
    found = sampler(load_data(model), EXACT_DRAWS, np.random.default_rng(seed))
    return scalars({k: np.asarray(v)[None] for k, v in found.items()}, iid=True)


def _supplied(model: Model, path: Path) -> tuple[Reference, measure.Selection]:
    import xarray as xr

    with xr.open_datatree(path, engine="h5netcdf") as tree:
        draws = draws_from_datatree(tree)
    selection = measure.select(model, draws)
    if draws.iid:
        return Reference(
            "supplied", trusted=True, why=f"supplied draws ({path.name})", draws=draws
        ), selection
    spec = RunSpec(model.name, "supplied", {}, 1, 0)
    probe = RunResult(spec, "", "ok", "", draws, None, {}, Cost(0.0), {})
    measures = measure.chain_measures(probe, selection.names, "supplied")
    found = judge.judge_chains(measures, judge.rules_for(model))
    why = f"supplied draws ({path.name}): {found.sentence('these chains')}"
    return Reference("supplied", found.trusted, why, draws, found.findings, found.short), selection


def _parameters(model: Model, draws: Draws) -> tuple[str, ...]:
    """Name the program's parameters, asked of stanc only where there are too many quantities."""
    if len(draws.names) <= measure.ALL_QUANTITIES_UP_TO:
        return ()
    cmdstan = stan.find_cmdstan()
    if cmdstan is None:
        return ()
    return tuple(stan.program_info(model.stan_file, cmdstan).parameters)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A judged model, what it was measured with, and what would decide more."""

    comparison: ModelComparison
    wants: tuple[Want, ...]
    yardstick: measure.Yardstick | None = None
    """None where there is nothing to compare with."""
    contexts: Mapping[str, judge.JudgeContext] = field(default_factory=dict)
    """By method."""


def judge_model(
    task: AnalysisTask,
    runs: tuple[RunResult, ...],
    reference: Reference,
    selection: measure.Selection,
) -> Judged:
    """Measure every run, judge every method; a pure function of its arguments."""
    model = task.model
    rules = judge.rules_for(model)
    notes = (*task.notes, *selection.notes)
    if reference.draws is None or not selection.names:
        why = reference.why if reference.draws is None else "there is no quantity to compare"
        if selection.notes:
            why += f" ({'; '.join(selection.notes)})"
        empty = Reference("none", trusted=False, why=why, findings=reference.findings)
        verdicts = tuple(
            judge.judge_method(
                model, m, [r for r in runs if r.spec.method == m], [], empty, judge.JudgeContext(0)
            )
            for m in task.judged
        )
        return Judged(ModelComparison(model, None, empty, runs, (), (), verdicts, notes), ())
    yardstick = measure.Yardstick(model.name, reference, selection)
    own = yardstick.own_summaries()
    measures: list[Measure] = []
    pairs: dict[str, dict[int, WorstPair]] = {}
    for run in runs:
        is_reference = reference.kind == "nuts" and run.spec.method == "nuts"
        measured = yardstick.run(run, against_itself=is_reference)
        measures += measured.measures
        if measured.pair is not None:
            pairs.setdefault(run.spec.method, {})[run.spec.seed] = measured.pair
        if run.draws is not None and not run.draws.iid:
            measures += measure.chain_measures(run, selection.names, reference.kind)
    measures += yardstick.spread(measures)
    correlations, modes = yardstick.correlations(), yardstick.modes()
    nuts = next((r for r in runs if r.draws is not None and not r.draws.iid), None)
    shares = {} if nuts is None else measure.mode_shares(nuts, selection.names)
    judged: list[Verdict] = []
    contexts: dict[str, judge.JudgeContext] = {}
    for method in task.judged:
        its = [r for r in runs if r.spec.method == method]
        if its:
            of_method = [m for m in measures if m.method == method]
            context = judge.JudgeContext(
                dimension=len(selection.names),
                correlations=correlations,
                pairs=pairs.get(method, {}),
                modes=modes,
                mode_shares=shares,
            )
            contexts[method] = context
            judged.append(
                judge.judge_method(model, method, its, [*own, *of_method], reference, context)
            )
    z = judge.critical_z(len(selection.names))
    every = [*own, *measures]
    levels = tuple(
        judge.closeness(m, rules[m.metric], z) if m.metric in rules else None for m in every
    )
    wants = _wants(judged, runs, reference) if task.may_extend else ()
    comparison = ModelComparison(
        model, None, reference, runs, tuple(every), levels, tuple(judged), notes
    )
    return Judged(comparison, wants, yardstick, contexts)


def _wants(
    verdicts: Sequence[Verdict], runs: Sequence[RunResult], reference: Reference
) -> tuple[Want, ...]:
    """Ask for more draws where they alone keep a verdict open, and only within the budget."""
    if not reference.trusted:
        return ()
    wants: dict[tuple[str, int], int] = {}
    by_run: Mapping[tuple[str, int], RunResult] = {(r.spec.method, r.spec.seed): r for r in runs}
    for verdict in verdicts:
        if verdict.level != "unknown":
            continue
        extends = METHODS[verdict.method].extends
        for seed in verdict.by_seed:
            needed = [
                f.draws_needed
                for f in seed.findings
                if f.level == "unsure" and f.draws_needed is not None and not f.rule.alarm
            ]
            if not needed:
                continue
            scarce: tuple[str, int] = (verdict.method, seed.seed)
            if reference.kind == "nuts":
                # q has 10 000 independent draws; NUTS's effective number is the smaller.
                scarce = ("nuts", min(s for m, s in by_run if m == "nuts"))
            elif not extends:
                continue
            run = by_run.get(scarce)
            if run is None:
                continue
            grow = max(needed) / max(run.spec.draws, 1) * 1.3
            wants[scarce] = max(wants.get(scarce, 0), math.ceil(run.spec.draws * max(grow, 1.5)))
    return tuple(Want(method, seed, draws) for (method, seed), draws in sorted(wants.items()))
