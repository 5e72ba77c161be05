"""Why an ELBO has no optimum: directions in which log p does not fall, and edges where it ends."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from scipy.linalg import qr

from harness.records import FloatArray
from harness.vi.deterministic.fit import Optimum
from harness.vi.gaussian import Gaussian
from harness.vi.target import Target

POINTS = 8
"""Points of Stan's box from which lines start."""

FAR = (10.0, 100.0, 1000.0, 1e4, 1e5, 1e6, 1e7)
"""Distances at which log p must have fallen: a proper prior with an sd of a million is not flat."""

FALLS, SLIGHTLY = 1.0, 1e-3
"""Nats by which log p falls, and by which it falls at all."""

MOST = 100
"""Parameters up to which every direction is tried."""

MOST_LEVEL, LEVEL_S = 300, 1.0
"""Parameters and seconds of gradients up to which a fit is asked for level directions."""

ROUNDING = 1e-7
"""Part of a direction that is rounding."""

REACH, HALVINGS, AGREES = (1.0, 3.0, 10.0), 50, 1e-6
"""Steps that look for an edge, how often they are halved, and how closely edges must agree."""

LEVEL = 1e-10
"""Part of unit gradients, relative to the largest, below which a direction counts as without any.
A prior a million times wider than what the data say leaves more."""


class Edge(NamedTuple):
    """A value at which the density of one unconstrained parameter ends."""

    which: int
    side: Literal["lower", "upper"]
    at: float


def _inside(target: Target, rng: np.random.Generator, count: int = POINTS) -> FloatArray:
    z = rng.uniform(-2, 2, (64 * POINTS, target.dimension))
    return np.asarray(z[np.isfinite(target.log_density(z))][:count])


def flat_directions(target: Target, rng: np.random.Generator) -> list[FloatArray]:
    """Return directions ``(d,)`` along which log p does not fall, single parameters first.

    A direction counts if log p has not fallen by a nat at any of the distances at which it is
    finite, from every point.
    """
    d = target.dimension
    if d > MOST:
        return []
    points = _inside(target, rng, d + POINTS)
    if not len(points):
        return []
    single = [s * row for row in np.eye(d) for s in (1.0, -1.0)]
    found = [v for v in single if _flat(target, points[:POINTS], v)]
    return found or level_directions(target, points, np.ones(d))


def lost_in_doubles(target: Target, rng: np.random.Generator, v: FloatArray) -> bool:
    """Tell whether log p falls along a flat direction ``(d,)`` until doubles end.

    So it does where a bounded parameter rounds to its bound before log p has fallen by a nat, as
    under ``beta(0.02, 0.02)``.
    """
    points = _inside(target, rng)
    fallen = target.log_density(points) - target.log_density(points + FAR[0] * v)
    ends = [target.log_density(points + far * v) for far in FAR[1:]]
    return bool(np.all(fallen > SLIGHTLY)) and not np.isfinite(ends).all()


def level_directions(target: Target, points: FloatArray, scale: FloatArray) -> list[FloatArray]:
    """Return directions along which log p is level everywhere, each of few parameters.

    Their part of every gradient is nothing, and log p does not fall. ``points`` are more than
    parameters, as from a fit; ``scale`` ``(d,)`` are its sds, the unit of distances.
    """
    slope = target.log_density_gradient(points)[1] * scale
    size = np.linalg.norm(slope, axis=1)
    good = np.isfinite(size) & (size > 0)
    if good.sum() <= len(scale):
        return []
    _, value, vector = np.linalg.svd(slope[good] / size[good, None], full_matrices=False)
    null = vector[value < LEVEL * value[0]]
    if not len(null):
        return []
    # Each with a parameter of its own, so that what is independent is not mixed.
    own = qr(null, mode="r", pivoting=True)[1][: len(null)]
    null = np.linalg.solve(null[:, own], null)
    null[np.abs(null) < ROUNDING] = 0.0
    begin = points[good][:POINTS]
    return [v * scale for v in null if _flat(target, begin, v * scale / np.abs(v).max())]


def level_of(target: Target, optimum: Optimum) -> list[FloatArray]:
    """Return the level directions at an optimum; none where looking would take too long."""
    count = 2 * len(optimum.mean) + POINTS
    if len(optimum.mean) > MOST_LEVEL or count * optimum.seconds_per_point > LEVEL_S:
        return []
    z = Gaussian(optimum.mean, optimum.sd).draw(count, np.random.default_rng(0))
    return level_directions(target, z, optimum.sd)


def _flat(target: Target, points: FloatArray, v: FloatArray) -> bool:
    begin = target.log_density(points)
    ends = np.stack([target.log_density(points + far * v) for far in FAR])
    fallen = np.where(np.isfinite(ends), begin - ends, -np.inf) > FALLS
    return bool(np.isfinite(ends[0]).all() and not fallen.any())


def hard_edges(target: Target, rng: np.random.Generator) -> list[Edge]:
    """Return the values of single parameters beyond which there is no density.

    An edge is at the same value wherever the other parameters are.
    """
    points = _inside(target, rng)
    found: list[Edge] = []
    if len(points) < 2 or target.dimension > MOST:  # noqa: PLR2004 - edges must agree
        return found
    sides: tuple[tuple[Literal["lower", "upper"], float], ...] = (("lower", -1.0), ("upper", 1.0))
    for j in range(target.dimension):
        for side, sign in sides:
            at = _edge(target, points, j, sign)
            if at is not None:
                found.append(Edge(j, side, at))
    return found


def _edge(target: Target, points: FloatArray, j: int, sign: float) -> float | None:
    """Halve the way from inside to outside along one parameter, from every point."""
    inside, outside = points[:, j].copy(), np.full(len(points), np.nan)
    for reach in REACH:
        there = points.copy()
        there[:, j] += sign * reach
        lost = ~np.isfinite(target.log_density(there)) & np.isnan(outside)
        outside[lost] = there[lost, j]
    if np.isnan(outside).any():
        return None
    there = points.copy()
    for _ in range(HALVINGS):
        there[:, j] = 0.5 * (inside + outside)
        good = np.isfinite(target.log_density(there))
        inside = np.where(good, there[:, j], inside)
        outside = np.where(good, outside, there[:, j])
    at = float(np.median(inside))
    agree = np.abs(inside - at) <= AGREES * max(1.0, abs(at))
    return (round(at, 5) or 0.0) if agree.all() else None
