"""Whether one coordinate's spread depends on where another one is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics.influence import SURE, checked, errors, standardised, usable
from harness.records import NO_ESTIMATE, Estimate, FloatArray

FUNNEL_RATIO = 2.0
"""A spread that doubles between thirds: a single Gaussian scale is then wrong by √2 in both."""

FUNNEL_DRAWS = 4000
"""More draws than this are thinned: the search goes over all pairs."""

CANDIDATES = 20
"""Pairs that are checked again, because separate modes can look like a funnel."""

ROUNDING = 1e-9
"""A spread below this share of the sd is the rounding of an exact linear dependence."""


@dataclass(frozen=True, slots=True)
class Funnel:
    """How much the spread of coordinate ``of`` depends on where coordinate ``on`` is.

    ``ratio`` is at least 1: the wider spread over the narrower one, between the upper and the
    lower third of ``on``. ``wide`` says where ``of`` is wide: ``upper`` when that is where
    ``on`` is large, ``lower`` when it is where ``on`` is small. The ratio is NaN where the
    draws cannot be used.
    """

    of: int
    on: int
    ratio: Estimate
    wide: str


def is_funnel(found: Funnel | None, *, limit: float = FUNNEL_RATIO) -> bool:
    """Return whether the ratio of spreads exceeds a limit by four standard errors.

    None and NaN are evidence neither for a funnel nor against one.
    """
    return found is not None and found.ratio.value - SURE * found.ratio.mcse > limit


def funnel(z: FloatArray, effective: float | FloatArray) -> Funnel | None:
    """Return the strongest dependence of one coordinate's spread on another coordinate.

    The spread of ``of`` is its mean absolute deviation from a straight line in ``on``, fitted
    in the upper and in the lower third of ``on``: correlation has no effect. Each coordinate is
    first made symmetric, (Q(u) − Q(1 − u))/2, because a skewed coordinate is wide where it is
    large. Two modes with different shares in the two thirds also differ in spread, but much less
    in the shortest interval with a quarter of the draws: the ratio is at most the square of the
    ratio of those lengths.

    None for a single coordinate; the ratio is NaN if any coordinate cannot be used. As the
    largest of d(d − 1) ratios it exceeds 1 by chance. Parameters and errors are those of
    :func:`~harness.metrics.influence.checked`.
    """
    z, worth = checked(z, effective)
    d = z.shape[1]
    if d < 2:  # noqa: PLR2004 (a pair)
        return None
    if not np.all(usable(z, worth)):
        return Funnel(0, 1, NO_ESTIMATE, "")
    x = standardised(z)[:: -(-len(z) // FUNNEL_DRAWS)]
    worth = np.minimum(worth, len(x))
    order = np.argsort(x, axis=0)
    ordered = np.take_along_axis(x, order, axis=0)
    np.put_along_axis(x, order, (ordered - ordered[::-1]) / 2, axis=0)
    logs = np.array([_log_ratios(x, order, on) for on in range(d)])
    strongest = np.argsort(-np.abs(logs), axis=None)[: min(CANDIDATES, d * (d - 1))]
    found = []
    for flat in strongest:
        on, of = (int(i) for i in np.unravel_index(flat, logs.shape))
        found.append(_pair(x, order, of, on, float(min(worth[of], worth[on]))))
    return max(found, key=lambda f: -1.0 if math.isnan(f.ratio.value) else f.ratio.value)


def _residuals(x: FloatArray, rows: NDArray[np.intp], on: int) -> FloatArray:
    """Return some draws' deviations from the straight lines in one coordinate."""
    r = x[rows]
    r -= np.mean(r, axis=0)
    t = r[:, on].copy()
    square = float(t @ t)
    if square > 0:
        r -= np.outer(t, (t @ r) / square)
    return r


def _log_ratios(x: FloatArray, order: NDArray[np.intp], on: int) -> FloatArray:
    """Return ln of upper over lower spread of each coordinate; 0 where it has none."""
    third = len(x) // 3
    spreads = [
        np.mean(np.abs(_residuals(x, rows, on)), axis=0)
        for rows in (order[-third:, on], order[:third, on])
    ]
    varies = np.minimum(*spreads) > ROUNDING
    varies[on] = False
    return np.log(np.where(varies, spreads[0], 1.0)) - np.log(np.where(varies, spreads[1], 1.0))


def _pair(x: FloatArray, order: NDArray[np.intp], of: int, on: int, worth: float) -> Funnel:
    """Return the funnel of one pair, with separate modes allowed for."""
    third = len(x) // 3
    influence = np.zeros(len(x))
    logs, cores = [], []
    for rows, sign in ((order[-third:, on], 1.0), (order[:third, on], -1.0)):
        r = _residuals(x[:, [of, on]], rows, 1)[:, 0]
        spread = float(np.mean(np.abs(r)))
        ordered = np.sort(r)
        quarter = third // 4
        core = float(np.min(ordered[quarter:] - ordered[:-quarter]))
        if not (spread > ROUNDING and core > 0):
            return Funnel(of, on, NO_ESTIMATE, "")
        influence[rows] = sign * (np.abs(r) / spread - 1) * len(x) / third
        logs.append(sign * math.log(spread))
        cores.append(sign * math.log(core))
    log, core = sum(logs), sum(cores)
    wide = "upper" if log > 0 else "lower"
    ratio = math.exp(min(abs(log), max(2 * math.copysign(1.0, log) * core, 0.0)))
    error = float(errors(influence[:, None], np.array([worth]))[0])
    return Funnel(of, on, Estimate(ratio, ratio * error), wide)
