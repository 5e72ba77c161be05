"""What correlation costs a mean-field Gaussian, in nats and in sds."""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.influence import BLOCKS, checked, errors, standardised, usable
from harness.records import NO_ESTIMATE, Estimate, FloatArray
from harness.records.text import number

DRAWS_PER_COORDINATE = 5
"""Independent draws for each coordinate that an inverse covariance needs."""

SINGULAR = 1e-12
"""Smallest eigenvalue of a correlation matrix, relative to the largest, that can be inverted."""


def conditional_sds(covariance: FloatArray) -> FloatArray:
    """Return the sd of each coordinate given all others, 1/√Λᵢᵢ with Λ the inverse covariance.

    These are the sds of the mean-field Gaussian closest to N(·, Σ) in KL(q ‖ p) (Bishop, 2006,
    section 10.1.2). Raises as :func:`correlation_nats`.
    """
    _, diagonal = _log_determinant(covariance)
    return np.asarray(np.sqrt(np.diag(covariance) / diagonal))


def correlation_nats(covariance: FloatArray) -> float:
    """Return the nats that mean-field loses to correlation on a Gaussian with this covariance.

    ½ (Σ ln Λᵢᵢ − ln det Λ) = ½ (Σ ln (R⁻¹)ᵢᵢ + ln det R), with R the correlation matrix: the
    least KL(q ‖ p) of a q with independent coordinates.

    Raises
    ------
    ValueError
        If the matrix is not square, not finite, or not positive definite.
    """
    log_determinant, diagonal = _log_determinant(covariance)
    return max(0.5 * (float(np.sum(np.log(diagonal))) + log_determinant), 0.0)


def correlation_gap(z: FloatArray, effective: float | FloatArray) -> Estimate:
    """Estimate :func:`correlation_nats` from draws, without the bias that noise gives it.

    Chance correlations alone add d(d − 1)/(4n) nats. The jackknife over 20 blocks of draws
    subtracts them, and the theory of Wishart matrices the part of higher order, so the estimate
    can be slightly negative. The error is that of the influence function
    ½ (xᵀΛx − Σ (Λx)ᵢ²/Λᵢᵢ), with the noise of second order, which is all there is without
    correlation, and the part of higher order.

    In nats. Exactly zero for one coordinate; NaN where a coordinate cannot be used, where there
    are fewer than five independent draws for each coordinate, or where the covariance is
    singular. Parameters and errors are those of :func:`~harness.metrics.influence.checked`.
    """
    z, worth = checked(z, effective)
    n, d = z.shape
    least = float(np.min(worth))
    if not np.all(usable(z, worth)) or least < DRAWS_PER_COORDINATE * d:
        return NO_ESTIMATE
    if d == 1:
        return Estimate(0.0, 0.0)
    x = standardised(z)
    total = x.T @ x
    try:
        value = correlation_nats(total / n)
        left_out = [_without(total, part, n) for part in np.array_split(x, BLOCKS)]
        precision = np.linalg.inv(total / n)
    except (ValueError, np.linalg.LinAlgError):
        return NO_ESTIMATE
    scores = x @ precision
    influence = 0.5 * (np.sum(x * scores, axis=1) - scores**2 @ (1 / np.diag(precision)))
    first = float(errors(influence[:, None], np.array([least]))[0])
    # ½ Σ r², and what correlations of four errors, 8/n, may be hidden by chance.
    second = (0.5 * math.sqrt(d * (d - 1)) + 2.0) / least
    linear = (BLOCKS - 1) * (float(np.mean(left_out)) - value)
    bias = linear * _curvature(least - 1, d)
    return Estimate(value - bias, math.hypot(first, second, bias - linear))


def _curvature(freedom: float, d: int) -> float:
    """Return the bias of correlation_nats over what the jackknife makes of it, for normal draws.

    A Wishart matrix has E ln det = Σ ψ((ν − i + 1)/2) and its inverse's diagonal 1/χ² with
    ν − d + 1 degrees of freedom: a bias of ½ Σ [ψ((ν − i + 1)/2) − ψ((ν − d + 1)/2)].
    """
    from scipy.special import digamma

    def bias(nu: float) -> float:
        terms = digamma((nu - np.arange(d)) / 2)
        return 0.5 * float(np.sum(terms - terms[-1]))

    whole = bias(freedom)
    return whole / ((BLOCKS - 1) * (bias(freedom * (1 - 1 / BLOCKS)) - whole))


def _without(total: FloatArray, part: FloatArray, n: int) -> float:
    """Return the nats of correlation of centred draws, sum of products given, less a block."""
    rest = n - len(part)
    mean = -np.sum(part, axis=0) / rest
    return correlation_nats((total - part.T @ part) / rest - np.outer(mean, mean))


def _log_determinant(covariance: FloatArray) -> tuple[float, FloatArray]:
    """Return ln det R and the diagonal of R⁻¹ of the correlation matrix R."""
    covariance = np.asarray(covariance, dtype=np.float64)
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:  # noqa: PLR2004
        raise ValueError(f"the covariance has shape {covariance.shape}; it must be square")
    variances = np.diag(covariance)
    if not (np.all(np.isfinite(covariance)) and np.all(variances > 0)):
        raise ValueError("the covariance is not finite with a positive diagonal")
    sd = np.sqrt(variances)
    values, vectors = np.linalg.eigh(covariance / sd / sd[:, None])
    if not values[0] > SINGULAR * values[-1]:
        low, high = (number(float(v), 3) for v in (values[0], values[-1]))
        raise ValueError(
            f"the covariance is singular: its correlation matrix has eigenvalues from {low} to "
            f"{high}; leave out coordinates that others determine"
        )
    return float(np.sum(np.log(values))), np.asarray(vectors**2 @ (1 / values))
