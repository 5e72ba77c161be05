"""The shape of a posterior's marginals: skewness and tails, with Monte Carlo errors.

Draws on the unconstrained scale in. These are evidence for the cause of a family gap, and rank
causes by about how many nats each one costs. See :mod:`harness.metrics.influence` for which draws
can be used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.metrics.influence import checked, estimates, standardised, usable
from harness.records import NO_ESTIMATE, Estimate, FloatArray

NORMAL_TAU4 = 30 / math.pi * math.atan(math.sqrt(2)) - 9
"""L-kurtosis of the normal distribution, 0.1226 (Hosking, 1990, table 1)."""

SKEWED_TAU4 = 1.2
"""Skewness alone raises τ₄ above the normal's by up to this many τ₃²: 1.18 for a log-gamma close
to the normal, 1.07 for −ln Gamma(2), 0.78 for a log-normal (by quadrature)."""

SETTLED_ERROR = 0.15
"""The largest relative standard error of a usable third or fourth moment: above it, a few draws
carry the sum, and the error no longer shrinks as 1/√n."""

SETTLED_EXCESS = 0.055
"""An excess of τ₄ (that of a Student t with 6 degrees of freedom) above which the fourth moment may
have no standard error. A lucky sample of such tails looks settled."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of one marginal, without unit.

    ``skewness`` and ``excess_kurtosis`` are the standardised third and fourth moments (0 for a
    normal); heavy tails leave them undefined, and their error is infinite where it is unknown.
    ``settled`` says whether the fourth is usable: its relative error is at most 15% and
    :attr:`tail_excess` at most 0.055, which takes about 500 independent draws of a normal.
    ``l_skewness`` (τ₃) and ``l_kurtosis`` (τ₄; 0.1226 for a normal) exist wherever a mean does.
    All are NaN where the draws cannot be used.
    """

    skewness: Estimate
    excess_kurtosis: Estimate
    l_skewness: Estimate
    l_kurtosis: Estimate
    settled: bool

    @property
    def tail_excess(self) -> Estimate:
        """The part of τ₄ above the normal's that skewness does not explain; negative if light.

        Skewness explains between 0 and 1.2 τ₃² (:data:`SKEWED_TAU4`).
        """
        tau3, tau4 = self.l_skewness, self.l_kurtosis
        slope = 2 * SKEWED_TAU4 * abs(tau3.value) if tau4.value > NORMAL_TAU4 else 0.0
        error = math.hypot(tau4.mcse, slope * tau3.mcse)
        return Estimate(_excess(tau3.value, tau4.value), error)

    @property
    def skew_nats(self) -> Estimate:
        """About how many nats of KL(best Gaussian ‖ p) the skewness costs: π τ₃².

        By Edgeworth a skewness γ costs γ²/12 (Comon, 1994), and by Cornish-Fisher
        λ₃ = γ/6 E[(Z² − 1)(6Φ² − 6Φ + 1)] = γ √3/(6π), λ₂ = 1/√π: so τ₃ = γ/(2 √(3π)).
        For the log of a gamma variable, whose cost is the remainder of Stirling's formula, this
        is 2% too much for shape 10, 9% for shape 2 and 12% for shape 1. The noise's own square is
        subtracted.
        """
        value, error = self.l_skewness
        square, spread = _square(value, error)
        return Estimate(math.pi * square, math.pi * spread)

    @property
    def tail_nats(self) -> Estimate:
        """About how many nats of KL(best Gaussian ‖ p) heavy or light tails cost.

        An excess kurtosis κ costs κ²/48 to leading order (Comon, 1994), and by Cornish-Fisher
        τ₄ − τ₄(normal) = 5√2 κ/(48π): so 24π²/25 e² for the excess e of
        :attr:`tail_excess`. Heavy tails cost a Gaussian much less than that: divided by
        1 + 25 e it is within 12% of the Student t with 2 or more degrees of freedom.
        For light tails it is within a factor 2 of densities exp(−|x|^b), b ≤ 8.
        """
        excess, error = self.tail_excess
        heavy = max(excess, 0.0)
        square, spread = _square(excess, error)
        factor = 24 * math.pi**2 / 25 / (1 + 25 * heavy)
        return Estimate(factor * square, factor * spread)


def _excess(tau3: float, tau4: float) -> float:
    raw = tau4 - NORMAL_TAU4
    return raw - min(max(raw, 0.0), SKEWED_TAU4 * tau3**2)


def _square(value: float, error: float) -> tuple[float, float]:
    """Return the square of a noisy figure, less the noise's own (at least 0), and its error."""
    square = value**2 - error**2
    return (0.0 if square < 0 else square), 2 * abs(value) * error + error**2


NO_SHAPE = Shape(NO_ESTIMATE, NO_ESTIMATE, NO_ESTIMATE, NO_ESTIMATE, settled=False)


def marginal_shapes(z: FloatArray, effective: float | FloatArray) -> tuple[Shape, ...]:
    """Return the shape of every coordinate's marginal.

    Errors are those of influence functions (the delta method): their sd over the square root of
    the effective number of draws, or their batch means' if those vary more. L-moments are
    λ_r = ∫ Q(u) P_{r−1}(2u − 1) du (Hosking, 1990), with influence function
    −∫ (1{x ≤ y} − F(y)) P_{r−1}(2 F(y) − 1) dy. :data:`NO_SHAPE` stands where draws cannot be
    used. Parameters and errors are those of :func:`~harness.metrics.influence.checked`.
    """
    z, worth = checked(z, effective)
    good = usable(z, worth)
    shapes = [NO_SHAPE] * z.shape[1]
    x, worth = standardised(z[:, good]), worth[good]
    if x.size == 0:
        return tuple(shapes)
    squares = x**2
    third, fourth = np.mean(x * squares, axis=0), np.mean(squares**2, axis=0)
    skew = estimates(third, x * squares - third - 3 * x - 1.5 * third * (squares - 1), worth)
    kurtosis = estimates(
        fourth - 3, squares**2 - fourth - 4 * third * x - 2 * fourth * (squares - 1), worth
    )
    tau3, tau4 = _l_moments(x, worth)
    noise3 = np.sqrt(np.mean(squares**3, axis=0) / worth) / np.mean(np.abs(x) * squares, axis=0)
    noise4 = np.sqrt(np.mean(squares**4, axis=0) / worth) / fourth
    for k, i in enumerate(np.flatnonzero(good)):
        light = _excess(tau3[k].value, tau4[k].value) <= SETTLED_EXCESS
        settled = light and bool(noise4[k] <= SETTLED_ERROR)
        known = light and bool(noise3[k] <= SETTLED_ERROR)
        # A sample without extremes has a low fourth moment and a low error; in repetitions, three
        # times the relative error makes up for most of it.
        error4 = kurtosis[k].mcse * (1 + 3 * kurtosis[k].mcse / float(fourth[k]))
        shapes[int(i)] = Shape(
            skewness=Estimate(skew[k].value, skew[k].mcse if known else math.inf),
            excess_kurtosis=Estimate(kurtosis[k].value, error4 if settled else math.inf),
            l_skewness=tau3[k],
            l_kurtosis=tau4[k],
            settled=settled,
        )
    return tuple(shapes)


def _l_moments(x: FloatArray, worth: FloatArray) -> tuple[list[Estimate], list[Estimate]]:
    """Return τ₃ and τ₄ of each column.

    With spacings s_i of the sorted draws and u = i/n between them, λ_r is the sum of
    −s_i ∫₀ᵘ P_{r−1}(2t − 1) dt, and the influence of a draw the sum of s_i P_{r−1}(2u − 1) over
    the spacings below it, less the mean.
    """
    n = len(x)
    order = np.argsort(x, axis=0)
    spacings = np.diff(np.take_along_axis(x, order, axis=0), axis=0)
    u = np.arange(1, n)[:, None] / n
    weights = (2 * u - 1, 6 * u**2 - 6 * u + 1, 20 * u**3 - 30 * u**2 + 12 * u - 1)
    integrals = (u - u**2, -2 * u**3 + 3 * u**2 - u, -5 * u**4 + 10 * u**3 - 6 * u**2 + u)
    values = [np.sum(spacings * w, axis=0) for w in integrals]
    influences = []
    for weight in weights:
        below = np.zeros_like(x)
        np.cumsum(spacings * weight, axis=0, out=below[1:])
        influences.append(below - np.mean(below, axis=0))
    ratios = []
    for value, influence in zip(values[1:], influences[1:], strict=True):
        ratio = value / values[0]
        by_draw = np.empty_like(x)
        np.put_along_axis(by_draw, order, (influence - ratio * influences[0]) / values[0], axis=0)
        ratios.append(estimates(ratio, by_draw, worth))
    return ratios[0], ratios[1]
