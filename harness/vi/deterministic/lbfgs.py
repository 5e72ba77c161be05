"""L-BFGS with a line search that takes back steps to where a function is not finite."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.records import FloatArray

Function = Callable[[FloatArray], tuple[float, FloatArray]]
Metric = Callable[[FloatArray], FloatArray]

Steps = tuple[tuple[float, float], ...]
"""``time.perf_counter()`` and the function's value at the start and after each iteration."""

MEMORY = 10
ARMIJO, CURVATURE = 1e-4, 0.9
TRIALS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """The result of an optimiser."""

    x: FloatArray  # the best point
    value: float  # nats
    gradient: FloatArray
    values: Steps
    converged: bool  # whether the predicted decrease fell below the tolerance


def lbfgs(
    function: Function,
    x: FloatArray,
    *,
    metric: Metric | None = None,
    tolerance: float = 1e-5,
    iterations: int = 200,
    least: int = 0,
    arrived: Callable[[FloatArray, float], bool] | None = None,
    longest: FloatArray | None = None,
) -> Path:
    """Minimise a smooth function.

    L-BFGS (Nocedal and Wright 2006, algorithm 7.4) with the bisecting weak Wolfe search of
    Lewis and Overton (2013), which also works if the function is infinite somewhere. If the start
    is not finite, the value is infinite and the path not converged.

    Parameters
    ----------
    function
        Returns value and gradient; steps to a value that is not finite are taken back.
    metric
        Applies an approximate inverse Hessian, the initial matrix of L-BFGS.
    tolerance
        Largest half decrement gᵀHg at convergence: the predicted decrease of a Newton step, nats.
    least
        The fewest pairs of steps and gradients in memory at convergence. Without any, it is the
        metric alone that says that the decrease will be small.
    arrived
        Called with each new point and its value; True ends the search as converged.
    longest
        By coordinate, the longest first step of a line search.
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
        small = -slope / 2 < tolerance and (bool(memory) or metric is not None)
        if small and len(memory) >= least:
            return Path(x, value, gradient, tuple(values), converged=True)
        scaled = bool(memory) or metric is not None
        first = _first_step(direction, slope, scaled=scaled, longest=longest)
        found = _search(function, x, value, direction, slope, first)
        if found is None:
            if small:
                return Path(x, value, gradient, tuple(values), converged=True)
            # Rounding, or an edge of the support: without memory nothing else can be tried.
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
        if still >= 3 or (arrived is not None and arrived(x, value)):  # noqa: PLR2004 - no visible progress
            return Path(x, value, gradient, tuple(values), converged=True)
    return Path(x, value, gradient, tuple(values), converged=False)


def _first_step(
    direction: FloatArray, slope: float, *, scaled: bool, longest: FloatArray | None
) -> float:
    """Return the step that a line search tries first."""
    first = 1.0 if scaled else 1 / max(1.0, math.sqrt(-slope))
    if longest is None:
        return first
    return min(first, float(np.min(longest / np.maximum(np.abs(direction), 1e-300))))


def _inverse_hessian(
    gradient: FloatArray, memory: deque[tuple[FloatArray, FloatArray, float]], metric: Metric | None
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
    """Return a point that fulfils the weak Wolfe conditions, or any lower one, or None."""
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
            # No trial has decreased: take the minimum of a parabola, within bounds.
            bend = 2 * (found - value - step * slope)
            wish = -slope * step**2 / bend if bend > 0 else 0.5 * step
            step = min(max(wish, 0.1 * step), 0.5 * step)
        else:
            step = 0.5 * (low + high)
        if np.array_equal(x + step * direction, x):
            break
    return kept
