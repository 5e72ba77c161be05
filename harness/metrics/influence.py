"""What the evidence on a posterior's shape shares: usable draws, and errors of means.

Draws may be autocorrelated: the caller gives their effective size, the smallest that it knows (bulk
and tail, all chains). Unusable draws (not finite, constant, an effective size below 100) give NaN,
never a harmless figure; shapes that do not fit raise.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.metrics.sample import CONSTANT
from harness.records import Estimate, FloatArray

LEAST_EFFECTIVE = 100.0
"""With fewer independent draws than this, fourth moments and thirds of the draws are noise."""

BLOCKS = 20
"""Consecutive blocks of draws for batch means and the jackknife."""

SURE = 4.0
"""Standard errors by which evidence must exceed a limit: it is the largest of many figures."""


def checked(z: FloatArray, effective: float | FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the draws and the effective size of each coordinate.

    Parameters
    ----------
    z
        Draws, shape ``(draw, d)``, unconstrained scale, chains one after another.
    effective
        Their effective size: one figure, or one for each coordinate.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    z = np.asarray(z, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] == 0:  # noqa: PLR2004 (draws and coordinates)
        raise ValueError(f"z has shape {z.shape}; it must be (draw, d) with d at least 1")
    worth = np.asarray(effective, dtype=np.float64)
    if worth.shape not in {(), (z.shape[1],)}:
        raise ValueError(
            f"effective has shape {worth.shape}; it must be one number or {z.shape[1]}, "
            "one for each coordinate"
        )
    # Antithetic chains know the mean better than independent draws, but nothing else.
    return z, np.minimum(np.broadcast_to(worth, z.shape[1:]), float(len(z)))


def usable(z: FloatArray, worth: FloatArray) -> NDArray[np.bool_]:
    """Return which coordinates are finite, vary, and have a sufficient effective size."""
    if len(z) < LEAST_EFFECTIVE:
        return np.zeros(z.shape[1], dtype=bool)
    low, high = np.min(z, axis=0), np.max(z, axis=0)
    with np.errstate(invalid="ignore"):
        varies = high / 2 - low / 2 > CONSTANT * np.maximum(np.abs(low), np.abs(high))
    good = np.isfinite(low) & np.isfinite(high) & varies & (worth >= LEAST_EFFECTIVE)
    return np.asarray(good)


def standardised(z: FloatArray) -> FloatArray:
    """Return draws with mean 0 and sd 1, on a scale that cannot overflow."""
    low, high = np.min(z, axis=0), np.max(z, axis=0)
    x = (z / 2 - low / 2) / (high / 2 - low / 2)
    x -= np.mean(x, axis=0)
    return np.asarray(x / np.std(x, axis=0))


def errors(influence: FloatArray, worth: FloatArray) -> FloatArray:
    """Return standard errors of means of influence functions, shape ``(draw, k)``.

    Batch means notice an effective size, usually that of a mean, too large for fourth powers.
    """
    edges = np.linspace(0, len(influence), BLOCKS + 1).astype(np.intp)
    sizes = np.diff(edges)[:, None]
    means = np.add.reduceat(influence, edges[:-1], axis=0) / sizes
    batch = np.std(means, axis=0, ddof=1) / math.sqrt(BLOCKS)
    return np.asarray(np.maximum(np.std(influence, axis=0) / np.sqrt(worth), batch))


def estimates(values: FloatArray, influence: FloatArray, worth: FloatArray) -> list[Estimate]:
    """Return values with the standard errors of their influence functions."""
    found = errors(influence, worth)
    return [Estimate(float(v), float(e)) for v, e in zip(values, found, strict=True)]
