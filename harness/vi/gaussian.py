"""Gaussians on the unconstrained scale, with a diagonal or a full factor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from harness.records import FloatArray

LOG_TWO_PI = math.log(2 * math.pi)

# A factor L is lower triangular, shape (d, d), or its diagonal, the sds, shape (d,).


def scaled(eps: FloatArray, factor: FloatArray) -> FloatArray:
    """Return ``L eps`` for rows of ``eps``, shape ``(n, d)``."""
    return np.asarray(eps * factor if factor.ndim == 1 else eps @ factor.T)


def whitened(z: FloatArray, factor: FloatArray) -> FloatArray:
    """Return ``L⁻¹ z`` for rows of ``z``, shape ``(n, d)``."""
    if factor.ndim == 1:
        return np.asarray(z / factor)
    return np.asarray(solve_triangular(factor, z.T, lower=True).T)


def pulled_back(slope: FloatArray, factor: FloatArray) -> FloatArray:
    """Return ``Lᵀ slope`` for rows of ``slope``: gradients with respect to ``eps``."""
    return np.asarray(slope * factor if factor.ndim == 1 else slope @ factor)


def diagonal(factor: FloatArray) -> FloatArray:
    """Return the diagonal of a factor, shape ``(d,)``."""
    return factor if factor.ndim == 1 else np.diag(factor)


def log_normal(z: FloatArray, mean: FloatArray, factor: FloatArray) -> FloatArray:
    """Return ln N(z; mean, L Lᵀ), shape ``(point,)``, nats."""
    unit = whitened(z - mean, factor)
    log_det = float(np.log(diagonal(factor)).sum())
    return np.asarray(-0.5 * (unit**2).sum(axis=1) - log_det - 0.5 * z.shape[1] * LOG_TWO_PI)


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """``z = mean + L eps`` with standard normal ``eps``."""

    mean: FloatArray  # shape (d,)
    factor: FloatArray  # L, lower triangular, shape (d, d); or its diagonal, the sds, shape (d,)

    @property
    def dimension(self) -> int:
        """The number of parameters."""
        return len(self.mean)

    @property
    def sd(self) -> FloatArray:
        """The marginal sds, shape ``(d,)``."""
        if self.factor.ndim == 1:
            return self.factor
        return np.asarray(np.linalg.norm(self.factor, axis=1))

    @property
    def covariance(self) -> FloatArray:
        """The covariance, shape ``(d, d)``."""
        if self.factor.ndim == 1:
            return np.diag(self.factor**2)
        return np.asarray(self.factor @ self.factor.T)

    @property
    def entropy(self) -> float:
        """½ ln det(2πe L Lᵀ), nats."""
        log_det = float(np.log(diagonal(self.factor)).sum())
        return 0.5 * self.dimension * (1 + LOG_TWO_PI) + log_det

    @property
    def theta(self) -> FloatArray:
        """Mean and log sds, shape ``(2 d,)``: the mean-field Gaussian with the same sds."""
        return np.concatenate([self.mean, np.log(self.sd)])

    @property
    def usable(self) -> bool:
        """Whether mean, factor and entropy are finite and all widths positive."""
        finite = bool(np.isfinite(self.mean).all() and np.isfinite(self.factor).all())
        return finite and bool((diagonal(self.factor) > 0).all()) and math.isfinite(self.entropy)

    def transform(self, eps: FloatArray) -> FloatArray:
        """Return ``mean + L eps`` for rows of ``eps``, shape ``(n, d)``."""
        return np.asarray(self.mean + scaled(eps, self.factor))

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Return draws, shape ``(n, d)``."""
        return self.transform(rng.standard_normal((n, self.dimension)))

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the log density, shape ``(point,)``, nats."""
        return log_normal(z, self.mean, self.factor)
