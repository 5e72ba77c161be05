"""A full-rank Gaussian by the deterministic ELBO."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.deterministic.base_draws import base_block
from harness.vi.deterministic.lbfgs import Steps, lbfgs

if TYPE_CHECKING:
    from harness.records import FloatArray
    from harness.vi.target import Clock, Target

FULLRANK_LIMIT = 50
"""Dimension up to which d (d + 3) / 2 numbers are optimised."""

PER_DIMENSION = 16
"""Base draws per dimension; with 4 the sds come out up to a quarter too small."""


@dataclass(frozen=True, slots=True, eq=False)
class FullRank:
    """The best full-rank Gaussian.

    Attributes
    ----------
    mean, factor
        Shapes ``(d,)`` and ``(d, d)``, lower triangular: the covariance is L L'.
    elbo, elbo_error
        Nats; on base draws that the fit has not seen.
    error
        The largest standard error that the base draws leave: of means in sds, of ln sd.
    values
        The optimiser's path, negative ELBO.
    settled
        Whether the optimiser arrived.
    """

    mean: FloatArray
    factor: FloatArray
    elbo: float
    elbo_error: float
    error: float
    values: Steps
    settled: bool
    shortfall: float
    """About how many nats the fitted ELBO lies under the family's best, for its base draws."""


class _Whitened:
    """The negative ELBO of z = m + C (a + B eps), B lower triangular with the log of its diagonal.

    C is a factor of a covariance that is nearly right, so that a = 0, B = I is nearly the
    optimum and the curvature nearly 1 in every number (2 in the logs).
    """

    def __init__(
        self, target: Target, mean: FloatArray, factor: FloatArray, eps: FloatArray, clock: Clock
    ) -> None:
        self.target, self.mean, self.factor, self.eps, self.clock = target, mean, factor, eps, clock
        d = len(mean)
        self.below = np.tril_indices(d, -1)

    def parts(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return a, and B."""
        d = len(self.mean)
        B = np.diag(np.exp(x[d : 2 * d]))
        B[self.below] = x[2 * d :]
        return x[:d], B

    def __call__(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Return the value, nats, and the gradient."""
        self.clock.check()
        d = len(self.mean)
        a, B = self.parts(x)
        z = self.mean + (a + self.eps @ B.T) @ self.factor.T
        value, slope = self.target.log_density_gradient(z)
        if not (np.isfinite(value).all() and np.isfinite(slope).all()):
            return math.inf, np.full_like(x, math.nan)
        g = slope @ self.factor
        outer = g.T @ self.eps / len(z)
        gradient = np.concatenate(
            [-g.mean(axis=0), -np.diag(outer) * np.diag(B) - 1.0, -outer[self.below]]
        )
        log_det = float(x[d : 2 * d].sum() + np.log(np.diag(self.factor)).sum())
        entropy = log_det + 0.5 * d * (1 + math.log(2 * math.pi))
        return -float(value.mean()) - entropy, gradient


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def fit_fullrank(
    target: Target,
    mean: FloatArray,
    covariance: FloatArray,
    rng: np.random.Generator,
    clock: Clock,
    size: int = 0,
) -> FullRank:
    """Fit from a Gaussian that is nearly right, such as linear response's.

    The error is seen on fresh base draws: what the gradient there would move, per curvature.

    Parameters
    ----------
    size
        Base draws, a power of two; 0: by the dimension.

    Raises
    ------
    ValueError
        If the dimension is above ``FULLRANK_LIMIT``.
    """
    d = len(mean)
    if d > FULLRANK_LIMIT:
        msg = f"{d} parameters; the full-rank family is for up to {FULLRANK_LIMIT}: use dadvi_lr"
        raise ValueError(msg)
    size = size or max(128, 2 ** math.ceil(math.log2(PER_DIMENSION * d)))
    C = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    objective = _Whitened(target, mean, C, base_block(d, size, rng), clock)
    scales = np.ones(d * (d + 3) // 2)
    scales[d : 2 * d] = 0.5
    path = lbfgs(
        objective,
        np.zeros(len(scales)),
        metric=lambda g: scales * g,
        tolerance=1e-6,
        iterations=500,
    )
    moves, values = [], []
    for _ in range(4):
        other = _Whitened(target, mean, C, base_block(d, size, rng), clock)
        value, gradient = other(path.x)
        values.append(value)
        moves.append(scales * gradient)
    a, B = objective.parts(path.x)
    factor = C @ B
    sd = np.sqrt((factor**2).sum(axis=1))
    # How far fresh sets move the fit: by its own error, what it took from its draws included.
    shifts, widths = [], []
    for move in moves:
        shifts.append((C @ move[:d]) / sd)
        _, moved = objective.parts(path.x - np.clip(move, -0.5, 0.5))
        widths.append(0.5 * np.log(((C @ moved) ** 2).sum(axis=1)) - np.log(sd))
    # Half a step times the curvature, of a step that is the fit's error and as much of the fresh
    # set's own.
    shortfall = 0.25 * float(np.mean([np.sum(move**2 / scales) for move in moves]))
    error = float(np.sqrt(max(np.square(x).mean(axis=0).max() for x in (shifts, widths))))
    return FullRank(
        mean=mean + C @ a,
        factor=factor,
        elbo=-float(np.mean(values)),
        elbo_error=float(np.std(values, ddof=1)) / 2,
        error=error if math.isfinite(error) else math.inf,
        values=path.values,
        settled=path.converged,
        shortfall=shortfall if math.isfinite(shortfall) else math.inf,
    )
