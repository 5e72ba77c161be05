"""The error of the mean, (μ_q − μ) / σ."""

from __future__ import annotations

import math

from harness.metrics.distance import distance, finite
from harness.metrics.metric import Column, Metric, unless_infinite
from harness.metrics.sample import Sample
from harness.metrics.scene import Scene
from harness.metrics.summaries import MEAN
from harness.records import Estimate, Rule
from harness.records.text import number, with_error


@distance
def _bias(own: Sample, ref: Sample) -> Estimate:
    error = math.hypot(own.mean_se, ref.mean_se)
    return finite((own.mean - ref.mean) / ref.sd, error / ref.sd)


@unless_infinite
def _clause(s: Scene, size: str) -> str:
    off = f"{size} sd too {'high' if s.value > 0 else 'low'}"
    own, theirs = s.own.get(MEAN.id), s.theirs.get(MEAN.id)
    if own is None or theirs is None:
        return f"{s.method}'s mean is {off}"
    return f"{s.method}'s mean is {off}, {number(own.value, 3)} instead of {with_error(theirs)}"


BIAS = Metric(
    id="bias",
    noun="error of the mean",
    unit="sd",
    scope="quantity",
    measure=_bias,
    rule=Rule(0.1, 0.5, "both", "a mean half a posterior sd off changes conclusions"),
    telling=10,
    clause=_clause,
    brief=lambda s, size: f"mean of {s.quantity} {size} sd off",
    column=Column("bias", "error of the mean, in reference sds"),
)
