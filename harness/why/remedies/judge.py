"""The effect of a remedy: its runs are measured and judged as the comparison's own are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from harness import judgement
from harness.records import (
    NO_ESTIMATE,
    WITHOUT_DRAWS,
    Estimate,
    Finding,
    Level,
    Measure,
    RunResult,
    Trial,
    TrialReason,
    Verdict,
)
from harness.why.remedies.row import Judging

RANK: dict[Level, int] = {"pass": 0, "warn": 1, "fail": 2}
"""Levels that can be compared; unknown is neither better nor worse than any."""

NO_LUCK = 0.05
"""The chance of the same level without the remedy up to which it is not put down to luck."""


class Telling(NamedTuple):
    """Which figure: metric and quantity (None for joint ones); an empty metric is none.

    ``worst`` says that the worst seed is shown, because fewer than half have the fault.
    """

    metric: str
    quantity: str | None
    worst: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """That figure of the typical seed, with the quantity's other figures.

    ``own`` are the same seed's, ``theirs`` the reference's, by metric.
    """

    estimate: Estimate
    own: Mapping[str, Estimate] = field(default_factory=dict)
    theirs: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """The other figures as plain data."""
        return {"own": dict(self.own), "theirs": dict(self.theirs)}


NOWHERE = Figure(NO_ESTIMATE)


def telling(verdict: Verdict, seeds: Collection[int]) -> Telling:
    """Return the gravest finding with a quantity, of these seeds if they have one.

    A joint finding where only joint ones are as grave; no metric where there are no findings.
    """
    by_seed = [f for s in verdict.by_seed if s.seed in seeds for f in s.findings]
    cells = [(f.measure.metric, f.measure.quantity, f.level) for f in by_seed]
    findings = [f for f in verdict.findings if not f.rule.alarm and f.level in {"wrong", "off"}]

    def rank(finding: Finding) -> tuple[bool, bool, bool]:
        m = finding.measure
        absent = (m.metric, m.quantity, finding.level) not in cells
        return finding.level != "wrong", absent, m.quantity is None

    if not findings:
        return Telling("", None)
    # Among findings of one rank the verdict's own order decides: the gravest comes first.
    best = min(findings, key=rank)
    m = best.measure
    share = cells.count((m.metric, m.quantity, best.level)) / max(len(seeds), 1)
    return Telling(m.metric, m.quantity, worst=m.seed is not None and share < 0.5)  # noqa: PLR2004


def figure(what: Telling, measures: Sequence[Measure], seeds: Collection[int] | None) -> Figure:
    """Return the median seed's figure by size (of two middle ones the larger), or the worst's.

    ``measures`` are one method's, with the reference's summaries; ``seeds`` None means all.
    """
    alike = [
        m
        for m in measures
        if (m.metric, m.quantity) == (what.metric, what.quantity)
        and m.method != "reference"
        and (m.seed is None or seeds is None or m.seed in seeds)
    ]
    if not alike:
        return NOWHERE
    ordered = sorted(alike, key=lambda m: math.inf if math.isnan(m.value) else abs(m.value))
    middle = ordered[-1 if what.worst else len(ordered) // 2]
    own: dict[str, Estimate] = {}
    theirs: dict[str, Estimate] = {}
    for m in measures:
        if m.quantity == what.quantity and m.quantity is not None:
            into = theirs if m.method == "reference" else own
            if m.method == "reference" or m.seed == middle.seed:
                into[m.metric] = Estimate(m.value, m.mcse)
    return Figure(Estimate(middle.value, middle.mcse), own, theirs)


def judge_runs(judging: Judging) -> Trial:
    """Judge a remedy whose runs are those of its proposal."""
    results = judging.results
    if missing := runs_missing(judging):
        return missing
    before = _before(judging)
    after, measures = _judged(judging, results)
    shown = figure(before.what, measures, None)
    lost = [r for r in results if r.status in WITHOUT_DRAWS or r.draws is None]
    chance = luck(judging.verdict, after.level, len(results))
    helps = after.level in RANK and RANK[after.level] < RANK[before.level]
    facts: dict[str, Any] = {
        "seeds": after.seeds,
        "at": sum(s.level == after.level for s in after.by_seed),
        "worst": before.what.worst,
        "before": before.figure.facts,
        "after": shown.facts,
        "chance": chance,
    }
    if lost:
        first = {"status": lost[0].status, "message": lost[0].message}
        facts["lost"] = {"runs": len(lost), "of": len(results), **first}
    elif after.level != "pass":
        fault = telling(after, [s.seed for s in after.by_seed])
        if fault[:2] != before.what[:2]:
            facts["other"] = _gravest(after, measures)
    return replace(
        trial_of(judging, before),
        level_after=after.level,
        after=shown.estimate,
        seconds=statistics.median(r.cost.seconds for r in results),
        outcome="helps" if helps else "no help",
        reason="no draws" if len(lost) == len(results) else "",
        luck=helps and chance > NO_LUCK,
        facts=facts,
    )


def runs_missing(judging: Judging) -> Trial | None:
    """Return the trial of a remedy without all of its runs; None where they are there."""
    proposal = judging.proposal
    there = sum(r.status != "killed" for r in judging.results)
    wanted = len(proposal.seeds if proposal.spec is None else proposal.spec)
    if there and there >= wanted:
        return None
    return not_tried(judging, "runs missing", {"there": there, "wanted": wanted})


def luck(verdict: Verdict, level: Level, count: int) -> float:
    """Return the chance that ``count`` runs of the unchanged method have no worse level.

    ``(1 − p)ⁿ`` with p the share of its seeds that are worse. The seeds that are tried are those
    that failed, so a remedy is compared with the method's worst seeds, and few seeds flatter it.
    """
    if level not in RANK or not verdict.by_seed:
        return 0.0
    worse = sum(s.level not in RANK or RANK[s.level] > RANK[level] for s in verdict.by_seed)
    return (1 - worse / len(verdict.by_seed)) ** count if worse else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Before:
    """Level, figure and seconds on the trial's seeds, without the remedy."""

    level: Level
    what: Telling
    figure: Figure
    seconds: float


def _before(judging: Judging) -> Before:
    """Return the state before; where each seed passes, the fault is one over seeds."""
    verdict, seeds, comparison = judging.verdict, judging.proposal.seeds, judging.comparison
    levels = [s.level for s in verdict.by_seed if s.seed in seeds]
    worst = max((v for v in levels if v in RANK), key=lambda v: RANK[v], default=verdict.level)
    level = worst if worst in {"fail", "warn"} else verdict.level
    what = telling(verdict, seeds)
    own = [m for m in comparison.measures if m.method in {verdict.method, "reference"}]
    took = [
        r.cost.seconds
        for r in comparison.runs
        if r.spec.method == verdict.method and r.spec.seed in seeds
    ]
    seconds = statistics.median(took) if took else math.nan
    shown = figure(what, own, seeds) if what.metric else NOWHERE
    return Before(level, what, shown, seconds)


def _judged(judging: Judging, results: Sequence[RunResult]) -> tuple[Verdict, list[Measure]]:
    """Measure and judge a trial's runs as if they were the only ones of their method."""
    present, yardstick = judging.comparison, judging.yardstick
    method = results[0].spec.method
    # A run that only shares its name with one of the comparison's is another one.
    known = [(r.spec, r.key) for r in present.runs]
    there = {r.spec.seed for r in results if (r.spec, r.key) in known}
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
    context = replace(judging.context, pairs=pairs)
    every = [*own, *measures]
    model, reference = present.model, present.reference
    verdict = judgement.judge_method(model, method, results, every, reference, context)
    return verdict, every


def _gravest(verdict: Verdict, measures: Sequence[Measure]) -> dict[str, Any] | None:
    """Return the first finding of a verdict as facts; None without any."""
    found = next((f for f in verdict.findings if f.level != "close" and not f.rule.alarm), None)
    if found is None:
        return None
    m = found.measure
    alike = [o for o in measures if o.method == "reference" or o.seed == m.seed]
    shown = figure(Telling(m.metric, m.quantity), alike, None)
    return plain_finding(found) | shown.facts


def plain_finding(found: Finding) -> dict[str, Any]:
    """Return a finding as plain data."""
    m = found.measure
    figures = {"metric": m.metric, "quantity": m.quantity, "figure": (m.value, m.mcse)}
    return {**figures, "level": found.level}


def not_tried(
    judging: Judging, reason: TrialReason | None = None, facts: Mapping[str, Any] | None = None
) -> Trial:
    """Return the trial of what was not or could not be tried; by default as proposed."""
    proposal = judging.proposal
    return replace(
        trial_of(judging, _before(judging)),
        reason=proposal.reason if reason is None else reason,
        facts=proposal.facts if facts is None else facts,
    )


def trial_of(judging: Judging, before: Before) -> Trial:
    """Return a trial with what is known before any run."""
    proposal = judging.proposal
    return Trial(
        method=proposal.method,
        remedy=proposal.remedy,
        ran=proposal.ran,
        options=proposal.options,
        level_before=before.level,
        level_after=None,
        metric=before.what.metric,
        quantity=before.what.quantity,
        before=before.figure.estimate,
        after=NO_ESTIMATE,
        seconds=math.nan,
        seconds_before=before.seconds,
        outcome="not tried",
    )
