"""A density of one unconstrained parameter, summed: where it is, how wide, and its integral."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from harness.vi.target import Target

if TYPE_CHECKING:
    from harness.records import FloatArray

    LogDensity = Callable[[FloatArray], FloatArray]

_SEARCH = np.sinh(np.linspace(-16, 16, 4001))
"""Where a mode is looked for: to ±4 million, near zero in steps of 0.008, far out of 0.8%."""

_POINTS = 8001
"""Points over all of p: in steps of sinh u, u from −20 to 20, that is 0.005 sd at the mode."""

_NORMALISED = 1e-7
"""Largest change of log Z with half the points, and largest share of the mass at the ends."""


class QuadratureError(ValueError):
    """A density that cannot be fitted so, with the reason."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a density is like, found by summing it.

    Attributes
    ----------
    log_z
        Log of the integral of the density as given, nats.
    mode, curvature_sd
        Where it is largest, and the sd of the Gaussian with its curvature there.
    median, half_width
        Its median and half its central 68.27% range: the sd of a Gaussian.
    """

    log_z: float
    mode: float
    curvature_sd: float
    median: float
    half_width: float


def one_dimensional(target: Target) -> LogDensity:
    """Return the target as a function of arrays ``(point,)``; what is not a number is −inf.

    Raises
    ------
    QuadratureError
        If it has another number of parameters.
    """
    if target.dimension != 1:
        msg = (
            f"the program has {target.dimension} unconstrained parameters; fits by quadrature "
            "are for programs with one"
        )
        raise QuadratureError(msg)

    def log_p(z: FloatArray) -> FloatArray:
        value = target.log_density(z[:, None])
        return np.asarray(np.where(np.isnan(value), -np.inf, value))

    return log_p


def summarise(log_p: LogDensity) -> Summary:
    """Find a density's mode, then its integral, median and width.

    The mode is looked for on a coarse grid and then on finer ones around the best point. With s
    the sd of the Gaussian with the curvature there, the density is summed at mode + s sinh u for
    even steps in u, fine at the mode and still reaching 2·10⁸ s: heavy tails lose nothing.

    Raises
    ------
    QuadratureError
        If the density is nowhere finite, has no finite integral as far as can be seen, or is too
        rough for the grid.
    """
    mode, sd = _mode(log_p)
    u = np.linspace(-20, 20, _POINTS)
    z = mode + sd * np.sinh(u)
    weighted = log_p(z) + np.log(sd * np.cosh(u)) + math.log(u[1] - u[0])
    log_z = float(special.logsumexp(weighted))
    halved = float(special.logsumexp(weighted[::2])) + math.log(2)
    ends = math.exp(float(np.max(weighted[[0, -1]])) - log_z) / (u[1] - u[0])
    if not (math.isfinite(log_z) and ends < _NORMALISED):
        msg = (
            f"the density has no finite integral as far as {z[0]:.3g} to {z[-1]:.3g}; a posterior "
            "that is not proper cannot be fitted"
        )
        raise QuadratureError(msg)
    if not abs(log_z - halved) < _NORMALISED:
        msg = (
            f"the density is too rough to be summed: log Z is {log_z:.9g} with {_POINTS} points, "
            f"{halved:.9g} with half of them"
        )
        raise QuadratureError(msg)
    mass = np.exp(weighted - log_z)
    below = np.cumsum(mass) - mass / 2
    low, median, high = np.interp(special.ndtr([-1.0, 0.0, 1.0]), below, z)
    return Summary(log_z, mode, sd, float(median), float(high - low) / 2)


def _mode(log_p: LogDensity) -> tuple[float, float]:
    """Return the highest point that the search meets, and the curvature's sd there."""
    z = _SEARCH
    value = log_p(z)
    if not np.isfinite(value).any():
        msg = f"the log density is finite nowhere between {z[0]:.3g} and {z[-1]:.3g}"
        raise QuadratureError(msg)
    best = 0
    for _ in range(60):
        best = int(np.argmax(value))
        low, high = z[max(best - 1, 0)], z[min(best + 1, len(z) - 1)]
        # Until the fall to the neighbours is small enough for the curvature to be a curvature.
        fall = value[best] - min(value[max(best - 1, 0)], value[min(best + 1, len(z) - 1)])
        if fall < 1e-4:  # noqa: PLR2004 - a hundredth of a sd to each side
            break
        z = np.linspace(low, high, 41)
        value = log_p(z)
    step = max(float(high - low) / 2, 1e-8 * max(abs(float(z[best])), 1e-4))
    # Of an even stencil around the mode; wider ones where rounding leaves no curvature.
    mode = float(z[best])
    for _ in range(60):
        left, middle, right = log_p(np.array([mode - step, mode, mode + step]))
        bend = 2 * middle - left - right
        if math.isfinite(bend) and bend > 1e-6:  # noqa: PLR2004 - far over rounding
            return mode, step / math.sqrt(bend)
        if not math.isfinite(bend):
            break
        step *= 2
    msg = f"the density has no curved mode: its highest point is {mode:.6g}"
    raise QuadratureError(msg)
