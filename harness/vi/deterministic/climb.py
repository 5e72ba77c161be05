"""Climbs of log p from many points at once: a batch of gradients a step, not a call for each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.records import FloatArray
from harness.vi.target import Clock, Target, finite_rows

MEMORY = 8
ARMIJO, CURVATURE = 1e-4, 0.9
TRIALS = 40  # steps in a row that may fail
STILL = 3  # steps in a row without visible progress after which a climb ends


VALLEY = 1.0  # nats by which log p must dip between two points in separate modes


def dips(target: Target, one: FloatArray, two: FloatArray) -> bool:
    """Return whether log p has a valley on the line between two points."""
    share = np.linspace(0, 1, 17)[:, None]
    value = target.log_density((1 - share) * one + share * two)
    lowest = np.min(np.where(np.isnan(value), -np.inf, value))
    return bool(lowest < min(value[0], value[-1]) - VALLEY)


class Ends(NamedTuple):
    """Where climbs ended, a row each."""

    z: FloatArray  # shape (climb, d)
    value: FloatArray  # log p, nats; not finite if the start had no density
    converged: NDArray[np.bool_]  # whether the predicted rise fell below the tolerance


def climb(
    target: Target,
    start: FloatArray,
    clock: Clock,
    *,
    covariance: FloatArray | None = None,
    tolerance: float,
    iterations: int,
    enough: float = np.inf,
) -> Ends:
    """Climb log p by L-BFGS from points ``(climb, d)``, independent of each other.

    Steps are halved until log p rises enough, and doubled while it keeps rising. ``covariance``
    is an approximate inverse of the negative Hessian, ``(d, d)`` or its diagonal. The tolerance is
    the predicted rise, nats, at which a climb has converged; one that reaches ``enough`` ends.

    Raises
    ------
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    x = start.copy()
    k, _ = x.shape
    f, g = _negative(target, x)
    active = np.isfinite(f)
    value, converged = np.where(active, f, np.inf), np.zeros(k, dtype=bool)
    memory = _Memory(x.shape, covariance)
    direction = np.zeros_like(x)
    slope, step, stretch = np.zeros(k), np.zeros(k), np.ones(k)
    done, failed, still = np.zeros(k, dtype=int), np.zeros(k, dtype=int), np.zeros(k, dtype=int)
    fresh = active.copy()
    while active.any():
        clock.check()
        if fresh.any():
            new, known = memory.directions(g)
            direction[fresh] = new[fresh]
            slope = np.where(fresh, np.sum(g * direction, axis=1), slope)
            first = np.where(known, 1.0, 1 / np.maximum(1.0, np.sqrt(np.maximum(-slope, 0))))
            step = np.where(fresh, first * stretch, step)
            arrived = fresh & ((known & (-slope / 2 < tolerance)) | (still >= STILL))
            converged |= arrived
            active &= ~arrived & (done < iterations) & (-f < enough)
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        there = x[rows] + step[rows, None] * direction[rows]
        fn, gn = _negative(target, there)
        down = np.isfinite(fn) & (fn <= f[rows] + ARMIJO * step[rows] * slope[rows])
        fresh = np.zeros(k, dtype=bool)
        # A step that is too long is shortened to the minimum of a parabola, within bounds.
        lost, bend = rows[~down], 2 * (fn - f[rows] - step[rows] * slope[rows])[~down]
        wish = np.where(bend > 0, -slope[lost] * step[lost] ** 2 / bend, 0.0)
        step[lost] = np.clip(np.nan_to_num(wish), 0.1 * step[lost], 0.5 * step[lost])
        failed[lost] += 1
        active[lost[failed[lost] >= TRIALS]] = False
        rows, there, fn, gn = rows[down], there[down], fn[down], gn[down]
        memory.add(rows, there - x[rows], gn - g[rows])
        steep = np.sum(gn * direction[rows], axis=1) < CURVATURE * slope[rows]
        stretch[rows] = np.where(steep, 2 * stretch[rows], 1.0)
        still[rows] = np.where(f[rows] - fn < 0.01 * tolerance, still[rows] + 1, 0)
        x[rows], f[rows], g[rows] = there, fn, gn
        failed[rows], done[rows], fresh[rows] = 0, done[rows] + 1, True
        value[rows] = fn
    return Ends(x, -value, converged)


def _negative(target: Target, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    value, gradient = target.log_density_gradient(z)
    good = finite_rows(value, gradient)
    return np.where(good, -value, np.inf), np.where(good[:, None], -gradient, 0.0)


class _Memory:
    """The steps of each climb and the changes of its gradient: the two-loop recursion by rows."""

    def __init__(self, shape: tuple[int, ...], covariance: FloatArray | None) -> None:
        self._covariance = covariance
        self._step, self._change = np.zeros((2, MEMORY, *shape))
        self._rate = np.zeros((MEMORY, shape[0]))  # 1 / step'change, 0 where there is none
        self._scale = np.zeros(shape[0])  # step'change / change'change of the last pair, or 0

    def add(self, rows: NDArray[np.int_], step: FloatArray, change: FloatArray) -> None:
        """Add a pair for some rows, if its curvature is positive."""
        bend = np.sum(step * change, axis=1)
        size = np.sum(change**2, axis=1)
        good = bend > 1e-12 * np.sqrt(np.sum(step**2, axis=1) * size)
        rows, step, change, bend, size = (a[good] for a in (rows, step, change, bend, size))
        for kept, new in ((self._step, step), (self._change, change), (self._rate, 1 / bend)):
            kept[:-1, rows] = kept[1:, rows]
            kept[-1, rows] = new
        self._scale[rows] = bend / size

    def directions(self, gradient: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return −H g by rows, and whether H is known, so that a whole step may be tried."""
        q = gradient.copy()
        weights = np.zeros_like(self._rate)
        for i in reversed(range(MEMORY)):
            weights[i] = self._rate[i] * np.sum(self._step[i] * q, axis=1)
            q -= weights[i, :, None] * self._change[i]
        known = self._scale > 0
        if self._covariance is None:
            q *= np.where(known, self._scale, 1.0)[:, None]
        else:
            known = np.ones(len(q), dtype=bool)
            full = self._covariance.ndim == 2  # noqa: PLR2004
            q = q @ self._covariance if full else q * self._covariance
        for i in range(MEMORY):
            back = weights[i] - self._rate[i] * np.sum(self._change[i] * q, axis=1)
            q += back[:, None] * self._step[i]
        # H is positive definite but for rounding.
        up = np.sum(q * gradient, axis=1) <= 0
        q[up] = gradient[up]
        return -q, known & ~up
