"""Ranks of many columns at once, in a fraction of the seconds that SciPy's function needs."""

from __future__ import annotations

from functools import lru_cache

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
    return _by_rank(x.T, _scores(len(x))).T


@lru_cache(maxsize=4)
def _scores(n: int) -> FloatArray:
    """Return the scores of the ranks 1, 1.5, 2, … of n draws: equal ones share a half rank."""
    table: FloatArray = ndtri((np.arange(2, 2 * n + 1) / 2 - 0.375) / (n + 0.25))
    table.flags.writeable = False
    return table


def _by_rank(x: FloatArray, table: FloatArray) -> FloatArray:
    """Return what a table has for the ranks 1, 1.5, 2, … within each row.

    A row at a time, because a row stays in the processor's cache.
    """
    x = np.ascontiguousarray(x)
    return np.array([_of_row(row, np.argsort(row), table) for row in x]).reshape(x.shape)


def ordered_scores(x: FloatArray, order: NDArray[np.intp]) -> FloatArray:
    """Return the normal scores of draws ``(draw,)`` that ``order`` puts in ascending order."""
    return _of_row(x, order, _scores(len(x)))


def together_scores(
    ordered: FloatArray, order: NDArray[np.intp], ties: NDArray[np.bool_]
) -> FloatArray:
    """Return the normal scores of draws in each row, given in ascending order with their places.

    Both have shape ``(row, draw)``; the scores are in the order of the draws. No draw is NaN.
    ``ties``, shape ``(row,)``, says which rows have equal draws.
    """
    table = _scores(ordered.shape[1])
    found = np.empty(ordered.shape)
    np.put_along_axis(found, order, table[None, ::2], axis=1)
    for row in np.flatnonzero(ties):
        x = np.empty(ordered.shape[1])
        x[order[row]] = ordered[row]
        found[row] = _of_row(x, order[row], table)
    return found


def _of_row(row: FloatArray, order: NDArray[np.intp], table: FloatArray) -> FloatArray:
    inside, found = row[order], np.empty(row.size)
    if row.size == 0:
        return found
    if np.isnan(inside[-1]):
        found[:] = np.nan
        return found
    new = inside[1:] != inside[:-1]
    if new.all():
        found[order] = table[::2]
        return found
    first = np.flatnonzero(np.concatenate([[True], new]))
    last = np.append(first[1:], row.size) - 1
    found[order] = np.repeat(table[first + last], last - first + 1)
    return found
