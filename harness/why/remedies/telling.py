"""The figure that shows most of a method's fault, before and after a remedy."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harness.records import NO_ESTIMATE, Estimate, Finding, Measure, Verdict


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
    measure: Measure | None = None
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
    return Figure(Estimate(middle.value, middle.mcse), middle, own, theirs)
