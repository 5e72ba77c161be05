"""Gaussian families on the unconstrained scale: draws, densities and gradients.

A family is a stateless value whose parameters ``phi`` are one flat array. Draws are
``z = mu + L eps`` with ``eps`` standard normal (elliptical standardisation, Kucukelbir et al. 2017,
section 2.4); L is diagonal or lower triangular, with its diagonal on the log scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular

from harness.records import FloatArray
from harness.vi.gaussian import LOG_TWO_PI


@dataclass(frozen=True, slots=True)
class MeanField:
    """Independent Gaussians; ``phi`` is ``[mu, log sigma]``.

    Shapes: ``phi`` is ``(size,)``; ``eps``, ``z`` and slopes are ``(draw, dimension)``.
    """

    dimension: int

    @property
    def size(self) -> int:
        """The number of variational parameters."""
        return 2 * self.dimension

    def start(self, mu: ArrayLike, log_sigma: ArrayLike = 0.0) -> FloatArray:
        """Return ``phi`` with this mean and independent scales exp(``log_sigma``)."""
        phi = np.empty(self.size)
        phi[: self.dimension] = mu
        phi[self.dimension :] = log_sigma
        return phi

    def transform(self, phi: FloatArray, eps: FloatArray) -> FloatArray:
        """Return ``z = mu + L eps``."""
        d = self.dimension
        return np.asarray(phi[:d] + np.exp(phi[d:]) * eps)

    def slope(self, phi: FloatArray, eps: FloatArray) -> FloatArray:
        """Return the gradient of log q with respect to z at ``transform(phi, eps)``."""
        return np.asarray(-eps * np.exp(-phi[self.dimension :]))

    def path(self, phi: FloatArray, eps: FloatArray, slope: FloatArray) -> FloatArray:
        """Return the mean over draws of (dz/dphi)ᵀ ``slope``, shape ``(size,)``."""
        d, n = self.dimension, len(eps)
        gradient = np.empty(2 * d)
        scales = gradient[d:]
        np.exp(phi[d:], out=scales)
        if n == 1:  # the default of one draw a step, without a reduction
            gradient[:d] = slope[0]
            scales *= eps[0]
            scales *= slope[0]
        else:
            np.add.reduce(slope, axis=0, out=gradient[:d])
            scales *= np.einsum("nd,nd->d", slope, eps)
            gradient /= n
        return gradient

    def pull_back(self, phi: FloatArray, eps: FloatArray, slope: FloatArray) -> FloatArray:
        """Return the gradient of mean log p(z) + entropy, given ``slope`` = ∇ log p at z."""
        gradient = self.path(phi, eps, slope)
        gradient[self.dimension :] += 1.0
        return gradient

    def entropy(self, phi: FloatArray) -> float:
        """Return the entropy, d/2 · (1 + ln 2π) + Σ log sigma, nats."""
        d = self.dimension
        return d / 2 * (1 + LOG_TWO_PI) + float(np.add.reduce(phi[d:]))

    def log_density(self, phi: FloatArray, z: FloatArray) -> FloatArray:
        """Return the normalised log density, nats, shape ``(draw,)``."""
        d = self.dimension
        eps = (z - phi[:d]) * np.exp(-phi[d:])
        square = np.einsum("nd,nd->n", eps, eps)
        return np.asarray(-0.5 * square - phi[d:].sum() - d / 2 * LOG_TWO_PI)

    def mean(self, phi: FloatArray) -> FloatArray:
        """Return the mean, shape ``(dimension,)``, as a copy."""
        return phi[: self.dimension].copy()

    def sd(self, phi: FloatArray) -> FloatArray:
        """Return the marginal standard deviations, shape ``(dimension,)``."""
        return np.asarray(np.exp(phi[self.dimension :]))


@dataclass(frozen=True, slots=True)
class FullRank:
    """All Gaussians; ``phi`` is ``[mu, the lower triangle of L by rows]``, with log Lᵢᵢ for Lᵢᵢ.

    See :class:`MeanField` for shapes and functions.
    """

    dimension: int

    @property
    def size(self) -> int:
        """The number of means and of entries of L: d + d (d + 1) / 2."""
        return self.dimension + self.dimension * (self.dimension + 1) // 2

    def start(self, mu: ArrayLike, log_sigma: ArrayLike = 0.0) -> FloatArray:
        """See :meth:`MeanField.start`; the entries below the diagonal are 0."""
        phi = np.zeros(self.size)
        phi[: self.dimension] = mu
        phi[self._diagonal] = log_sigma
        return phi

    def factor(self, phi: FloatArray) -> FloatArray:
        """Return L, lower triangular, shape ``(dimension, dimension)``."""
        d = self.dimension
        rows, columns, diagonal = _triangle(d)
        factor = np.zeros((d, d))
        factor[rows, columns] = phi[d:]
        factor.flat[:: d + 1] = np.exp(phi[d + diagonal])
        return factor

    def transform(self, phi: FloatArray, eps: FloatArray) -> FloatArray:
        """See :meth:`MeanField.transform`."""
        return np.asarray(phi[: self.dimension] + eps @ self.factor(phi).T)

    def slope(self, phi: FloatArray, eps: FloatArray) -> FloatArray:
        """Return −L⁻ᵀ eps."""
        return -_solve(self.factor(phi), eps, transposed=True)

    def path(self, phi: FloatArray, eps: FloatArray, slope: FloatArray) -> FloatArray:
        """Return the mean of ``slope`` and the lower triangle of the mean of slope epsᵀ."""
        d = self.dimension
        rows, columns, diagonal = _triangle(d)
        gradient = np.empty(self.size)
        gradient[:d] = np.add.reduce(slope, axis=0)
        gradient[d:] = (slope.T @ eps)[rows, columns]
        gradient /= len(eps)
        gradient[d + diagonal] *= np.exp(phi[d + diagonal])
        return gradient

    def pull_back(self, phi: FloatArray, eps: FloatArray, slope: FloatArray) -> FloatArray:
        """See :meth:`MeanField.pull_back`."""
        gradient = self.path(phi, eps, slope)
        gradient[self._diagonal] += 1.0
        return gradient

    def entropy(self, phi: FloatArray) -> float:
        """Return d/2 · (1 + ln 2π) + Σ log Lᵢᵢ."""
        return self.dimension / 2 * (1 + LOG_TWO_PI) + float(phi[self._diagonal].sum())

    def log_density(self, phi: FloatArray, z: FloatArray) -> FloatArray:
        """See :meth:`MeanField.log_density`."""
        d = self.dimension
        eps = _solve(self.factor(phi), z - phi[:d])
        square = np.einsum("nd,nd->n", eps, eps)
        return np.asarray(-0.5 * square - phi[self._diagonal].sum() - d / 2 * LOG_TWO_PI)

    def mean(self, phi: FloatArray) -> FloatArray:
        """Return mu."""
        return phi[: self.dimension].copy()

    def sd(self, phi: FloatArray) -> FloatArray:
        """Return the lengths of the rows of L."""
        return np.asarray(np.linalg.norm(self.factor(phi), axis=1))

    @property
    def _diagonal(self) -> NDArray[np.intp]:
        """The positions of log Lᵢᵢ in ``phi``."""
        return self.dimension + _triangle(self.dimension)[2]


Family = MeanField | FullRank
"""What the loop, the objectives and the draws work with."""

FAMILIES: Mapping[str, type[Family]] = MappingProxyType(
    {"meanfield": MeanField, "fullrank": FullRank}
)
"""The families by the option's value."""


@lru_cache(maxsize=32)
def _triangle(dimension: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the lower triangle, and the diagonal's positions among them."""
    rows, columns = np.tril_indices(dimension)
    found = rows, columns, np.flatnonzero(rows == columns)
    for array in found:
        array.flags.writeable = False  # every caller gets the same arrays
    return found


def _solve(factor: FloatArray, points: FloatArray, *, transposed: bool = False) -> FloatArray:
    """Return L⁻¹ (or L⁻ᵀ) times each row of ``points``."""
    solved = solve_triangular(
        factor, points.T, lower=True, trans="T" if transposed else "N", check_finite=False
    )
    return np.asarray(solved.T)
