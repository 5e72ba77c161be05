"""Known log Z of the lecture's exact models, in nats, with all of Stan's constants.

``LOG_EVIDENCE[name](data)`` returns the log of the integral, over the parameters of
``stan/<name>/<name>.stan``, of the exponential of its ``target`` given the data in CmdStan's
JSON layout. No constant is dropped. As in Stan, a prior truncated by ``lower=0`` is not
renormalised: a half-Cauchy is the right half of a Cauchy and integrates to one half. The Jacobian
makes the integral over the unconstrained scale the same. Nothing here uses Stan; every value
follows a formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from harness.models.exact import (
    COEFFICIENT_PRIOR_SD,
    NEGLIGIBLE_NATS,
    NOISE_PRIOR_SCALE,
    Data,
    FloatArray,
    LogDensity,
    inverse_gamma_posterior,
)
from harness.records import Estimate

LogEvidence = Callable[[Data], Estimate]

LOG_2_PI = math.log(2 * math.pi)

_POINTS = 2001
"""Of a grid; every second and every fourth point make a grid too."""

_BELOW, _ABOVE = 10.0, 100.0
"""How far to look for a scale on its log: exp(−e²⁰) of the density is left below, and above
every tail has long begun and fallen; where it has not, the integral is refused."""


def log_integral(log_density: LogDensity, lower: float, upper: float) -> Estimate:
    """Return the log of the integral of a smooth unimodal density on the real line.

    The grid is narrowed to where the density lies within 50 nats of its peak, and summed with
    the trapezoidal rule, whose error falls exponentially with the number of points where a
    smooth density vanishes at both ends (Trefethen and Weideman 2014, *The exponentially
    convergent trapezoidal rule*).

    Parameters
    ----------
    log_density
        In nats, of the order of 1 at its peak, so that nothing large cancels; maps an array of
        points to an array of the same shape.
    lower, upper
        An interval that holds the density's mass; it may be far too wide.

    Returns
    -------
    Estimate
        Its error is the change of the rule with half or a quarter of its points, plus the mass
        left out. The rounding of ``log_density`` itself is not included.

    Raises
    ------
    ValueError
        If the density is NaN or +inf somewhere, 0 everywhere, or not negligible at an end of
        the interval, so that mass would be cut off.
    """
    width = upper - lower
    while True:
        grid, step = np.linspace(lower, upper, _POINTS, retstep=True)
        log_p = log_density(grid)
        peak = float(np.max(log_p))
        if not math.isfinite(peak):
            msg = f"the log density's peak on [{lower:g}, {upper:g}] is {peak}; allowed: a number"
            raise ValueError(msg)
        inside = np.flatnonzero(log_p > peak - NEGLIGIBLE_NATS)
        if upper - lower == width and (inside[0] == 0 or inside[-1] == _POINTS - 1):
            raise ValueError(f"the density is not negligible at the ends of [{lower:g}, {upper:g}]")
        # One cell more on each side: the peak of a narrow density may lie between points.
        first, last = max(inside[0] - 1, 0), min(inside[-1] + 1, _POINTS - 1)
        if last - first > _POINTS // 2:
            break
        lower, upper = float(grid[first]), float(grid[last])
    density = np.exp(log_p - peak)
    mass, half, quarter = (float(np.trapezoid(density[::n], dx=n * step)) for n in (1, 2, 4))
    # Two coarser grids: one alone may by chance be as wrong as the fine one.
    error = max(abs(math.log(half / mass)), abs(math.log(quarter / mass)))
    left_out = width * math.exp(-NEGLIGIBLE_NATS) / mass
    return Estimate(peak + math.log(mass), error + left_out)


class _Residual(NamedTuple):
    """The residuals of a least-squares fit.

    ``freedom`` is the number of rows less that of coefficients, ``squares`` the sum of squares,
    ``largest`` the largest absolute number that it was a difference of.
    """

    freedom: int
    squares: float
    largest: float


def _scale_integral(residual: _Residual, log_rest: LogDensity) -> Estimate:
    """Return log ∫ (2πσ²)^(−f/2) exp(−S/2σ²) r(σ²) dσ for f degrees of freedom, squares S.

    With σ = σ₀ eᵗ and σ₀² = S/f, the peak of all but r, the integrand is

        (2πe σ₀²)^(−f/2) σ₀ · exp(−(f/2)(e⁻²ᵗ − 1 + 2t) + t) r(σ₀² e²ᵗ)

    Only the second factor, which is near 1, times r is summed. ``log_rest`` returns log r of
    variances σ², in their shape.
    """
    freedom, squares, largest = residual
    centre = math.sqrt(squares / freedom)

    def log_density(t: FloatArray) -> FloatArray:
        shape = -0.5 * freedom * (np.expm1(-2 * t) + 2 * t)
        return np.asarray(shape + t + log_rest(centre**2 * np.exp(2 * t)))

    value, error = log_integral(log_density, -_BELOW, _ABOVE)
    log_centre = math.log(centre)
    value += log_centre - 0.5 * freedom * (LOG_2_PI + 1 + 2 * log_centre)
    # A residual is wrong by an ulp of the numbers it is the difference of, the squares are at
    # worst by twice that for every row; the rest are sums of terms of the size of the result.
    ulps = freedom * (16 + 2 * largest / centre) + 16 * abs(value)
    return Estimate(value, error + float(np.finfo(np.float64).eps) * ulps)


class _Rotated(NamedTuple):
    """A regression in the left singular vectors of its design matrix X.

    y ~ N(0, σ²I + τ²XXᵀ) with the coefficients, N(0, τ), integrated out: independent normals
    along the vectors, ``along`` of variances σ² + τ²·``singular``², both of shape ``(k,)``, and
    σ² in the remaining directions.
    """

    along: FloatArray
    singular: FloatArray
    rest: _Residual

    def log_along(self, variance: FloatArray, prior_sd: float) -> FloatArray:
        """Return the log density of ``along`` given σ², shape ``(any,)``, as that shape."""
        spread = variance[:, None] + (prior_sd * self.singular) ** 2
        return np.asarray(-0.5 * (LOG_2_PI + np.log(spread) + self.along**2 / spread).sum(axis=1))


def _rotated(predictors: FloatArray, y: FloatArray) -> _Rotated:
    rows, k = len(y), predictors.shape[1] + 1
    if rows <= k:
        raise ValueError(f"{rows} rows for {k} coefficients; allowed: more rows than coefficients")
    design = np.column_stack([np.ones(rows), predictors])
    vectors, singular, _ = np.linalg.svd(design, full_matrices=False)
    along = vectors.T @ y
    squares = float(np.square(y - vectors @ along).sum())
    largest = float(np.abs(y).max())
    return _Rotated(along, singular, _Residual(rows - k, squares, largest))


def _unknown_noise(predictors: FloatArray, y: FloatArray) -> Estimate:
    """Return log Z of a regression with coefficients N(0, 20) and noise sd Cauchy(0, 10), > 0."""
    rotated = _rotated(predictors, y)
    _refuse_exact(rotated.rest, "y lies on a straight line of x")

    def log_rest(variance: FloatArray) -> FloatArray:
        # The whole Cauchy's constant: Stan does not double the half that it keeps.
        cauchy = -math.log(math.pi * NOISE_PRIOR_SCALE) - np.log1p(variance / NOISE_PRIOR_SCALE**2)
        return np.asarray(rotated.log_along(variance, COEFFICIENT_PRIOR_SD) + cauchy)

    return _scale_integral(rotated.rest, log_rest)


def normalised(data: Data) -> Estimate:  # noqa: ARG001 - all have one signature
    """Return 0: log Z of ``student_t``, ``beta_unit`` and ``mixture``, densities without data."""
    return Estimate(0.0, 0.0)


def normal_mean(data: Data) -> Estimate:
    """Return log Z of ``normal_mean``: x ~ N(0, I + 11ᵀ)."""
    x = _array(data, "x", "N")
    centred = x - x.mean()
    squares = float(centred @ centred) + len(x) * float(x.mean()) ** 2 / (len(x) + 1)
    return Estimate(-0.5 * (len(x) * LOG_2_PI + math.log(len(x) + 1) + squares), 0.0)


def inverse_gamma_normal(data: Data) -> Estimate:
    """Return log Z of ``inverse_gamma_normal``: the ratio of the constants of two such densities.

    (2π)^(−N/2) · w^(−½) · Γ(a)/Γ(2) · 3²/bᵃ, with a, b and w the posterior's shape, scale and
    weight (Murphy 2007, *Conjugate Bayesian analysis of the Gaussian distribution*).
    """
    x = _array(data, "x", "N")
    shape, scale, _, weight = inverse_gamma_posterior({"x": x})
    prior_shape, prior_scale, _, _ = inverse_gamma_posterior({"x": ()})
    value = -0.5 * (len(x) * LOG_2_PI + math.log(weight))
    value += float(gammaln(shape)) - float(gammaln(prior_shape))
    value += prior_shape * math.log(prior_scale) - shape * math.log(scale)
    return Estimate(value, 0.0)


def conjugate_regression(data: Data) -> Estimate:
    """Return log Z of ``conjugate_regression``: y ~ N(0, s²I + t²XXᵀ), noise sd s, prior sd t."""
    rotated = _rotated(_array(data, "x", "N")[:, None], _array(data, "y", "N"))
    variance = _positive(data, "noise_sd") ** 2
    freedom, squares, _ = rotated.rest
    along = rotated.log_along(np.array([variance]), _positive(data, "prior_sd"))
    value = float(along[0]) - 0.5 * (freedom * (LOG_2_PI + math.log(variance)) + squares / variance)
    return Estimate(value, 0.0)


def linear_regression(data: Data) -> Estimate:
    """Return log Z of ``linear_regression``, the noise sd by quadrature."""
    return _unknown_noise(_array(data, "x", "N")[:, None], _array(data, "y", "N"))


def large_regression(data: Data) -> Estimate:
    """Return log Z of ``large_regression``, the noise sd by quadrature."""
    _refuse_scaled(data)
    return _unknown_noise(_array(data, "x", "N", "K"), _array(data, "y", "N"))


def wide_normal(data: Data) -> Estimate:
    """Return log Z of ``wide_normal``: a sum over the columns, each sd by quadrature.

    With its flat mean integrated out, a column of N numbers with sum of squares S about its
    mean has density N^(−½) (2π sd²)^(−(N−1)/2) exp(−S/2sd²); the sd's prior is the right half
    of a standard normal.
    """
    _refuse_scaled(data)
    y = _array(data, "y", "N", "D")
    rows = len(y)
    if rows == 1:
        raise ValueError("N is 1; allowed: 2 and more, for a column of one number has no posterior")
    squares = np.square(y - y.mean(axis=0)).sum(axis=0)
    largest = np.abs(y).max(axis=0)

    def log_rest(variance: FloatArray) -> FloatArray:
        return np.asarray(-0.5 * (math.log(rows) + LOG_2_PI + variance))

    parts = []
    for d in range(y.shape[1]):
        residual = _Residual(rows - 1, float(squares[d]), float(largest[d]))
        _refuse_exact(residual, f"column {d + 1} of y is constant")
        parts.append(_scale_integral(residual, log_rest))
    return Estimate(math.fsum(p.value for p in parts), math.fsum(p.mcse for p in parts))


def _refuse_exact(residual: _Residual, why: str) -> None:
    """Refuse residuals that are zero up to rounding: their density is unbounded."""
    rounding = float(np.finfo(np.float64).eps) * residual.largest
    if not residual.squares > residual.freedom * (16 * rounding) ** 2:
        raise ValueError(f"{why}, so that Z is infinite; allowed: data that scatter")


def _refuse_scaled(data: Data) -> None:
    """Refuse a minibatch: its scaled likelihood has another Z."""
    scale = float(_array(data, "likelihood_scale"))
    if scale != 1:
        raise ValueError(f"likelihood_scale is {scale:g}; log Z needs all rows, with scale 1")


def _array(data: Data, name: str, *sizes: str) -> FloatArray:
    """Return a variable of the data, with the shape that other variables give."""
    if name not in data:
        msg = f"{name} is missing from the data, which have {', '.join(data) or 'nothing'}"
        raise ValueError(msg)
    try:
        # Masked values are missing ones; as a plain array they would pass for numbers.
        given = np.ma.filled(np.ma.asarray(data[name], dtype=np.float64), np.nan)
    except (TypeError, ValueError) as error:
        msg = f"{name} does not consist of numbers in rows of one length: {error}"
        raise ValueError(msg) from error
    shape = tuple(float(_array(data, size)) for size in sizes)
    if given.shape != shape or 0 in shape:
        said = ", ".join(f"{s} = {n:g}" for s, n in zip(sizes, shape, strict=True))
        raise ValueError(f"{name} has shape {given.shape}; allowed: {said or 'one number'}")
    if not np.isfinite(given).all():
        raise ValueError(f"{name} has values that are missing or not finite; allowed: numbers")
    return np.asarray(given, dtype=np.float64)


def _positive(data: Data, name: str) -> float:
    value = float(_array(data, name))
    if value <= 0:
        raise ValueError(f"{name} is {value:g}; allowed: positive numbers")
    return value


LOG_EVIDENCE: Mapping[str, LogEvidence] = {
    "student_t": normalised,
    "beta_unit": normalised,
    "linear_regression": linear_regression,
    "conjugate_regression": conjugate_regression,
    "mixture": normalised,
    "wide_normal": wide_normal,
    "large_regression": large_regression,
    "normal_mean": normal_mean,
    "inverse_gamma_normal": inverse_gamma_normal,
}
"""log Z by model name, in nats; the error is numerical, and 0 where the form is closed.

Each raises ValueError if the data have no log Z here: a variable is missing, has another shape or
is not finite; an sd is not positive; the likelihood is scaled, as in a minibatch; or there is no
posterior, because the model fits the data exactly or a column is constant.
"""
