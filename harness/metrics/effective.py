"""Effective sample sizes of Markov chains, many series at once."""

from __future__ import annotations

import math

import numpy as np

from harness.records import FloatArray

FEWEST = 4
"""Shorter chains have no autocorrelation in their halves: the minimum of ArviZ too."""

EQUAL = 1e-15
"""A range below this share of the largest deviation is rounding."""


def split(chains: FloatArray) -> FloatArray:
    """Return every chain cut in halves, without the middle draw of an odd number.

    Shapes ``(…, chain, draw)`` and ``(…, 2 · chain, draw // 2)``.
    """
    half = chains.shape[-1] // 2
    return np.concatenate([chains[..., :half], chains[..., chains.shape[-1] - half :]], axis=-2)


def effective_sizes(series: FloatArray) -> FloatArray:
    """Return the effective sample sizes for the means of series of Markov chains.

    From the autocorrelations of the chains' halves, summed up to Geyer's initial monotone
    sequence (Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021, Bayesian Analysis 16, section
    3.2). The figures are those of ArviZ, one series at a time, which takes ten times the seconds.

    Parameters
    ----------
    series
        Shape ``(…, chain, draw)``, in any unit.

    Returns
    -------
    FloatArray
        Shape ``(…)``. NaN with fewer than four draws or one that is not finite; the number of
        draws if none differ.
    """
    shape, (chains, draws) = series.shape[:-2], series.shape[-2:]
    x = series.reshape(-1, chains, draws)
    if draws < FEWEST or x.size == 0:
        return np.full(shape, math.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        # In units of the largest deviation, because squares of large numbers overflow.
        x = x - np.mean(x, axis=(1, 2))[:, None, None]  # a copy, which may be changed
        largest = np.maximum(np.max(x, axis=(1, 2)), -np.min(x, axis=(1, 2)))
    varies = np.isfinite(largest) & (largest > 0)
    found = np.where(np.isfinite(largest), float(chains * draws), math.nan)
    if np.any(varies):
        if not np.all(varies):
            x, largest = x[varies], largest[varies]
        x /= largest[:, None, None]
        found[varies] = of_halves(split(x))
    return found.reshape(shape)


def of_halves(x: FloatArray) -> FloatArray:
    """Return the sizes of series ``(series, chain, draw)`` that are finite."""
    from scipy.fft import irfft, next_fast_len, rfft

    chains, n = x.shape[1:]
    total = chains * n
    means = np.mean(x, axis=2)
    length = next_fast_len(2 * n, real=True)
    spectrum = rfft(x - means[:, :, None], n=length)
    # The chains' mean autocovariance needs one transform back instead of one for each.
    squares = np.square(spectrum.view(np.float64)).reshape(len(x), chains, -1, 2)
    power = np.mean(squares[..., 0] + squares[..., 1], axis=1)
    covariance = irfft(power, n=length)[:, :n] / n
    within = covariance[:, :1] * n / (n - 1)
    whole = covariance[:, 0] + (np.var(means, axis=1, ddof=1) if chains > 1 else 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = 1 - (within - covariance) / whole[:, None]
    rho[:, 0] = 1.0
    time = np.maximum(_time(rho), 1 / math.log10(total))
    equal = np.ptp(x, axis=(1, 2)) < EQUAL
    return np.where(equal, float(total), total / time)


def _time(rho: FloatArray) -> FloatArray:
    """Return integrated autocorrelation times by Geyer's rules; ``rho`` is ``(series, lag)``."""
    n = rho.shape[1]
    rows = np.arange(len(rho))
    pairs = rho[:, : n - n % 2].reshape(len(rho), -1, 2).sum(axis=2)
    # Pairs count up to the first that is not positive; its first half counts if that is.
    positive = np.cumprod(pairs > 0, axis=1).sum(axis=1)
    stop = np.minimum(positive, max(math.ceil((n - 2) / 2) - 1, 0))
    monotone = np.cumsum(np.minimum.accumulate(pairs, axis=1), axis=1)
    before = np.where(stop > 0, monotone[rows, stop - 1], 0.0)
    last = rho[rows, 2 * stop]
    kept = (last > 0) | (pairs[rows, stop] >= 0)
    time = -1 + 2 * before + np.where(kept, last, 0.0)
    return np.where(np.isnan(rho[:, 1]), math.nan, time)
