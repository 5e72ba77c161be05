"""The Gaussian q of CmdStan's ADVI, recovered from its draws and their ``log_g__``.

CmdStan does not write q, but for every draw ``z = μ + L ε`` it writes ``log_g = −½ ε'ε``. That is
the quadratic form ``−½ (z − μ)' P (z − μ)`` with the precision ``P = (L L')⁻¹``, and is linear in
the entries of ``P``, in ``b = P μ`` and in ``c = μ' P μ``. As many draws as unknowns therefore
give q to the last digits, however noisy the moments of the draws are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.records import FamilyName, FloatArray
from harness.records.text import count, number

SPARE = 1.2  # draws needed per unknown; with fewer, q gets the moments of its draws

TOLERANCE = 1e-6
"""The largest residual of ``−2 log_g``, relative to its size, at which q counts as recovered."""

MOST_UNKNOWNS = 3000
"""With more unknowns least squares would take minutes; q gets the moments of its draws."""


@dataclass(frozen=True, slots=True, eq=False)
class Recovered:
    """A Gaussian q on the unconstrained scale."""

    mean: FloatArray  # shape (d,)
    covariance: FloatArray  # shape (d, d)
    exact: bool  # whether they are q's own, not just the moments of its draws
    residual: float  # the largest error of −2 log_g, relative to its size; NaN for moments
    words: str = ""  # why they are only moments; empty if exact


def recover(z: FloatArray, log_g: FloatArray, family: FamilyName) -> Recovered:
    """Return the Gaussian that draws come from; a ``meanfield`` q has a diagonal covariance.

    Draws ``z`` are unconstrained, shape ``(draw, d)``. ``log_g`` is CmdStan's ``log_g__`` of each,
    shape ``(draw,)``, nats, without a constant.

    Raises
    ------
    ValueError
        If draws or densities are not finite, or if their shapes do not match.
    """
    z, log_g = np.asarray(z, dtype=np.float64), np.asarray(log_g, dtype=np.float64)
    if z.ndim != 2 or log_g.shape != z.shape[:1]:  # noqa: PLR2004 - a matrix
        raise ValueError(
            f"draws of shape {z.shape} with densities of shape {log_g.shape}; allowed: (n, d), (n,)"
        )
    if not (np.isfinite(z).all() and np.isfinite(log_g).all()):
        raise ValueError("draws or their densities are not finite; no Gaussian can be recovered")
    n, d = z.shape
    squares = d if family == "meanfield" else d * (d + 1) // 2
    unknowns = squares + d + 1
    if n < SPARE * unknowns or unknowns > MOST_UNKNOWNS:
        few = f"{count(n, 'draw')} for {count(unknowns, 'unknown')}"
        return _moments(z, family, f"{few}: q's covariance is that of its draws")
    # Standardised draws give columns of equal size, which least squares needs.
    centre, unit = z.mean(axis=0), z.std(axis=0)
    if not (unit > 0).all():
        return _moments(z, family, "a parameter does not vary: q has collapsed")
    x = (z - centre) / unit
    rows, columns = (np.arange(d),) * 2 if family == "meanfield" else np.tril_indices(d)
    design = np.concatenate([x[:, rows] * x[:, columns], x, np.ones((n, 1))], axis=1)
    solution, *_ = np.linalg.lstsq(design, -2 * log_g, rcond=None)
    error = np.abs(design @ solution + 2 * log_g)
    residual = float(np.max(error) / max(1.0, float(np.max(np.abs(2 * log_g)))))
    precision = np.zeros((d, d))
    # An off-diagonal entry appears twice in the quadratic form.
    halves = np.where(rows == columns, 1.0, 0.5)
    precision[rows, columns] = solution[:squares] * halves
    precision[columns, rows] = precision[rows, columns]
    try:
        factor = np.linalg.cholesky(precision)
    except np.linalg.LinAlgError:
        return _moments(z, family, "the quadratic form is not positive definite")
    inverse = np.linalg.inv(factor)
    covariance = inverse.T @ inverse
    mean = -0.5 * covariance @ solution[squares : squares + d]
    if not residual <= TOLERANCE:
        words = (
            "its log q is not the quadratic form of its draws (relative residual "
            f"{number(residual, 1)}; a q narrower than double precision can cause this): q's "
            "covariance is that of its draws"
        )
        return _moments(z, family, words)
    return Recovered(
        centre + unit * mean, covariance * np.outer(unit, unit), exact=True, residual=residual
    )


def _moments(z: FloatArray, family: FamilyName, words: str) -> Recovered:
    covariance = np.atleast_2d(np.cov(z, rowvar=False))
    if family == "meanfield":
        covariance = np.diag(np.diag(covariance))
    return Recovered(z.mean(axis=0), covariance, exact=False, residual=float("nan"), words=words)
