"""Location, width and integral of a density of one unconstrained parameter, by quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.records import FloatArray
from harness.records.text import number
from harness.vi.target import Target

LogDensity = Callable[[FloatArray], FloatArray]

_SEARCH = np.sinh(np.linspace(-16, 16, 4001))
"""Points to look for a mode: up to ±4 million, in steps of 0.008 near zero and 0.8% far out."""

_POINTS = 8001
"""Points over all of p, at sinh u for u from −20 to 20: steps of 0.005 sd at the mode."""

_NORMALISED = 1e-7
"""The largest change of log Z with half the points, and the largest share of mass at the ends."""


class QuadratureError(ValueError):
    """The density cannot be fitted by quadrature, with the reason."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Integral, location and width of a density."""

    log_z: float  # log of the integral of the unnormalised density, nats
    mode: float
    curvature_sd: float  # the sd of the Gaussian with the same curvature at the mode
    median: float
    half_width: float  # half the central 68.27% range, which is the sd of a Gaussian


def one_dimensional(target: Target) -> LogDensity:
    """Return the log density as a function of arrays ``(point,)``, with −inf for NaN.

    Raises
    ------
    QuadratureError
        If the target does not have exactly one parameter.
    """
    if target.dimension != 1:
        raise QuadratureError(
            f"the program has {target.dimension} unconstrained parameters; allowed for fits by "
            "quadrature: one"
        )

    def log_p(z: FloatArray) -> FloatArray:
        value = target.log_density(z[:, None])
        return np.asarray(np.where(np.isnan(value), -np.inf, value))

    return log_p


def summarise(log_p: LogDensity) -> Summary:
    """Return a density's mode, integral, median and width.

    The mode is searched on a coarse grid and then on finer ones around the best point. With s the
    sd of the Gaussian with the curvature there, the density is summed at mode + s sinh u for even
    steps in u: fine at the mode, and far enough, 2·10⁸ s, for heavy tails.

    Raises
    ------
    QuadratureError
        If the density is finite nowhere, its integral appears to be infinite, or it is too rough
        for the grid.
    """
    mode, sd = _mode(log_p)
    u = np.linspace(-20, 20, _POINTS)
    z = mode + sd * np.sinh(u)
    weighted = log_p(z) + np.log(sd * np.cosh(u)) + math.log(u[1] - u[0])
    log_z = float(special.logsumexp(weighted))
    halved = float(special.logsumexp(weighted[::2])) + math.log(2)
    ends = math.exp(float(np.max(weighted[[0, -1]])) - log_z) / (u[1] - u[0])
    if not (math.isfinite(log_z) and ends < _NORMALISED):
        raise QuadratureError(
            f"the density has no finite integral from {number(z[0])} to {number(z[-1])}; an "
            "improper posterior cannot be fitted"
        )
    if not abs(log_z - halved) < _NORMALISED:
        raise QuadratureError(
            f"the density is too rough for quadrature: log Z is {number(log_z, 9)} with {_POINTS} "
            f"points, {number(halved, 9)} with half of them"
        )
    mass = np.exp(weighted - log_z)
    below = np.cumsum(mass) - mass / 2
    low, median, high = np.interp(special.ndtr([-1.0, 0.0, 1.0]), below, z)
    return Summary(log_z, mode, sd, float(median), float(high - low) / 2)


def _mode(log_p: LogDensity) -> tuple[float, float]:
    """Return the highest point found, and the sd of the curvature there."""
    z = _SEARCH
    value = log_p(z)
    if not np.isfinite(value).any():
        msg = f"the log density is finite nowhere between {number(z[0])} and {number(z[-1])}"
        raise QuadratureError(msg)
    best = 0
    for _ in range(60):
        best = int(np.argmax(value))
        low, high = z[max(best - 1, 0)], z[min(best + 1, len(z) - 1)]
        # Refine until the fall to the neighbours is small enough for a second difference.
        fall = value[best] - min(value[max(best - 1, 0)], value[min(best + 1, len(z) - 1)])
        if fall < 1e-4:  # noqa: PLR2004 - a hundredth of a sd to each side
            break
        z = np.linspace(low, high, 41)
        value = log_p(z)
    step = max(float(high - low) / 2, 1e-8 * max(abs(float(z[best])), 1e-4))
    # An even stencil around the mode, widened while rounding hides the curvature.
    mode = float(z[best])
    for _ in range(60):
        left, middle, right = log_p(np.array([mode - step, mode, mode + step]))
        bend = 2 * middle - left - right
        if math.isfinite(bend) and bend > 1e-6:  # noqa: PLR2004 - far over rounding
            return mode, step / math.sqrt(bend)
        if not math.isfinite(bend):
            break
        step *= 2
    msg = f"the density is flat around its highest point, {number(mode, 6)}: it has no mode"
    raise QuadratureError(msg)
