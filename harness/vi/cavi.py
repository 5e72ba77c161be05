"""Hand-derived coordinate ascent (CAVI) for the mean and variance of a normal.

The program is ``stan/inverse_gamma_normal``: s ~ InverseGamma(a₀, b₀), m ~ N(0, s/w₀) and
xᵢ ~ N(m, s) for i = 1 … n, with variances as second arguments, a₀ = 2, b₀ = 3, w₀ = 1. With
w = w₀ + n,

    log p(x, m, s) = −½ (n + 1) ln 2π + ½ ln w₀ + a₀ ln b₀ − ln Γ(a₀)
                     − (a₀ + 1 + ½ (n + 1)) ln s − (b₀ + ½ Q(m)) / s,
    Q(m) = Σ (xᵢ − m)² + w₀ m² = Q₀ + w (m − c)²,    c = Σ xᵢ / w,    Q₀ = Σ xᵢ² − w c².

The mean-field family q(m) q(s) has no further restriction. The optimal factors satisfy
log q(m) = E_s[log p] + const and log q(s) = E_m[log p] + const (Bishop 2006, 10.1), so

    q(s) = InverseGamma(a, b),    a = a₀ + ½ (n + 1),    b = b₀ + ½ Q₀ + ½ w ((μ − c)² + v),
    q(m) = N(μ, v),               μ = c,                 1/v = w E[1/s] = w a/b.

In the posterior m and s are uncorrelated but dependent (m given s has variance s/w), which q
cannot represent. At the optimum E_q[1/s] is exact, q's variance of m is that at the harmonic mean
of s, too small by the factor (a − 3/2)/(a − ½), and q(s) is slightly too narrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import special

from harness.records import FloatArray, Trace
from harness.vi.gaussian import LOG_TWO_PI
from harness.vi.target import Clock

PRIOR_SHAPE, PRIOR_SCALE, PRIOR_WEIGHT = 2.0, 3.0, 1.0  # a₀, b₀ and w₀ of the program


class Summary(NamedTuple):
    """Sufficient statistics of n numbers: count, mean, and sum of squares about the mean."""

    rows: int
    mean: float
    squares: float

    @property
    def weight(self) -> float:
        """The weight w of the rows and the prior."""
        return PRIOR_WEIGHT + self.rows

    @property
    def centre(self) -> float:
        """The mean c of the rows and the prior."""
        return self.rows * self.mean / self.weight

    @property
    def least_squares(self) -> float:
        """Q₀, the minimum of Q(m), without a difference of large numbers."""
        return self.squares + self.rows * PRIOR_WEIGHT / self.weight * self.mean**2

    @property
    def shape(self) -> float:
        """The shape a of the optimal q(s)."""
        return PRIOR_SHAPE + (self.rows + 1) / 2


def summarise(x: FloatArray) -> Summary:
    """Return the sufficient statistics of numbers of shape ``(row,)``.

    Raises
    ------
    ValueError
        If there are none, if the shape is different, or if a number is not finite.
    """
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ValueError(
            f"x has shape {x.shape} and {np.count_nonzero(~np.isfinite(x))} values that are not "
            "finite; allowed: one row or more of finite numbers"
        )
    mean = float(x.mean())
    return Summary(x.size, mean, float(np.square(x - mean).sum()))


@dataclass(frozen=True, slots=True)
class Factors:
    """q(m) = N(mean, variance) and q(s) = InverseGamma(shape, scale)."""

    mean: float
    variance: float
    shape: float
    scale: float

    @property
    def precision(self) -> float:
        """E[1/s]."""
        return self.shape / self.scale


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The final factors, the path to them, and whether the algorithm converged."""

    q: Factors
    trace: Trace
    iterations: int
    converged: bool


def start(data: Summary) -> Factors:
    """Return the initial factors: the prior, with the optimal shape of q(s)."""
    return Factors(0.0, PRIOR_SCALE / PRIOR_SHAPE, data.shape, data.shape)


def elbo(q: Factors, data: Summary) -> float:
    """Return E_q[log p(x, m, s)] − E_q[log q(m)] − E_q[log q(s)], nats, constants included.

    With E[ln s] = ln b − ψ(a) and E[1/s] = a/b; the entropies are ½ ln(2πe v) and
    a + ln b + ln Γ(a) − (1 + a) ψ(a).
    """
    a, b = q.shape, q.scale
    digamma = float(special.digamma(a))
    log_s = math.log(b) - digamma
    power = PRIOR_SHAPE + 1 + (data.rows + 1) / 2
    joint = (
        _prior_constant()
        - (data.rows + 1) / 2 * LOG_TWO_PI
        - power * log_s
        - (PRIOR_SCALE + _expected_squares(q, data) / 2) * q.precision
    )
    entropy_m = 0.5 * (LOG_TWO_PI + 1 + math.log(q.variance))
    entropy_s = a + math.log(b) + math.lgamma(a) - (1 + a) * digamma
    return joint + entropy_m + entropy_s


def log_evidence(data: Summary) -> float:
    """Return log p(x), nats: the ELBO if q were the posterior.

    The posterior is normal-inverse-gamma with A = a₀ + ½ n and B = b₀ + ½ Q₀, so
    log p(x) = a₀ ln b₀ − ln Γ(a₀) + ln Γ(A) − A ln B − ½ n ln 2π + ½ ln (w₀/w).
    """
    shape = PRIOR_SHAPE + data.rows / 2
    scale = PRIOR_SCALE + data.least_squares / 2
    return (
        _prior_constant()
        + math.lgamma(shape)
        - shape * math.log(scale)
        - data.rows / 2 * LOG_TWO_PI
        - 0.5 * math.log(data.weight)
    )


def optimum(data: Summary) -> Factors:
    """Return the fixed point of the coordinate updates in closed form.

    v = b/(a w) in b = b₀ + ½ Q₀ + ½ w v gives b = (b₀ + ½ Q₀) · 2a/(2a − 1).
    """
    shape = data.shape
    scale = (PRIOR_SCALE + data.least_squares / 2) * 2 * shape / (2 * shape - 1)
    return Factors(data.centre, scale / (shape * data.weight), shape, scale)


def unrest(q: Factors, data: Summary) -> float:
    """Return how far a coordinate update would move q, in sds of its factors.

    This is the size of the natural gradient (Hoffman et al. 2013), zero at the optimum.
    """
    variance = 1 / (data.weight * q.precision)
    scale = PRIOR_SCALE + _expected_squares(q, data) / 2
    return max(
        abs(q.mean - data.centre) / math.sqrt(variance),
        abs(math.log(q.variance / variance)) / 2,
        abs(math.log(q.scale / scale)) * math.sqrt(q.shape),
    )


def cavi(data: Summary, clock: Clock, iterations: int = 1000, tolerance: float = 1e-12) -> Fit:
    """Update q(m) and q(s) in turn: coordinate ascent, in which the ELBO never falls.

    At convergence no parameter changes by more than ``tolerance``, relative to itself, or to the
    sd for q(m)'s mean.
    """
    path = Path(clock)
    q = start(data)
    path.add(0, q, elbo(q, data))
    for done in range(1, iterations + 1):
        old = q
        q = replace(q, mean=data.centre, variance=1 / (data.weight * q.precision))
        q = replace(q, scale=PRIOR_SCALE + _expected_squares(q, data) / 2)
        path.add(done, q, elbo(q, data))
        change = max(
            abs(q.mean - old.mean) / math.sqrt(q.variance),
            abs(q.variance / old.variance - 1),
            abs(q.scale / old.scale - 1),
        )
        if change <= tolerance:
            return Fit(q, path.trace(), done, converged=True)
        if clock.over:
            return Fit(q, path.trace(), done, converged=False)
    return Fit(q, path.trace(), iterations, converged=False)


def sample(q: Factors, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Draw ``n`` pairs from q: s and m, each of shape ``(n,)``."""
    s = q.scale / rng.standard_gamma(q.shape, size=n)
    return s, q.mean + math.sqrt(q.variance) * rng.standard_normal(n)


def log_density_q(q: Factors, s: FloatArray, m: FloatArray) -> FloatArray:
    """Return log q at (ln s, m), nats, including the Jacobian ln s of s = exp(ln s)."""
    log_s = np.log(s)
    factor_s = q.shape * math.log(q.scale) - math.lgamma(q.shape) - q.shape * log_s - q.scale / s
    factor_m = -0.5 * (LOG_TWO_PI + math.log(q.variance) + np.square(m - q.mean) / q.variance)
    return np.asarray(factor_s + factor_m)


def log_density(data: Summary, s: FloatArray, m: FloatArray) -> FloatArray:
    """Return log p(x, m, s) at (ln s, m), nats, with constants and Jacobian, as Stan does."""
    squares = data.least_squares + data.weight * np.square(m - data.centre)
    power = PRIOR_SHAPE + (data.rows + 1) / 2
    constant = _prior_constant() - (data.rows + 1) / 2 * LOG_TWO_PI
    return np.asarray(constant - power * np.log(s) - (PRIOR_SCALE + squares / 2) / s)


def _prior_constant() -> float:
    """Return a₀ ln b₀ − ln Γ(a₀) + ½ ln w₀."""
    own = PRIOR_SHAPE * math.log(PRIOR_SCALE) - math.lgamma(PRIOR_SHAPE)
    return own + 0.5 * math.log(PRIOR_WEIGHT)


def _expected_squares(q: Factors, data: Summary) -> float:
    off = q.mean - data.centre
    return data.least_squares + data.weight * (off**2 + q.variance)


class Path:
    """A trace in the making, with the factors' parameters as extras."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: list[tuple[float, ...]] = []

    def add(self, iteration: int, q: Factors, value: float) -> None:
        """Record an iteration with its factors and ELBO."""
        self._rows.append(
            (iteration, self._clock.elapsed_s, value, q.mean, q.variance, q.shape, q.scale)
        )

    def trace(self) -> Trace:
        """Return the trace."""
        columns = np.array(self._rows, dtype=np.float64).T
        names = ("m_mean", "m_variance", "s_shape", "s_scale")
        extras = dict(zip(names, columns[3:], strict=True))
        return Trace(columns[0], columns[1], columns[2], extras)
