"""Exact posteriors of the lecture's models: independent draws, and closed forms.

``SAMPLERS[name](data, n, rng)`` returns ``n`` independent draws from the posterior of the
program ``stan/<name>/<name>.stan`` given the data in CmdStan's JSON layout: a mapping from
the base name of each quantity, generated ones included, to an array of shape ``(n, *shape)``
on the constrained scale. Nothing here uses Stan; every sampler follows a formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

FloatArray = NDArray[np.float64]
LogDensity = Callable[[FloatArray], FloatArray]
Data = Mapping[str, Any]
Columns = dict[str, FloatArray]
Sampler = Callable[[Data, int, np.random.Generator], Columns]

COEFFICIENT_PRIOR_SD = 20.0
NOISE_PRIOR_SCALE = 10.0
STUDENT_T_NU = 3.0
BETA_A, BETA_B = 1001.0, 2.0
MIXTURE_WEIGHTS, MIXTURE_MEANS, MIXTURE_SD = (0.2, 0.8), (-0.3, 0.5), 0.1

NEGLIGIBLE_NATS = 50.0
"""Density this far below its peak is ignored: e⁻⁵⁰ is far below double precision's 10⁻¹⁶."""


def draw_by_inversion(
    log_density: LogDensity,
    lower: float,
    upper: float,
    n: int,
    rng: np.random.Generator,
    points: int = 8001,
) -> FloatArray:
    """Draw from a smooth unimodal density on the real line by inverting its CDF.

    The grid is narrowed to where the density lies within 50 nats of its peak; there the CDF
    is summed with the trapezoidal rule and inverted exactly (a quadratic in each cell, because
    the density is linear there). With 8001 points a cell is at most about sd/200 wide and the
    error of a quantile of the order of 10⁻⁶ sd.

    Parameters
    ----------
    log_density
        Unnormalised, in nats; maps an array of points to an array of the same shape.
    lower, upper
        An interval that contains the density's mass; it may be far too wide.

    Raises
    ------
    ValueError
        If the density is not finite anywhere on the grid, or still large at an end of the
        interval, so that mass would be cut off.
    """
    start_lower, start_upper = lower, upper
    while True:
        grid = np.linspace(lower, upper, points)
        log_p = log_density(grid)
        if not np.any(np.isfinite(log_p)):
            raise ValueError(f"the log density is nowhere finite on [{lower:g}, {upper:g}]")
        log_p = np.where(np.isfinite(log_p), log_p, -np.inf)
        log_p -= log_p.max()
        inside = np.flatnonzero(log_p > -NEGLIGIBLE_NATS)
        # One cell more on each side: the peak of a narrow density may lie between points.
        first, last = max(inside[0] - 1, 0), min(inside[-1] + 1, points - 1)
        if last - first > points // 2:
            break
        lower, upper = float(grid[first]), float(grid[last])
    if (lower == start_lower and inside[0] == 0) or (
        upper == start_upper and inside[-1] == points - 1
    ):
        msg = f"the density is not negligible at the ends of [{start_lower:g}, {start_upper:g}]"
        raise ValueError(msg)
    density = np.exp(log_p)
    width = grid[1] - grid[0]
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * width)])
    target = rng.random(n) * mass[-1]
    cell = np.minimum(np.searchsorted(mass, target, side="right") - 1, points - 2)
    start = density[cell]
    slope = (density[cell + 1] - start) / width
    rest = target - mass[cell]
    # The stable root of slope/2 t² + start t = rest, right for slope 0 too.
    step = 2 * rest / (start + np.sqrt(np.maximum(start**2 + 2 * slope * rest, 0.0)))
    return np.asarray(grid[cell] + np.minimum(step, width), dtype=np.float64)


class GaussianPosterior(NamedTuple):
    """A Gaussian: its mean, shape ``(k,)``, and its precision matrix Λ, shape ``(k, k)``."""

    mean: FloatArray
    precision: FloatArray


def conjugate_posterior(data: Data) -> GaussianPosterior:
    """Return the exact posterior of (intercept, slope) of ``conjugate_regression``.

    With the design matrix X, noise sd s and prior sd t, Λ = XᵀX/s² + I/t² and
    Λ mean = Xᵀy/s². The best mean-field Gaussian has the same mean and sds 1/√Λᵢᵢ.
    """
    X = _design(data["x"])
    noise_variance = float(data["noise_sd"]) ** 2
    precision = X.T @ X / noise_variance + np.eye(2) / float(data["prior_sd"]) ** 2
    y = np.asarray(data["y"], dtype=np.float64)
    mean = np.linalg.solve(precision, X.T @ y) / noise_variance
    return GaussianPosterior(mean.astype(np.float64), precision)


def sample_student_t(_: Data, n: int, rng: np.random.Generator) -> Columns:
    """Draw ``x`` of ``student_t``."""
    return {"x": rng.standard_t(STUDENT_T_NU, size=n)}


def sample_beta_unit(_: Data, n: int, rng: np.random.Generator) -> Columns:
    """Draw ``theta`` and ``logit_theta`` of ``beta_unit``.

    θ = G₁/(G₁ + G₂) with gamma variates, so that logit θ = ln G₁ − ln G₂ keeps all its digits
    however close θ is to 1.
    """
    logit = np.log(rng.standard_gamma(BETA_A, size=n)) - np.log(rng.standard_gamma(BETA_B, size=n))
    return {"theta": special.expit(logit), "logit_theta": logit}


def sample_mixture(_: Data, n: int, rng: np.random.Generator) -> Columns:
    """Draw ``x``, ``x2`` and ``sin_x`` of ``mixture``."""
    component = rng.choice(len(MIXTURE_WEIGHTS), size=n, p=MIXTURE_WEIGHTS)
    x = np.asarray(MIXTURE_MEANS)[component] + MIXTURE_SD * rng.standard_normal(n)
    return {"x": x, "x2": x**2, "sin_x": np.sin(x)}


def sample_linear_regression(data: Data, n: int, rng: np.random.Generator) -> Columns:
    """Draw ``intercept``, ``slope`` and ``sigma`` of ``linear_regression``."""
    beta, sigma = _regression(_design(data["x"]), data["y"], n, rng)
    return {"intercept": beta[:, 0], "slope": beta[:, 1], "sigma": sigma}


def sample_large_regression(data: Data, n: int, rng: np.random.Generator) -> Columns:
    """Draw ``intercept``, ``slope`` (shape ``(n, K)``) and ``sigma`` of ``large_regression``."""
    _refuse_scaled(data)
    beta, sigma = _regression(_design(data["x"]), data["y"], n, rng)
    return {"intercept": beta[:, 0], "slope": beta[:, 1:], "sigma": sigma}


def sample_conjugate_regression(data: Data, n: int, rng: np.random.Generator) -> Columns:
    """Draw ``intercept`` and ``slope`` of ``conjugate_regression``: Gaussian."""
    mean, precision = conjugate_posterior(data)
    upper = np.linalg.cholesky(precision).T
    beta = mean + np.linalg.solve(upper, rng.standard_normal((2, n))).T
    return {"intercept": beta[:, 0], "slope": beta[:, 1]}


def sample_wide_normal(data: Data, n: int, rng: np.random.Generator) -> Columns:
    """Draw ``mu`` and ``sd`` of ``wide_normal``, each of shape ``(n, D)``.

    The columns are independent a posteriori. With the flat mean integrated out, the sd of a
    column of N numbers with sum of squares SS about its mean has density
    ∝ sd^(1−N) exp(−SS/2sd² − sd²/2), inverted on its logarithm; given the sd the mean is
    N(column mean, sd/√N).
    """
    _refuse_scaled(data)
    y = np.asarray(data["y"], dtype=np.float64)
    rows, columns = y.shape
    means = y.mean(axis=0)
    squares = np.square(y - means).sum(axis=0)
    sd = np.empty((n, columns))
    for d in range(columns):

        def log_density(log_sd: FloatArray, squares_d: float = float(squares[d])) -> FloatArray:
            variance = np.exp(2 * log_sd)
            # 2 − N is 1 − N and the Jacobian of the logarithm.
            log_p = (2 - rows) * log_sd - squares_d / (2 * variance) - variance / 2
            return np.asarray(log_p, dtype=np.float64)

        middle = 0.5 * float(np.log(squares[d] / rows))
        sd[:, d] = np.exp(draw_by_inversion(log_density, middle - 10, middle + 10, n, rng))
    mu = means + sd / np.sqrt(rows) * rng.standard_normal((n, columns))
    return {"mu": mu, "sd": sd}


def sample_normal_mean(data: Data, n: int, rng: np.random.Generator) -> Columns:
    """Draw ``m`` of ``normal_mean``: N(Σx/(N+1), 1/√(N+1))."""
    x = np.asarray(data["x"], dtype=np.float64)
    return {"m": x.sum() / (x.size + 1) + rng.standard_normal(n) / np.sqrt(x.size + 1)}


class NormalInverseGamma(NamedTuple):
    """s ~ InverseGamma(shape, scale) and m given s ~ N(mean, √(s/weight))."""

    shape: float
    scale: float
    mean: float
    weight: float


def inverse_gamma_posterior(data: Data) -> NormalInverseGamma:
    """Return the posterior of (s, m) of ``inverse_gamma_normal``; its prior is (2, 3, 0, 1)."""
    x = np.asarray(data["x"], dtype=np.float64)
    weight = 1.0 + x.size
    mean = float(x.sum()) / weight
    scale = 3.0 + 0.5 * float(np.square(x).sum() - weight * mean**2)
    return NormalInverseGamma(2.0 + x.size / 2, scale, mean, weight)


def sample_inverse_gamma_normal(data: Data, n: int, rng: np.random.Generator) -> Columns:
    """Draw ``s`` (a variance) and ``m`` of ``inverse_gamma_normal``: normal-inverse-gamma."""
    shape, scale, mean, weight = inverse_gamma_posterior(data)
    s = scale / rng.standard_gamma(shape, size=n)
    return {"s": s, "m": mean + np.sqrt(s / weight) * rng.standard_normal(n)}


def _refuse_scaled(data: Data) -> None:
    """Refuse a minibatch: its scaled likelihood has another posterior."""
    scale = data["likelihood_scale"]
    if scale != 1:
        raise ValueError(f"likelihood_scale is {scale}; exact draws need all rows, with scale 1")


def _design(x: Any) -> FloatArray:
    """Return predictors, shape ``(N,)`` or ``(N, K)``, behind a column of ones."""
    predictors = np.asarray(x, dtype=np.float64)
    return np.column_stack([np.ones(len(predictors)), predictors])


def _regression(
    X: FloatArray, y: Any, n: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draw coefficients, shape ``(n, k)``, and noise sds, shape ``(n,)``.

    Priors: coefficients N(0, 20), noise sd half-Cauchy(10). In the eigenvectors of XᵀX
    (eigenvalues l) the least-squares coefficients ĝ are independent N(0, √(σ²/l + 20²)) with
    the coefficients integrated out, which leaves a one-dimensional density of σ:

        ∝ σ^(k−N) exp(−RSS/2σ²) Π N(ĝ; 0, √(σ²/l + 20²)) / (1 + σ²/10²)

    Given σ the coefficients are Gaussian. Written with RSS rather than yᵀy, nothing large
    cancels however many rows there are.
    """
    target = np.asarray(y, dtype=np.float64)
    rows, k = X.shape
    eigenvalues, vectors = np.linalg.eigh(X.T @ X)
    least_squares = np.linalg.lstsq(X, target, rcond=None)[0]
    rotated = vectors.T @ least_squares
    residual_squares = float(np.square(target - X @ least_squares).sum())
    prior_variance = COEFFICIENT_PRIOR_SD**2

    def log_density(log_sigma: FloatArray) -> FloatArray:
        variance = np.exp(2 * log_sigma)
        spread = variance[:, None] / eigenvalues + prior_variance
        log_p = -0.5 * (np.log(spread) + rotated**2 / spread).sum(axis=1)
        log_p -= residual_squares / (2 * variance) + np.log1p(variance / NOISE_PRIOR_SCALE**2)
        # k − N + 1: the 1 is the Jacobian of the logarithm.
        return np.asarray(log_p + (k - rows + 1) * log_sigma, dtype=np.float64)

    middle = 0.5 * float(np.log(residual_squares / rows))
    sigma = np.exp(draw_by_inversion(log_density, middle - 10, middle + 10, n, rng))
    data_precision = eigenvalues / sigma[:, None] ** 2
    variance = 1 / (data_precision + 1 / prior_variance)
    mean = variance * data_precision * rotated
    draws = mean + np.sqrt(variance) * rng.standard_normal((n, k))
    return draws @ vectors.T, sigma


SAMPLERS: Mapping[str, Sampler] = {
    "student_t": sample_student_t,
    "beta_unit": sample_beta_unit,
    "linear_regression": sample_linear_regression,
    "conjugate_regression": sample_conjugate_regression,
    "mixture": sample_mixture,
    "wide_normal": sample_wide_normal,
    "large_regression": sample_large_regression,
    "normal_mean": sample_normal_mean,
    "inverse_gamma_normal": sample_inverse_gamma_normal,
}
