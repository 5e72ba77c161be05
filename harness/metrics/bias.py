"""The errors of the mean or the median and of the 5% and 95% quantiles, over σ."""

from __future__ import annotations

import math

from harness.metrics.distance import distance, finite
from harness.metrics.metric import Column, Metric, Scene, Words, unless_infinite
from harness.metrics.sample import Sample
from harness.metrics.summaries import MEAN, Q5, Q50, Q95
from harness.records import Estimate, Rule
from harness.records.text import number, with_error


@distance
def _bias(own: Sample, ref: Sample) -> Estimate:
    error = math.hypot(own.mean_se, ref.mean_se)
    return finite((own.mean - ref.mean) / ref.unit, error / ref.unit)


@distance
def _median(own: Sample, ref: Sample) -> Estimate:
    return _quantile_error(own, ref, Q50)


def _quantile_error(own: Sample, ref: Sample, q: Metric) -> Estimate:
    return finite(
        (own.quantiles[q.id] - ref.quantiles[q.id]) / ref.unit,
        math.hypot(own.quantile_mcse(q.id), ref.quantile_mcse(q.id)) / ref.unit,
    )


def _off(s: Scene, size: str) -> str:
    return f"{size} sd too {'high' if s.value > 0 else 'low'}"


def _clause(of: Metric) -> Words:
    """Return the clause on the error of one summary: how far off, and both figures."""

    def said(s: Scene, size: str) -> str:
        text = f"{s.method}'s {of.noun} is {_off(s, size)}"
        own, theirs = s.own.get(of.id), s.theirs.get(of.id)
        if own is None or theirs is None:
            return text
        return f"{text}, {number(own.value, 3)} instead of {with_error(theirs)}"

    return unless_infinite(said)


BIAS = Metric(
    id="bias",
    noun="error of the mean",
    unit="sd",
    scope="quantity",
    kinds=("continuous",),
    measure=_bias,
    rule=Rule(0.1, 0.5, "both", "a mean half a posterior sd off changes conclusions"),
    telling=10,
    clause=_clause(MEAN),
    brief=lambda s, size: f"mean of {s.quantity} {size} sd off",
    column=Column("bias", "error of the mean, in reference sds"),
)
MEDIAN = Metric(
    id="median_bias",
    noun="error of the median",
    unit="sd",
    scope="quantity",
    kinds=("heavy",),
    measure=_median,
    rule=Rule(0.1, 0.5, "both", "with tails this heavy the median says where the posterior lies"),
    telling=10.5,
    clause=_clause(Q50),
    brief=lambda s, size: f"median of {s.quantity} {size} sd off",
    column=Column("median", "error of the median where the mean is unknown, in reference sds"),
)


@distance
def _tail(own: Sample, ref: Sample) -> Estimate:
    errors = [_quantile_error(own, ref, q) for q in (Q5, Q95)]
    return max(errors, key=lambda e: abs(e.value))


@unless_infinite
def _tail_clause(s: Scene, size: str) -> str:
    off = _off(s, size)
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
    kinds=("continuous", "heavy"),
    measure=_tail,
    rule=Rule(
        0.2,
        0.75,
        "both",
        "decisions rest on interval ends, which are noisier than a mean",
        bound_factor=2.0,
    ),
    telling=11,
    clause=_tail_clause,
    brief=lambda s, size: f"a tail quantile of {s.quantity} {size} sd off",
    column=Column("tail", "largest error of the 5% and 95% quantiles, in reference sds"),
)
