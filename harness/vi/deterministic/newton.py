"""Newton's method on the deterministic ELBO, linear response, and errors from base draws."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass

import numpy as np

from harness.records import FloatArray
from harness.vi.deterministic.curvature import Pattern, elbo_hessians
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.lbfgs import Steps

SETTLED = 1e-6  # half the Newton decrement, in nats, at convergence: 0.0014 sd
LARGEST_STEP = 1.0  # the longest Newton step in sds of q, beyond which the quadratic is not trusted

PRIOR_BLOCKS = 4
"""Weight, in blocks, of the mean square towards which errors of coordinates are shrunk."""


@dataclass(frozen=True, slots=True, eq=False)
class Polished:
    """An optimum with the curvature of the objective there."""

    theta: FloatArray  # shape (2 d,)
    hessians: FloatArray  # the Hessian of each block, in (mu / s, omega), shape (block, 2 d, 2 d)
    settled: bool  # whether the Newton decrement is small
    definite: bool  # whether the mean Hessian is positive definite
    values: Steps  # the negative ELBO after each step, with time.perf_counter()

    @property
    def hessian(self) -> FloatArray:
        """Their mean, shape ``(2 d, 2 d)``."""
        return np.asarray(self.hessians.mean(axis=0))


def _in_units(gradient: FloatArray, theta: FloatArray) -> FloatArray:
    """Return gradients in (mu / s, omega), given those in (mu, omega)."""
    d = len(theta) // 2
    scaled = gradient.copy()
    scaled[..., :d] *= np.exp(theta[d:])
    return scaled


def newton(
    objective: Objective, theta: FloatArray, pattern: Pattern, size: int, *, steps: int = 12
) -> Polished:
    """Minimise from a point near the optimum.

    The Hessian is recomputed only if a step with the last one does not reduce the decrement
    tenfold.
    """
    d = objective.dimension
    value, gradient = objective(theta)
    values = [(time.perf_counter(), value)]
    H = elbo_hessians(objective, theta, pattern, size=size)
    fresh, last = True, math.inf
    settled, definite = False, False
    for _ in range(steps):
        if not np.isfinite(H).all():
            # At an edge of the support, or with an infinitely wide q.
            definite = False
            break
        eigenvalues, vectors = np.linalg.eigh(H.mean(axis=0))
        definite = bool(eigenvalues[0] > 0)
        # Steps go downhill even in directions of negative curvature.
        sizes = np.maximum(np.abs(eigenvalues), 1e-3)
        g = _in_units(gradient, theta)
        step = -(vectors / sizes) @ (vectors.T @ g)
        decrement = -0.5 * float(g @ step)
        if decrement < SETTLED and definite:
            settled = True
            break
        if not fresh and (decrement > 0.1 * last or not definite):
            H = elbo_hessians(objective, theta, pattern, size=size)
            fresh, last = True, math.inf
            continue
        step *= min(1.0, LARGEST_STEP / float(np.abs(step).max()))
        step[:d] *= np.exp(theta[d:])
        for _ in range(20):
            trial, slope = objective(theta + step)
            if trial <= value + 1e-9 * abs(value):
                break
            step /= 2
        else:
            break
        theta, value, gradient = theta + step, trial, slope
        values.append((time.perf_counter(), value))
        fresh, last = False, decrement
    if not fresh:
        # The reported curvature must be that of the optimum.
        H = elbo_hessians(objective, theta, pattern, size=size)
        finite = bool(np.isfinite(H).all())
        definite = finite and bool(np.linalg.eigvalsh(H.mean(axis=0))[0] > 0)
        settled = settled and finite
    return Polished(theta, H, settled, definite, tuple(values))


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """Standard errors from base draws; infinite if the Hessian is singular or not finite."""

    mean: FloatArray  # of the means, (d,), in posterior sds (linear response's if known)
    log_sd: FloatArray  # of the log sds of the mean-field q, shape (d,)
    log_response: FloatArray  # of the log sds of linear response, (d,); NaN without it
    elbo: float  # of the ELBO, nats


def covariance_in_units(H: FloatArray) -> FloatArray:
    """Return linear response's covariance of mu / s; LinAlgError if H is not positive definite."""
    d = len(H) // 2
    factor = np.linalg.cholesky(H)
    half = np.linalg.solve(factor, np.eye(2 * d, d))
    return np.asarray(half.T @ half)


def errors(
    objective: Objective, polished: Polished, pattern: Pattern, size: int, *, shifted: bool
) -> Errors:
    """Return the errors from base draws, estimated from the spread between independent blocks.

    Each block is an independent scramble, so the estimate includes the gain from antithetic
    pairs, moment matching and Sobol's balance. The error of linear response is a jackknife over
    blocks. If ``shifted``, it includes the effect of the optimum's error on the curvature: each
    block's Hessian is taken at its own optimum, which costs another Hessian.
    """
    d = objective.dimension
    value, gradient = objective.by_block(polished.theta)
    g = _in_units(gradient, polished.theta)
    H = polished.hessian
    # Each block's optimum less the common one, to first order, (block, 2 d), in units (s, 1).
    steps = np.full_like(g, np.inf)
    if np.isfinite(H).all() and np.isfinite(g).all():
        with contextlib.suppress(np.linalg.LinAlgError):
            steps = np.asarray(-np.linalg.solve(H, g.T).T)
    blocks = len(steps)
    finite = bool(np.isfinite(value).all())
    elbo = float(np.std(value, ddof=1)) / math.sqrt(blocks) if finite else math.inf
    if not np.isfinite(steps).all():
        unknown = np.full(d, np.inf)
        return Errors(unknown, unknown, unknown, elbo)
    spread = np.sqrt(_shrunk(steps, d) / blocks)
    try:
        whole = np.diag(covariance_in_units(H))
    except np.linalg.LinAlgError:
        return Errors(spread[:d], spread[d:], np.full(d, np.nan), elbo)
    H = polished.hessians
    if shifted:
        near = np.clip(steps, -0.5, 0.5)
        moved = near.copy()
        moved[:, :d] *= np.exp(polished.theta[d:])
        H = elbo_hessians(objective, polished.theta + moved, pattern, size=size)
        # Back to the units of the common optimum: S⁻¹ H S⁻¹ for the means.
        units = np.ones((blocks, 2 * d))
        units[:, :d] = np.exp(-near[:, d:])
        H = H * units[:, :, None] * units[:, None, :]
    others = (H.sum(axis=0) - H) / (blocks - 1)
    logs = np.full((blocks, d), np.nan)
    for b in range(blocks):
        try:
            logs[b] = 0.5 * np.log(np.diag(covariance_in_units(others[b])))
        except np.linalg.LinAlgError:
            # A curvature that depends on one block is unknown.
            logs[b] = np.inf if b % 2 else -np.inf
    with np.errstate(invalid="ignore"):
        deviations = (logs - logs.mean(axis=0)) * (blocks - 1)
    response = np.sqrt(_shrunk(deviations, d) / blocks)
    response = np.where(np.isfinite(response), response, np.inf)
    return Errors(spread[:d] / np.sqrt(whole), spread[d:], response, elbo)


def _shrunk(deviations: FloatArray, d: int) -> FloatArray:
    """Return mean squares of coordinates, shrunk towards the mean of their kind.

    A few blocks estimate one coordinate's mean square badly, and the largest of many would be too
    large by chance.
    """
    blocks = len(deviations)
    square = (deviations**2).sum(axis=0) / (blocks - 1)
    for part in (slice(0, d), slice(d, None)):
        if square[part].size:
            common = float(square[part].mean())
            square[part] = ((blocks - 1) * square[part] + PRIOR_BLOCKS * common) / (
                blocks - 1 + PRIOR_BLOCKS
            )
    return np.asarray(square)
