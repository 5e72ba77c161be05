"""Fits that exist judged against draws that exist: nothing is run.

Runs and a reference are made from what was handed over; measuring, judging, explaining and drawing
are those of a comparison.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import stan
from harness.intake import DrawsError, Taken
from harness.metrics import measure
from harness.models.data import data_hash
from harness.records import (
    Comparison,
    Cost,
    Draws,
    Model,
    ModelComparison,
    Program,
    Reason,
    Reference,
    RunResult,
    RunSpec,
)
from harness.records.names import base_name, stan_names
from harness.records.text import count, integer, listed
from harness.stan import embedded
from harness.study import analysis, engines, explain, points
from harness.study.handed import content_hash
from harness.study.measuring import Measuring
from harness.study.plan import COMPILE_TIMEOUT_S
from harness.study.prepare import Prepared, build, start
from harness.study.reference import declarations, supplied
from harness.study.store import Store, digest
from harness.study.task import AnalysisTask
from harness.study.worker import limited
from harness.why.verdicts import explained as with_facts

UNNAMED = "draws"
"""What a comparison without a program is called."""

FEWEST = 100
"""Draws of a fit: of fewer, under five lie beyond a 5% quantile, and tails have no known error."""

_NAMED = 8

_RELATIVE = re.compile(r"[\w .()+:@-]+")
"""What rows may be called: their names become those of files."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What is to be judged, against what."""

    approximations: Mapping[str, Sequence[Taken]]
    """By the name of the row; several fits are seeds of one method."""
    reference: Taken
    reference_iid: bool = False
    """Whether the reference's draws, or its proposals if they are weighted, are independent."""
    model: Model | None = None
    """The program with its data, if it is known: then causes are looked for."""
    quantities: tuple[str, ...] = ()
    why: bool = True
    """Whether causes are wanted, where there is a program."""
    timeout_s: float = 600.0
    """Of the search for causes, in seconds."""
    command: str = ""
    folder: Path | None = None
    """Where draws are written; None for nowhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A comparison of what was handed over."""

    comparison: Comparison
    """Without arrays."""
    figures: Mapping[str, tuple[Any, ...]]
    draws: Mapping[tuple[str, int], Draws]
    """What was judged, by row and seed, with names as in the comparison."""


def judge(request: Request, notes: tuple[str, ...] = ()) -> Found:
    """Judge fits against a reference, in this process.

    ``notes`` are what is to be said beside what is found here.

    Raises
    ------
    DrawsError
        If they have no quantity in common, a quantity that is wanted is not among them, the
        reference is a single point, or there are fewer than 100 draws on either side.
    """
    if request.reference.kind == "point":
        raise DrawsError(f"{request.reference.source} is a single point, and no reference")
    _enough("the reference", request.reference)
    for name, fits in request.approximations.items():
        for taken in fits:
            _enough(name, taken)
    begin = dt.datetime.now(tz=dt.UTC)
    model = request.model or Model(UNNAMED, "draws against draws", Path(), None)
    if request.quantities:
        model = dataclasses.replace(model, quantities=request.quantities)
    truth = request.reference.draws
    runs = tuple(
        _run(model, name, seed, taken, truth)
        for name, fits in request.approximations.items()
        for seed, taken in enumerate(fits, start=1)
    )
    truth, more = _together(model, runs, truth, asked=bool(request.quantities))
    reference, selection = _reference(model, request, truth)
    task = _task(request, model, runs, reference, (*notes, *more))
    pointed = {name for name, fits in request.approximations.items() if points.are_points(fits)}
    measuring = Measuring()
    if pointed and selection.names:
        yardstick = measure.Yardstick(model.name, reference, selection)
        for run in runs:
            if run.spec.method in pointed:
                found = points.measured(run, yardstick)
                measuring.found[run.key, reference.kind, "distances"] = found
    comparison = _judged(task, runs, reference, selection, measuring)
    verdicts = tuple(
        points.verdict_of(v, runs) if v.method in pointed else v for v in comparison.verdicts
    )
    comparison = dataclasses.replace(comparison, verdicts=verdicts)
    figures = analysis.figures_of(comparison)
    if request.folder is not None:
        analysis.write_all(task, request.folder / model.name, runs, reference)
    provenance = {
        "command": request.command,
        "date": begin.strftime("%Y-%m-%d %H:%M UTC"),
        "versions": {"harness": stan.package_version("stan-advi-harness")},
        "reference": request.reference.source,
        "nuts": True,
        "seconds": round((dt.datetime.now(tz=dt.UTC) - begin).total_seconds(), 1),
        "runs_made": 0,
        "judged": "draws that were handed over; nothing was run",
    }
    whole = Comparison((analysis.without_arrays(comparison),), (), provenance)
    draws = {(r.spec.method, r.spec.seed): r.draws for r in runs if r.draws is not None}
    return Found(whole, {model.name: figures}, draws)


def _enough(name: str, taken: Taken) -> None:
    """Refuse what has too few draws; a mode is no draws, and judged as a point."""
    chains, kept = taken.draws.values.shape[:2]
    if taken.kind != "point" and chains * kept < FEWEST:
        raise DrawsError(
            f"{name} ({taken.source}) has {count(chains * kept, 'draw')}; at least {FEWEST} are "
            "needed to judge widths and tails"
        )


def _run(model: Model, name: str, seed: int, taken: Taken, truth: Draws) -> RunResult:
    """Return a fit as the run that it was, with names as in the reference."""
    draws = dataclasses.replace(taken.draws, names=stan_names(taken.draws.names, truth.names))
    chains, kept = draws.values.shape[:2]
    return RunResult(
        spec=RunSpec(model.name, name, dict(taken.options), seed, chains * kept),
        key=f"{content_hash(draws)}-{seed}",
        status="not_converged" if taken.doubt else "ok",
        message=taken.doubt,
        draws=draws,
        trace=None,
        diagnostics=dict(taken.diagnostics),
        cost=Cost(taken.seconds),
        versions={},
        reason=(Reason.WEIGHTS if "weight_ess" in taken.diagnostics else Reason.NOT_SETTLED)
        if taken.doubt
        else None,
        foreign=True,
    )


def _together(
    model: Model, runs: Sequence[RunResult], truth: Draws, *, asked: bool
) -> tuple[Draws, tuple[str, ...]]:
    """Return the reference with what the fits have too, and say what has no partner.

    What was asked for, and the program's parameters, stay: a fit that lacks one of them is not
    judged as if it had none.
    """
    there: dict[str, None] = {}
    for run in runs:
        there |= dict.fromkeys(run.draws.names if run.draws is not None else ())
    common = [n for n in truth.names if n in there]
    if not common:
        raise DrawsError(
            f"no quantity in common: the fits have {listed(list(there), _NAMED)}, the reference "
            f"{listed(list(truth.names), _NAMED)}"
        )
    wanted = set(model.quantities) if asked else set()
    everything = [*truth.names, *there]
    known = {*everything, *map(base_name, everything)}
    if absent := sorted(wanted - known):
        bases = list(dict.fromkeys(map(base_name, everything)))
        raise DrawsError(f"no quantity {listed(absent, _NAMED)} (there are {listed(bases, 20)})")
    info = declarations(model)
    declared = set() if info is None else set(info.parameters)
    needed = wanted | declared
    at = {n: i for i, n in enumerate(truth.names) if n in there or {n, base_name(n)} & needed}
    theirs_too = frozenset(truth.names)
    # The notes of the reference name the program's parameters that it lacks.
    ours = [n for n in there if n not in theirs_too and base_name(n) not in declared]
    theirs = [n for n in truth.names if n not in at]
    notes = []
    if theirs:
        notes.append(f"only in the reference, so not compared: {listed(theirs, _NAMED)}")
    if ours:
        notes.append(f"not in the reference, so not compared: {listed(ours, _NAMED)}")
    if len(at) < len(truth.names):
        some = truth.values[:, :, list(at.values())]
        truth = dataclasses.replace(truth, names=tuple(at), values=some)
    return truth, tuple(notes)


def _reference(model: Model, request: Request, truth: Draws) -> tuple[Reference, measure.Selection]:
    """Judge the reference; an approximation's draws vouch for nothing.

    Weighted draws are trusted where their proposals are stated to be independent, and the weights
    are believed.
    """
    taken = request.reference
    reference, selection = supplied(model, truth, taken.source)
    said = ""
    if taken.kind == "approximation":
        said, short = "of an approximation, which nothing vouches for", "an approximation's draws"
    elif taken.kind == "weighted" and (taken.doubt or not request.reference_iid):
        independent = "weighted, and not stated to be independent"
        said, short = taken.doubt or independent, "weighted draws"
    if said:
        why = f"supplied draws ({taken.source}), {said}"
        reference = Reference("supplied", trusted=False, why=why, draws=truth, short=short)
    elif taken.kind == "weighted":
        worth = integer(taken.diagnostics["weight_ess"])
        why = f"{reference.why}, weighted and worth {worth} equal ones"
        reference = dataclasses.replace(reference, why=why)
    return reference, selection


def _task(
    request: Request,
    model: Model,
    runs: Sequence[RunResult],
    reference: Reference,
    notes: tuple[str, ...],
) -> AnalysisTask:
    """Describe the analysis as a comparison would, with the program ready to be evaluated."""
    store = Store(stan.cache_dir() / "results")
    program: Program | None = None
    hashes = ("", "")
    if request.model is not None and request.why:
        hashes = (stan.program_hash(model.stan_file), data_hash(model))
        program, said = _program(model, hashes[1], request.timeout_s)
        notes = (*notes, *said)
    assert reference.draws is not None  # noqa: S101 - it was handed over
    return AnalysisTask(
        model=model,
        program_hash=hashes[0],
        data_hash=hashes[1],
        results=tuple(dataclasses.replace(r, draws=None) for r in runs),
        reference=request.reference.source,
        reference_content=digest([content_hash(reference.draws), reference.trusted]),
        judged=tuple(request.approximations),
        notes=notes,
        store_root=store.root,
        draws_folder=request.folder,
        explain=program is not None,
        program=program,
        timeout_s=request.timeout_s,
    )


def _program(model: Model, hashed: str, timeout_s: float) -> tuple[Program, tuple[str, ...]]:
    """Make the program's density ready; compiled only where the embedded engine refuses it."""
    lacking, versions = embedded.available(), {}
    if not lacking:
        versions["embedded"] = embedded.version()
    there = engines.Engines(versions, stan.find_cmdstan())
    prepared = Prepared(refused=lacking) if lacking else start(model, there, timeout_s, hashed)
    if prepared.refused and there.cmdstan is not None:
        limits_s = (COMPILE_TIMEOUT_S, timeout_s)
        prepared = build(model, there, None, (False, True), limits_s, hashed)
    why = prepared.error or prepared.refused
    if prepared.program is not None:
        return prepared.program, ()
    return Program(model.stan_file, {}, library_error=why), (f"causes are not known: {why}",)


def _judged(
    task: AnalysisTask,
    runs: tuple[RunResult, ...],
    reference: Reference,
    selection: measure.Selection,
    measuring: Measuring,
) -> ModelComparison:
    """Measure and judge; with a program also explain, and try what needs no run."""
    store = Store(task.store_root)
    judged, yardstick = analysis.judge_model(task, runs, reference, selection, measuring)
    if not task.explain:
        return dataclasses.replace(judged.comparison, runs=runs)
    with limited(task.timeout_s):
        explanation, reference = explain.explained(task, reference, runs, store)
    if reference.refuted is not None:
        judged, yardstick = analysis.judge_model(task, runs, reference, selection, measuring)
    comparison = dataclasses.replace(
        judged.comparison, explanation=explanation, reference=reference, runs=runs
    )
    comparison = with_facts(comparison)
    judged = dataclasses.replace(judged, comparison=comparison)
    with limited(task.timeout_s):
        proposals = explain.without_runs(task, comparison, runs)
        tried = dataclasses.replace(task, trials=tuple((p, ()) for p in proposals))
        return explain.with_remedies(tried, judged, yardstick, store)
