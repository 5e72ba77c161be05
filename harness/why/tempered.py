"""A rough sample from a density alone, to see a posterior's shape where no reference is trusted."""

from __future__ import annotations

import math

import numpy as np

from harness.records import FloatArray
from harness.vi.deterministic.importance import Proposal, systematic
from harness.vi.target import Clock, Target

PARTICLES = 2000

EFFECTIVE = 500.0
"""How many independent draws the moved particles are taken to be worth."""

STAGES, MOVES, LAST = 40, 10, 100
"""The largest number of temperatures, and the moves at each and at the end."""

DENSITIES = PARTICLES * (10 * MOVES + LAST)
"""About how many densities a sample takes."""

MOST = 50
"""The largest dimension: random walks do not get far in more."""

ACCEPTED, LEAST = 0.25, 0.05
"""The share of accepted moves that their scale aims at, and that shows that particles move."""


def tempered(
    target: Target, proposal: Proposal, rng: np.random.Generator, clock: Clock
) -> FloatArray | None:
    """Move particles from a proposal to the posterior by p^t q^(1 − t); return ``(particle, d)``.

    The next t halves the effective sample size of the weights (Del Moral, Doucet and Jasra 2006,
    *Sequential Monte Carlo samplers*); random walks with the particles' covariance follow. None
    where the particles do not arrive or do not move.

    Raises
    ------
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    d, t, scale = target.dimension, 0.0, 2.38 / math.sqrt(target.dimension)
    z = proposal.draw(PARTICLES, rng)
    log_p, log_q = _finite(target.log_density(z)), proposal.log_density(z)
    for _ in range(STAGES):
        step = _step(log_p - log_q, 1 - t)
        weight = np.exp(step * (log_p - log_q - np.max(log_p - log_q)))
        if not np.isfinite(weight).all():
            return None
        index = systematic(weight, PARTICLES, rng)
        z, log_p, log_q = z[index], log_p[index], log_q[index]
        t = min(1.0, t + step)
        spread = np.atleast_2d(np.cov(z, rowvar=False))
        try:
            factor = np.linalg.cholesky(spread + 1e-12 * np.trace(spread) * np.eye(d))
        except np.linalg.LinAlgError:
            return None
        accepted = 0.0
        for _ in range(LAST if t >= 1 else MOVES):
            clock.check()
            there = z + scale * rng.standard_normal(z.shape) @ factor.T
            p, q = _finite(target.log_density(there)), proposal.log_density(there)
            gain = t * (p - log_p) + (1 - t) * (q - log_q)
            taken = np.log(rng.random(PARTICLES)) < gain
            z[taken], log_p[taken], log_q[taken] = there[taken], p[taken], q[taken]
            accepted = float(taken.mean())
            scale *= math.exp(accepted - ACCEPTED)
        if t >= 1:
            return z if accepted > LEAST else None
    return None


def _finite(log_density: FloatArray) -> FloatArray:
    """Return log densities, where there is none one that no particle survives."""
    return np.where(np.isfinite(log_density), log_density, -1e300)


def _step(log_ratio: FloatArray, most: float) -> float:
    """Return the largest step in t whose weights keep half of their effective sample size."""

    def worth(step: float) -> float:
        weight = np.exp(step * (log_ratio - log_ratio.max()))
        return float(weight.sum() ** 2 / np.sum(weight**2))

    low, high = 0.0, most
    if worth(most) >= PARTICLES / 2:
        return most
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if worth(middle) >= PARTICLES / 2 else (low, middle)
    return max(low, 1e-4)
