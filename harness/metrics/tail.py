"""The larger error, by absolute value, of the 5% and 95% quantiles, over σ."""

from __future__ import annotations

import math

from harness.metrics.distance import distance, finite
from harness.metrics.metric import Column, Metric, unless_infinite
from harness.metrics.sample import Sample
from harness.metrics.scene import Scene
from harness.metrics.summaries import Q5, Q95
from harness.records import Estimate, Rule
from harness.records.text import number, with_error


@distance
def _tail(own: Sample, ref: Sample) -> Estimate:
    errors = [
        finite(
            (own.quantiles[q.id] - ref.quantiles[q.id]) / ref.sd,
            math.hypot(own.quantile_mcse(q.id), ref.quantile_mcse(q.id)) / ref.sd,
        )
        for q in (Q5, Q95)
    ]
    return max(errors, key=lambda e: abs(e.value))


@unless_infinite
def _clause(s: Scene, size: str) -> str:
    off = f"{size} sd too {'high' if s.value > 0 else 'low'}"
    known = [q for q in (Q5, Q95) if q.id in s.own and q.id in s.theirs]
    if not known:
        return f"{s.method}'s 5% or 95% quantile is {off}"
    worst = max(known, key=lambda q: abs(s.own[q.id].value - s.theirs[q.id].value))
    own, theirs = s.own[worst.id], s.theirs[worst.id]
    return (
        f"{s.method}'s {worst.noun} is {off}, "
        f"{number(own.value, 3)} instead of {with_error(theirs)}"
    )


TAIL = Metric(
    id="tail",
    noun="error of the 5% or 95% quantile",
    unit="sd",
    scope="quantity",
    measure=_tail,
    rule=Rule(
        0.2,
        0.75,
        "both",
        "decisions rest on interval ends, which are noisier than a mean",
        unsure_factor=2.0,
    ),
    telling=11,
    clause=_clause,
    brief=lambda s, size: f"a tail quantile of {s.quantity} {size} sd off",
    column=Column("tail", "largest error of the 5% and 95% quantiles, in reference sds"),
)
