"""By how many standard errors a figure must exceed a limit before it is said to."""

from __future__ import annotations

from statistics import NormalDist

FALSE_ALARM = 0.005
"""Chance, per model, that noise alone takes a figure over its limit."""


def critical_z(d: int) -> float:
    """Return the normal quantile at 1 − 0.005 / (4 d) for d quantities.

    Every quantity has about four figures with two sides each: where all sit exactly on their
    limits, noise takes any of them over it with a chance of at most 1%.
    """
    return NormalDist().inv_cdf(1 - FALSE_ALARM / (4 * max(d, 1)))
