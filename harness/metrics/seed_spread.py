"""How far a method's mean moves from seed to seed."""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.distance import INFINITE
from harness.metrics.metric import Metric, Scene
from harness.metrics.sample import Sample
from harness.records import NO_ESTIMATE, Estimate, FloatArray, Rule


def seed_spread(means: FloatArray, mcses: FloatArray, ref: Sample) -> Estimate:
    """Return the sd of a method's mean (of heavy tails, median) over its seeds, in σ.

    What the draws' own error adds (``mcses``, shape ``(seed,)``) is removed in quadrature, not
    below zero. The standard error is that of an sd of k values, s / sqrt(2 (k − 1)), with s
    before the removal. NaN for fewer than two seeds, infinite where a mean is not finite.
    """
    k = len(means)
    if k < 2 or not ref.finite:  # noqa: PLR2004 (an sd needs two)
        return NO_ESTIMATE
    if not np.all(np.isfinite(means)):
        return INFINITE
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        scaled = np.asarray(means) / ref.unit
        spread = float(np.std(scaled, ddof=1))
        own = float(np.mean(np.square(np.asarray(mcses) / ref.unit)))
    if not math.isfinite(spread):
        return INFINITE
    if math.isnan(own):
        return Estimate(spread, math.nan)
    return Estimate(math.sqrt(max(spread**2 - own, 0.0)), spread / math.sqrt(2 * (k - 1)))


def _centre(s: Scene) -> str:
    return "median" if s.context.kinds.get(s.quantity) == "heavy" else "mean"


def _clause(s: Scene, size: str) -> str:
    if math.isinf(s.value):
        return f"in some seeds {s.method}'s {_centre(s)} is not finite"
    return f"{s.method}'s {_centre(s)} moves by {size} sd from seed to seed"


SEED_SPREAD = Metric(
    id="seed_spread",
    noun="spread over seeds",
    unit="sd",
    scope="seeds",
    measure=seed_spread,
    rule=Rule(
        0.1,
        0.5,
        "above",
        "another seed gives another answer, and people run one seed",
        chi_squared=True,
    ),
    telling=16,
    clause=_clause,
    brief=lambda s, size: f"{_centre(s)} of {s.quantity} moves by {size} sd between seeds",
)
