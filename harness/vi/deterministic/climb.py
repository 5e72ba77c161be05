"""Climbs of log p from many points at once: a batch of gradients a step, not a call for each."""

from __future__ import annotations

from collections.abc import Callable
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
LOOK = 10  # evaluations from one look at whether a climb has arrived where others were to the next


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


Arrived = Callable[[NDArray[np.intp], FloatArray, FloatArray], NDArray[np.bool_]]
"""Says which climbs may end, given their numbers, points ``(climb, d)`` and log p, nats."""


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
    arrived: Arrived | None = None,
) -> Ends:
    """Climb log p by L-BFGS from points ``(climb, d)``, independent of each other.

    Steps are halved until log p rises enough, and doubled while it keeps rising. ``covariance``
    is an approximate inverse of the negative Hessian, ``(d, d)`` or its diagonal. The tolerance is
    the predicted rise, nats, at which a climb has converged; one that reaches ``enough`` ends, and
    so does one whose steps mostly fail, after ``TRIED`` evaluations for each of the iterations.
    ``arrived`` is asked every few evaluations.

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
    for turn in range(TRIED * iterations):
        clock.check()
        if len(fresh):
            own = g[fresh]
            new, known = memory.directions(fresh, own)
            falls = _dot(own, new)
            direction[fresh], slope[fresh] = new, falls
            first = np.where(known, 1.0, 1 / np.maximum(1.0, np.sqrt(np.maximum(-falls, 0))))
            reach = REACH * np.maximum(1.0, np.abs(x[fresh]).max(axis=1))
            longest = reach / np.maximum(np.abs(new).max(axis=1), 1e-300)
            step[fresh] = np.minimum(first * stretch[fresh], longest)
            ended = (known & (-falls / 2 < tolerance)) | (still[fresh] >= STILL)
            converged[fresh] = ended
            active[fresh] = ~ended & (done[fresh] < iterations) & (-f[fresh] < enough)
        rows = np.flatnonzero(active)
        if arrived is not None and turn and not turn % LOOK and len(rows):
            over = arrived(rows, x[rows], -f[rows])
            active[rows[over]], rows = False, rows[~over]
        if not len(rows):
            break
        there = x[rows] + step[rows, None] * direction[rows]
        fn, gn = _negative(target, there)
        down = np.isfinite(fn) & (fn <= f[rows] + ARMIJO * step[rows] * slope[rows])
        if not down.all():
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
    """The steps of each climb and the changes of its gradient, and L-BFGS directions from them.

    The two-loop recursion is written by inner products among the kept vectors (Byrd, Nocedal and
    Schnabel 1994, *Math. Programming* 63): each of its loops is a triangular system.
    """

    def __init__(self, shape: tuple[int, ...], covariance: FloatArray | None) -> None:
        self._covariance = covariance
        k, d = shape
        self._step, self._change = np.zeros((2, k, MEMORY, d))
        self._count = np.zeros(k, dtype=int)  # of pairs; the last MEMORY of them are kept
        self._scale = np.zeros(k)  # step'change / change'change of the last pair, or 0

    def add(self, rows: NDArray[np.int_], step: FloatArray, change: FloatArray) -> None:
        """Add a pair for some rows, if its curvature is positive."""
        bend, size = _dot(step, change), _dot(change, change)
        good = bend > 1e-12 * np.sqrt(_dot(step, step) * size)
        if not good.all():
            rows = rows[good]
            step, change, bend, size = (a[good] for a in (step, change, bend, size))
        slot = self._count[rows] % MEMORY
        self._step[rows, slot], self._change[rows, slot] = step, change
        self._count[rows] += 1
        self._scale[rows] = bend / size

    def directions(
        self, rows: NDArray[np.int_], gradient: FloatArray
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return −H g for some rows, and whether H is known, so that a whole step may be tried."""
        count, scale = self._count[rows], self._scale[rows]
        used = min(MEMORY, int(count.max(initial=0)))
        # The oldest pair first; one that a row does not have yet is zero.
        order = (count[:, None] + np.arange(MEMORY - used, MEMORY)) % MEMORY
        step, change = self._step[rows[:, None], order], self._change[rows[:, None], order]
        inner = np.triu(step @ change.swapaxes(1, 2))
        bend = np.einsum("kii->ki", inner)  # a view
        own = bend.copy()
        bend[own == 0] = 1.0
        weights = np.linalg.solve(inner, step @ gradient[:, :, None])
        q = gradient - (weights.swapaxes(1, 2) @ change)[:, 0]
        known = scale > 0
        if self._covariance is None:
            q *= np.where(known, scale, 1.0)[:, None]
        else:
            known = np.ones(len(q), dtype=bool)
            full = self._covariance.ndim == 2  # noqa: PLR2004
            q = q @ self._covariance if full else q * self._covariance
        left = own[:, :, None] * weights - change @ q[:, :, None]
        back = np.linalg.solve(inner.swapaxes(1, 2), left)
        q += (back.swapaxes(1, 2) @ step)[:, 0]
        # H is positive definite but for rounding.
        up = ~(_dot(q, gradient) > 0)
        q[up] = gradient[up]
        return -q, known & ~up


def _dot(one: FloatArray, two: FloatArray) -> FloatArray:
    """Return the inner products of rows, shape ``(row,)``."""
    return np.asarray(np.einsum("kd,kd->k", one, two))
