"""A figure of a baseline and the same figure now: how far apart, and could chance do it.

Every function gives a difference with its 95% interval, and the p-value of "the true
difference is no larger than the margin" (Hodges and Lehmann 1954, *Testing the approximate
validity of statistical hypotheses*): the sum of both tails of the test at the margins, which
with a margin of 0 is the usual two-sided p-value.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.special import stdtr, stdtrit

from harness.baseline.form import Figure
from harness.metrics.sample import QUANTILES, Sample

INTERVAL = 0.95
"""Confidence of the interval that must lie inside the margin for two figures to be the same."""


class Difference(NamedTuple):
    """A difference in its unit (sds, ln of a ratio, or share), and what may be said of it."""

    value: float
    low: float
    high: float
    sds: float
    p: float


def _two_tails(near: float, far: float, df: float) -> float:
    """Return P(T > near) + P(T > far), t distributed."""
    return float(min(stdtr(df, -near) + stdtr(df, -far), 1.0))


def _t(df: float) -> float:
    return float(stdtrit(df, 0.5 + INTERVAL / 2))


def location(
    old: float, new: float, error: float, df: float, margin: float, scale: float
) -> Difference:
    """Compare two locations.

    Parameters
    ----------
    error
        Joint standard error, in the quantity's unit, with ``df`` degrees of freedom.
    margin
        In units of ``scale``.
    scale
        The quantity's width, in its own unit.
    """
    d, se = (new - old) / scale, error / scale
    if se == 0:
        return _exact(d, margin)
    size, half = abs(d), _t(df) * se
    p = _two_tails((size - margin) / se, (size + margin) / se, df)
    return Difference(d, d - half, d + half, d / se, p)


def _exact(d: float, margin: float) -> Difference:
    """Compare figures without error: constants of the program."""
    return Difference(d, d, d, math.copysign(math.inf, d) if d else 0.0, float(abs(d) <= margin))


def scale_of_draws(old: Figure, new: Figure, df: float, margin: float) -> Difference:
    """Compare two sds of draws, on the scale of variances.

    There a heavy tail's single draw enlarges the error with the difference. On the log scale
    it would not, and heavy-tailed posteriors would give false alarms. The interval is
    Fieller's, of the ratio of variances.
    """
    v_old, v_new = old.value**2, new.value**2
    e_old, e_new = 2 * old.value * old.mcse, 2 * new.value * new.mcse

    def standardised(log_ratio: float) -> float:
        r = math.exp(2 * log_ratio)
        return (v_new - r * v_old) / math.hypot(e_new, r * e_old)

    d = math.log(new.value / old.value)
    sign = 1.0 if d >= 0 else -1.0
    p = _two_tails(sign * standardised(sign * margin), sign * standardised(-sign * margin), df)
    t = _t(df)
    a = v_old**2 - (t * e_old) ** 2
    low, high = -math.inf, math.inf
    if a > 0:
        b, c = v_new * v_old, v_new**2 - (t * e_new) ** 2
        root = math.sqrt(max(b**2 - a * c, 0.0))
        high = 0.5 * math.log((b + root) / a)
        low = 0.5 * math.log((b - root) / a) if b > root else -math.inf
    return Difference(d, low, high, standardised(0.0), p)


def scale_of_seeds(
    old: Figure, new: Figure, relative_error: float, df: float, margin: float
) -> Difference:
    """Compare two sds whose error is that of ln sd over seeds."""
    return location(math.log(old.value), math.log(new.value), relative_error, df, margin, 1.0)


def quantile(
    what: str, old: Figure, sample: Sample, df: float, margin: float, scale: float
) -> Difference:
    """Compare a stored quantile with draws, by the share of draws under it.

    A share's error needs no estimate of a density: p (1 − p) / ess on either side. Differences
    in the quantity's unit come back through the draws' own quantiles.
    """
    share = QUANTILES[what]
    error = math.sqrt(share * (1 - share) * (1 / old.ess + 1 / sample.ess_quantile(share)))

    def standardised(shift: float) -> float:
        return (share - sample.below(old.value + shift * scale)) / error

    d = (sample.quantile(share) - old.value) / scale
    sign = 1.0 if standardised(0.0) >= 0 else -1.0
    p = _two_tails(sign * standardised(sign * margin), sign * standardised(-sign * margin), df)
    reach = _t(df) * error
    low, high = -math.inf, math.inf
    if share - reach > 0:
        low = (sample.quantile(share - reach) - old.value) / scale
    if share + reach < 1:
        high = (sample.quantile(share + reach) - old.value) / scale
    return Difference(d, low, high, standardised(0.0), p)


def counts(old: int, of_old: int, new: int, of_new: int) -> float:
    """Return the p-value of Fisher's exact test of two shares, two-sided."""
    from scipy.stats import hypergeom

    total, ones = of_old + of_new, old + new
    if ones in {0, total} or 0 in {of_old, of_new}:
        return 1.0
    table = hypergeom(total, ones, of_old)
    low, high = max(0, ones - of_new), min(ones, of_old)
    chances = [float(table.pmf(k)) for k in range(low, high + 1)]
    seen = float(table.pmf(old))
    # Rounding must not leave out tables that are exactly as unlikely.
    return min(sum(c for c in chances if c <= seen * (1 + 1e-7)), 1.0)
