"""Stochastic variational inference for the conjugate normal of :mod:`harness.vi.cavi`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.cavi import PRIOR_SCALE, PRIOR_WEIGHT, Fit, Path, elbo, start, summarise, unrest
from harness.vi.target import Clock

if TYPE_CHECKING:
    from harness.records import FloatArray


AT_REST = 0.1
"""Sds that a coordinate update with all rows may still move q: what a comparison calls close."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Minibatches of ``batch`` rows, and steps ρₜ = (t + tau)^−kappa for t = 0, 1, ….

    Robbins & Monro's conditions, Σ ρ = ∞ and Σ ρ² < ∞, hold for ½ < kappa ≤ 1. With kappa = 1
    and tau = 1 the natural parameters are plain averages over all minibatches so far: the noise
    of sampling falls fastest, and what the start did falls as 1/t.
    """

    batch: int = 10
    iterations: int = 2000
    kappa: float = 1.0
    tau: float = 1.0
    every: int = 10
    """Iterations between two records of the path."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        ValueError
            With the name of the setting, what it is and what is allowed.
        """
        for name in ("batch", "iterations", "every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: at least 1")
        if not 0.5 < self.kappa <= 1:  # noqa: PLR2004 - Robbins & Monro's own
            raise ValueError(f"kappa is {self.kappa}; allowed: over 0.5, up to 1")
        if not self.tau >= 1:
            raise ValueError(f"tau is {self.tau}; allowed: at least 1, so that no step is over 1")


def svi(x: FloatArray, schedule: Schedule, rng: np.random.Generator, clock: Clock) -> Fit:
    """Follow natural gradients of minibatches (Hoffman, Blei, Wang & Paisley 2013).

    For a conjugate model the natural gradient of the ELBO in a factor's natural parameters λ is
    λ̂ − λ, with λ̂ the coordinate update. With a minibatch's sums multiplied by n/batch, λ̂ is
    without bias, and a step is the average λ ← (1 − ρ) λ + ρ λ̂. The natural parameters are
    (μ/v, 1/v) for q(m) and (a, b) for q(s), up to constants. Minibatches are drawn without
    replacement until all rows were seen; rows that are left over wait for the next shuffle.

    It has converged when a coordinate update with all rows would hardly move it (AT_REST).
    The path's ELBO is that of all rows, which their sums give for nothing here; so would the
    coordinate updates be, and SVI gains nothing on this model: it is here to be seen.
    """
    data = summarise(x)
    path = Path(clock)
    weight = PRIOR_WEIGHT + data.rows
    batch = min(schedule.batch, data.rows)
    scale_up = data.rows / batch
    q = start(data)
    first, second = q.mean / q.variance, 1 / q.variance
    rate_s = q.scale
    path.add(0, q, elbo(q, data))
    order = np.empty(0, dtype=np.intp)
    done = at = 0
    while done < schedule.iterations and not clock.over:
        if at + batch > len(order):
            order, at = rng.permutation(data.rows), 0
        rows = x[order[at : at + batch]]
        at += batch
        rho = (done + schedule.tau) ** -schedule.kappa
        first += rho * (q.precision * scale_up * float(rows.sum()) - first)
        second += rho * (q.precision * weight - second)
        q = replace(q, mean=first / second, variance=1 / second)
        deviations = rows - q.mean
        squares = scale_up * float(deviations @ deviations) + PRIOR_WEIGHT * q.mean**2
        hoped = PRIOR_SCALE + (squares + weight * q.variance) / 2
        rate_s += rho * (hoped - rate_s)
        q = replace(q, scale=rate_s)
        done += 1
        if done % schedule.every == 0 or done == schedule.iterations:
            path.add(done, q, elbo(q, data))
    return Fit(q, path.trace(), done, converged=unrest(q, data) <= AT_REST)
