"""Fits of one-dimensional densities by quadrature and Nelder–Mead, as in the lecture's start.

There are three criteria to choose q for a posterior p with one unconstrained parameter z:

- the *weighted mean square*  ∫ q (log q − log p)² dz / ∫ q dz  of a Gaussian q. Grid and weights
  move with q, and p is normalised, because otherwise an unknown constant would be fitted;
- KL(q‖p) = ∫ q (log q − log p) dz of a Gaussian q;
- KL(q‖p) of a normal truncated to (0, 1), for a parameter θ on that interval.

All integrals are trapezoidal sums over even grids. For smooth functions that vanish at both ends
they converge geometrically (Trefethen & Weideman 2014), here up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from harness.records import FloatArray, Trace
from harness.vi.gaussian import LOG_TWO_PI
from harness.vi.one_dimensional import LogDensity, QuadratureError
from harness.vi.target import Clock

_EPSILON = float(np.finfo(np.float64).eps)

_GRID = np.linspace(-20, 20, 2001)
"""Points over a Gaussian q, in its sds, in steps of 0.02."""

_UNIT_POINTS = 4001
_UNIT_SDS = 10.0
_UNIT_END = 36.0
"""Points over a truncated normal on the logit scale: within 10 sds and ±36, which leaves out e⁻³⁶.

Beyond 36.7, θ is 1 in double precision, and programs have no density there.
"""

_RESTARTS = 10

_WHOLE = 1e-6  # the largest error of the sum of q over its grid at which the grid covers q


class Family(NamedTuple):
    """A family with parameters (mu, ln sigma), on the unconstrained scale.

    mu may be as large as ``widest``², so that the truncated family includes every exponential.
    """

    grid: Callable[[float, float], FloatArray]  # points that cover a member
    log_density: Callable[[FloatArray, float, float], FloatArray]  # nats, with Jacobian
    sample: Callable[[float, float, int, np.random.Generator], FloatArray]
    widest: float  # the largest sigma to try


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The best member: its parameters, criterion, KL(q‖p) and the path to it."""

    mu: float
    sigma: float
    criterion: float
    kl: float
    evaluations: int
    converged: bool
    trace: Trace


def _gaussian_log_density(z: FloatArray, mu: float, log_sigma: float) -> FloatArray:
    scaled = (z - mu) * math.exp(-log_sigma)
    return np.asarray(-0.5 * (LOG_TWO_PI + scaled**2) - log_sigma)


GAUSSIAN = Family(
    grid=lambda mu, log_sigma: mu + math.exp(log_sigma) * _GRID,
    log_density=_gaussian_log_density,
    sample=lambda mu, log_sigma, n, rng: mu + math.exp(log_sigma) * rng.standard_normal(n),
    widest=math.inf,
)
"""N(mu, sigma) on the unconstrained scale."""


def _unit_grid(mu: float, log_sigma: float) -> FloatArray:
    """Return even points of logit θ that cover the truncated normal."""
    sigma = math.exp(log_sigma)
    # If mu is outside (0, 1), the mass lies at the nearer end.
    middle = min(max(mu, 0.0), 1.0)
    low, high = middle - _UNIT_SDS * sigma, middle + _UNIT_SDS * sigma
    ends = special.logit(np.clip([low, high], 0.0, 1.0))
    first, last = (float(end) for end in np.clip(ends, -_UNIT_END, _UNIT_END))
    return np.linspace(first, last, _UNIT_POINTS)


def _log_mass(low: float, high: float) -> float:
    """Return log(Φ(high) − Φ(low)) without cancellation in either tail."""
    if low > 0:
        low, high = -high, -low
    top, bottom = (float(v) for v in special.log_ndtr([high, low]))
    return top + math.log(-math.expm1(bottom - top)) if bottom < top else -math.inf


def _unit_log_density(z: FloatArray, mu: float, log_sigma: float) -> FloatArray:
    """Return the log density of logit θ: the truncated normal's plus the Jacobian log θ(1 − θ)."""
    sigma = math.exp(log_sigma)
    theta = special.expit(z)
    jacobian = special.log_expit(z) + special.log_expit(-z)
    mass = _log_mass(-mu / sigma, (1 - mu) / sigma)
    return np.asarray(_gaussian_log_density(theta, mu, log_sigma) - mass + jacobian)


def _unit_sample(mu: float, log_sigma: float, n: int, rng: np.random.Generator) -> FloatArray:
    """Draw by inverting the distribution function in the tail without cancellation."""
    sigma = math.exp(log_sigma)
    low, high = -mu / sigma, (1 - mu) / sigma
    mirrored = low > 0
    if mirrored:
        low, high = -high, -low
    bottom, top = (float(v) for v in special.log_ndtr([low, high]))
    # log(Φ(low) + U (Φ(high) − Φ(low))), U in (0, 1] so that its logarithm is finite.
    log_u = np.log1p(-rng.random(n)) + _log_mass(low, high)
    normal = special.ndtri_exp(np.minimum(np.logaddexp(bottom, log_u), top))
    theta = mu + sigma * (-normal if mirrored else normal)
    # The ends are infinite on the logit scale, so draws stay one rounding step away.
    tiny, last = np.finfo(np.float64).tiny, np.nextafter(1.0, 0.0)
    return np.asarray(special.logit(np.clip(theta, tiny, last)))


TRUNCATED = Family(_unit_grid, _unit_log_density, _unit_sample, widest=1e3)
"""A normal truncated to (0, 1), on the logit scale, where KL(q‖p) is the same.

For large sigma it approaches the uniform distribution, up to one part in a million at 1000.
"""


def divergence(log_p: LogDensity, family: Family, mu: float, log_sigma: float) -> float:
    """Return KL(q‖p), nats, for a normalised p; infinite if q exceeds the support of p."""
    q, difference = _on_grid(log_p, family, mu, log_sigma)
    return float((q * difference).sum())


def mean_square(log_p: LogDensity, family: Family, mu: float, log_sigma: float) -> float:
    """Return the weighted mean square of log q − log p, nats², for a normalised p."""
    q, difference = _on_grid(log_p, family, mu, log_sigma)
    return float((q * difference**2).sum())


def _on_grid(
    log_p: LogDensity, family: Family, mu: float, log_sigma: float
) -> tuple[FloatArray, FloatArray]:
    """Return weights q that sum to 1, and log q − log p, at points where q is not negligible."""
    z = family.grid(mu, log_sigma)
    log_q = family.log_density(z, mu, log_sigma)
    q = np.exp(log_q) * (z[1] - z[0])
    if not abs(q.sum() - 1) < _WHOLE:
        return np.ones(1), np.full(1, np.inf)
    # Where q underflows, it adds nothing to the integrals, whatever p is.
    held = q > 1e-40  # noqa: PLR2004 - 13 sds of a Gaussian
    return q[held], log_q[held] - log_p(z[held])


def fit(
    log_p: LogDensity,
    family: Family,
    criterion: Callable[[LogDensity, Family, float, float], float],
    starts: list[tuple[float, float]],
    log_z: float,
    clock: Clock,
) -> Fit:
    """Minimise a criterion over (mu, ln sigma) by Nelder–Mead, for a normalised log density.

    The search runs from each start (mu, sigma) and restarts at its end until nothing is gained,
    because a simplex may collapse early; the best end is kept. The trace's ELBO is
    log Z − KL(q‖p).

    Raises
    ------
    QuadratureError
        If the criterion is finite at no start.
    """
    ends = [_search(log_p, family, criterion, start, log_z, clock) for start in starts]
    found = [end for end in ends if math.isfinite(end.criterion)]
    if not found:
        raise QuadratureError(f"the criterion is not finite at any start (mu, sigma): {starts}")
    best = min(found, key=lambda end: end.criterion)
    return replace(best, evaluations=sum(end.evaluations for end in ends))


def _search(
    log_p: LogDensity,
    family: Family,
    criterion: Callable[[LogDensity, Family, float, float], float],
    start: tuple[float, float],
    log_z: float,
    clock: Clock,
) -> Fit:
    centre, scale = start
    rows: list[tuple[float, ...]] = []
    evaluations = 0

    def parameters(phi: FloatArray) -> tuple[float, float]:
        """Return mu and ln sigma for search coordinates of order 1."""
        return centre + scale * float(phi[0]), math.log(scale) + float(phi[1])

    def value(phi: FloatArray) -> float:
        nonlocal evaluations
        clock.check()
        evaluations += 1
        mu, log_sigma = parameters(phi)
        if log_sigma > math.log(family.widest) or abs(mu) > family.widest**2:
            return math.inf
        found = criterion(log_p, family, mu, log_sigma)
        return found if math.isfinite(found) else math.inf

    def record(phi: FloatArray) -> None:
        mu, log_sigma = parameters(phi)
        kl = divergence(log_p, family, mu, log_sigma)
        rows.append((len(rows), clock.elapsed_s, log_z - kl, mu, math.exp(log_sigma)))

    # Rounding of log p limits the criterion's precision, rounding of mu that of a coordinate.
    known = max(1e-13, 8 * _EPSILON * abs(log_z))
    placed = max(1e-9, 8 * _EPSILON * abs(centre) / scale)
    phi = np.zeros(2)
    record(phi)
    best = value(phi)
    arrived = False
    # From an infinite value a simplex cannot improve.
    for _ in range(_RESTARTS if math.isfinite(best) else 0):
        sides = np.array([[0, 0], [0.3 * math.exp(phi[1]), 0], [0, 0.3]])
        done = optimize.minimize(
            value,
            phi,
            method="Nelder-Mead",
            callback=record,
            options={
                "initial_simplex": phi + sides,
                "xatol": placed,
                "fatol": known,
                "maxiter": 1000,
                "maxfev": 2000,
            },
        )
        gained = best - float(done.fun)
        phi, best = done.x, float(done.fun)
        if gained <= 10 * known and done.success:
            arrived = True
            break
    columns = np.array(rows).T
    extras = {"mu": columns[3], "sigma": columns[4]}
    trace = Trace(columns[0], columns[1], columns[2], extras)
    mu, log_sigma = parameters(phi)
    kl = divergence(log_p, family, mu, log_sigma)
    return Fit(mu, math.exp(log_sigma), best, kl, evaluations, arrived, trace)
