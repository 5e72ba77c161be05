"""What a remedy brought: its runs measured and judged as the comparison's own are."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness import judge
from harness.metrics.measure import Yardstick
from harness.records import (
    NO_ESTIMATE,
    WITHOUT_DRAWS,
    Cost,
    Level,
    Measure,
    Model,
    Reference,
    RunResult,
    Trial,
    Verdict,
)
from harness.records.text import capital
from harness.why.remedies.cost import duration
from harness.why.remedies.figure import NOWHERE, Figure, Telling, brought, figure, telling
from harness.why.remedies.nuts_from_q import started
from harness.why.remedies.propose import NUTS_FROM_Q, REPARAMETERISE, REWEIGHTED, Proposal
from harness.why.remedies.reweight import reweighted

RANK: dict[Level, int] = {"pass": 0, "warn": 1, "fail": 2}
"""Levels that can be compared; unknown is neither better nor worse than any."""


NO_LUCK = 0.05
LUCKY = (
    " This may be luck: in {:.0%} of cases as few seeds of the unchanged method would do as well; "
    "try more seeds."
)
"""What is said where a fault is so rare that a few seeds without it show little."""


@dataclass(frozen=True, slots=True, eq=False)
class Present:
    """The comparison as it is, beside which trials are put.

    Attributes
    ----------
    runs
        All of the model's, with or without arrays.
    measures
        All of the model's, the reference's summaries among them.
    context
        The comparison's own, for the number of quantities and for sentences.
    """

    runs: Sequence[RunResult]
    measures: Sequence[Measure]
    context: judge.JudgeContext

    def of(self, spec_method: str, seeds: Sequence[int]) -> list[RunResult]:
        """Return a method's runs of some seeds."""
        return [r for r in self.runs if r.spec.method == spec_method and r.spec.seed in seeds]


def tried(
    model: Model,
    verdict: Verdict,
    proposal: Proposal,
    results: Sequence[RunResult],
    yardstick: Yardstick,
    reference: Reference,
    present: Present,
) -> Trial:
    """Judge a remedy.

    Parameters
    ----------
    model, verdict, proposal
        What was to be mended, and by what.
    results
        The proposal's runs, with arrays; for ``reweighted`` the method's own runs of the
        proposal's seeds, with arrays; empty for what is not tried. A run that the comparison
        has already (the same spec) keeps the figures that it has there.
    yardstick, reference
        Of the comparison.
    present
        The comparison.

    Returns
    -------
    Trial
        Also of runs that failed: they do not help, and the words say why.
    """
    if proposal.spec is None and proposal.remedy != REWEIGHTED:
        return not_tried(verdict, proposal, present)
    if proposal.remedy == NUTS_FROM_Q:
        return started(
            model, proposal, results, yardstick, reference,
            runs=present.runs, measures=present.measures,
        )  # fmt: skip
    wanted = len(proposal.seeds if proposal.spec is None else proposal.spec)
    if not results or len(results) < wanted:
        words = f"Not tried: {len(results)} of its {wanted} runs are there."
        return not_tried(verdict, proposal, present, words)
    if proposal.remedy == REWEIGHTED:
        weighed = _reweighted_runs(results)
        if isinstance(weighed, str):
            refused = not_tried(verdict, proposal, present, f"Does not help: {weighed}.")
            return replace(refused, level_after="unknown")
        results = weighed
    before = _before(verdict, proposal, present)
    after = _judged(model, results, yardstick, reference, present)
    found = figure(before.what, after.measures, None)
    by_luck = luck(verdict, after.verdict.level, len(results))
    seconds = statistics.median(r.cost.seconds for r in results)
    level = after.verdict.level
    helps = level in RANK and RANK[level] < RANK[before.level]
    return replace(
        _trial(proposal, before),
        level_after=level,
        after=found.estimate,
        seconds=seconds,
        helps=helps,
        luck=helps and by_luck > NO_LUCK,
        words=_words(proposal, before, found, after.verdict, results, seconds)
        + (LUCKY.format(by_luck) if helps and by_luck > NO_LUCK else ""),
    )


def luck(verdict: Verdict, level: Level, count: int) -> float:
    """Return the chance that ``count`` runs of the method as it was show no worse level.

    ``(1 − p)ⁿ`` with p the share of its seeds that are worse. The seeds to try are those that
    failed, so that what a remedy improves on is chosen, and few seeds flatter it.
    """
    if level not in RANK or not verdict.by_seed:
        return 0.0
    worse = sum(s.level not in RANK or RANK[s.level] > RANK[level] for s in verdict.by_seed)
    return (1 - worse / len(verdict.by_seed)) ** count if worse else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Before:
    level: Level
    what: Telling
    figure: Figure
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _After:
    verdict: Verdict
    measures: Sequence[Measure]


def _before(verdict: Verdict, proposal: Proposal, present: Present) -> _Before:
    """Return the verdict's level, figure and seconds on the trial's seeds.

    Where these seeds pass one by one the fault is one over seeds, and the level the verdict's.
    """
    levels = [s.level for s in verdict.by_seed if s.seed in proposal.seeds]
    worst = max((v for v in levels if v in RANK), key=lambda v: RANK[v], default=verdict.level)
    level = worst if worst in {"fail", "warn"} else verdict.level
    what = telling(verdict, proposal.seeds)
    own = [m for m in present.measures if m.method in {verdict.method, "reference"}]
    runs = present.of(verdict.method, proposal.seeds)
    seconds = statistics.median([r.cost.seconds for r in runs]) if runs else math.nan
    shown = figure(what, own, proposal.seeds) if what.metric else NOWHERE
    return _Before(level, what, shown, seconds)


def _judged(
    model: Model,
    results: Sequence[RunResult],
    yardstick: Yardstick,
    reference: Reference,
    present: Present,
) -> _After:
    """Measure and judge a trial's runs as if they were the only ones of their method."""
    method = results[0].spec.method
    there = {r.spec.seed for r in results if any(r is o or _same(r, o) for o in present.runs)}
    measures = [m for m in present.measures if m.method == method and m.seed in there]
    pairs = {}
    for run in results:
        if run.spec.seed not in there:
            measured = yardstick.run(run)
            measures += measured.measures
            if measured.pair is not None:
                pairs[run.spec.seed] = measured.pair
    measures += yardstick.spread(measures)
    own = [m for m in present.measures if m.method == "reference"]
    own = own or yardstick.own_summaries()
    context = replace(present.context, pairs=pairs)
    every = [*own, *measures]
    verdict = judge.judge_method(model, method, results, every, reference, context)
    return _After(verdict, every)


def _same(run: RunResult, other: RunResult) -> bool:
    """Say whether a run is one of the comparison's, and not merely of its name."""
    return run.spec == other.spec and run.key == other.key


def _reweighted_runs(results: Sequence[RunResult]) -> tuple[RunResult, ...] | str:
    """Return runs with reweighted draws, or why some run's cannot be reweighted."""
    found, refused = [], []
    for run in results:
        if run.draws is None:
            refused.append((run.spec.seed, "it has no draws"))
            continue
        begin = time.perf_counter()
        outcome = reweighted(run.draws, np.random.default_rng(run.spec.seed))
        seconds = run.cost.seconds + time.perf_counter() - begin
        if isinstance(outcome, str):
            refused.append((run.spec.seed, outcome))
            continue
        draws, khat = outcome
        size = run.draws.values.shape[0] * run.draws.values.shape[1]
        diagnostics = {**run.diagnostics, "khat": khat, "proposals": float(size)}
        cost = Cost(seconds, run.cost.log_density_evaluations, run.cost.gradient_evaluations)
        found.append(
            replace(run, key="reweighted", draws=draws, diagnostics=diagnostics, cost=cost)
        )
    if refused:
        seed, why = refused[0]
        if len(results) == 1:
            return why
        return f"in {len(refused)} of {len(results)} seeds it cannot be done (seed {seed}: {why})"
    return tuple(found)


def _trial(proposal: Proposal, before: _Before) -> Trial:
    return Trial(
        method=proposal.method,
        remedy=proposal.remedy,
        what=proposal.what,
        level_before=before.level,
        level_after=None,
        metric=before.what.metric,
        quantity=before.what.quantity,
        before=before.figure.estimate,
        after=NO_ESTIMATE,
        seconds=math.nan,
        seconds_before=before.seconds,
        helps=False,
        words="",
    )


def not_tried(verdict: Verdict, proposal: Proposal, present: Present, words: str = "") -> Trial:
    """Return the trial of what was not or could not be tried."""
    said = words or proposal.words or "Not tried."
    if proposal.remedy != REPARAMETERISE:
        said = f"{capital(proposal.what)}: {said[0].lower()}{said[1:]}"
    return replace(_trial(proposal, _before(verdict, proposal, present)), words=said)


def _words(
    proposal: Proposal,
    before: _Before,
    after: Figure,
    verdict: Verdict,
    results: Sequence[RunResult],
    seconds: float,
) -> str:
    """Say what it brought: figure after instead of before, level, seconds."""
    lost = [r for r in results if r.status in WITHOUT_DRAWS or r.draws is None]
    what = capital(proposal.what)
    if len(lost) == len(results):
        said = f": {lost[0].message}" if lost[0].message else ""
        how = lost[0].status.replace("_", " ")
        return f"{what}: {_count(len(lost), len(results))} {how}{said}".rstrip(".") + "."
    told = brought(before.what, before.figure, after)
    parts = [told] if told else []
    level = _level(verdict, before.level)
    if lost:
        how = lost[0].status.replace("_", " ")
        said = f" ({lost[0].message})" if lost[0].message else ""
        level += f", {_count(len(lost), len(results))} {how}{said}"
    elif verdict.level != "pass" and not _same_fault(verdict, before.what):
        level += f" ({verdict.headline})"
    return f"{what}: {'; '.join([*parts, level])}, {duration(seconds)}."


def _count(part: int, total: int) -> str:
    return "the run" if total == 1 else f"{part} of {total} runs"


def _level(verdict: Verdict, before: Level) -> str:
    """Write the level as what the method then does: ``passes``, ``still fails in 2 of 3 seeds``."""
    if verdict.level == "pass":
        return "passes" if verdict.seeds == 1 else f"passes in all {verdict.seeds} seeds"
    if verdict.level not in RANK:
        return "undecided"
    verb = {"warn": "warns", "fail": "fails"}[verdict.level]
    at = sum(s.level == verdict.level for s in verdict.by_seed)
    still = "still " if verdict.level == before else ""
    where = f" in {at} of {verdict.seeds} seeds"
    if at == verdict.seeds:
        where = "" if at == 1 else f" in all {at} seeds"
    elif at == 0:
        where = ""
    return f"{still}{verb}{where}"


def _same_fault(verdict: Verdict, what: Telling) -> bool:
    """Say whether the figure that is told already is also what tells most afterwards."""
    after = telling(verdict, [s.seed for s in verdict.by_seed])
    return (after.metric, after.quantity) == (what.metric, what.quantity)
