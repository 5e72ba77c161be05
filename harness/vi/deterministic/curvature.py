"""Hessians by differenced gradients, of a log density and of the deterministic ELBO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.deterministic.elbo import Objective
    from harness.vi.target import Target

STEP = 5e-4
"""Difference in sds of q.

The one-sided error, STEP/2 times a third derivative, has the opposite sign in the other half of
an antithetic pair; rounding of a gradient of size 1e6 enters with 1e6 × 1e-16 / STEP = 2e-7.
"""

CHUNK = 2_000_000
"""Doubles in one batch of points."""

NEGLIGIBLE = 1e-5
"""Entries of a Hessian, in units of the sds of q, that count as zero for its pattern."""


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Which columns of a symmetric sparse matrix are differenced together.

    Attributes
    ----------
    colour
        The group of each column, shape ``(d,)``.
    known
        Which entries a group's difference gives by itself, shape ``(d, d)``; the others are
        zero, or their mirror image.
    """

    colour: NDArray[np.int_]
    known: NDArray[np.bool_]

    @property
    def colours(self) -> int:
        """The number of differences."""
        return int(self.colour.max()) + 1


def dense(dimension: int) -> Pattern:
    """Return the pattern without any zero."""
    return Pattern(np.arange(dimension), np.ones((dimension, dimension), dtype=bool))


def colour_columns(nonzero: NDArray[np.bool_]) -> Pattern:
    """Return groups of columns that share no row (Curtis, Powell and Reid 1974).

    Columns that meet more than a quarter of the others (the hyperparameters of a hierarchy) go
    alone; their rows are read from their columns by symmetry.

    Parameters
    ----------
    nonzero
        Symmetric, boolean, shape ``(d, d)``.
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

    Parameters
    ----------
    z, gradient
        Points and the gradients there, both ``(point, d)``.
    scale
        The diagonal of S, shape ``(d,)``; the differences are ``STEP`` times it.
    sign
        The side of each point's differences, shape ``(point,)``.
    """
    n, d = z.shape
    step = np.zeros((pattern.colours, d))
    step[pattern.colour, np.arange(d)] = STEP * scale
    moved = z[:, None] + sign[:, None, None] * step
    _, there = target.log_density_gradient(moved.reshape(-1, d))
    rows = (there.reshape(n, -1, d) - gradient[:, None]) * scale
    rows /= (sign * STEP)[:, None, None]
    W = rows[:, pattern.colour] * pattern.known.T
    both = pattern.known.astype(np.float64)
    return np.asarray((W + W.transpose(0, 2, 1)) / np.maximum(both + both.T, 1.0))


def hessian(
    target: Target, z: FloatArray, scale: FloatArray, pattern: Pattern | None = None
) -> FloatArray:
    """Return S ∇²log p S at one point ``(d,)`` by central differences, shape ``(d, d)``."""
    twice = np.stack([z, z])
    _, gradient = target.log_density_gradient(z[None])
    sides = np.array([1.0, -1.0])
    pattern = dense(len(z)) if pattern is None else pattern
    both = hessians(target, twice, np.repeat(gradient, 2, axis=0), scale, sides, pattern)
    return np.asarray(both.mean(axis=0))


def find_pattern(target: Target, z: FloatArray, scale: FloatArray) -> Pattern:
    """Return the pattern of zeros seen at some points and confirmed at the others.

    A product with a random vector at the points that were not used for finding it must agree;
    otherwise the Hessian is taken as dense.

    Parameters
    ----------
    z
        Points ``(point, d)``: the first two find the pattern, the rest confirm it.
    """
    d = len(scale)
    seen = np.zeros((d, d), dtype=bool)
    for point in z[:2]:
        W = hessian(target, point, scale)
        if not np.isfinite(W).all():
            return dense(d)
        seen |= np.abs(W) > NEGLIGIBLE
    pattern = colour_columns(seen)
    if pattern.colours > d // 2:
        return dense(d)
    rest = z[2:]
    # A fixed vector of signs serves as a random one: no column is favoured.
    v = np.where(np.arange(1, d + 1) * 0.6180339887 % 1.0 < 0.5, -1.0, 1.0)  # noqa: PLR2004
    _, gradient = target.log_density_gradient(rest)
    _, there = target.log_density_gradient(rest + STEP * scale * v)
    product = (there - gradient) * scale / STEP
    W = hessians(target, rest, gradient, scale, np.ones(len(rest)), pattern)
    error = np.abs(W @ v - product).max()
    return pattern if error < 0.01 * max(1.0, np.abs(product).max()) else dense(d)


def elbo_hessians(
    objective: Objective,
    theta: FloatArray,
    pattern: Pattern,
    *,
    size: int,
    only: int | None = None,
) -> FloatArray:
    """Return the Hessian of each block's negative ELBO in ``(mu / s, omega)``.

    With W_n = S ∇²log p(z_n) S its blocks are −mean W_n, −mean W_n diag(eps_n) and
    −mean diag(eps_n) W_n diag(eps_n) − diag(mean s g_n eps_n).

    Parameters
    ----------
    theta
        Shape ``(2 d,)``, or ``(block, 2 d)``: each block at a point of its own.
    size
        How many draws of each block to use, in antithetic pairs.
    only
        The one block wanted; None means all.

    Returns
    -------
    ndarray, shape ``(block, 2 d, 2 d)``
    """
    whole = objective.eps if only is None else objective.eps[only : only + 1]
    blocks, full, d = whole.shape
    half = min(size, full) // 2
    eps = np.concatenate([whole[:, :half], whole[:, full // 2 : full // 2 + half]], axis=1)
    if half < full // 2:
        # Fewer draws must not change what the whole set matches.
        eps = eps / np.sqrt(np.mean(eps**2, axis=1, keepdims=True))
    sign = np.repeat([1.0, -1.0], half)
    where = np.broadcast_to(theta, (blocks, 2 * d))
    out = np.zeros((blocks, 2 * d, 2 * d))
    draws = max(1, CHUNK // (pattern.colours * d + d * d))
    for b in range(blocks):
        scale = np.exp(where[b, d:])
        for i in range(0, 2 * half, draws):
            objective.clock.check()
            e, side = eps[b, i : i + draws], sign[i : i + draws]
            z = where[b, :d] + scale * e
            _, gradient = objective.target.log_density_gradient(z)
            W = hessians(objective.target, z, gradient, scale, side, pattern)
            out[b, :d, :d] += W.sum(axis=0)
            out[b, :d, d:] += np.einsum("nij,nj->ij", W, e)
            out[b, d:, d:] += np.einsum("ni,nij,nj->ij", e, W, e)
            out[b, d:, d:] += np.diag((gradient * scale * e).sum(axis=0))
        out[b, d:, :d] = out[b, :d, d:].T
    return np.asarray(out / (-2.0 * half))
