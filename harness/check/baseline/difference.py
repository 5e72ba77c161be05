"""How far a figure is from its baseline, and whether chance can explain that.

Every function gives a difference with its 95% interval, and the p-value of "the true
difference is no larger than the margin" (Hodges and Lehmann 1954, *Testing the approximate
validity of statistical hypotheses*): the sum of both tails of the test at the margins, which
with a margin of 0 is the usual two-sided p-value.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit
from scipy.stats import betabinom, fisher_exact

from harness.check.baseline.form import Figure
from harness.metrics.sample import QUANTILES, Sample

INTERVAL = 0.95
"""Confidence of the interval that must lie inside the margin for two figures to be the same."""


_REACH = 15.0
"""Counts further than this many sds (and draws) from the expected one never happen."""

_ROUNDING = 1e-6


class Difference(NamedTuple):
    """A difference (in sds, as ln of a ratio, or as a share) with its interval and p-values."""

    value: float
    low: float
    high: float
    sds: float
    p: float
    chance: float
    """The p-value of "there is no difference at all"."""


def _two_tails(near: float, far: float, df: float) -> float:
    """Return P(T > near) + P(T > far), t distributed."""
    return float(min(stdtr(df, -near) + stdtr(df, -far), 1.0))


def _t(df: float) -> float:
    return float(stdtrit(df, 0.5 + INTERVAL / 2))


def location(
    old: float, new: float, error: float, df: float, margin: float, scale: float
) -> Difference:
    """Compare two locations.

    ``error`` is their joint standard error, with ``df`` degrees of freedom, and ``scale`` the
    quantity's width, both in its own unit; ``margin`` is in units of ``scale``.
    """
    d, se = (new - old) / scale, error / scale
    if se == 0:
        # Constants of the program.
        sds = math.copysign(math.inf, d) if d else 0.0
        return Difference(d, d, d, sds, float(abs(d) <= margin), float(d == 0))
    size, half = abs(d), _t(df) * se
    p = _two_tails((size - margin) / se, (size + margin) / se, df)
    return Difference(d, d - half, d + half, d / se, p, _two_tails(size / se, size / se, df))


def errors(old: Figure, new: Figure) -> tuple[float, float]:
    """Return the standard errors with which two figures of draws are compared.

    If nothing changed, one effective draw varies as much then as now, and both samples together
    estimate best how much. Alone, the smaller sample errs along with its figure: if a few draws
    miss a heavy tail, their sd is too small, and so is its error. Hence each error is the larger of
    its own and that of both together.
    """
    largest = max(old.mcse, new.mcse)
    if not (largest > 0 and old.ess > 0 and new.ess > 0):
        return math.nan, math.nan
    each = [(f.mcse / largest) ** 2 * f.ess for f in (old, new)]
    both = (old.ess * each[0] + new.ess * each[1]) / (old.ess + new.ess)
    first, second = (
        largest * math.sqrt(max(own, both) / f.ess) for own, f in zip(each, (old, new), strict=True)
    )
    return first, second


def scale_of_draws(old: Figure, new: Figure, df: float, margin: float) -> Difference:
    """Compare two sds of draws, both by their logarithms and by the variances.

    A single draw from a heavy tail enlarges the error of the variance along with the variance, but
    the error of its logarithm by no more than one, so the logarithms give false alarms. If few
    draws of a skewed distribution miss its tail, variance and error are too small, and the
    variances give false alarms. So the weaker test counts, and the wider interval; the one of
    variances is Fieller's.
    """
    of_variance = [replace(f, mcse=2 * f.mcse / f.value) for f in (old, new)]
    e_old, e_new = errors(*of_variance)
    d = math.log(new.value) - math.log(old.value)

    def standardised(log_ratio: float) -> float:
        u = 2 * (d - log_ratio)
        x = math.exp(-abs(u))
        of_variances = (1 - x) / (math.hypot(e_new, x * e_old) if u >= 0
                                  else math.hypot(x * e_new, e_old))  # fmt: skip
        of_logarithms = abs(u) / math.hypot(e_new, e_old)
        return math.copysign(min(of_variances, of_logarithms), u)

    sign = 1.0 if d >= 0 else -1.0
    p = _two_tails(sign * standardised(sign * margin), sign * standardised(-sign * margin), df)
    t = _t(df)
    half = t * math.hypot(e_new, e_old) / 2
    a, c = 1 - (t * e_old) ** 2, 1 - (t * e_new) ** 2
    low, high = -math.inf, math.inf
    if a > 0:
        root = math.sqrt(max(1 - a * c, 0.0))
        high = max(d + half, d + 0.5 * math.log((1 + root) / a))
        low = min(d - half, d + 0.5 * math.log((1 - root) / a)) if root < 1 else -math.inf
    sds = standardised(0.0)
    return Difference(d, low, high, sds, p, _two_tails(abs(sds), abs(sds), df))


def quantile(
    what: str, old: Figure, sample: Sample, df: float, margin: float, scale: float
) -> Difference:
    """Compare a stored quantile with draws, by how many of them lie under it.

    That number needs no estimate of a density. The share of the distribution under the p-quantile
    of n draws is Beta(p (n − 1) + 1, (1 − p) (n − 1) + 1), and the number of m other draws
    there is exactly beta-binomial, whatever the distribution. In a tail, with few draws, the normal
    approximation would be far off. Dependent draws count by their effective sizes. The draws' own
    quantiles turn shares back into differences.
    """
    share = QUANTILES[what]
    d = (sample.quantile(share) - old.value) / scale
    sizes = (old.ess, sample.ess_quantile(share))
    if not min(sizes) > 0 or math.isnan(sum(sizes)):
        return Difference(d, -math.inf, math.inf, math.nan, math.nan, math.nan)
    counts_under = _Under(share, *sizes)

    def under(shift: float) -> float:
        x = old.value + shift * scale
        # The quantile of few distinct values stays at the lowest for all smaller shares.
        return share if x == sample.quantile(share) else sample.below(x)

    sign = 1.0 if d >= 0 else -1.0
    near, far = (sign * counts_under.score(under(side * margin)) for side in (sign, -sign))
    p = _two_tails(near, far, df)
    t = _t(df)
    least, most = counts_under.within(float(ndtr(-t)))
    low = (sample.quantile(least) - old.value) / scale if least >= 0 else -math.inf
    high = (sample.quantile(most) - old.value) / scale if most <= 1 else math.inf
    sds = counts_under.score(under(0.0))
    return Difference(d, min(low, d), max(high, d), sds, p, _two_tails(abs(sds), abs(sds), df))


class _Under:
    """The number of m draws that lie under a quantile of n others, if nothing changed."""

    def __init__(self, share: float, n: float, m: float) -> None:
        a, b = share * (n - 1) + 1, (1 - share) * (n - 1) + 1
        self.m = max(round(m), 1)
        self.expected = a / (a + b)
        variance = self.m * a * b * (a + b + self.m) / ((a + b) ** 2 * (a + b + 1))
        reach = _REACH * math.sqrt(variance) + _REACH
        self.first = max(math.floor(self.m * self.expected - reach), 0)
        last = min(math.ceil(self.m * self.expected + reach), self.m)
        chances = betabinom.pmf(np.arange(self.first, last + 1), self.m, a, b)
        # SciPy's logarithms of large beta functions lose digits, all in the same direction.
        chances /= chances.sum()
        self.at_most = np.cumsum(chances)
        self.at_least = np.cumsum(chances[::-1])[::-1]

    def score(self, share: float) -> float:
        """Return the normal score of a share of draws: large where few of them lie there."""
        if math.isnan(share):
            return math.nan
        if share <= self.expected:
            chance = self.at_most[self._place(math.ceil(share * self.m - _ROUNDING))]
            return max(-float(ndtri(chance)), 0.0)
        chance = self.at_least[self._place(math.floor(share * self.m + _ROUNDING))]
        return min(float(ndtri(chance)), 0.0)

    def _place(self, count: int) -> int:
        # Outside the table the chances are too large, but negligible.
        return min(max(count - self.first, 0), self.at_most.size - 1)

    def within(self, tail: float) -> tuple[float, float]:
        """Return the shares of the draws between which the quantile lies.

        Numbers with less than the chance ``tail`` on either side are left out. The quantile has at
        least k draws under it if it lies above the k-th, and so on; a share below 0 or above 1 is
        no bound.
        """
        least = self.first + int(np.searchsorted(self.at_most, tail))
        beyond = int(np.searchsorted(self.at_least[::-1], tail))
        most = self.first + self.at_least.size - 1 - beyond
        last = max(self.m - 1, 1)
        return (least - 1) / last, most / last


def counts(old: int, of_old: int, new: int, of_new: int) -> float:
    """Return the p-value of Fisher's exact test of two shares, two-sided."""
    return float(fisher_exact([[old, of_old - old], [new, of_new - new]]).pvalue)
