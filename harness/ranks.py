"""Ranks of many columns at once, in a fraction of the seconds that SciPy's function needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

FloatArray = NDArray[np.float64]


def ranks(x: FloatArray) -> FloatArray:
    """Return ranks from 1 within each column of ``(row, column)``, their mean among equals.

    Those of a column with NaN are NaN.
    """
    return _by_rank(x.T, np.arange(2, 2 * len(x) + 1) / 2).T


def row_ranks(x: FloatArray) -> FloatArray:
    """Return ranks from 1 within each row of ``(row, column)``, as :func:`ranks` does."""
    return _by_rank(x, np.arange(2, 2 * x.shape[1] + 1) / 2)


def normal_scores(x: FloatArray) -> FloatArray:
    """Return Φ⁻¹((r − 3/8) / (n + 1/4)) of the ranks r within each column of ``(row, column)``.

    The rank normalisation of Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), Bayesian
    Analysis 16, equation 14.
    """
    n = len(x)
    # Ranks are whole and half numbers: the table has the score of each.
    return _by_rank(x.T, ndtri((np.arange(2, 2 * n + 1) / 2 - 0.375) / (n + 0.25))).T


def _by_rank(x: FloatArray, table: FloatArray) -> FloatArray:
    """Return what a table has for the ranks 1, 1.5, 2, … within each row.

    A row at a time, because a row stays in the processor's cache.
    """
    x = np.ascontiguousarray(x)
    n = x.shape[1]
    found = np.empty(x.shape)
    for row, own in zip(x, found, strict=True):
        order = np.argsort(row)
        inside = row[order]
        if np.isnan(inside[-1]):
            own[:] = np.nan
            continue
        new = inside[1:] != inside[:-1]
        if new.all():
            own[order] = table[::2]
            continue
        first = np.flatnonzero(np.concatenate([[True], new]))
        last = np.append(first[1:], n) - 1
        own[order] = np.repeat(table[first + last], last - first + 1)
    return found
