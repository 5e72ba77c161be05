"""Hessians of a log density and of the deterministic ELBO, by differences of gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.records import FloatArray
from harness.vi.deterministic.elbo import Objective
from harness.vi.target import Target

STEP = 5e-4
"""Difference in sds of q.

The error of a one-sided difference, STEP/2 times a third derivative, has opposite signs in the
halves of an antithetic pair; rounding a gradient of size 1e6 costs 1e6 × 1e-16 / STEP = 2e-7.
"""

WIDE = 0.25
"""Difference in sds of q where log p bends at points only, as ``double_exponential`` does.

Hardly a draw lies within ``STEP`` of such a point, but the mean over q is smooth: a difference this
wide meets a fifth of the draws, and its error is WIDE² / 6 of it.
"""

BENT = 0.5
"""Curvature in units of q's sds is 1 at an optimum: narrow differences are farther from it where
log p bends at points only, and wide ones are not."""

CHUNK = 2_000_000  # numbers in one batch of points
NEGLIGIBLE = 1e-5  # smaller entries of a Hessian, in units of q's sds, count as zero in its pattern


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Which columns of a symmetric sparse matrix are differenced together."""

    colour: NDArray[np.int_]  # the group of each column, shape (d,)
    known: NDArray[np.bool_]  # what differences determine, (d, d); the rest is 0 or symmetric
    step: float = STEP  # the difference, in sds of q

    @property
    def colours(self) -> int:
        """The number of differences."""
        return int(self.colour.max()) + 1


def dense(dimension: int) -> Pattern:
    """Return the pattern without zeros."""
    return Pattern(np.arange(dimension), np.ones((dimension, dimension), dtype=bool))


def colour_columns(nonzero: NDArray[np.bool_]) -> Pattern:
    """Return groups of columns of a symmetric matrix that share no row (Curtis, Powell, Reid 1974).

    A column that shares rows with more than a quarter of the others (a hyperparameter, say) is a
    group of its own; its row follows by symmetry.
    """
    d = len(nonzero)
    nonzero = nonzero | np.eye(d, dtype=bool)
    alone = nonzero.sum(axis=0) > max(d // 4, 4)
    known = nonzero & ~(alone[:, None] & ~alone[None, :])
    rest = known[:, ~alone].astype(np.float64)
    conflict = rest.T @ rest > 0
    colour = np.full(d, -1)
    columns = np.flatnonzero(~alone)
    local = np.full(len(columns), -1)
    for j in range(len(columns)):
        taken = set(local[conflict[j] & (local >= 0)].tolist())
        local[j] = next(c for c in range(len(columns)) if c not in taken)
    colour[columns] = local
    used = int(local.max()) + 1 if len(local) else 0
    colour[alone] = used + np.arange(int(alone.sum()))
    return Pattern(colour, known)


def hessians(
    target: Target,
    z: FloatArray,
    gradient: FloatArray,
    scale: FloatArray,
    sign: FloatArray,
    pattern: Pattern,
) -> FloatArray:
    """Return S ∇²log p S at points, shape ``(point, d, d)``, by one-sided differences.

    ``gradient`` belongs to the points ``z``, both of shape ``(point, d)``. ``scale`` is the
    diagonal of S, and differences are the pattern's step times it, to the side that ``sign``, 1 or
    −1, says for each point.
    """
    rows = _differences(target, z, gradient, scale, sign, pattern)
    whole = rows[:, pattern.colour]
    return _symmetric(whole, whole, pattern)


def _differences(
    target: Target,
    z: FloatArray,
    gradient: FloatArray,
    scale: FloatArray,
    sign: FloatArray,
    pattern: Pattern,
) -> FloatArray:
    """Return the scaled differences for each group of columns, shape ``(point, colour, d)``."""
    n, d = z.shape
    step = np.zeros((pattern.colours, d))
    step[pattern.colour, np.arange(d)] = pattern.step * scale
    moved = z[:, None] + sign[:, None, None] * step
    _, there = target.log_density_gradient(moved.reshape(-1, d))
    rows = (there.reshape(n, -1, d) - gradient[:, None]) * scale
    rows /= (sign * pattern.step)[:, None, None]
    return np.asarray(rows)


def _symmetric(rows: FloatArray, columns: FloatArray, pattern: Pattern) -> FloatArray:
    """Return matrices ``(…, d, d)`` from what differences say of their rows and columns.

    ``columns`` has the columns as rows; where both are known their mean counts.
    """
    weight = _weight(pattern)
    weighted = rows * weight
    other = weighted if columns is rows else columns * weight
    return np.asarray(weighted + np.swapaxes(other, -1, -2))


def _weight(pattern: Pattern) -> FloatArray:
    """Return the weight of what differences say of each entry: 0, 1, or 1/2 where two say it."""
    known = pattern.known.T.astype(np.float64)
    return np.asarray(known / np.maximum(known + known.T, 1.0))


def hessian(target: Target, z: FloatArray, scale: FloatArray) -> FloatArray:
    """Return S ∇²log p S at one point ``(d,)`` by central differences, shape ``(d, d)``."""
    twice = np.stack([z, z])
    _, gradient = target.log_density_gradient(z[None])
    sides = np.array([1.0, -1.0])
    both = hessians(target, twice, np.repeat(gradient, 2, axis=0), scale, sides, dense(len(z)))
    return np.asarray(both.mean(axis=0))


def find_pattern(target: Target, z: FloatArray, scale: FloatArray) -> Pattern:
    """Return the pattern of zeros, found at the first two points and confirmed at the others.

    Products with a vector of signs at the other points must agree; otherwise the Hessian counts
    as dense.
    """
    d = len(scale)
    two = z[:2]
    _, gradient = target.log_density_gradient(two)
    # What is zero around a point is zero in one-sided differences too.
    W = hessians(target, two, gradient, scale, np.ones(2), dense(d))
    if not np.isfinite(W).all():
        return dense(d)
    seen = np.abs(W).max(axis=0) > NEGLIGIBLE
    pattern = colour_columns(seen)
    if pattern.colours > d // 2:
        return dense(d)
    return pattern if confirmed(target, z[2:], scale, pattern) else dense(d)


def confirmed(target: Target, z: FloatArray, scale: FloatArray, pattern: Pattern) -> bool:
    """Tell whether a pattern of zeros holds at points ``(point, d)``.

    Hessians times a vector of signs must be what differences along that vector are.
    """
    # Fixed but irregular signs favour no column, like random ones.
    v = np.where(np.arange(1, len(scale) + 1) * 0.6180339887 % 1.0 < 0.5, -1.0, 1.0)  # noqa: PLR2004
    _, gradient = target.log_density_gradient(z)
    _, there = target.log_density_gradient(z + STEP * scale * v)
    product = (there - gradient) * scale / STEP
    rows = _differences(target, z, gradient, scale, np.ones(len(z)), pattern)
    # Halves of Hessians, as in _symmetric, without writing out their sums.
    half = rows[:, pattern.colour]
    half *= _weight(pattern)
    error = np.abs(half @ v + v @ half - product).max()
    return bool(error < 0.01 * max(1.0, np.abs(product).max()))


def mean_hessian(objective: Objective, theta: FloatArray, pattern: Pattern) -> FloatArray:
    """Return the mean of −S ∇²log p S over q's base draws, shape ``(d, d)``."""
    d = objective.dimension
    scale = np.exp(theta[d:])
    z = theta[:d] + scale * objective.eps.reshape(-1, d)
    _, gradient = objective.target.log_density_gradient(z)
    half = np.repeat([1.0, -1.0], objective.eps.shape[1] // 2)
    sign = np.tile(half, objective.eps.shape[0])
    rows = _differences(objective.target, z, gradient, scale, sign, pattern)
    mean = rows.mean(axis=0)[pattern.colour]
    return -_symmetric(mean, mean, pattern)


def _moments(
    rows: FloatArray, e: FloatArray, pattern: Pattern
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the sums over points of W, W diag(e) and diag(e) W diag(e), each ``(d, d)``.

    They are linear in the differences ``rows``, so that no W is written out.
    """
    colour, d = pattern.colour, e.shape[1]
    weighted = rows * e[:, None]
    left, both = np.empty((2, d, d))  # sums of diag(e) W, and of diag(e) W diag(e)
    for c in range(pattern.colours):
        members = np.flatnonzero(colour == c)
        left[members] = e[:, members].T @ rows[:, c]
        both[members] = e[:, members].T @ weighted[:, c]
    plain, right = rows.sum(axis=0)[colour], weighted.sum(axis=0)[colour]
    return (
        _symmetric(plain, plain, pattern),
        _symmetric(right, left, pattern),
        _symmetric(both, both, pattern),
    )


def elbo_hessians(
    objective: Objective, theta: FloatArray, pattern: Pattern, *, size: int, skipped: int = 0
) -> FloatArray:
    """Return the Hessians of the blocks' negative ELBO in ``(mu / s, omega)``.

    With W_n = S ∇²log p(z_n) S the parts of each, shape ``(2 d, 2 d)``, are −mean W_n,
    −mean W_n diag(eps_n) and −mean diag(eps_n) W_n diag(eps_n) − diag(mean s g_n eps_n). They are
    taken at ``theta``, ``(2 d,)`` or ``(block, 2 d)``, from ``size`` draws of each block after the
    first ``skipped``, in antithetic pairs.
    """
    whole = objective.eps
    blocks, full, d = whole.shape
    half, first = min(size, full) // 2, skipped // 2
    last = full // 2 + first
    eps = np.concatenate([whole[:, first : first + half], whole[:, last : last + half]], axis=1)
    if half < full // 2:
        # A part of the draws must have the second moments that the whole set has.
        eps = eps / np.sqrt(np.mean(eps**2, axis=1, keepdims=True))
    sign = np.repeat([1.0, -1.0], half)
    where = np.broadcast_to(theta, (blocks, 2 * d))
    out = np.zeros((blocks, 2 * d, 2 * d))
    draws = max(1, CHUNK // (pattern.colours * d))
    for b in range(blocks):
        scale = np.exp(where[b, d:])
        for i in range(0, 2 * half, draws):
            objective.clock.check()
            e, side = eps[b, i : i + draws], sign[i : i + draws]
            z = where[b, :d] + scale * e
            _, gradient = objective.target.log_density_gradient(z)
            rows = _differences(objective.target, z, gradient, scale, side, pattern)
            for part, found in zip(
                ((slice(0, d), slice(0, d)), (slice(0, d), slice(d, None)), (slice(d, None),) * 2),
                _moments(rows, e, pattern),
                strict=True,
            ):
                out[b][part] += found
            out[b, d:, d:] += np.diag((gradient * scale * e).sum(axis=0))
        out[b, d:, :d] = out[b, :d, d:].T
    return np.asarray(out / (-2.0 * half))
