"""Hessians of many parameters: which entries are not zero, their colours, and their means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from harness.records import FloatArray
from harness.vi.deterministic.curvature import CHUNK, NEGLIGIBLE, STEP
from harness.vi.deterministic.elbo import Objective
from harness.vi.target import Target

SPARSE = 8
"""A pattern counts as sparse if it has at most one colour for each of this many columns."""

MISSED = 0.01
"""The relative error of a product that shows entries to be missing."""


@dataclass(frozen=True, slots=True, eq=False)
class Sparsity:
    """Nonzero entries of a symmetric ``(d, d)`` matrix, and which columns are differenced together.

    Entry k is in ``row[k]`` of the column that the difference of its group tells, ``column[k]``;
    its mirror image follows, with half the weight where both are told.
    """

    colour: NDArray[np.int_]  # the group of each column, shape (d,)
    row: NDArray[np.int_]  # shape (entry,)
    column: NDArray[np.int_]  # shape (entry,)
    weight: FloatArray  # 1, or 1/2 where the mirror image is told too; shape (entry,)

    @property
    def colours(self) -> int:
        """The number of differences."""
        return int(self.colour.max()) + 1


@dataclass(frozen=True, slots=True)
class Full:
    """A matrix ``(d, d)`` without zeros: every column has a difference of its own."""

    dimension: int

    @property
    def colours(self) -> int:
        """The number of differences."""
        return self.dimension

    @property
    def colour(self) -> NDArray[np.int_]:
        """The group of each column, shape ``(d,)``."""
        return np.arange(self.dimension)


Large = Sparsity | Full

Parts = tuple[Any, Any, Any]
"""The parts A, B and C of a Hessian [A, B; Bᵀ, C] in (mu / s, omega), sparse or arrays."""


def find_sparsity(target: Target, z: FloatArray, scale: FloatArray) -> Large:
    """Return where S ∇²log p S is not zero: at the first point, confirmed at the others.

    Each column is a difference of gradients, so this takes as many gradients as parameters.
    Products with a vector of signs at the other points must agree; otherwise, or if columns share
    too many rows, the matrix counts as full. ``z`` has shape ``(point, d)``.
    """
    d = len(scale)
    _, gradient = target.log_density_gradient(z[:1])
    rows, columns = [], []
    count = 0
    each = max(1, CHUNK // d)
    for first in range(0, d, each):
        chosen = np.arange(first, min(first + each, d))
        moved = np.repeat(z[:1], len(chosen), axis=0)
        moved[np.arange(len(chosen)), chosen] += STEP * scale[chosen]
        _, there = target.log_density_gradient(moved)
        change = np.abs((there - gradient) * scale) / STEP
        if not np.isfinite(change).all():
            return Full(d)
        column, row = np.nonzero(change > NEGLIGIBLE)
        rows.append(row)
        columns.append(column + first)
        count += len(row)
        # No colouring of more entries can be sparse.
        if count > d * (d // SPARSE):
            return Full(d)
    found = coloured(np.concatenate(rows), np.concatenate(columns), d)
    if found.colours > d // SPARSE:
        return Full(d)
    return found if _confirmed(target, z[1:], scale, found) else Full(d)


def coloured(row: NDArray[np.int_], column: NDArray[np.int_], d: int) -> Sparsity:
    """Return groups of columns of a symmetric matrix that share no row (Curtis, Powell, Reid 1974).

    The fullest columns (of hyperparameters, say) are groups of their own, and their rows follow by
    symmetry: as many of them as make the fewest groups.
    """
    pattern = sparse.coo_matrix((np.ones(len(row), dtype=np.int8), (row, column)), (d, d))
    pattern = sparse.csr_matrix((pattern + pattern.T + sparse.identity(d)) != 0)
    entries = np.asarray(pattern.sum(axis=0)).ravel()
    order = np.argsort(-entries, kind="stable")
    lone = int(np.argmin(np.arange(d) + entries[order]))
    alone = np.zeros(d, dtype=bool)
    alone[order[:lone]] = True
    row, column = pattern.nonzero()
    told = ~(alone[row] & ~alone[column])
    row, column = row[told], column[told]
    both = ~alone[row] & ~alone[column] | (alone[row] & alone[column])
    colour = np.full(d, -1)
    colour[alone] = np.arange(lone)
    rest = sparse.csr_matrix(pattern[~alone][:, ~alone]).astype(np.int32)
    shares = sparse.csr_matrix(rest @ rest)
    local = np.full(d - lone, -1)
    for j in range(d - lone):
        taken = set(local[shares.indices[shares.indptr[j] : shares.indptr[j + 1]]].tolist())
        local[j] = next(c for c in range(len(taken) + 1) if c not in taken)
    colour[~alone] = lone + local
    return Sparsity(colour, row, column, np.where(both, 0.5, 1.0))


def _confirmed(target: Target, z: FloatArray, scale: FloatArray, pattern: Sparsity) -> bool:
    """Return whether products with a vector of signs agree with the entries of a pattern."""
    d = len(scale)
    # Fixed but irregular signs favour no column, like random ones.
    v = np.where(np.arange(1, d + 1) * 0.6180339887 % 1.0 < 0.5, -1.0, 1.0)  # noqa: PLR2004
    for point in z:
        _, gradient = target.log_density_gradient(point[None])
        _, there = target.log_density_gradient((point + STEP * scale * v)[None])
        product = ((there - gradient) * scale / STEP)[0]
        rows = _differences(target, point[None], gradient, scale, np.ones(1), pattern)
        entry = rows[0][pattern.colour[pattern.column], pattern.row]
        matrix = symmetric(entry, pattern)
        error = np.abs(matrix @ v - product).max()
        if not error < MISSED * max(1.0, float(np.abs(product).max())):
            return False
    return True


def _differences(
    target: Target,
    z: FloatArray,
    gradient: FloatArray,
    scale: FloatArray,
    sign: FloatArray,
    pattern: Large,
) -> FloatArray:
    """Return the scaled one-sided differences of groups of columns, ``(point, colour, d)``."""
    n, d = z.shape
    rows = np.empty((n, pattern.colours, d))
    each = max(1, CHUNK // d)
    for first in range(0, pattern.colours, each):
        groups = np.arange(first, min(first + each, pattern.colours))
        step = np.zeros((len(groups), d))
        member = (pattern.colour >= first) & (pattern.colour < first + len(groups))
        step[pattern.colour[member] - first, np.flatnonzero(member)] = STEP * scale[member]
        for i in range(n):
            _, there = target.log_density_gradient(z[i] + sign[i] * step)
            rows[i, groups] = (there - gradient[i]) * (scale / (sign[i] * STEP))
    return rows


def symmetric(entry: FloatArray, pattern: Sparsity) -> Any:
    """Return the sparse matrix of told entries, shape ``(entry,)``, and their mirror images."""
    d = len(pattern.colour)
    half = sparse.coo_matrix((entry * pattern.weight, (pattern.row, pattern.column)), (d, d))
    return sparse.csc_matrix(half + half.T)


def part_of(eps: FloatArray, size: int) -> FloatArray:
    """Return about ``size`` draws of blocks ``(…, draw, d)`` in antithetic pairs."""
    full = eps.shape[-2]
    half = min(size, full) // 2
    if half == full // 2:
        return eps
    two = (eps[..., :half, :], eps[..., full // 2 : full // 2 + half, :])
    part = np.concatenate(two, axis=-2)
    # A part of the draws must have the second moments that the whole set has.
    return np.asarray(part / np.sqrt(np.mean(part**2, axis=-2, keepdims=True)))


def _sampled(
    objective: Objective, theta: FloatArray, pattern: Large, eps: FloatArray
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield differences and base draws, some of those given at once."""
    d = objective.dimension
    sign = np.repeat([1.0, -1.0], len(eps) // 2)
    scale = np.exp(theta[d:])
    step = max(1, CHUNK // (pattern.colours * d))
    for i in range(0, len(eps), step):
        objective.clock.check()
        e, side = eps[i : i + step], sign[i : i + step]
        z = theta[:d] + scale * e
        _, gradient = objective.target.log_density_gradient(z)
        yield _differences(objective.target, z, gradient, scale, side, pattern), e


def hessian_parts(
    objective: Objective, theta: FloatArray, pattern: Large, block: int, size: int
) -> Parts:
    """Return the parts of the Hessian of the negative ELBO, by ``size`` draws of a block.

    With W = S ∇²log p(z) S they are A = −E W, B = −E W diag(eps) and, at an optimum, where
    E s ∇log p(z) eps = −1, C = 1 − E diag(eps) W diag(eps). The mean of eps epsᵀ is the identity
    only if there are more draws than parameters; W's own mean is therefore taken out of C and
    multiplied by the identity, so that C is exact if log p is quadratic.
    """
    d = objective.dimension
    eps = part_of(objective.eps[block], size)
    count = len(eps)
    if isinstance(pattern, Sparsity):
        row, column = pattern.row, pattern.column
        plain, right, left, both = np.zeros((4, len(row)))
        for rows, e in _sampled(objective, theta, pattern, eps):
            entry = rows[:, pattern.colour[column], row]
            plain += entry.sum(axis=0)
            right += np.einsum("nk,nk->k", entry, e[:, column])
            left += np.einsum("nk,nk->k", entry, e[:, row])
            both += np.einsum("nk,nk,nk->k", entry, e[:, row], e[:, column])
        moment = np.einsum("nk,nk->k", eps[:, row], eps[:, column]) / count
        both -= plain * (moment - (row == column))
        one = sparse.coo_matrix((right * pattern.weight, (row, column)), (d, d))
        two = sparse.coo_matrix((left * pattern.weight, (column, row)), (d, d))
        across = sparse.csc_matrix(one + two) / -count
        corner = symmetric(both / -count, pattern) + sparse.identity(d, format="csc")
        return symmetric(plain / -count, pattern), across, corner
    A, B, C = np.zeros((3, d, d))
    for rows, e in _sampled(objective, theta, pattern, eps):
        for W, u in zip(rows, e, strict=True):
            A += W
            B += (W * u[:, None]).T  # W is symmetric but for its error: the mean of both counts
            W *= u  # noqa: PLW2901
            B += W
            C += W * u[:, None]
    A = (A + A.T) / (-2.0 * count)
    C = (C + C.T) / (-2.0 * count)
    moment = eps.T @ eps / count
    moment[np.diag_indices(d)] -= 1.0
    C -= A * moment
    C[np.diag_indices(d)] += 1.0
    return A, B / (-2.0 * count), C


def mean_curvature(objective: Objective, theta: FloatArray, pattern: Large, size: int) -> Any:
    """Return the mean of −S ∇²log p S over ``size`` draws of the first block, ``(d, d)``."""
    return hessian_parts(objective, theta, pattern, 0, size)[0]


def curvature_diagonal(objective: Objective, z: FloatArray, scale: FloatArray) -> FloatArray:
    """Return the diagonal of −S ∇²log p S at a point ``(d,)``: a gradient for each parameter."""
    d, target = objective.dimension, objective.target
    _, gradient = target.log_density_gradient(z[None])
    found = np.empty(d)
    each = max(1, CHUNK // d)
    for first in range(0, d, each):
        objective.clock.check()
        chosen = np.arange(first, min(first + each, d))
        moved = np.repeat(z[None], len(chosen), axis=0)
        row = np.arange(len(chosen))
        moved[row, chosen] += STEP * scale[chosen]
        _, there = target.log_density_gradient(moved)
        found[chosen] = (gradient[0, chosen] - there[row, chosen]) * scale[chosen] / STEP
    return found
