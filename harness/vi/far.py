"""Places far from a Gaussian where a density is high: hints of modes that climbs may start from.

Densities are cheap beside climbs and chains, so that many points are looked at and few are kept.
All points are in coordinates in which the Gaussian is a standard normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harness.records import FloatArray

Density = Callable[[FloatArray], FloatArray]
"""log p of points of shape ``(point, d)``, nats; −inf where it is no finite number."""

REACH, NEAR = 20, 2.0
"""Sds up to which peaks are looked for on a line, and up to which a peak is the Gaussian's own."""

POINTS = 2 * REACH + 1
"""Densities on a line."""

WIDE, FREEDOM = (1.5, 3.0, 6.0, 12.0), 4
"""Scales of wide points in sds, and their degrees of freedom."""


def peaks_on_lines(density: Density, d: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Return peaks on lines through the Gaussian, ``(peak, d)``.

    A mode that differs from the Gaussian in few directions can be narrow in many, and points that
    are wide in all of them never come near it. Each of the ``count`` lines runs along one
    coordinate. The others stay at a draw, shortened by a factor between 0 and 1 that differs among
    the lines along a coordinate: the narrower a mode, the nearer its middle a line must pass. The
    highest peak of each coordinate and side comes first, because a single high mode would hide all
    others; then come the rest. Both are in order of their density.
    """
    if not count:
        return np.empty((0, d))
    rounds = -(-count // d)
    order = rng.permutation(d)
    axis = np.resize(order, count)
    strata = np.array([rng.permutation(rounds) for _ in range(d)]).T.ravel()[:count]
    shorter = (strata + rng.random(count)) / rounds
    lines = rng.standard_normal((count, d)) * shorter[:, None]
    places = np.arange(-REACH, REACH + 1.0) + rng.uniform(-0.5, 0.5, (count, 1))
    u = np.repeat(lines[:, None], POINTS, axis=1)
    u[np.arange(count), :, axis] = places
    value = density(u.reshape(-1, d)).reshape(count, POINTS)
    beside = np.maximum(value[:, :-2], value[:, 2:])
    line, at = np.nonzero((value[:, 1:-1] > beside) & (np.abs(places[:, 1:-1]) > NEAR))
    highest = np.argsort(-value[line, at + 1], kind="stable")
    line, at = line[highest], at[highest] + 1
    side = 2 * axis[line] + (places[line, at] > 0)
    first = np.zeros(len(line), dtype=bool)
    first[np.unique(side, return_index=True)[1]] = True
    kept = np.argsort(~first, kind="stable")
    return np.asarray(u[line[kept], at[kept]])


def wide_points(d: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Return draws of Student's t of several scales, shape ``(count, d)``."""
    scale = np.resize(WIDE, count) / max(1.0, math.sqrt(d) / 3)
    u = rng.standard_normal((count, d))
    return np.asarray(u * (scale / np.sqrt(rng.chisquare(FREEDOM, count) / FREEDOM))[:, None])


def densest_in_shells(u: FloatArray, value: FloatArray, shells: int) -> FloatArray:
    """Return, of points about as far away, the one where p / q is largest, ``(shell, d)``.

    q is the Gaussian. ``u`` has shape ``(point, d)`` and ``value`` is log p, nats. Shells are equal
    parts of the points in order of their distance; p alone would prefer their inner edges.
    """
    square = (u**2).sum(axis=1)
    over = value + 0.5 * square
    groups = np.array_split(np.argsort(square), shells)
    return u[np.array([g[np.argmax(over[g])] for g in groups if len(g)], dtype=np.intp)]
