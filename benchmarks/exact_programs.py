"""Log densities whose exact draws are known, on which short chains are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from answers import Answer, answer_of
from scipy.special import expit, logsumexp

from harness.records import FloatArray

EXACT = 200_000
"""Exact draws, by which others are judged."""

Slope = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
Sampler = Callable[[np.random.Generator, int], FloatArray]


@dataclass(frozen=True)
class Program:
    """A log density with its gradient, and exact draws of it."""

    name: str
    dimension: int
    log_density_gradient: Slope
    draw: Sampler
    seconds: float = 2e-6  # expected of a gradient

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the values."""
        return self.log_density_gradient(z)[0]

    def answer(self) -> Answer:
        """Return the figures of exact draws."""
        return answer_of(self.draw(np.random.default_rng(0), EXACT))


def normal(name: str, covariance: FloatArray) -> Program:
    """Return a normal."""
    precision = np.linalg.inv(covariance)
    factor = np.linalg.cholesky(covariance)

    def slope(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        g = -z @ precision
        return 0.5 * (z * g).sum(axis=1), g

    d = len(covariance)
    return Program(name, d, slope, lambda rng, n: rng.standard_normal((n, d)) @ factor.T)


def mixture(name: str, shares: list[float], means: FloatArray, sds: FloatArray) -> Program:
    """Return a mixture of normals; ``means`` and ``sds`` have shape ``(part, d)``."""
    sds = np.broadcast_to(sds, means.shape)

    def slope(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        u = (z[:, None] - means) / sds
        each = np.log(shares) - np.log(sds).sum(axis=1) - 0.5 * (u**2).sum(axis=2)
        value = logsumexp(each, axis=1)
        return value, -(np.exp(each - value[:, None])[:, :, None] * u / sds).sum(axis=1)

    def draw(rng: np.random.Generator, n: int) -> FloatArray:
        part = rng.choice(len(shares), n, p=shares)
        return means[part] + sds[part] * rng.standard_normal((n, means.shape[1]))

    return Program(name, means.shape[1], slope, draw)


def student(name: str, freedom: float, d: int) -> Program:
    """Return independent Student's t."""

    def slope(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        a = freedom + 1
        return (-0.5 * a * np.log1p(z**2 / freedom)).sum(axis=1), -a * z / (freedom + z**2)

    return Program(name, d, slope, lambda rng, n: rng.standard_t(freedom, (n, d)))


def log_gamma(name: str, shape: float) -> Program:
    """Return the logarithm of a gamma variable of scale 1."""

    def slope(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        e = np.exp(z)
        return (shape * z - e)[:, 0], shape - e

    def draw(rng: np.random.Generator, n: int) -> FloatArray:
        # Small shapes underflow: gamma(a) = gamma(a + 1) U^(1 / a).
        return (np.log(rng.gamma(shape + 1, size=n)) + np.log(rng.random(n)) / shape)[:, None]

    return Program(name, 1, slope, draw)


def on_grid(name: str, slope: Slope, low: float, high: float) -> Program:
    """Return a program of one parameter whose draws come from its distribution on a grid."""
    grid = np.linspace(low, high, 200_001)
    value = slope(grid[:, None])[0]
    cdf = np.cumsum(np.exp(value - value.max()))
    cdf /= cdf[-1]
    return Program(name, 1, slope, lambda rng, n: np.interp(rng.random(n), cdf, grid)[:, None])


def boundary(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a mean above 0 of ten points around 0, on the log scale."""
    mu = np.exp(z)
    return (-5 * (mu + 0.05) ** 2 + z)[:, 0], -10 * (mu + 0.05) * mu + 1


def half_cauchy(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a scale with a half-Cauchy(5) prior and three points, on the log scale."""
    square = np.exp(2 * z)
    prior = -np.log1p(square / 25) + z
    slope = 1 - 2 * square / (25 + square) - 3 + 1.7 / square
    return (prior - 3 * z - 0.85 / square)[:, 0], slope


def funnel(name: str, d: int, sd: float, *, centred: bool = True) -> Program:
    """Return v ~ N(0, sd), x ~ N(0, exp(v / 2)); not centred, x is in units of its scale."""

    def slope(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        v, x = z[:, 0], z[:, 1:]
        if not centred:
            return -0.5 * v**2 / sd**2 - 0.5 * (x**2).sum(axis=1), np.column_stack([-v / sd**2, -x])
        squares = np.exp(-v) * (x**2).sum(axis=1)
        value = -0.5 * v**2 / sd**2 - 0.5 * (d - 1) * v - 0.5 * squares
        g = -v / sd**2 - 0.5 * (d - 1) + 0.5 * squares
        return value, np.column_stack([g, -x * np.exp(-v)[:, None]])

    def draw(rng: np.random.Generator, n: int) -> FloatArray:
        z = rng.standard_normal((n, d))
        z[:, 0] *= sd
        if centred:
            z[:, 1:] *= np.exp(z[:, :1] / 2)
        return z

    return Program(name, d, slope, draw)


def banana(name: str, bend: float, sd: float) -> Program:
    """Return x ~ N(0, 1), y ~ N(bend x², sd)."""

    def slope(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        x, y = z.T
        rest = (y - bend * x**2) / sd**2
        value = -0.5 * x**2 - 0.5 * (y - bend * x**2) * rest
        return value, np.column_stack([-x + 2 * bend * x * rest, -rest])

    def draw(rng: np.random.Generator, n: int) -> FloatArray:
        x, e = rng.standard_normal((2, n))
        return np.column_stack([x, bend * x**2 + sd * e])

    return Program(name, 2, slope, draw)


def product(name: str, y: float, sd: float) -> Program:
    """Return y ~ N(a b, sd), a and b ~ N(0, 1): a sign that data cannot tell.

    With s = (a + b) / √2 and t = (a − b) / √2 the product is (s² − t²) / 2; draws are by weights on
    a grid of a, given which b is normal.
    """
    grid = np.linspace(-6, 6, 24_001)
    spread = np.sqrt(1 + grid**2 / sd**2)
    centre = grid * y / sd**2 / spread**2
    log_mass = -0.5 * grid**2 - np.log(spread) + 0.5 * (centre * spread) ** 2
    cdf = np.cumsum(np.exp(log_mass - log_mass.max()))
    cdf /= cdf[-1]

    def slope(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        a, b = z.T
        rest = (y - a * b) / sd**2
        value = -0.5 * (a**2 + b**2) - 0.5 * (y - a * b) * rest
        return value, np.column_stack([-a + b * rest, -b + a * rest])

    def draw(rng: np.random.Generator, n: int) -> FloatArray:
        a = np.interp(rng.random(n), cdf, grid)
        wide = np.sqrt(1 + a**2 / sd**2)
        return np.column_stack([a, a * y / sd**2 / wide**2 + rng.standard_normal(n) / wide])

    return Program(name, 2, slope, draw)


def skewed(name: str, d: int) -> Program:
    """Return independent log-odds of Beta(2, 30)."""
    a, b = 2, 30

    def slope(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        p = expit(z)
        value = (-a * np.logaddexp(0, -z) - b * np.logaddexp(0, z)).sum(axis=1)
        return value, a * (1 - p) - b * p

    def draw(rng: np.random.Generator, n: int) -> FloatArray:
        return np.asarray(np.log(rng.gamma(a, size=(n, d)) / rng.gamma(b, size=(n, d))))

    return Program(name, d, slope, draw)


def equal_correlation(d: int, rho: float) -> FloatArray:
    """Return the covariance of unit variances that all correlate alike."""
    return np.full((d, d), rho) + (1 - rho) * np.eye(d)


def spread_out(d: int) -> FloatArray:
    """Return a covariance with a condition number of 10⁴."""
    vectors, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((d, d)))
    return np.asarray((vectors * np.geomspace(1e-2, 1e2, d)) @ vectors.T)


PROGRAMS = (
    normal("corr2", equal_correlation(2, 0.99)),
    normal("ridge", np.linalg.inv(np.array([[100.0001, 100.0], [100.0, 100.0001]]))),
    normal("gauss100", spread_out(100)),
    log_gamma("gamma03", 0.3),
    on_grid("boundary", boundary, -30.0, 5.0),
    on_grid("halfcauchy", half_cauchy, -5.0, 30.0),
    student("student3", 3, 1),
    student("student4_5", 4, 5),
    student("cauchy", 1, 1),
    skewed("skewed10", 10),
    banana("banana", 0.3, 1.0),
    banana("banana_thin", 1.0, 0.1),
    funnel("noncentred", 10, 3.0, centred=False),
    funnel("funnel_mild", 10, 0.3),
    funnel("funnel3", 3, 1.0),
    funnel("funnel", 10, 3.0),
    mixture("mixture", [0.2, 0.8], np.array([[-0.3], [0.5]]), np.full((2, 1), 0.1)),
    mixture("silent", [0.4, 0.6], np.array([[0.0], [3.5]]), np.full((2, 1), 0.3)),
    mixture("hidden", [0.4, 0.6], np.array([[0.0] * 3, [20.0] * 3]), np.ones((2, 3))),
    mixture(
        "three_widths",
        [0.2, 0.5, 0.3],
        np.array([[-6.0, 0.0], [0.0, 5.0], [6.0, -5.0]]),
        np.array([[0.2, 1.0], [1.0, 0.3], [0.5, 0.5]]),
    ),
    mixture("two_20d", [0.3, 0.7], np.array([[-2.0] * 20, [2.0] * 20]), np.ones((2, 20))),
    mixture(
        "widths_20d", [0.3, 0.7], np.outer([-4.0, 4.0], np.eye(20)[0]), np.array([[0.5], [1.0]])
    ),
    mixture("shoulder", [0.3, 0.7], np.array([[0.0], [2.5]]), np.ones((2, 1))),
    mixture("widths_5d", [0.6, 0.4], np.array([[0.0] * 5, [6.0] * 5]), np.array([[1.5], [0.5]])),
    mixture("needle", [0.9, 0.1], np.array([[0.0] * 2, [2.0] * 2]), np.array([[1.0], [0.05]])),
    mixture("twins_tails", [0.5, 0.5], np.zeros((2, 3)), np.array([[1.0], [5.0]])),
    funnel("funnel5", 5, 1.5),
    product("product", 1.0, 0.3),
)

INVISIBLE = (
    mixture("invisible", [0.6, 0.4], np.array([[0.0] * 5, [9.0] * 5]), np.array([[2.0], [0.3]])),
)
"""Modes that no start finds: shown for what the ensemble cannot know, and not counted."""
