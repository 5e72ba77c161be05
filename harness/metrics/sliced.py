"""The mean Wasserstein distance of random projections, in reference sds, less what chance shows."""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.distance import INFINITE
from harness.metrics.joint import Block, Joint, jointly
from harness.metrics.metric import Metric, unless_infinite
from harness.metrics.sample import effective_size
from harness.metrics.wasserstein import CHANCE
from harness.records import NO_ESTIMATE, Estimate, FloatArray, Rule

DIRECTIONS = 50
LEVELS = 500
"""How many random directions, and at how many quantiles each is compared."""


def _sliced(joint: Joint, q: Block, ref: Block) -> Estimate:
    """Return the mean Wasserstein distance over random directions, by quantiles.

    Quantile functions are compared at the midpoints of 500 levels; the error is that of the
    influence function averaged over directions, which share their draws.
    """
    directions = joint.rng.normal(size=(DIRECTIONS, len(ref.z)))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    levels = (np.arange(LEVELS) + 0.5) / LEVELS
    projected = [directions @ b.flat for b in (q, ref)]
    n, m = (_least_worth(b) for b in (q, ref))
    deviation = np.std(projected[1], axis=1)[:, None]
    if math.isnan(n) or math.isnan(m):
        return NO_ESTIMATE
    own, theirs = (_at_levels(p, levels) / deviation for p in projected)
    difference = own - theirs
    # The noise of a quantile is sqrt(u (1 − u) (1/n + 1/m)) times the slope of the function.
    slope = np.gradient((own + theirs) / 2, levels, axis=1)
    s = np.sqrt(levels * (1 - levels) * (1 / n + 1 / m)) * slope
    s = np.maximum(s, np.finfo(float).tiny)
    excess = np.abs(difference) - CHANCE * s * np.exp(-0.5 * (difference / s) ** 2)
    error = math.hypot(
        *(
            _sliced_sd(p / deviation, grid, np.sign(difference)) / math.sqrt(size)
            for p, grid, size in zip(projected, (own, theirs), (n, m), strict=True)
        )
    )
    value = float(np.mean(np.mean(excess, axis=1)))
    if not (math.isfinite(value) and math.isfinite(error)):
        # Only squares or sums that overflow get here: effective sizes are checked above.
        return INFINITE
    return Estimate(value, error)


def _at_levels(projected: FloatArray, levels: FloatArray) -> FloatArray:
    ordered = np.sort(projected, axis=1)
    return ordered[:, (levels * ordered.shape[1]).astype(np.int64)]


def _least_worth(block: Block) -> float:
    """Return the smallest effective size of the columns' means and squares."""
    if block.iid:
        return float(block.flat.shape[1])
    # NumPy's minimum, unlike Python's, keeps a NaN.
    return float(np.min([effective_size(f(c)) for c in block.z for f in (np.asarray, np.square)]))


def _sliced_sd(projected: FloatArray, grid: FloatArray, sign: FloatArray) -> float:
    """Return the sd of h averaged over directions, h' = sign(Q_q − Q) at each projection."""
    every = max(1, projected.shape[1] // 1000)
    step = np.diff(grid, axis=1) * (sign[:, 1:] + sign[:, :-1]) / 2
    h = np.concatenate([np.zeros((len(grid), 1)), np.cumsum(step, axis=1)], axis=1)
    total = np.zeros(projected[:, ::every].shape[1])
    for x, at, height in zip(projected[:, ::every], grid, h, strict=True):
        total += np.interp(x, at, height)
    return float(np.std(total / len(grid)))


SLICED_W1 = Metric(
    id="sliced_w1",
    noun="mean Wasserstein distance of random linear combinations",
    unit="sd",
    scope="joint",
    measure=jointly(_sliced),
    rule=Rule(0.1, 0.5, "above", "random linear combinations of the quantities are that far off"),
    telling=15,
    clause=unless_infinite(
        lambda s, size: (
            f"random linear combinations of {s.method}'s draws are on average "
            f"{size} sd from where they should be"
        )
    ),
    brief=lambda _, size: f"random combinations {size} sd off on average",
)
