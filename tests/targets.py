"""Log densities in closed form for tests: normals, mixtures, funnels, and what breaks a method.

All are normalised unless their name says otherwise, and shapes are those of
:class:`harness.vi.target.Target`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from harness.vi.subsampling import Split, Subsampled

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from harness.records import FloatArray
    from harness.vi.gaussian import Gaussian
    from harness.vi.target import Target

LOG_2_PI = math.log(2 * math.pi)


class Density:
    """A target from a function that returns values and gradients."""

    def __init__(
        self, dimension: int, function: Callable[[FloatArray], tuple[FloatArray, FloatArray]]
    ) -> None:
        self.dimension, self.function = dimension, function

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the values."""
        return self.log_density_gradient(z)[0]

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return values and gradients."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self.function(z)


class Normal:
    """N(mean, covariance) times exp(``log_z``)."""

    def __init__(self, mean: ArrayLike, covariance: ArrayLike, log_z: float = 0.0) -> None:
        self.mean: FloatArray = np.asarray(mean, dtype=np.float64)
        self.covariance: FloatArray = np.asarray(covariance, dtype=np.float64)
        self.precision: FloatArray = np.asarray(np.linalg.inv(self.covariance))
        self.dimension = len(self.mean)
        log_det = float(np.linalg.slogdet(self.covariance)[1])
        self.constant = log_z - 0.5 * (self.dimension * LOG_2_PI + log_det)

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the values."""
        return self.log_density_gradient(z)[0]

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return values and gradients."""
        slope = -(z - self.mean) @ self.precision
        return 0.5 * np.sum((z - self.mean) * slope, axis=1) + self.constant, slope

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Return exact draws, shape ``(n, dimension)``."""
        return np.asarray(rng.multivariate_normal(self.mean, self.covariance, n))

    def kl(self, q: Gaussian) -> float:
        """Return KL(q ‖ this), nats."""
        off = q.mean - self.mean
        log_dets = np.linalg.slogdet(self.precision)[1] + np.linalg.slogdet(q.covariance)[1]
        trace = np.trace(self.precision @ q.covariance)
        return float(0.5 * (trace + off @ self.precision @ off - q.dimension - log_dets))

    @property
    def gap(self) -> float:
        """½(Σ ln Λᵢᵢ − ln det Λ), nats: the KL of the best mean-field Gaussian."""
        log_det = np.linalg.slogdet(self.precision)[1]
        return float(0.5 * (np.log(np.diag(self.precision)).sum() - log_det))


def standard(dimension: int, log_z: float = 0.0) -> Normal:
    """Return N(0, 1) in every coordinate, times exp(``log_z``)."""
    return Normal(np.zeros(dimension), np.eye(dimension), log_z)


def any_covariance(dimension: int, rng: np.random.Generator) -> FloatArray:
    """Return a covariance with correlations and sds of several sizes."""
    a = rng.normal(size=(dimension, 3 * dimension))
    sd = np.exp(rng.normal(size=dimension))
    return np.asarray((a @ a.T / (3 * dimension) + 0.3) * np.outer(sd, sd))


def any_normal(dimension: int, seed: int) -> Normal:
    """Return a correlated normal away from the origin."""
    rng = np.random.default_rng(seed)
    covariance = any_covariance(dimension, rng)
    return Normal(rng.normal(size=dimension), covariance)


def ill_conditioned(dimension: int, seed: int = 0) -> Normal:
    """Return a normal whose covariance has a condition number of 300."""
    rng = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    covariance = (vectors * np.geomspace(0.1, 30, dimension)) @ vectors.T
    return Normal(3 * rng.normal(size=dimension), covariance)


class Mixture:
    """A mixture of normals with independent coordinates; ``means`` and ``sds`` ``(part, d)``."""

    def __init__(self, shares: Sequence[float], means: ArrayLike, sds: ArrayLike) -> None:
        self.shares = np.asarray(shares)
        self.means, self.sds = np.asarray(means), np.asarray(sds)
        self.dimension = self.means.shape[1]

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the values."""
        return self.log_density_gradient(z)[0]

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return values and gradients."""
        unit = (z[:, None, :] - self.means) / self.sds
        constant = np.log(self.sds).sum(axis=1) + self.dimension / 2 * LOG_2_PI
        parts = np.log(self.shares) - constant - 0.5 * (unit**2).sum(axis=2)
        value = np.logaddexp.reduce(parts, axis=1)
        weight = np.exp(parts - value[:, None])
        slope = np.einsum("np,npd->nd", weight, -unit / self.sds)
        return np.asarray(value), np.asarray(slope)


def lecture_mixture() -> Mixture:
    """Return .2 N(−.3, .1) + .8 N(.5, .1)."""
    return Mixture([0.2, 0.8], [[-0.3], [0.5]], [[0.1], [0.1]])


def two_normals(distance: float, share: float = 0.2) -> Mixture:
    """Return N(0, 1) with a share, and N(distance, 1)."""
    return Mixture([share, 1 - share], [[0.0], [distance]], [[1.0], [1.0]])


def funnel(dimension: int, sd: float = 3.0) -> Density:
    """Return Neal's funnel: v ~ N(0, sd), where 3 is his, and x_i ~ N(0, exp(v / 2))."""
    d = dimension - 1

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        v, x = z[:, 0], z[:, 1:]
        squares = np.exp(-v) * (x**2).sum(axis=1)
        constant = -math.log(sd) - 0.5 * dimension * LOG_2_PI
        value = -0.5 * (v / sd) ** 2 - 0.5 * d * v - 0.5 * squares + constant
        slope = np.column_stack([-v / sd**2 - 0.5 * d + 0.5 * squares, -x * np.exp(-v)[:, None]])
        return value, slope

    return Density(dimension, function)


def banana(bend: float = 0.3, tilt: float = 0.0, sd: float = 1.0) -> Density:
    """Return x ~ N(0, 1), y ~ N(tilt x + bend (x² − 1), sd), with mean 0."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        x, y = z.T
        rest = (y - tilt * x - bend * (x**2 - 1)) / sd**2
        value = -0.5 * x**2 - 0.5 * sd**2 * rest**2 - LOG_2_PI - math.log(sd)
        return value, np.column_stack([-x + (tilt + 2 * bend * x) * rest, -rest])

    return Density(2, function)


def student(dimension: int = 1) -> Density:
    """Return independent Student's t with 3 degrees of freedom."""
    constant = math.log(2 / (math.pi * math.sqrt(3)))

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        return (constant - 2 * np.log1p(z**2 / 3)).sum(axis=1), -4 * z / (3 + z**2)

    return Density(dimension, function)


def log_odds() -> Density:
    """Return the log-odds of a Beta(1001, 2)."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        x = z[:, 0]
        value = math.log(1001 * 1002) - 1001 * np.logaddexp(0, -x) - 2 * np.logaddexp(0, x)
        return value, 1001 - 1003 * expit(z)

    return Density(1, function)


def logistic(dimension: int = 1) -> Density:
    """Return independent logistic variables."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        tail = np.exp(-np.abs(z))
        value = (-np.abs(z) - 2 * np.log1p(tail)).sum(axis=1)
        return value, -np.tanh(z / 2)

    return Density(dimension, function)


def cut(target: Target, edge: float, nothing: float = -math.inf) -> Density:
    """Return a target that rejects, or returns NaN, where the first coordinate exceeds an edge."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        value, slope = target.log_density_gradient(z)
        beyond = z[:, 0] > edge
        return np.where(beyond, nothing, value), np.where(beyond[:, None], np.nan, slope)

    return Density(target.dimension, function)


class Rows:
    """A normal regression by rows with N(0, 3) coefficients, unnormalised.

    The data are N, x, y and s, the scale of the likelihood. With ``broken`` nothing is finite.
    """

    prior_sd = 3.0

    def __init__(self, x: FloatArray, y: FloatArray) -> None:
        self.dimension = x.shape[1]
        self.all: dict[str, NDArray[Any]] = {
            "N": np.asarray(len(y)), "x": x, "y": y, "s": np.asarray(1),
        }  # fmt: skip
        self.data: Mapping[str, Any] = self.all
        self.broken = False

    def rebind(self, data: Mapping[str, Any]) -> None:
        """Take other data."""
        assert int(data["N"]) == len(data["x"]) == len(data["y"])
        self.data = data

    def split(self, batch: int = 100) -> Subsampled:
        """Return the target of batches."""
        return Subsampled(self, self.rebind, self.all, Split(("x", "y"), "N", "s"), batch)

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the values."""
        return self.log_density_gradient(z)[0]

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return values and gradients."""
        if self.broken:
            return np.full(len(z), np.nan), np.full_like(z, np.nan)
        s = float(self.data["s"])
        value, slope = self.likelihood(z @ self.data["x"].T)
        prior = -0.5 * (z**2).sum(axis=1) / self.prior_sd**2
        return s * value + prior, s * slope @ self.data["x"] - z / self.prior_sd**2

    def likelihood(self, eta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the log likelihood at linear predictors, and its slope with respect to them."""
        rest = self.data["y"] - eta
        return -0.5 * (rest**2).sum(axis=1), rest


class LogisticRows(Rows):
    """A logistic regression by rows."""

    def likelihood(self, eta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See :meth:`Rows.likelihood`."""
        y = self.data["y"]
        return (y * eta - np.logaddexp(0, eta)).sum(axis=1), y - expit(eta)
