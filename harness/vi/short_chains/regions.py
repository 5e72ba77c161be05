"""Whether far chains ended in another region: one behind a valley of log p."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.deterministic.climb import VALLEY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.short_chains.coordinates import Parts
    from harness.vi.short_chains.hmc import Chains
    from harness.vi.target import Target

COMPARABLE = math.log(100)
"""Nats under the home region's level at which a region's density still counts."""

LEVEL = 0.001
"""Quantile of log p at home that is its level."""

FARTHER, TYPICAL = 1.2, 0.99
"""A point is away from home if it is this many times farther from every home point than those are
from their neighbours, at this quantile: nearer ones need no straight line."""

LINES, FIRST = 8, 2
"""Home points of each part to which there must be a valley, and those that are tried first.

Where a posterior bends, straight lines to some of its own points leave it.
"""

CLOSER = 0.8
"""Factor of the distance from home by which each chain on a bent path is nearer than the last."""

ALONG = 17
"""Points on a line."""

COMPARED = 2048
"""Home points that are looked at, because all distances to them are computed; their order is
random."""

TESTED = 64
"""Points away from home that are looked at, those of the highest density."""


def level_of(value: FloatArray) -> float:
    """Return the level of log p that points of the posterior exceed, nats."""
    return float(np.quantile(value, LEVEL))


def apart(target: Target, parts: Parts, home: Chains, far: Chains) -> NDArray[np.intp]:
    """Return one far chain for each region apart from home, the highest density first."""
    home = home.take(np.arange(len(home.z)) < COMPARED)
    near = _distances(parts, home, far)
    if not near or not len(far.z):
        return np.empty(0, dtype=np.intp)
    ratio = np.min([r for r, _ in near], axis=0)
    ends = np.concatenate([nearest for _, nearest in near], axis=1)
    away = (ratio > FARTHER) & (far.value > level_of(home.value) - COMPARABLE)
    order = np.flatnonzero(away)[np.argsort(-far.value[away])][:TESTED]
    found: list[int] = []
    for i in order:
        # Chains in a region that is known already tell nothing new.
        if found and not all(_valleys(target, far, i, far.z[found], far.value[found])):
            continue
        # Most points have no valley to the first ends, and need no other.
        tests = (ends[i, :FIRST], ends[i, FIRST:])
        if all(_valleys(target, far, i, home.z[e], home.value[e]).all() for e in tests):
            found.append(int(i))
    return np.array(
        [i for i in found if _dips_on_the_way(target, parts, home, far, i, ratio, ends)],
        dtype=np.intp,
    )


def _dips_on_the_way(
    target: Target,
    parts: Parts,
    home: Chains,
    far: Chains,
    i: int,
    ratio: FloatArray,
    ends: NDArray[np.intp],
) -> bool:
    """Return whether log p dips on a path home through far chains, each surely nearer home.

    On a ridge that bends, straight lines leave it. Chains on the path are as dense as the one that
    it starts from; where there are none, its last part is a straight line.
    """
    u = parts.each[int(parts.nearest(far.z[i : i + 1])[0])].whiten(far.z)
    dense = far.value >= far.value[i] - VALLEY
    at, lowest = i, math.inf
    while ratio[at] > FARTHER:
        nearer = np.flatnonzero(dense & (ratio < CLOSER * ratio[at]))
        if not len(nearer):
            break
        to = int(nearer[np.argmin(((u[nearer] - u[at]) ** 2).sum(axis=1))])
        lowest = min(lowest, float(_lowest(target, far.z[at], far.z[to : to + 1])[0]))
        at = to
    last = np.minimum(_lowest(target, far.z[at], home.z[ends[at]]), lowest)
    return bool(np.all(last < np.minimum(far.value[i], home.value[ends[at]]) - VALLEY))


def away(parts: Parts, home: Chains, far: Chains) -> NDArray[np.bool_]:
    """Return which far chains are farther from every home point than those are from each other."""
    near = _distances(parts, home.take(np.arange(len(home.z)) < COMPARED), far)
    if not near:
        return np.ones(len(far.z), dtype=bool)
    return np.asarray(np.min([r for r, _ in near], axis=0) > FARTHER)


def _distances(
    parts: Parts, home: Chains, far: Chains
) -> list[tuple[FloatArray, NDArray[np.intp]]]:
    """Return, for each part's coordinates, relative distances from home and the nearest points."""
    out = []
    own = parts.nearest(home.z)
    for k, coordinates in enumerate(parts.each):
        mine = np.flatnonzero(own == k)
        if len(mine) < LINES:
            continue
        at = coordinates.whiten(home.z[mine])
        between = _square(at, at)
        np.fill_diagonal(between, np.inf)
        usual = float(np.quantile(between.min(axis=1), TYPICAL))
        to = _square(coordinates.whiten(far.z), at)
        nearest = mine[np.argpartition(to, LINES - 1, axis=1)[:, :LINES]]
        out.append((np.sqrt(to.min(axis=1) / usual), nearest))
    return out


def _square(one: FloatArray, two: FloatArray) -> FloatArray:
    """Return squared distances, ``(one, two)``."""
    both = (one**2).sum(axis=1)[:, None] + (two**2).sum(axis=1) - 2 * one @ two.T
    return np.asarray(np.maximum(both, 0.0))


def _valleys(
    target: Target, far: Chains, i: int, ends: FloatArray, values: FloatArray
) -> NDArray[np.bool_]:
    """Return whether log p dips on the straight line to each end, shape ``(end,)``."""
    lowest = _lowest(target, far.z[i], ends)
    return np.asarray(lowest < np.minimum(far.value[i], values) - VALLEY)


def _lowest(target: Target, z: FloatArray, ends: FloatArray) -> FloatArray:
    """Return the lowest log p on the straight line to each end, shape ``(end,)``; NaN is −inf."""
    share = np.linspace(0, 1, ALONG)[1:-1, None, None]
    points = (1 - share) * z + share * ends
    found = target.log_density(points.reshape(-1, points.shape[-1])).reshape(len(share), -1)
    return np.asarray(np.where(np.isnan(found), -np.inf, found).min(axis=0))
