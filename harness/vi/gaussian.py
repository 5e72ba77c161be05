"""Gaussians on the unconstrained scale, with a diagonal or a full factor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import solve_triangular

from harness.records import FloatArray

LOG_TWO_PI = math.log(2 * math.pi)

AT_ONCE = 20_000_000
"""Numbers of points that are looked at together, because of memory."""


class Root(Protocol):
    """A root R of a covariance ``R Rᵀ`` that is not written out, for many parameters."""

    @property
    def inputs(self) -> int:
        """The number of standard normals of a draw; it may be more than parameters."""

    @property
    def sd(self) -> FloatArray:
        """The marginal sds, shape ``(d,)``."""

    @property
    def log_det(self) -> float:
        """Half the log determinant of the covariance."""

    def times(self, eps: FloatArray) -> FloatArray:
        """Return ``R eps`` for rows of ``eps``, ``(n, inputs)``: shape ``(n, d)``."""

    def square(self, x: FloatArray) -> FloatArray:
        """Return squared Mahalanobis distances of rows of ``x``, ``(n, d)``: shape ``(n,)``."""


# A factor L is lower triangular, shape (d, d), or its diagonal, the sds, shape (d,); or a root.
Factor = FloatArray | Root


def scaled(eps: FloatArray, factor: Factor) -> FloatArray:
    """Return ``L eps`` for rows of ``eps``, shape ``(n, d)``."""
    if not isinstance(factor, np.ndarray):
        return factor.times(eps)
    return np.asarray(eps * factor if factor.ndim == 1 else eps @ factor.T)


def inputs(factor: Factor) -> int:
    """Return the number of standard normals of a draw."""
    return len(factor) if isinstance(factor, np.ndarray) else factor.inputs


def square(x: FloatArray, factor: Factor) -> FloatArray:
    """Return squared Mahalanobis distances ``|L⁻¹ x|²`` of rows ``(n, d)``, shape ``(n,)``."""
    if not isinstance(factor, np.ndarray):
        return factor.square(x)
    return np.asarray((whitened(x, factor) ** 2).sum(axis=1))


def log_determinant(factor: Factor) -> float:
    """Return ln |det L|, half the log determinant of the covariance."""
    if not isinstance(factor, np.ndarray):
        return factor.log_det
    return float(np.log(diagonal(factor)).sum())


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


def log_normal(z: FloatArray, mean: FloatArray, factor: Factor) -> FloatArray:
    """Return ln N(z; mean, L Lᵀ), shape ``(point,)``, nats."""
    out = np.empty(len(z))
    step = max(1, AT_ONCE // z.shape[1])
    constant = 0.5 * z.shape[1] * LOG_TWO_PI
    for i in range(0, len(z), step):
        distance = square(z[i : i + step] - mean, factor)
        out[i : i + step] = -0.5 * distance - log_determinant(factor) - constant
    return out


def draws(n: int, mean: FloatArray, factor: Factor, rng: np.random.Generator) -> FloatArray:
    """Return draws of N(mean, L Lᵀ), shape ``(n, d)``."""
    d = len(mean)
    if isinstance(factor, np.ndarray) and n * d <= AT_ONCE:
        return np.asarray(mean + scaled(rng.standard_normal((n, d)), factor))
    out = np.empty((n, d))
    step = max(1, AT_ONCE // (4 * inputs(factor)))
    for i in range(0, n, step):
        part = out[i : i + step]
        part[:] = scaled(rng.standard_normal((len(part), inputs(factor))), factor)
        part += mean
    return out


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
        return draws(n, self.mean, self.factor, rng)

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the log density, shape ``(point,)``, nats."""
        return log_normal(z, self.mean, self.factor)
