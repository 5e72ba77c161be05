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
TRIED = 2  # evaluations for each allowed iteration after which a climb ends: it has got stuck


REACH = 10.0
"""The longest trial step, in the largest coordinate's size, or 1 if that is less.

A steep slope asks for a step to 10²⁰, where a differential equation takes seconds; a far maximum is
reached by steps that grow with the way behind them.
"""

VALLEY = 1.0  # nats by which log p must dip between two points in separate modes

FEW_PLACES = np.linspace(0, 1, 5)[:, None]
OTHER_PLACES = np.setdiff1d(np.linspace(0, 1, 17), FEW_PLACES)[:, None]
"""Where a valley is looked for first and next, as shares of the way."""


def dips(target: Target, one: FloatArray, two: FloatArray) -> bool:
    """Return whether log p has a valley on the line between two points.

    The ends and a few points between them mostly show it; only if they do not are the others
    evaluated.
    """

    def values(share: FloatArray) -> FloatArray:
        value = target.log_density((1 - share) * one + share * two)
        return np.where(np.isnan(value), -np.inf, value)

    few = values(FEW_PLACES)
    floor = min(few[0], few[-1]) - VALLEY
    return bool(few.min() < floor or values(OTHER_PLACES).min() < floor)


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
    the predicted rise, nats, at which a climb has converged; one that reaches ``enough`` ends, and
    so does one whose steps mostly fail, after ``TRIED`` evaluations for each of the iterations.

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
    fresh = np.flatnonzero(active)
    for _ in range(TRIED * iterations):
        clock.check()
        if len(fresh):
            new, known = memory.directions(fresh, g[fresh])
            falls = _dot(g[fresh], new)
            direction[fresh], slope[fresh] = new, falls
            first = np.where(known, 1.0, 1 / np.maximum(1.0, np.sqrt(np.maximum(-falls, 0))))
            reach = REACH * np.maximum(1.0, np.abs(x[fresh]).max(axis=1))
            longest = reach / np.maximum(np.abs(new).max(axis=1), 1e-300)
            step[fresh] = np.minimum(first * stretch[fresh], longest)
            arrived = (known & (-falls / 2 < tolerance)) | (still[fresh] >= STILL)
            converged[fresh] = arrived
            active[fresh] = ~arrived & (done[fresh] < iterations) & (-f[fresh] < enough)
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        there = x[rows] + step[rows, None] * direction[rows]
        fn, gn = _negative(target, there)
        down = np.isfinite(fn) & (fn <= f[rows] + ARMIJO * step[rows] * slope[rows])
        # A step that is too long is shortened to the minimum of a parabola, within bounds.
        lost, bend = rows[~down], 2 * (fn - f[rows] - step[rows] * slope[rows])[~down]
        wish = np.where(bend > 0, -slope[lost] * step[lost] ** 2 / bend, 0.0)
        step[lost] = np.clip(np.nan_to_num(wish), 0.1 * step[lost], 0.5 * step[lost])
        failed[lost] += 1
        active[lost[failed[lost] >= TRIALS]] = False
        rows, there, fn, gn = rows[down], there[down], fn[down], gn[down]
        memory.add(rows, there - x[rows], gn - g[rows])
        steep = _dot(gn, direction[rows]) < CURVATURE * slope[rows]
        stretch[rows] = np.where(steep, 2 * stretch[rows], 1.0)
        still[rows] = np.where(f[rows] - fn < 0.01 * tolerance, still[rows] + 1, 0)
        x[rows], f[rows], g[rows] = there, fn, gn
        failed[rows], done[rows], fresh = 0, done[rows] + 1, rows
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
        bend, size = _dot(step, change), _dot(change, change)
        good = bend > 1e-12 * np.sqrt(_dot(step, step) * size)
        rows = rows[good]
        step, change, bend, size = (a[good] for a in (step, change, bend, size))
        for kept, new in ((self._step, step), (self._change, change), (self._rate, 1 / bend)):
            kept[:-1, rows] = kept[1:, rows]
            kept[-1, rows] = new
        self._scale[rows] = bend / size

    def directions(
        self, rows: NDArray[np.int_], gradient: FloatArray
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return −H g for some rows, and whether H is known, so that a whole step may be tried."""
        q = gradient.copy()
        step, change, rate = self._step[:, rows], self._change[:, rows], self._rate[:, rows]
        used = np.flatnonzero(rate.any(axis=1)).tolist()
        weights = np.zeros_like(rate)
        for i in reversed(used):
            weights[i] = rate[i] * _dot(step[i], q)
            q -= weights[i, :, None] * change[i]
        scale = self._scale[rows]
        known = scale > 0
        if self._covariance is None:
            q *= np.where(known, scale, 1.0)[:, None]
        else:
            known = np.ones(len(q), dtype=bool)
            full = self._covariance.ndim == 2  # noqa: PLR2004
            q = q @ self._covariance if full else q * self._covariance
        for i in used:
            back = weights[i] - rate[i] * _dot(change[i], q)
            q += back[:, None] * step[i]
        # H is positive definite but for rounding.
        up = _dot(q, gradient) <= 0
        q[up] = gradient[up]
        return -q, known & ~up


def _dot(one: FloatArray, two: FloatArray) -> FloatArray:
    """Return the inner products of rows, shape ``(row,)``."""
    return np.asarray(np.einsum("kd,kd->k", one, two))
