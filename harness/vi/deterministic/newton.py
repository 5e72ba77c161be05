"""Newton's method on the deterministic ELBO, linear response, and errors from base draws."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotri

from harness.records import FloatArray
from harness.vi.deterministic.curvature import Pattern, elbo_hessians
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.lbfgs import Metric, Steps, lbfgs

SETTLED = 1e-5  # half the Newton decrement, in nats, at convergence: 0.0045 sd
LARGEST_STEP = 1.0  # the longest Newton step in sds of q, beyond which the quadratic is not trusted
TURNS, ITERATIONS = 5, 60  # how often the Hessian is computed, and the iterations with each
LEAST = 1e-3  # the smallest curvature that is taken for one, in directions where it is negative
NEAR = 5e-4  # nats for each parameter of a move after which a Hessian still is the optimum's

RISES, NARROWS, SLOWER = 1.0, math.log(1e3), 0.25
"""Where the ELBO has no upper bound: nats that every turn gains, the fall of some log sd, and the
least part of the first turn's gain that the last one has. A search that converges slows down."""

PRIOR_BLOCKS = 4
"""Weight, in blocks, of the mean square towards which errors of coordinates are shrunk."""


@dataclass(frozen=True, slots=True, eq=False)
class Polished:
    """An optimum with the curvature of the objective there."""

    theta: FloatArray  # shape (2 d,)
    hessians: FloatArray  # the Hessian of each block, in (mu / s, omega), shape (block, 2 d, 2 d)
    size: int  # the draws of each block that the Hessians come from
    settled: bool  # whether the Newton decrement is small
    definite: bool  # whether the mean Hessian is positive definite
    endless: bool  # whether the ELBO rose as fast as ever while q narrowed
    values: Steps  # the negative ELBO after each step, with time.perf_counter()

    @property
    def sound(self) -> bool:
        """Whether it is a minimum."""
        return self.settled and self.definite

    @property
    def hessian(self) -> FloatArray:
        """Their mean, shape ``(2 d, 2 d)``."""
        return np.asarray(self.hessians.mean(axis=0))


def in_units(gradient: FloatArray, theta: FloatArray) -> FloatArray:
    """Return gradients in (mu / s, omega), given those in (mu, omega)."""
    d = len(theta) // 2
    scaled = gradient.copy()
    scaled[..., :d] *= np.exp(theta[d:])
    return scaled


def _by_blocks(
    objective: Objective,
    theta: FloatArray,
    pattern: Pattern,
    size: int,
    metric: Metric,
    skipped: int = 0,
) -> FloatArray:
    """Return each block's Hessian at about its own optimum, in the units of the common one.

    Their spread then includes what the optimum's error does to the curvature. ``metric`` says how
    far a block's gradient would move it. The first ``skipped`` draws of a block are left out.
    """
    d = objective.dimension
    _, gradient = objective.by_block(theta)
    near = np.zeros_like(gradient)
    if np.isfinite(gradient).all():
        near = -np.stack([metric(g) for g in gradient])
        near[:, :d] /= np.exp(theta[d:])
        near = np.clip(near, -0.5, 0.5)
    moved = near.copy()
    moved[:, :d] *= np.exp(theta[d:])
    H = elbo_hessians(objective, theta + moved, pattern, size=size, skipped=skipped)
    # Back to the units of the common optimum: S⁻¹ H S⁻¹ for the means.
    units = np.ones_like(near)
    units[:, :d] = np.exp(-near[:, d:])
    return np.asarray(H * units[:, :, None] * units[:, None, :])


def _extended(
    objective: Objective,
    theta: FloatArray,
    pattern: Pattern,
    size: int,
    metric: Metric,
    before: Polished | None,
) -> FloatArray:
    """Return each block's Hessian; those known ``before`` at ``theta`` are not formed again.

    Before there were fewer blocks, or fewer draws of each.
    """
    if (
        before is None
        or before.size > size
        or not np.array_equal(before.theta, theta)
        or not np.isfinite(before.hessians).all()
    ):
        return _by_blocks(objective, theta, pattern, size, metric)
    H = before.hessians
    if before.size < size:
        old = Objective(objective.target, objective.eps[: len(H)], objective.clock)
        left = size - before.size
        rest = _by_blocks(old, theta, pattern, left, metric, skipped=before.size)
        H = (before.size * H + left * rest) / size
    if len(H) < len(objective.eps):
        new = Objective(objective.target, objective.eps[len(H) :], objective.clock)
        H = np.concatenate([H, _by_blocks(new, theta, pattern, size, metric)])
    return H


def _inverse(H: FloatArray) -> tuple[FloatArray, FloatArray, bool]:
    """Return the inverse of a Hessian, the Hessian, and whether it is positive definite.

    If it is not, both are those of the matrix with the absolute eigenvalues: steps go downhill in
    directions of negative curvature, too.
    """
    with contextlib.suppress(np.linalg.LinAlgError):
        return positive_inverse(H), H, True
    eigenvalues, vectors = np.linalg.eigh(H)
    sizes = np.maximum(np.abs(eigenvalues), LEAST)
    return (vectors / sizes) @ vectors.T, (vectors * sizes) @ vectors.T, False


def newton(
    objective: Objective,
    theta: FloatArray,
    pattern: Pattern,
    size: int,
    metric: Metric,
    before: Polished | None = None,
) -> Polished:
    """Minimise from a point near the optimum, by L-BFGS with the inverse Hessian as its metric.

    The Hessian comes from ``size`` draws of each block, and is computed again only if the optimum
    turns out to be elsewhere. Where ``theta`` is an optimum polished ``before``, on fewer draws,
    its Hessians count for those.
    """
    d = objective.dimension
    values = [(time.perf_counter(), objective(theta)[0])]
    settled, definite = False, False
    log_sd, gains = theta[d:], []
    for turn in range(TURNS):
        H = _extended(objective, theta, pattern, size, metric, None if turn else before)
        if not np.isfinite(H).all():
            # At an edge of the support, or with an infinitely wide q.
            definite = False
            break
        whole = H.mean(axis=0)
        inverse, whole, definite = _inverse(whole)
        units = np.ones(2 * d)
        units[:d] = np.exp(theta[d:])
        metric = (inverse * units * units[:, None]).__matmul__
        path = lbfgs(
            objective, theta, metric=metric, tolerance=SETTLED, iterations=ITERATIONS,
            longest=LARGEST_STEP * units,
        )  # fmt: skip
        values += path.values[1:]
        gains.append(path.values[0][1] - path.value)
        step = (path.x - theta) / units
        near = 0.5 * float(step @ whole @ step) < NEAR * d
        settled = path.converged and definite
        if near:
            # The Hessian stays, in the new units.
            change = np.ones(2 * d)
            change[:d] = np.exp(path.x[d:] - theta[d:])
            H = H * np.outer(change, change)
            theta = path.x
            break
        settled = False
        if turn < TURNS - 1:
            theta = path.x
    narrowed = float(np.max(log_sd - theta[d:])) > NARROWS
    rising = len(gains) == TURNS and min(gains) > max(RISES, SLOWER * gains[0])
    endless = narrowed and rising
    return Polished(theta, H, size, settled, definite, endless, tuple(values))


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """Standard errors from base draws; infinite if the Hessian is singular or not finite."""

    mean: FloatArray  # of the means, (d,), in posterior sds (linear response's if known)
    log_sd: FloatArray  # of the log sds of the mean-field q, shape (d,)
    log_response: FloatArray  # of the log sds of linear response, (d,); NaN without it
    elbo: float  # of the ELBO, nats


def covariance_in_units(H: FloatArray) -> FloatArray:
    """Return linear response's covariance of mu / s; LinAlgError if H is not positive definite.

    It is the inverse of the Schur complement of the part of log sds, which is positive definite
    with that part if and only if H is.
    """
    d = len(H) // 2
    return response_in_units(H[:d, :d], H[d:, :d], H[d:, d:])


def response_in_units(own: FloatArray, across: FloatArray, corner: FloatArray) -> FloatArray:
    """Return the same from the parts of H = [A, Bᵀ; B, C]."""
    turned = solve_triangular(np.linalg.cholesky(corner), across, lower=True)
    return positive_inverse(own - turned.T @ turned)


def positive_inverse(H: FloatArray) -> FloatArray:
    """Return the inverse of a positive definite matrix; LinAlgError if it is not."""
    factor = np.linalg.cholesky(H)
    inverse, failed = dpotri(factor, lower=True)
    if failed:
        raise np.linalg.LinAlgError("singular matrix")
    lower = np.tril(inverse)
    return np.asarray(lower + np.tril(lower, -1).T)


def errors(objective: Objective, polished: Polished) -> Errors:
    """Return the errors from base draws, estimated from the spread between independent blocks.

    Each block is an independent scramble, so the estimate includes the gain from antithetic
    pairs, moment matching and Sobol's balance. The error of linear response is a jackknife over
    blocks, its bias included, because a Hessian from few draws is not only uncertain.
    """
    d = objective.dimension
    value, gradient = objective.by_block(polished.theta)
    g = in_units(gradient, polished.theta)
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
    spread = np.sqrt(shrunk(steps, d) / blocks)
    try:
        whole = np.diag(covariance_in_units(H))
    except np.linalg.LinAlgError:
        return Errors(spread[:d], spread[d:], np.full(d, np.nan), elbo)
    H = polished.hessians
    others = (H.sum(axis=0) - H) / (blocks - 1)
    logs = np.full((blocks, d), np.nan)
    for b in range(blocks):
        try:
            logs[b] = 0.5 * np.log(np.diag(covariance_in_units(others[b])))
        except np.linalg.LinAlgError:
            # A curvature that depends on one block is unknown.
            logs[b] = np.inf if b % 2 else -np.inf
    response = jackknifed(logs, 0.5 * np.log(whole))
    return Errors(spread[:d] / np.sqrt(whole), spread[d:], response, elbo)


def jackknifed(without: FloatArray, whole: FloatArray) -> FloatArray:
    """Return errors of coordinates, bias included, infinite where they are unknown.

    ``without`` are the estimates without one block each, ``(block, d)``; ``whole`` is that of all.
    """
    blocks, d = without.shape
    with np.errstate(invalid="ignore"):
        deviations = (without - without.mean(axis=0)) * (blocks - 1)
        bias = (without.mean(axis=0) - whole) * (blocks - 1)
    found = np.sqrt(shrunk(deviations, d) / blocks + bias**2)
    return np.where(np.isfinite(found), found, np.inf)


def shrunk(deviations: FloatArray, d: int) -> FloatArray:
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
