"""A Gaussian on the unconstrained scale: what every fit of these families ends as."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.deterministic.elbo import LOG_TWO_PI, log_normal

if TYPE_CHECKING:
    from harness.records import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """``z = mean + L eps`` with standard normal ``eps``."""

    mean: FloatArray
    """Shape ``(d,)``."""
    factor: FloatArray
    """L, lower triangular, shape ``(d, d)``; or its diagonal, the sds, shape ``(d,)``."""

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
        """Shape ``(d, d)``."""
        if self.factor.ndim == 1:
            return np.diag(self.factor**2)
        return np.asarray(self.factor @ self.factor.T)

    @property
    def entropy(self) -> float:
        """½ ln det(2πe L Lᵀ), nats."""
        diagonal = self.factor if self.factor.ndim == 1 else np.diag(self.factor)
        return 0.5 * self.dimension * (1 + LOG_TWO_PI) + float(np.log(diagonal).sum())

    @property
    def theta(self) -> FloatArray:
        """Mean and log sds, shape ``(2 d,)``: the mean-field Gaussian of the same sds."""
        return np.concatenate([self.mean, np.log(self.sd)])

    def transform(self, eps: FloatArray) -> FloatArray:
        """Return ``mean + L eps`` for rows of ``eps``, shape ``(n, d)``."""
        spread = eps * self.factor if self.factor.ndim == 1 else eps @ self.factor.T
        return np.asarray(self.mean + spread)

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Return draws, shape ``(n, d)``."""
        return self.transform(rng.standard_normal((n, self.dimension)))

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the log density, shape ``(point,)``, nats."""
        return log_normal(z, self.mean, self.factor)

    @property
    def usable(self) -> bool:
        """Whether it is a distribution at all: finite, and of a positive width."""
        diagonal = self.factor if self.factor.ndim == 1 else np.diag(self.factor)
        finite = bool(np.isfinite(self.mean).all() and np.isfinite(self.factor).all())
        return finite and bool((diagonal > 0).all()) and math.isfinite(self.entropy)
