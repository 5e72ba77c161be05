"""The 1-Wasserstein distance over σ, less its expected value for equal distributions.

It scatters around 0 where the distributions agree, so it may be negative.
"""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.distance import distance, finite
from harness.metrics.metric import Column, Metric, unless_infinite
from harness.metrics.sample import Sample
from harness.records import NO_ESTIMATE, Estimate, FloatArray, Rule

CHANCE = 2 / math.sqrt(math.pi)
"""The factor a for which |Z| − a exp(−Z²/2) has mean zero, Z standard normal."""


@distance
def _w1(q: Sample, ref: Sample) -> Estimate:
    r"""Return the distance over σ, less its expected value for two equal distributions.

    The distance is ∫ \|F − G\| dx. At a point where F = G the difference of the empirical
    functions is about normal with sd s = sqrt(H (1 − H) (1/n + 1/m)), H the pooled function,
    and its absolute value has mean s sqrt(2/π). So ∫ \|F − G\| − a s exp(−(F − G)² / 2s²) dx
    with a = 2/sqrt(π) has mean zero where the distributions agree, and is the distance itself
    where they clearly differ.

    The squared standard error is that of the influence function h with h' = −sign(F − G):
    var h(X) / n + var h(Y) / m. Where F = G it is conservative.
    """
    if math.isnan(q.ess_least) or math.isnan(ref.ess_least):
        return NO_ESTIMATE
    x = np.concatenate([q.sorted, ref.sorted])
    # Both runs are sorted, so the stable (merging) sort is the quick one.
    order = np.argsort(x, kind="stable")
    from_q = order < q.n
    seen = np.cumsum(from_q)
    total = np.arange(1, x.size + 1)
    gap = np.diff(x[order])
    difference = (seen / q.n - (total - seen) / ref.n)[:-1]
    n, m = q.ess_overall, ref.ess_overall
    pooled = (total / x.size)[:-1]
    variance = pooled * (1 - pooled) * (1 / n + 1 / m)
    by_chance = CHANCE * np.sqrt(variance) * np.exp(-(difference**2) / (2 * variance))
    value = float(np.sum((np.abs(difference) - by_chance) * gap))
    h = np.concatenate([[0.0], np.cumsum(np.sign(difference) * gap)])
    error = math.hypot(
        _spread(q, h[from_q]) / math.sqrt(q.ess_least),
        _spread(ref, h[~from_q]) / math.sqrt(ref.ess_least),
    )
    return finite(value / ref.sd, error / ref.sd)


def _spread(sample: Sample, h: FloatArray) -> float:
    """Return the sd of an influence function at the sorted draws; see :meth:`Sample.bounded`."""
    largest = float(np.max(np.abs(h)))
    if largest == 0 or not math.isfinite(largest):
        return 0.0 if largest == 0 else math.nan
    return float(np.std(sample.bounded(h, float(h[h.size // 2])) / largest)) * largest


W1 = Metric(
    id="w1",
    noun="Wasserstein distance",
    unit="sd",
    scope="quantity",
    measure=_w1,
    rule=Rule(0.1, 0.5, "above", "the average draw would have to move that far"),
    telling=12,
    clause=unless_infinite(
        lambda s, size: f"{s.method}'s draws are on average {size} sd from where they should be"
    ),
    brief=lambda s, size: f"draws of {s.quantity} {size} sd off on average",
    column=Column("W1", "1-Wasserstein distance in reference sds, less what chance shows"),
)
