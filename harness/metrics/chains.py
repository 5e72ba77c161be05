"""Whether Markov chains have converged, to the same place, with enough draws."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import ndtri
from scipy.stats import rankdata

from harness.metrics.sample import effective_size, prepare
from harness.records import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.records import FloatArray

    Row = tuple[str, int | None, Estimate]

FEWEST = 8
"""With fewer draws a chain cannot be halved and its halves still have an autocorrelation."""


def chain_diagnostics(
    values: FloatArray, stats: Mapping[str, FloatArray], max_depth: float | None = None
) -> list[Row]:
    """Return the diagnostics of a run of Markov chains.

    Parameters
    ----------
    values
        Shape ``(chain, draw, quantity)``.
    stats
        ``diverging``, ``energy`` and ``tree_depth``, each ``(chain, draw)``. What is missing
        gives NaN, which no rule calls fine.
    max_depth
        The sampler's limit on tree depth; may also stand in ``stats["max_tree_depth"]``.

    Returns
    -------
    list of (metric, column, Estimate)
        ``rhat`` (rank-normalised, split), ``ess_bulk``, ``ess_tail`` and ``chain_modes`` for
        each column; with column None ``divergences`` (a count), ``ebfmi`` (of the worst
        chain) and ``treedepth_hits`` (a share). All but ``chain_modes`` have error 0: their
        limits are meant for the estimates.
    """
    rows: list[Row] = []
    for column in range(values.shape[2]):
        x = values[:, :, column]
        rows += [
            ("rhat", column, Estimate(rhat(x), 0.0)),
            ("ess_bulk", column, Estimate(_ess(x, "bulk"), 0.0)),
            ("ess_tail", column, Estimate(_ess(x, "tail"), 0.0)),
            ("chain_modes", column, chain_modes(x)),
        ]
    if max_depth is None and "max_tree_depth" in stats:
        max_depth = float(np.max(stats["max_tree_depth"]))
    rows += [
        ("divergences", None, Estimate(_divergences(stats), 0.0)),
        ("ebfmi", None, Estimate(_ebfmi(stats), 0.0)),
        ("treedepth_hits", None, Estimate(_treedepth_hits(stats, max_depth), 0.0)),
    ]
    return rows


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
    ranks = rankdata(x, axis=None).reshape(x.shape)
    return np.asarray(ndtri((ranks - 0.375) / (x.size + 0.25)))


def _ess(x: FloatArray, method: str) -> float:
    if x.shape[1] < FEWEST or not np.all(np.isfinite(x)) or np.ptp(x) == 0:
        return math.nan
    scaled = (x - np.median(x)) / np.max(np.abs(x - np.median(x)))
    if method == "bulk":
        return float(array_stats.ess(scaled, method="bulk"))
    return float(array_stats.ess(scaled, method="tail", prob=(0.05, 0.95)))


def chain_shares(x: FloatArray) -> FloatArray:
    """Return each chain's share of draws in each mode of all chains together.

    Parameters
    ----------
    x
        Shape ``(chain, draw)``.

    Returns
    -------
    array
        Shape ``(chain, mode)``, modes from left to right.
    """
    basins = prepare(x, iid=False).basins
    return np.array([basins.shares(np.sort(c[np.isfinite(c)]), c.size) for c in x])


def chain_modes(x: FloatArray) -> Estimate:
    """Return by how much chains differ in the share of draws they give to each mode.

    The largest total variation distance between two chains' shares, with the error that the
    chains' own autocorrelation explains. Zero where there is one mode.
    """
    if x.size == 0 or not np.all(np.isfinite(x)):
        return Estimate(math.nan, math.nan)
    if x.shape[0] < 2:  # noqa: PLR2004 (one chain has none to differ from)
        return Estimate(0.0, 0.0)
    basins = prepare(x, iid=False).basins
    if basins.count == 1:
        return Estimate(0.0, 0.0)
    shares = np.array([basins.shares(np.sort(c), c.size) for c in x])
    errors = np.empty(shares.shape)
    where = np.searchsorted(basins.edges, x, side="right") - 1
    for c, b in np.ndindex(shares.shape):
        inside = (where[c] == b).astype(np.float64)
        worth = effective_size(inside[None, :])
        errors[c, b] = math.sqrt(shares[c, b] * (1 - shares[c, b]) / worth)
    pairs = list(combinations(range(len(x)), 2))
    apart = [float(np.sum(np.abs(shares[a] - shares[b]))) / 2 for a, b in pairs]
    worst = int(np.argmax(apart))
    a, b = pairs[worst]
    return Estimate(apart[worst], float(np.sum(np.hypot(errors[a], errors[b]))) / 2)


def _divergences(stats: Mapping[str, FloatArray]) -> float:
    return float(np.sum(stats["diverging"])) if "diverging" in stats else math.nan


def _ebfmi(stats: Mapping[str, FloatArray]) -> float:
    """Return the smallest E-BFMI of the chains (Betancourt, 2016)."""
    energy = stats.get("energy")
    if energy is None or energy.shape[1] < FEWEST or not np.all(np.isfinite(energy)):
        return math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.min(array_stats.bfmi(energy)))


def _treedepth_hits(stats: Mapping[str, FloatArray], max_depth: float | None) -> float:
    depth = stats.get("tree_depth")
    if depth is None or depth.size == 0 or max_depth is None or not np.all(np.isfinite(depth)):
        return math.nan
    return float(np.mean(depth >= max_depth))
