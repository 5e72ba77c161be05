"""The deterministic ELBO of a mean-field Gaussian, and its gradient."""

from __future__ import annotations

import math

import numpy as np

from harness.records import FloatArray
from harness.vi.gaussian import LOG_TWO_PI
from harness.vi.target import Clock, Target


class Objective:
    """The negative ELBO on fixed base draws, a deterministic function of 2 d numbers.

    With ``theta = (mu, omega)`` and ``z_n = mu + exp(omega) eps_n``,

        F(theta) = −mean_n log p(z_n) − Σ omega − d/2 (1 + ln 2π),

    as in Giordano, Ingram and Broderick (2024), *Black box variational inference with a
    deterministic objective*, JMLR 25. If log p fails at any draw, F is +∞, and an optimiser takes
    the step back.
    """

    def __init__(self, target: Target, eps: FloatArray, clock: Clock) -> None:
        self.target = target
        self.eps = eps  # shape (block, draw, dimension)
        self.clock = clock
        self.dimension = eps.shape[2]
        self.refused = 0  # evaluations with a point without a finite density or gradient
        self._last: tuple[FloatArray, FloatArray, FloatArray] | None = None

    @property
    def draws(self) -> int:
        """The number of base draws."""
        return int(self.eps.shape[0] * self.eps.shape[1])

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Return F (nats) and its gradient ``(2 d,)``."""
        value, gradient = self.by_block(theta)
        if len(value) == 1:
            return float(value[0]), gradient[0]
        return float(value.mean()), gradient.mean(axis=0)

    def by_block(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return F and its gradient on each block: ``(block,)`` and ``(block, 2 d)``.

        The last result is kept: where one search ends the next begins.
        """
        if self._last is None or not np.array_equal(theta, self._last[0]):
            self._last = (theta.copy(), *self._evaluated(theta))
        return self._last[1], self._last[2]

    def _evaluated(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        self.clock.check()
        blocks, size, d = self.eps.shape
        mu, omega = theta[:d], theta[d:]
        scaled = np.exp(omega) * self.eps
        z = (mu + scaled).reshape(-1, d)
        value, slope = self.target.log_density_gradient(z)
        # A sum is finite only if all its terms are.
        if not math.isfinite(float(value.sum()) + float(slope.sum())):
            self.refused += 1
            return np.full(blocks, math.inf), np.full((blocks, 2 * d), math.nan)
        slope = slope.reshape(blocks, size, d)
        gradient = np.empty((blocks, 2 * d))
        gradient[:, :d] = -slope.sum(axis=1) / size
        gradient[:, d:] = -np.einsum("bnd,bnd->bd", slope, scaled) / size - 1.0
        entropy = float(omega.sum()) + 0.5 * d * (1 + LOG_TWO_PI)
        return -value.reshape(blocks, size).mean(axis=1) - entropy, gradient
