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
from harness.vi.deterministic.sparse import Large, Parts, mean_curvature, part_of
from harness.vi.lanczos import lanczos
from harness.vi.roots import LowRankRoot, NotPositiveError, SparseFactor, SparseRoot

SHIFTS = (0.0, 0.1, 1.0)
"""What is added to a curvature, about 1 on its diagonal, until it is positive definite."""

AROUND = 4
"""Base draws over which a curvature without zeros is averaged that only serves as a metric."""

FAR = 10.0
"""The factor by which the curvature of an optimum may be off where it is used as a metric."""

RANK, CHECKED = 300, 25
"""Products with the Hessian that find directions, at most, and those that tell what they leave."""

FEWEST_PRODUCTS, FEWEST_DRAWS = 100, 16
"""Products that should be affordable, and the base draws below which they are not made cheaper."""


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
    """Return linear response's covariance as that of independence but for a few directions.

    Lanczos' method finds eigenvectors of its precision in units of s, P = A − B C⁻¹ Bᵀ in the
    notation of :func:`.sparse.hessian_parts`, with the C of a Gaussian, 2: independence gives the
    identity. Products with it are differences of gradients: ``seconds`` is what one gradient takes,
    ``allowed_s`` what all may. What is left is the spread of the eigenvalues of ``Rᵀ P R``, R the
    root found: the extreme ones come from another run of the method, so they are bounds from
    inside.
    """
    d = objective.dimension
    blocks, size = objective.eps.shape[:2]
    while (
        blocks * size > FEWEST_DRAWS
        and size > 2  # noqa: PLR2004 - a pair
        and 4 * blocks * size * seconds * FEWEST_PRODUCTS > allowed_s
    ):
        size //= 2
    product = _precision(objective, theta, part_of(objective.eps, size).reshape(-1, d))
    products = int(allowed_s / max(4 * blocks * size * seconds, 1e-12))
    rank = int(np.clip(products - CHECKED, CHECKED, RANK))
    values, vectors = lanczos(product, d, min(rank, d), rng)
    if not (len(values) and values[0] > 0):
        smallest = float(values[0]) if len(values) else math.nan
        return Approximate(None, smallest, math.inf, math.inf, len(values))
    root = LowRankRoot(np.exp(theta[d:]), vectors, values**-0.5)
    unit = replace(root, scale=np.ones(d))

    def whitened(v: FloatArray) -> FloatArray:
        # R is symmetric in these units.
        return np.asarray(unit.times(product(unit.times(v[None])[0])[None])[0])

    left, _ = lanczos(whitened, d, min(CHECKED, d), rng)
    low, high = (float(left[0]), float(left[-1])) if len(left) else (math.nan, math.nan)
    wide = low**-0.5 if low > 0 else math.inf
    narrow = high**0.5 if high > 0 else math.inf
    return Approximate(root, float(values[0]), max(wide, 1.0), max(narrow, 1.0), len(values))


def _precision(objective: Objective, theta: FloatArray, eps: FloatArray) -> Metric:
    """Return v ↦ P v; see :func:`low_rank`."""
    d = objective.dimension
    target, scale = objective.target, np.exp(theta[d:])
    z = theta[:d] + scale * eps

    def bent(v: FloatArray) -> FloatArray:
        """Return −W v at each base draw; v may differ between them."""
        objective.clock.check()
        h = DIFFERENCE / max(float(np.abs(v).max()), 1e-300)
        _, slope = target.log_density_gradient(
            np.concatenate([z + h * scale * v, z - h * scale * v])
        )
        return np.asarray(scale * (slope[len(z) :] - slope[: len(z)]) / (2 * h))

    def product(v: FloatArray) -> FloatArray:
        own = bent(v)
        response = 0.5 * (own * eps).mean(axis=0)
        return np.asarray(own.mean(axis=0) - bent(eps * response).mean(axis=0))

    return product
