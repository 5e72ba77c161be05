"""Hessians of the ELBO with many parameters, sparse or not, and what follows from them.

Where none can be formed, a few directions are found by Lanczos' method.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cho_solve

from harness.records import FloatArray
from harness.vi.deterministic.conjugate_gradients import STEP as DIFFERENCE
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.lbfgs import Metric
from harness.vi.deterministic.newton import response_in_units
from harness.vi.deterministic.sparse import (
    Large,
    Parts,
    curvature_diagonal,
    mean_curvature,
    part_of,
)
from harness.vi.lanczos import lanczos
from harness.vi.roots import LowRankRoot, NotPositiveError, SparseFactor, SparseRoot
from harness.vi.sobol import base_blocks

SHIFTS = (0.0, 0.1, 1.0)
"""What is added to a curvature, about 1 on its diagonal, until it is positive definite."""

AROUND = 4
"""Base draws over which a curvature without zeros is averaged that only serves as a metric."""

FAR = 10.0
"""The factor by which the curvature of an optimum may be off where it is used as a metric."""

RANK, CHECKED, PROBES = 600, 25, 8
"""Products with the Hessian that find directions, at most, those that tell what they leave, and
those from which the mean of all other eigenvalues comes."""

FEWEST_DRAWS, FEWEST = 16, 4
"""Base draws of a product, at least; and at least where the curvature hardly varies."""

VARIES = 0.05
"""The relative error from base draws that a product may have; sds have half of it."""

DISTINCT = 0.02
"""The relative distance from the mean of all others at which an eigenvalue counts as one of them.

Leaving one out costs half of it in an sd."""

NO_RESPONSE = 1e-4
"""A response of the log sds, over the change of the means, that counts as none: what it would add
to a curvature, about 1, is twice its square."""


class Curvature(Protocol):
    """A positive definite Hessian of the negative ELBO in ``(mu / s, omega)``."""

    def solve(self, g: FloatArray) -> FloatArray:
        """Return the solutions of H x = g for rows of ``g``, shape ``(n, 2 d)``."""

    def variances(self, chosen: NDArray[np.int_]) -> FloatArray:
        """Return linear response's variances of chosen means, in units of s²."""

    @property
    def covariance(self) -> FloatArray | None:
        """Linear response's covariance in units of s, ``(d, d)``; None if it is not formed."""

    def root(self, scale: FloatArray) -> SparseRoot | None:
        """Return the root of that covariance where it is not formed; ``scale`` is s, ``(d,)``."""


class _Sparse:
    """A sparse Hessian, factorised."""

    covariance = None

    def __init__(self, parts: Parts) -> None:
        self._own, self._across, corner = parts
        blocks = [[self._own, self._across], [self._across.T, corner]]
        self._whole = SparseFactor(sparse.block_array(blocks, format="csc"))
        self._corner = SparseFactor(corner)

    def solve(self, g: FloatArray) -> FloatArray:
        return self._whole.solve(g)

    def variances(self, chosen: NDArray[np.int_]) -> FloatArray:
        return self._whole.inverse_diagonal(chosen)

    def root(self, scale: FloatArray) -> SparseRoot:
        return SparseRoot(scale, self._whole, self._corner, self._own, self._across)


class _Full:
    """A Hessian without zeros: its parts are eliminated one after the other."""

    def __init__(self, parts: Parts) -> None:
        own, self._across, corner = parts
        try:
            self._corner = np.linalg.cholesky(corner)
            self.covariance = response_in_units(own, self._across.T, corner)
        except np.linalg.LinAlgError as error:
            raise NotPositiveError(str(error)) from error

    def solve(self, g: FloatArray) -> FloatArray:
        d = len(self.covariance)
        mean, log_sd = g[:, :d].T, g[:, d:].T
        factor = (self._corner, True)
        x = self.covariance @ (mean - self._across @ cho_solve(factor, log_sd))
        y = cho_solve(factor, log_sd - self._across.T @ x)
        return np.concatenate([x, y]).T

    def variances(self, chosen: NDArray[np.int_]) -> FloatArray:
        return np.asarray(np.diag(self.covariance)[chosen])

    def root(self, scale: FloatArray) -> None:
        del scale


def curvature_of(parts: Parts) -> Curvature:
    """Return a Hessian from its parts.

    Raises
    ------
    harness.vi.roots.NotPositiveError
        If it is not positive definite, or not finite.
    """
    if not all(np.isfinite(p.data if sparse.issparse(p) else p).all() for p in parts):
        raise NotPositiveError("not finite")
    return _Sparse(parts) if sparse.issparse(parts[0]) else _Full(parts)


def metric_around(
    objective: Objective, theta: FloatArray, pattern: Large
) -> tuple[FloatArray, Metric] | None:
    """Return q and an approximate inverse Hessian from the mean curvature of log p around it.

    At an optimum the diagonal of that is about 1. Where most of it is far from that, q's sds become
    those that would have it so, because a Hessian is dear. None if it is not positive.
    """
    d = objective.dimension
    size = objective.eps.shape[1] if pattern.colours < d else AROUND
    H = mean_curvature(objective, theta, pattern, size)
    sparsely = sparse.issparse(H)
    diagonal = np.asarray(H.diagonal())
    if not (np.isfinite(H.data if sparsely else H).all() and (diagonal > 0).all()):
        return None
    sd = np.exp(theta[d:])
    if not 1 / FAR < np.median(diagonal) < FAR:
        theta = np.concatenate([theta[:d], theta[d:] - 0.5 * np.log(diagonal)])
    # Its own diagonal is the unit of what is added until it is positive definite.
    root = np.sqrt(diagonal)
    if sparsely:
        H = sparse.csc_matrix(sparse.diags(1 / root) @ H @ sparse.diags(1 / root))
    else:
        H = H / root / root[:, None]
    unit = sd / root
    for shift in SHIFTS:
        try:
            solve = _solver(H, shift)
        except (NotPositiveError, np.linalg.LinAlgError):
            continue
        return theta, _metric_of(solve, unit)
    return None


def _metric_of(solve: Metric, unit: FloatArray) -> Metric:
    d = len(unit)
    # At its optimum the ELBO has second derivative 2 in every log sd.
    return lambda g: np.concatenate([unit * solve(unit * g[:d]), 0.5 * g[d:]])


def _solver(H: Any, shift: float) -> Metric:
    if sparse.issparse(H):
        sparsely = SparseFactor(H + shift * sparse.identity(H.shape[0], format="csc"))
        return lambda b: sparsely.solve(b[None])[0]
    factor = np.linalg.cholesky(H + shift * np.eye(len(H)))
    return lambda b: np.asarray(cho_solve((factor, True), b))


class Approximate(NamedTuple):
    """Linear response in a few directions, and what the others lack."""

    root: LowRankRoot | None  # None if a direction has no positive curvature
    smallest: float  # the smallest curvature found, in units in which independence has 1
    wide: float  # at least how many times too narrow draws are in some direction
    narrow: float  # at least how many times too wide
    directions: int


def low_rank(
    objective: Objective,
    theta: FloatArray,
    seconds: float,
    allowed_s: float,
    rng: np.random.Generator,
) -> Approximate:
    """Return linear response's covariance from a few directions of the precision.

    P = A − B C⁻¹ Bᵀ is the precision in the notation of :func:`.sparse.hessian_parts`, with the C
    of a Gaussian, 2, in units in which its diagonal is about 1. Lanczos' method finds eigenvectors;
    all other eigenvalues count as their mean, which a few more products tell. Products are
    differences of gradients: ``seconds`` is what one gradient takes, ``allowed_s`` what all may,
    and once more for the diagonal. What is left is the spread of the eigenvalues of ``Rᵀ P R``, R
    the root found, with P on other base draws: the extreme ones come from another run of the
    method, so they are bounds from inside.
    """
    d = objective.dimension
    gradients = int(allowed_s / seconds)
    eps = _enough(objective, theta, gradients)
    unit = _unit(objective, theta, eps, gradients)
    product = _precision(objective, theta, eps, unit)
    # A product takes four gradients of each draw, where log sds respond to means.
    rank = int(np.clip(gradients / (4 * len(eps)) - CHECKED - PROBES, CHECKED, RANK))
    values, vectors = lanczos(product, d, min(rank, d), rng)
    if not (len(values) and values[0] > 0):
        smallest = float(values[0]) if len(values) else math.nan
        return Approximate(None, smallest, math.inf, math.inf, len(values))
    others = _others(values, vectors, product, rng)
    if not others > 0:
        return Approximate(None, others, math.inf, math.inf, len(values))
    root = _completed(values, vectors, others)
    other = base_blocks(d, *_layout(objective, len(eps)), rng).reshape(-1, d)
    product = _precision(objective, theta, other, unit)

    def whitened(v: FloatArray) -> FloatArray:
        # R is symmetric in these units.
        return np.asarray(root.times(product(root.times(v[None])[0])[None])[0])

    left, _ = lanczos(whitened, d, min(CHECKED, d), rng)
    low, high = (float(left[0]), float(left[-1])) if len(left) else (math.nan, math.nan)
    wide = low**-0.5 if low > 0 else math.inf
    narrow = high**0.5 if high > 0 else math.inf
    own = replace(root, scale=root.scale * unit * np.exp(theta[d:]))
    directions = len(own.stretch)
    return Approximate(own, float(values[0]), max(wide, 1.0), max(narrow, 1.0), directions)


def _layout(objective: Objective, draws: int) -> tuple[int, int]:
    """Return blocks, and draws of each, for a number of base draws."""
    blocks = max(1, min(len(objective.eps), draws // FEWEST))
    return blocks, draws // blocks


def _part(objective: Objective, draws: int) -> FloatArray:
    blocks, size = _layout(objective, draws)
    return part_of(objective.eps[:blocks], size).reshape(-1, objective.dimension)


def _enough(objective: Objective, theta: FloatArray, gradients: int) -> FloatArray:
    """Return the base draws of a product: as many as the curvature's variation needs."""
    d, draws = objective.dimension, objective.draws
    while draws > FEWEST_DRAWS and 4 * draws * (RANK + CHECKED + PROBES) > gradients:
        draws //= 2
    eps = _part(objective, draws)
    # Fixed but irregular signs favour no direction, like random ones.
    v = np.where(np.arange(1, d + 1) * 0.6180339887 % 1.0 < 0.5, -1.0, 1.0)  # noqa: PLR2004
    own = _bent(objective, theta, eps, v)
    mean = own.mean(axis=0)
    spread = ((own - mean) ** 2).sum(axis=1).mean()
    while draws > FEWEST and spread < VARIES**2 * (mean @ mean) * (draws // 2):
        draws //= 2
    return _part(objective, draws)


def _unit(objective: Objective, theta: FloatArray, eps: FloatArray, gradients: int) -> FloatArray:
    """Return the units, in those of s, in which the diagonal of A is 1, if that is affordable.

    Base draws far fewer than parameters leave errors in s where parameters correlate. Each entry of
    the diagonal is a difference of gradients of its own.
    """
    d = objective.dimension
    draws = min(gradients // d, len(eps) // 2)
    total = np.zeros(d)
    for e in eps[:draws]:
        z = theta[:d] + np.exp(theta[d:]) * e
        total += curvature_diagonal(objective, z, np.exp(theta[d:]))
    if not (draws and np.isfinite(total).all() and (total > 0).all()):
        return np.ones(d)
    return np.asarray((total / draws) ** -0.5)


def _others(
    values: FloatArray, vectors: FloatArray, product: Metric, rng: np.random.Generator
) -> float:
    """Return the mean of the eigenvalues of P that are not among ``values``; 1 if all are.

    It is that of vᵀ P v − Σ values (Uᵀ v)² over vectors v of random signs (Hutch++, Meyer et al.
    2021), over their number. If it is not positive, one of them is not.
    """
    d, k = vectors.shape
    if k == d:
        return 1.0
    signs = rng.choice([-1.0, 1.0], (PROBES, d))
    left = [v @ product(v) - (vectors.T @ v) ** 2 @ values for v in signs]
    return float(np.mean(left) / (d - k))


def _completed(values: FloatArray, vectors: FloatArray, others: float) -> LowRankRoot:
    """Return a root of the inverse of P, given some eigenpairs and the others' mean."""
    d, k = vectors.shape
    if k == d:
        return LowRankRoot(np.ones(d), vectors, values**-0.5)
    own = np.abs(values / others - 1) > DISTINCT
    stretch = (values[own] / others) ** -0.5
    return LowRankRoot(np.full(d, others**-0.5), vectors[:, own], stretch)


def _bent(objective: Objective, theta: FloatArray, eps: FloatArray, v: FloatArray) -> FloatArray:
    """Return −W v at each base draw, in units of s; v may differ between them."""
    objective.clock.check()
    d = objective.dimension
    scale = np.exp(theta[d:])
    z = theta[:d] + scale * eps
    h = DIFFERENCE / max(float(np.abs(v).max()), 1e-300)
    moved = np.concatenate([z + h * scale * v, z - h * scale * v])
    _, slope = objective.target.log_density_gradient(moved)
    return np.asarray(scale * (slope[len(z) :] - slope[: len(z)]) / (2 * h))


def _precision(
    objective: Objective, theta: FloatArray, eps: FloatArray, unit: FloatArray
) -> Metric:
    """Return v ↦ P v; see :func:`low_rank`."""

    def product(v: FloatArray) -> FloatArray:
        v = unit * v
        own = _bent(objective, theta, eps, v)
        mean = own.mean(axis=0)
        response = 0.5 * (own * eps).mean(axis=0)
        if np.linalg.norm(response) > NO_RESPONSE * np.linalg.norm(v):
            mean = mean - _bent(objective, theta, eps, eps * response).mean(axis=0)
        return np.asarray(unit * mean)

    return product
