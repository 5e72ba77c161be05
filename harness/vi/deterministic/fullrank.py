"""A full-rank Gaussian by the deterministic ELBO."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.records import FloatArray
from harness.vi.deterministic.lbfgs import Steps, lbfgs
from harness.vi.gaussian import LOG_TWO_PI
from harness.vi.sobol import base_block
from harness.vi.target import Clock, Target

FULLRANK_LIMIT = 50  # the largest dimension of a fit, which optimises d (d + 3) / 2 numbers
PER_DIMENSION = 16  # base draws per dimension; with 4 the sds are up to a quarter too small


@dataclass(frozen=True, slots=True, eq=False)
class FullRank:
    """The best full-rank Gaussian."""

    mean: FloatArray  # shape (d,)
    factor: FloatArray  # shape (d, d), lower triangular: the covariance is L L'
    elbo: float  # nats, on fresh base draws
    elbo_error: float
    error: float  # the largest standard error from base draws: of means in sds, and of log sds
    values: Steps  # the optimiser's path, negative ELBO
    settled: bool
    shortfall: float  # approximate nats below the family's best because of base draws


class _Whitened:
    """The negative ELBO of z = m + C (a + B eps), B lower triangular with the log of its diagonal.

    C is a factor of an approximately correct covariance, so that a = 0, B = I is close to the
    optimum, and the curvature close to 1 in every number (2 in the logs).
    """

    def __init__(
        self, target: Target, mean: FloatArray, factor: FloatArray, eps: FloatArray, clock: Clock
    ) -> None:
        self.target, self.mean, self.factor, self.eps, self.clock = target, mean, factor, eps, clock
        d = len(mean)
        self.below = np.tril_indices(d, -1)

    def parts(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return a and B."""
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
        entropy = log_det + 0.5 * d * (1 + LOG_TWO_PI)
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
    """Fit, starting from an approximately correct Gaussian such as that of linear response.

    The error is the step that the gradient on fresh base draws would take, given the curvature.
    ``size`` is the number of base draws, a power of two; 0 chooses by the dimension.

    Raises
    ------
    ValueError
        If the dimension is above ``FULLRANK_LIMIT``.
    """
    d = len(mean)
    if d > FULLRANK_LIMIT:
        msg = f"the full-rank family has at most {FULLRANK_LIMIT} parameters, not {d}: use dadvi_lr"
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
    # Fresh base draws move the fit by its own error, including its adaptation to its draws.
    shifts, widths = [], []
    for move in moves:
        shifts.append((C @ move[:d]) / sd)
        _, moved = objective.parts(path.x - np.clip(move, -0.5, 0.5))
        widths.append(0.5 * np.log(((C @ moved) ** 2).sum(axis=1)) - np.log(sd))
    # Half the squared step times curvature, halved because half of the squared step is the fresh
    # draws' own error.
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
