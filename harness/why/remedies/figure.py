"""The figure that tells most of a method's fault, and what became of it, in words."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.metrics import METRICS, JudgeContext, Scene
from harness.records import NO_ESTIMATE, Estimate, Finding, Measure, Verdict


class Telling(NamedTuple):
    """Which figure: metric and quantity (None for joint ones); an empty metric is none.

    ``worst`` says that it is shown of the worst seed, because fewer than half have the fault.
    """

    metric: str
    quantity: str | None
    worst: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """That figure of the typical seed, with the same seed's and the reference's summaries."""

    estimate: Estimate
    scene: Scene | None = None


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

    # The verdict's own order decides between findings of one rank: it tells the most first.
    if not findings:
        return Telling("", None)
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
    estimate = Estimate(middle.value, middle.mcse)
    return Figure(estimate, Scene(middle, own, theirs, JudgeContext()))


def brought(what: Telling, before: Figure, after: Figure) -> str:
    """Say what became of the figure: ``sd of m 1.0 of the reference's instead of 6.5``."""
    if not what.metric:
        return ""
    metric = METRICS[what.metric]
    if after.scene is None or math.isnan(after.estimate.value):
        return f"{metric.subject(what.quantity)} could not be computed"
    where = " in the worst seed" if what.worst else ""
    return metric.changed(before.scene, after.scene) + where
