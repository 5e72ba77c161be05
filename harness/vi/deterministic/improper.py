"""Why an ELBO has no optimum: directions in which log p does not fall, and edges where it ends."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from harness.records import FloatArray
from harness.vi.deterministic.curvature import hessian
from harness.vi.target import Target

POINTS = 8
"""Points of Stan's box from which lines start."""

FAR = (10.0, 100.0, 1000.0)
"""Distances at which log p must have fallen, and by how much it then has not."""

FALLS = 1.0
"""Nats."""

MOST = 100
"""Parameters up to which every direction is tried."""

REACH, HALVINGS, AGREES = (1.0, 3.0, 10.0), 50, 1e-6
"""Steps that look for an edge, how often they are halved, and how closely edges must agree."""

FLAT = 1e-9
"""Curvature, relative to the largest, below which a direction counts as without any."""


class Edge(NamedTuple):
    """A value at which the density of one unconstrained parameter ends."""

    which: int
    side: Literal["lower", "upper"]
    at: float


def _inside(target: Target, rng: np.random.Generator) -> FloatArray:
    z = rng.uniform(-2, 2, (64 * POINTS, target.dimension))
    return np.asarray(z[np.isfinite(target.log_density(z))][:POINTS])


def flat_directions(target: Target, rng: np.random.Generator) -> list[FloatArray]:
    """Return unit vectors ``(d,)`` along which log p does not fall, single parameters first.

    A direction counts if log p has not fallen by a nat at any of the distances at which it is
    finite, from every point. Directions of several parameters are those without curvature.
    """
    d = target.dimension
    points = _inside(target, rng)
    if not len(points) or d > MOST:
        return []
    single = [s * row for row in np.eye(d) for s in (1.0, -1.0)]
    found = [v for v in single if _flat(target, points, v)]
    if found:
        return found
    curvature = hessian(target, points[0], np.ones(d))
    if not np.isfinite(curvature).all():
        return []
    value, vector = np.linalg.eigh(curvature)
    none = np.abs(value) < FLAT * np.abs(value).max()
    return [v for v in vector.T[none] if _flat(target, points, v)]


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
