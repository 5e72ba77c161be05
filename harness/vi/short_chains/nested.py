"""Nested R-hat, memory and effective size: what many short chains tell of themselves.

All work on columns at once: chains have shape ``(chain, draw, column)``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from harness.ranks import ascending, in_order, normal_scores, ordered_scores, ranks
from harness.records import FloatArray

TAIL = 0.05
"""Share of the draws in each tail, as in the judge."""


def nested_rhat(chains: FloatArray) -> FloatArray:
    """Return the nested R-hat of each column, shape ``(column,)``; NaN where nothing varies.

    ``chains`` has shape ``(superchain, chain, draw, column)``: the chains of a superchain start
    from (nearly) the same point. With the means of chains and of superchains,
    B = the variance of superchains' means, W = the mean over superchains of the variance between
    their chains' means plus the mean variance within chains (0 for one draw a chain), and the
    value is √((W + B) / W) (Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari and Gelman 2024,
    *Nested R-hat: assessing the convergence of Markov chain Monte Carlo when running many short
    chains*, Bayesian Analysis, arXiv 2110.13017, definition 3.1).
    """
    return _rhat(*_of_chains(chains))


def rhat_by_start(chains: FloatArray, by: FloatArray, count: int) -> FloatArray:
    """Return the nested R-hat of each column with the superchains of :func:`superchains`.

    ``chains`` has shape ``(chain, draw, column)``. Not the draws are sorted, but what they amount
    to.
    """
    both = superchains(np.stack(_of_chains(chains), axis=1), by, count)
    return _rhat(both[:, :, 0], both[:, :, 1])


def _of_chains(chains: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return means and variances over draws, the last axis but one; 0 for one draw a chain."""
    means = chains.mean(axis=-2)
    several = chains.shape[-2] > 1
    return means, chains.var(axis=-2, ddof=1) if several else np.zeros_like(means)


def _rhat(means: FloatArray, within: FloatArray) -> FloatArray:
    """Return nested R-hat by chains' means and variances, ``(superchain, chain, column)``."""
    between = means.mean(axis=1).var(axis=0, ddof=1)
    among = means.var(axis=1, ddof=1) if means.shape[1] > 1 else np.zeros_like(means[:, 0])
    whole = (among + within.mean(axis=1)).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt((whole + between) / whole))


def superchains(chains: FloatArray, by: FloatArray, count: int) -> FloatArray:
    """Return chains in groups of neighbours by a start, ``(superchain, chain, draw, column)``.

    ``by`` has shape ``(chain, column)``, so that each column has groups of its own. The chains that
    a whole number of equal groups leaves over are left out, from the middle.
    """
    size = len(chains) // count
    order = np.argsort(by, axis=0, kind="stable")
    drop = len(chains) - size * count
    first = (len(chains) - drop) // 2
    order = np.concatenate([order[:first], order[first + drop :]])
    found = np.take_along_axis(chains, order[:, None, :], axis=0)
    return np.asarray(found.reshape(count, size, *chains.shape[1:]))


def ranked(chains: FloatArray) -> FloatArray:
    """Return normal scores of ranks over all chains and draws, column by column."""
    return np.asarray(normal_scores(chains.reshape(-1, chains.shape[-1])).reshape(chains.shape))


def scores_of(chains: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return normal scores of columns, then of their distances from the median, and the medians.

    ``chains`` has shape ``(chain, draw, column)``, the scores ``(chain, draw, 2 × column)``. Sorted
    draws have distances in two sorted runs, so that these take little more than one sort.
    """
    n, draws, count = chains.shape
    rows = np.ascontiguousarray(chains.reshape(-1, count).T)
    found, middle = np.empty((2 * count, n * draws)), np.empty(count)
    for j, (inside, order) in enumerate(zip(*in_order(rows), strict=True)):
        middle[j] = (inside[(len(inside) - 1) // 2] + inside[len(inside) // 2]) / 2
        if np.isnan(inside[-1]):
            middle[j] = np.nan
        away = np.abs(inside - middle[j])
        found[j] = ordered_scores(rows[j], order)
        found[count + j, order] = ordered_scores(away, np.argsort(away, kind="stable"))
    return found.T.reshape(n, draws, 2 * count), middle


def rank_correlation(one: FloatArray, two: FloatArray) -> FloatArray:
    """Return Spearman's correlation over chains, column by column; arrays ``(chain, column)``."""
    a, b = ranks(one), ranks(two)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)))


def tail_error(chains: FloatArray, group: NDArray[np.intp]) -> FloatArray:
    """Return the larger standard error of each column's 5% and 95% quantiles, in sds.

    The share of draws below a quantile has the standard error of the chains' shares, which vary
    independently within a ``group``, ``(chain,)``, whose number of chains is no accident. Quantiles
    so far to either side are two standard errors apart. The sd is a normal's with these quantiles.
    """
    n, draws, count = chains.shape
    whole = ascending(chains.reshape(n * draws, count).T).T
    error = np.zeros(count)
    for share in (TAIL, 1 - TAIL):
        below = (chains <= whole[int(share * n * draws)]).mean(axis=1)
        for k in np.unique(group):
            below[group == k] -= below[group == k].mean(axis=0)
        each = np.sqrt((below**2).mean(axis=0) / n)
        ends = np.clip((share + np.multiply.outer((-1, 1), each)) * n * draws, 0, n * draws - 1)
        low, high = np.take_along_axis(whole, ends.astype(np.intp), axis=0)
        error = np.maximum(error, (high - low) / 2)
    width = whole[int((1 - TAIL) * n * draws)] - whole[int(TAIL * n * draws)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * ndtri(1 - TAIL) * error / width)


def effective(chains: FloatArray) -> FloatArray:
    """Return the effective number of draws for the mean of each column.

    Chains are independent, so that the mean's variance is that of the chains' means over their
    number; no autocorrelation has to be estimated.
    """
    n, draws = chains.shape[:2]
    means = chains.mean(axis=1).var(axis=0, ddof=1)
    whole = chains.reshape(n * draws, -1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.minimum(n * whole / means, float(n * draws)))
