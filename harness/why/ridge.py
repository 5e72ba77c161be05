"""Whether a ridge joins two points: a path between them along which log p hardly falls."""

from __future__ import annotations

import math

import numpy as np

from harness.records import FloatArray
from harness.vi.deterministic.climb import VALLEY
from harness.vi.target import Clock, Target

IMAGES, MOVES = 33, 100
"""Points of a path, and how often they climb."""

FINE = 16
"""Places between two points at which the path that was found is looked at: steps may be longer than
a valley is wide."""

STEPS = 2.0 ** -np.arange(14.0)
"""Lengths of a step that are tried, in lengths of the path."""

BOWS = (0.2, -0.2, 0.4)
"""How far paths are bent at first, in lengths of the straight line, which through the middle of a
ring would stay there."""

DENSITIES = len(BOWS) * MOVES * IMAGES * (len(STEPS) + 1)
"""About how many densities a search takes."""


def ridge(
    target: Target, ends: tuple[FloatArray, FloatArray], sd: FloatArray, clock: Clock
) -> float | None:
    """Return by how many nats log p falls along a path between two points ``(d,)``, or None.

    None where every path that was found has a valley, a fall of over a nat. Points of a bent line
    climb log p across the line, and are spread evenly again (the string method of E, Ren and
    Vanden-Eijnden 2002). ``sd`` are the units of the parameters.

    Raises
    ------
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    one, two = (end / sd for end in ends)
    length = float(np.linalg.norm(two - one))
    share = np.linspace(0, 1, IMAGES)[:, None]
    rng = np.random.default_rng(0)
    for bow in BOWS:
        aside = rng.standard_normal(len(sd))
        aside -= (aside @ (two - one)) / length**2 * (two - one)
        aside *= bow * length / max(float(np.linalg.norm(aside)), 1e-12)
        path = (1 - share) * one + share * two + np.sin(math.pi * share) * aside
        for _ in range(MOVES):
            clock.check()
            path = _even(_climbed(target, path, sd))
        fall = _fall(target, path * sd)
        if fall <= VALLEY:
            return max(fall, 0.0)
    return None


def _climbed(target: Target, path: FloatArray, sd: FloatArray) -> FloatArray:
    """Move the inner points uphill across the path, each by the best of several steps."""
    longest = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    slope = target.log_density_gradient(path * sd)[1] * sd
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-300)
    across = slope - np.sum(slope * tangent, axis=1, keepdims=True) * tangent
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-300)
    across[[0, -1]] = 0.0
    across[~np.isfinite(across).all(axis=1)] = 0.0
    tried = path + np.r_[0.0, longest * STEPS][:, None, None] * across
    value = target.log_density((tried * sd).reshape(-1, len(sd))).reshape(len(tried), -1)
    best = np.argmax(np.where(np.isfinite(value), value, -np.inf), axis=0)
    return np.asarray(tried[best, np.arange(len(path))])


def _even(path: FloatArray) -> FloatArray:
    """Return points of the same polygon at equal distances."""
    along = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))]
    at = np.linspace(0, along[-1], len(path))
    return np.stack([np.interp(at, along, column) for column in path.T], axis=1)


def _fall(target: Target, path: FloatArray) -> float:
    """Return how far log p falls below the lower end, at the points and often between them."""
    at = np.linspace(0, len(path) - 1, FINE * (len(path) - 1) + 1)
    fine = np.stack([np.interp(at, np.arange(len(path)), column) for column in path.T], axis=1)
    value = target.log_density(fine)
    lowest = np.min(np.where(np.isnan(value), -np.inf, value))
    return float(min(value[0], value[-1]) - lowest)
