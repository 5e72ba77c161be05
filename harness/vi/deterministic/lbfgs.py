"""L-BFGS whose line search takes back steps to where a function is not finite."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from harness.records import FloatArray

Function = Callable[["FloatArray"], tuple[float, "FloatArray"]]
Metric = Callable[["FloatArray"], "FloatArray"]

Steps = tuple[tuple[float, float], ...]
"""``time.perf_counter()`` and a function's value, by iteration."""

MEMORY = 10
ARMIJO, CURVATURE = 1e-4, 0.9
TRIALS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """Where an optimiser arrived.

    Attributes
    ----------
    x, value, gradient
        The best point with its value, in nats, and gradient.
    values
        At the start and after each iteration: ``time.perf_counter()`` and the value.
    converged
        Whether the promised decrease fell below the tolerance.
    """

    x: FloatArray
    value: float
    gradient: FloatArray
    values: Steps
    converged: bool


def lbfgs(
    function: Function,
    x: FloatArray,
    *,
    metric: Metric | None = None,
    tolerance: float = 1e-5,
    iterations: int = 200,
    arrived: Callable[[FloatArray, float], bool] | None = None,
    longest: FloatArray | None = None,
) -> Path:
    """Minimise a smooth function.

    L-BFGS (Nocedal and Wright 2006, algorithm 7.4) with the bisecting weak Wolfe search of
    Lewis and Overton (2013), which asks nothing of the function where it is infinite.

    Parameters
    ----------
    function
        Returns value and gradient; a value that is not finite marks a step as bad.
    metric
        Applies an approximate inverse Hessian: the matrix L-BFGS starts from.
    tolerance
        Of half the decrement gᵀHg, the decrease that a Newton step promises, in nats.
    arrived
        Called with each new point and its value; True ends the search as converged.

    longest
        By coordinate, how far the first step of a line search may go.

    Returns
    -------
    Path
        ``converged`` is False and the value infinite where the start itself is not finite.
    """
    value, gradient = function(x)
    values = [(time.perf_counter(), value)]
    if not math.isfinite(value):
        return Path(x, math.inf, gradient, tuple(values), converged=False)
    memory: deque[tuple[FloatArray, FloatArray, float]] = deque(maxlen=MEMORY)
    still = 0
    for _ in range(iterations):
        direction = -_inverse_hessian(gradient, memory, metric)
        slope = float(gradient @ direction)
        if not slope < 0:
            memory.clear()
            direction = -gradient if metric is None else -metric(gradient)
            slope = float(gradient @ direction)
        if -slope / 2 < tolerance and (memory or metric is not None):
            return Path(x, value, gradient, tuple(values), converged=True)
        first = 1.0 if memory or metric is not None else 1 / max(1.0, math.sqrt(-slope))
        if longest is not None:
            first = min(first, float(np.min(longest / np.maximum(np.abs(direction), 1e-300))))
        found = _search(function, x, value, direction, slope, first)
        if found is None:
            # Rounding, or a wall: without memory there is nothing else to try.
            if not memory:
                break
            memory.clear()
            continue
        y, new_value, new_gradient = found
        step, change = y - x, new_gradient - gradient
        curvature = float(step @ change)
        if curvature > 1e-12 * math.sqrt(float(step @ step) * float(change @ change)):
            memory.append((step, change, curvature))
        still = still + 1 if value - new_value < 0.01 * tolerance else 0
        x, value, gradient = y, new_value, new_gradient
        values.append((time.perf_counter(), value))
        if still >= 3 or (arrived is not None and arrived(x, value)):  # noqa: PLR2004 - no progress that anyone could see
            return Path(x, value, gradient, tuple(values), converged=True)
    return Path(x, value, gradient, tuple(values), converged=False)


def _inverse_hessian(
    gradient: FloatArray,
    memory: deque[tuple[FloatArray, FloatArray, float]],
    metric: Metric | None,
) -> FloatArray:
    """Return H g by the two-loop recursion."""
    q = gradient.copy()
    weights = []
    for step, change, curvature in reversed(memory):
        a = float(step @ q) / curvature
        q -= a * change
        weights.append(a)
    if metric is not None:
        q = metric(q)
    elif memory:
        _, change, curvature = memory[-1]
        q *= curvature / float(change @ change)
    for (step, change, curvature), a in zip(memory, reversed(weights), strict=True):
        q = q + (a - float(change @ q) / curvature) * step
    return q


def _search(
    function: Function,
    x: FloatArray,
    value: float,
    direction: FloatArray,
    slope: float,
    step: float,
) -> tuple[FloatArray, float, FloatArray] | None:
    """Return a point of the weak Wolfe conditions, or one that at least decreases, or None."""
    low, high = 0.0, math.inf
    kept: tuple[FloatArray, float, FloatArray] | None = None
    for _ in range(TRIALS):
        y = x + step * direction
        found, gradient = function(y)
        if not (math.isfinite(found) and found <= value + ARMIJO * step * slope):
            high = step
        else:
            if kept is None or found < kept[1]:
                kept = (y, found, gradient)
            if float(gradient @ direction) >= CURVATURE * slope:
                return kept
            low = step
        if high == math.inf:
            step *= 2
        elif kept is not None and high - low < 0.1 * high:
            return kept
        elif low == 0.0 and math.isfinite(found):
            # Nothing tried has decreased: the parabola through what is known, kept in bounds.
            bend = 2 * (found - value - step * slope)
            wish = -slope * step**2 / bend if bend > 0 else 0.5 * step
            step = min(max(wish, 0.1 * step), 0.5 * step)
        else:
            step = 0.5 * (low + high)
        if np.array_equal(x + step * direction, x):
            break
    return kept
