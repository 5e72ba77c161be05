"""Rank-normalised split R-hat."""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.metric import Column, Metric
from harness.metrics.scene import Scene
from harness.records import Estimate, FloatArray, Rule

FEWEST = 8
"""With fewer draws a chain cannot be halved and its halves still have an autocorrelation."""

STUCK = 1.1
"""An R-hat above which chains are not merely slow but in different places."""


def rhat(x: FloatArray) -> float:
    """Return the rank-normalised split R-hat of Vehtari et al. (2021).

    The larger of the R-hats of the ranks and of the ranks of distances from the median, each
    chain cut in halves, so that a single chain has one too. NaN where a draw is not finite,
    where a chain has fewer than eight draws, and where nothing varies.

    Parameters
    ----------
    x
        Shape ``(chain, draw)``.
    """
    if x.shape[1] < FEWEST or not np.all(np.isfinite(x)) or np.ptp(x) == 0:
        return math.nan
    from arviz_stats.base import array_stats

    middle = x.shape[1] // 2
    halves = np.concatenate([x[:, :middle], x[:, -middle:]])
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        folded = np.abs(halves - np.median(halves))
        # Ranking first and then asking ArviZ for the plain R-hat also serves a single chain,
        # for which its own rank-normalised one returns NaN.
        both = [float(array_stats.rhat(_normal(h), method="identity")) for h in (halves, folded)]
    # Chains each stuck at a value of its own have no variance within: infinitely apart.
    # Two values equally far from the median leave no distance to rank: only the first counts.
    return both[0] if math.isnan(both[1]) else max(both)


def _normal(x: FloatArray) -> FloatArray:
    from scipy.special import ndtri
    from scipy.stats import rankdata

    ranks = rankdata(x, axis=None).reshape(x.shape)
    return np.asarray(ndtri((ranks - 0.375) / (x.size + 0.25)))


def _brief(s: Scene, size: str) -> str:
    text = f"R-hat {size} for {s.quantity}"
    return f"chains stuck: {text}" if s.value > STUCK else text


RHAT = Metric(
    id="rhat",
    noun="R-hat",
    scope="chain",
    measure=lambda x: Estimate(rhat(x), 0.0),
    digits=4,
    rule=Rule(1.01, 1.1, "above", "R-hat of converged chains is below 1.01 (Vehtari et al. 2021)"),
    telling=1,
    brief=_brief,
    column=Column("R-hat", "rank-normalised split R-hat of the NUTS chains"),
)
