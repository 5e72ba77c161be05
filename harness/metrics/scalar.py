"""Distances between two samples of one scalar, in units of the reference's sd."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import ndtr

from harness.metrics.sample import CONSTANT, Sample
from harness.records import Estimate

if TYPE_CHECKING:
    from harness.records import FloatArray

EXACT = Estimate(0.0, 0.0)
INFINITE = Estimate(math.inf, 0.0)

CHANCE = 2 / math.sqrt(math.pi)
"""The factor a for which |Z| − a exp(−Z²/2) has mean zero, Z standard normal."""

HELD = 0.25
"""A mode counts as missed if the approximation holds less than this share of its mass."""


class _Distance(NamedTuple):
    """A Wasserstein distance in the quantity's own unit."""

    value: float
    mcse: float


def compare_quantity(q: Sample, ref: Sample) -> dict[str, Estimate]:
    """Compare an approximation's draws of one scalar with the reference's.

    With μ, σ the reference's mean and sd:

    ``bias``
        (μ_q − μ) / σ.
    ``log_width_ratio``, ``log_sd_ratio``
        ln of the ratio of 5-95% widths, and of sds; −inf where q has collapsed to a point.
    ``w1``
        1-Wasserstein distance / σ, less what chance shows; see :func:`wasserstein`. It is
        scattered around 0 where the distributions agree, so it may be negative.
    ``tail``
        The larger, by absolute value, of the signed errors of the 5% and 95% quantiles, / σ.
    ``missed_mass``
        The reference's probability of the modes of which q holds less than a quarter.

    Parameters
    ----------
    q, ref
        From :func:`harness.metrics.prepare`.

    Returns
    -------
    dict
        Infinite where q has draws that are not finite (``missed_mass``, a probability, counts
        them as lying in no mode); NaN where the reference cannot serve as one.
    """
    if not ref.finite or ref.n < 2 or q.n == 0:  # noqa: PLR2004 (an sd needs two)
        nan = Estimate(math.nan, math.nan)
        return dict.fromkeys(
            ("bias", "log_width_ratio", "log_sd_ratio", "w1", "tail", "missed_mass"), nan
        )
    if ref.constant:
        return _against_constant(q, ref)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        missed = missed_mass(q, ref)
        if not (q.finite and math.isfinite(q.width) and math.isfinite(q.sd)):
            out = dict.fromkeys(("bias", "log_width_ratio", "log_sd_ratio", "w1", "tail"), INFINITE)
            return {**out, "missed_mass": missed}
        if math.isnan(q.ess_least) or math.isnan(ref.ess_least):
            distance = Estimate(math.nan, math.nan)
        else:
            value, mcse = wasserstein(q, ref)
            distance = _finite(value / ref.sd, mcse / ref.sd)
        return {
            "bias": _finite(
                (q.mean - ref.mean) / ref.sd, math.hypot(q.mean_se, ref.mean_se) / ref.sd
            ),
            "log_width_ratio": log_ratio(
                Estimate(q.width, q.log_width_mcse), Estimate(ref.width, ref.log_width_mcse)
            ),
            "log_sd_ratio": log_ratio(
                Estimate(q.sd, q.log_sd_mcse), Estimate(ref.sd, ref.log_sd_mcse)
            ),
            "w1": distance,
            "tail": _tail(q, ref),
            "missed_mass": missed,
        }


def _finite(value: float, mcse: float) -> Estimate:
    """Return an estimate; one that overflowed is infinite beyond doubt."""
    return Estimate(value, mcse) if math.isfinite(value) else INFINITE


def _against_constant(q: Sample, ref: Sample) -> dict[str, Estimate]:
    """Compare with a point mass: the same point, or infinitely far in units of its sd."""
    at = float(ref.sorted[0])
    same = q.finite and bool(
        np.max(np.abs(q.sorted[[0, -1]] - at)) <= CONSTANT * max(abs(at), np.finfo(float).tiny)
    )
    names = ("bias", "log_width_ratio", "log_sd_ratio", "w1", "tail")
    return {
        **dict.fromkeys(names, EXACT if same else INFINITE),
        "missed_mass": EXACT if same else Estimate(1.0, 0.0),
    }


def log_ratio(q: Estimate, ref: Estimate) -> Estimate:
    """Return ln(q / ref) of two widths whose ``mcse`` is that of their logarithm.

    Two zeros are equal; a single one is infinitely far.
    """
    if q.value == ref.value == 0:
        return EXACT
    if q.value == 0:
        return Estimate(-math.inf, 0.0)
    if ref.value == 0 or math.isinf(q.value):
        return INFINITE
    return Estimate(math.log(q.value) - math.log(ref.value), math.hypot(q.mcse, ref.mcse))


def _tail(q: Sample, ref: Sample) -> Estimate:
    errors = [
        _finite(
            (q.quantiles[name] - ref.quantiles[name]) / ref.sd,
            math.hypot(q.quantile_mcse(name), ref.quantile_mcse(name)) / ref.sd,
        )
        for name in ("q5", "q95")
    ]
    return max(errors, key=lambda e: abs(e.value))


def wasserstein(q: Sample, ref: Sample) -> _Distance:
    r"""Return the 1-Wasserstein distance less what two equal distributions would show.

    The distance is ∫ \|F − G\| dx. At a point where F = G the difference of the empirical
    functions is about normal with sd s = sqrt(H (1 − H) (1/n + 1/m)), H the pooled function,
    and its absolute value has mean s sqrt(2/π). So ∫ \|F − G\| − a s exp(−(F − G)² / 2s²) dx
    with a = 2/sqrt(π) has mean zero where the distributions agree, and takes nothing off
    where they clearly differ.

    The standard error is that of the influence function h, h' = −sign(F − G):
    var h(X) / n + var h(Y) / m. Where F = G it is on the safe side.
    """
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
    return _Distance(value, error)


def _spread(sample: Sample, h: FloatArray) -> float:
    """Return the sd of an influence function at the sorted draws; see :meth:`Sample.bounded`."""
    largest = float(np.max(np.abs(h)))
    if largest == 0 or not math.isfinite(largest):
        return 0.0 if largest == 0 else math.nan
    return float(np.std(sample.bounded(h, float(h[h.size // 2])) / largest)) * largest


def missed_mass(q: Sample, ref: Sample) -> Estimate:
    """Return the reference's probability of the modes that q misses.

    Its error has two parts: that of the reference's share p of a missed mode, and, where q's
    share is near the quarter of p that decides, p times the sd of that decision.
    """
    basins = ref.basins
    own = basins.shares(ref.sorted, ref.n)
    theirs = basins.shares(q.finite_sorted, q.n)
    value = variance = 0.0
    n, m = _or_count(q), _or_count(ref)
    for p, share in zip(own.tolist(), theirs.tolist(), strict=True):
        # An empty basin still has an error: as if it held one more draw.
        held = max(share, 1 / n)
        error = math.sqrt(held * (1 - min(share, 1.0)) / n + HELD**2 * p * (1 - p) / m)
        doubt = float(ndtr(-abs(share - HELD * p) / error)) if error > 0 else 0.0
        variance += p**2 * doubt * (1 - doubt)
        if share < HELD * p:
            value += p
            variance += p * (1 - p) / m
    known = not (math.isnan(n) or math.isnan(m))
    return Estimate(value, math.sqrt(variance) if known else math.nan)


def first_mode(q: Sample, ref: Sample) -> Estimate:
    """Return q's probability of the reference's leftmost mode, not a distance."""
    share = float(ref.basins.shares(q.finite_sorted, q.n)[0])
    n = _or_count(q)
    # None or all of the draws is no proof of none or all: half a draw more on either side.
    near = (share * n + 0.5) / (n + 1)
    return Estimate(share, math.sqrt(near * (1 - near) / n))


def _or_count(sample: Sample) -> float:
    """Return the effective size of shares; where that is unknown, the number of draws.

    Only for samples with draws that are not finite, all of whose other figures are infinite.
    """
    return sample.ess_overall if sample.finite else float(sample.n)


def seed_spread(means: FloatArray, mcses: FloatArray, ref: Sample) -> Estimate:
    """Return the sd of a method's mean over its seeds, in units of the reference's sd.

    What the draws' own error adds is removed in quadrature, not below zero. The standard
    error is that of an sd of k values, s / sqrt(2 (k − 1)), with s before the removal.

    Parameters
    ----------
    means, mcses
        The mean of one quantity in each seed and its Monte Carlo error, shape ``(seed,)``.
    ref
        The reference's draws of the quantity.

    Returns
    -------
    Estimate
        NaN for fewer than two seeds, infinite where a mean is not finite.
    """
    k = len(means)
    if k < 2 or not ref.finite:  # noqa: PLR2004 (an sd needs two)
        return Estimate(math.nan, math.nan)
    if not np.all(np.isfinite(means)):
        return INFINITE
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        scaled = np.asarray(means) / ref.sd
        spread = float(np.std(scaled, ddof=1))
        own = float(np.mean(np.square(np.asarray(mcses) / ref.sd)))
    if not math.isfinite(spread):
        return INFINITE
    if math.isnan(own):
        return Estimate(spread, math.nan)
    return Estimate(math.sqrt(max(spread**2 - own, 0.0)), spread / math.sqrt(2 * (k - 1)))
