"""Stochastic variational inference for the conjugate normal of :mod:`harness.vi.cavi`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from harness.records import FloatArray
from harness.vi.cavi import PRIOR_SCALE, PRIOR_WEIGHT, Fit, Path, elbo, start, summarise, unrest
from harness.vi.target import Clock

AT_REST = 0.1  # sds by which a coordinate update with all rows may move q: a close bias


@dataclass(frozen=True, slots=True)
class Schedule:
    """Minibatches of ``batch`` rows, and steps ρₜ = (t + tau)^−kappa for t = 0, 1, ….

    Robbins & Monro's conditions, Σ ρ = ∞ and Σ ρ² < ∞, hold for ½ < kappa ≤ 1. With kappa = 1
    and tau = 1 the natural parameters are averages over all minibatches so far: sampling noise
    falls as fast as possible, and the influence of the start falls as 1/t.
    """

    batch: int = 10
    iterations: int = 2000
    kappa: float = 1.0
    tau: float = 1.0
    every: int = 10  # multiples at which the path is recorded


def svi(x: FloatArray, schedule: Schedule, rng: np.random.Generator, clock: Clock) -> Fit:
    """Follow natural gradients of minibatches (Hoffman, Blei, Wang & Paisley 2013).

    For a conjugate model the natural gradient of the ELBO in a factor's natural parameters λ is
    λ̂ − λ, with λ̂ the coordinate update. With a minibatch's sums multiplied by n/batch, λ̂ is
    unbiased, and a step is the average λ ← (1 − ρ) λ + ρ λ̂. The natural parameters are
    (μ/v, 1/v) for q(m) and (a, b) for q(s), up to constants. Minibatches are drawn without
    replacement; rows that do not fill a minibatch are left out until the next shuffle.

    It has converged when a coordinate update with all rows would hardly move q (``AT_REST``).
    The path's ELBO uses all rows, because sufficient statistics make that free on this model.
    Coordinate updates with all rows would be free too: SVI is a demonstration here.
    """
    data = summarise(x)
    path = Path(clock)
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
        second += rho * (q.precision * data.weight - second)
        q = replace(q, mean=first / second, variance=1 / second)
        deviations = rows - q.mean
        squares = scale_up * float(deviations @ deviations) + PRIOR_WEIGHT * q.mean**2
        hoped = PRIOR_SCALE + (squares + data.weight * q.variance) / 2
        rate_s += rho * (hoped - rate_s)
        q = replace(q, scale=rate_s)
        done += 1
        if done % schedule.every == 0 or done == schedule.iterations:
            path.add(done, q, elbo(q, data))
    return Fit(q, path.trace(), done, converged=unrest(q, data) <= AT_REST)
