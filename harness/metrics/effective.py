"""Effective sample sizes of Markov chains, many series at once."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.records import FloatArray

FEWEST = 4
"""Shorter chains have no autocorrelation in their halves: the minimum of ArviZ too."""

SQUARED = 1e100
"""Series that vary by more, or by less than one over this, are put on another scale: squares of
large numbers overflow."""


PIECE = 2**19
"""Bytes of draws that are worked on together: of more, what is made of them leaves the processor's
cache, and the kernel clears the memory for it anew each time."""

LEAST_LAGS = 32
"""Short chains are looked at with at least as many lags at first."""


def pieces(rows: int, row_bytes: int) -> list[slice]:
    """Return slices of neighbouring rows of at most ``PIECE`` bytes, or of one row."""
    size = max(PIECE // max(row_bytes, 1), 1)
    return [slice(i, min(i + size, rows)) for i in range(0, rows, size)]


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
    high, low = np.max(x, axis=(1, 2)), np.min(x, axis=(1, 2))
    spread = high / 2 - low / 2
    known = np.isfinite(high) & np.isfinite(low)
    found = np.where(known, float(chains * draws), math.nan)
    varies = known & (spread > 0)
    if np.any(varies):
        if not np.all(varies):
            x, spread, low = x[varies], spread[varies], low[varies]
        if not (np.min(spread) > 1 / SQUARED and np.max(spread) < SQUARED):
            unit = spread[:, None, None]
            x = (x / 2 - low[:, None, None] / 2) / unit
        found[varies] = of_halves(halves_of(x))
    return found.reshape(shape)


def halves_of(x: FloatArray) -> FloatArray:
    """Return what :func:`split` does in another order, without a copy where that is possible."""
    *series, chains, draws = x.shape
    return x.reshape(*series, 2 * chains, draws // 2) if draws % 2 == 0 else split(x)


def of_halves(x: FloatArray) -> FloatArray:
    """Return the sizes of series ``(series, chain, draw)`` that are finite and can be squared.

    Few sequences go on beyond the first eighth of the lags, and fewer lags need shorter transforms:
    the others are looked at only for these few.
    """
    found = [_of_halves(x[part]) for part in pieces(len(x), x[:1].nbytes)]
    return found[0] if len(found) == 1 else np.concatenate(found)


def _of_halves(x: FloatArray) -> FloatArray:
    chains, n = x.shape[1:]
    total = chains * n
    means = np.mean(x, axis=2)
    between = np.var(means, axis=1, ddof=1) if chains > 1 else np.zeros(len(x))
    time, ended = _time(_correlations(x, means, between, n // 8), n)
    if not np.all(ended):
        longer = ~ended
        again = _correlations(x[longer], means[longer], between[longer], n)
        time[longer], _ = _time(again, n)
    unknown = np.isnan(time)
    time = np.maximum(time, 1 / math.log10(total))
    sizes = total / time
    if np.any(unknown):
        # Halves that do not vary have a mean that may be rounded.
        unknown[unknown] = np.ptp(x[unknown], axis=(1, 2)) == 0
        sizes[unknown] = float(total)
    return np.asarray(sizes)


def _correlations(x: FloatArray, means: FloatArray, between: FloatArray, lags: int) -> FloatArray:
    """Return autocorrelations of all chains together, ``(series, lag)``, at least for some lags.

    ``means`` are those of the chains, and ``between`` is their variance.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    series, chains, n = x.shape
    # Zeros behind the draws keep their end from their beginning, up to as many lags.
    length = next_fast_len(n + max(lags, min(n, LEAST_LAGS)), real=True)
    centred = np.empty((series, chains, length))
    np.subtract(x, means[:, :, None], out=centred[:, :, :n])
    centred[:, :, n:] = 0.0
    spectrum = rfft(centred, overwrite_x=True).view(np.float64)
    # The chains' mean autocovariance needs one transform back instead of one for each.
    squares = np.einsum("scf,scf->sf", spectrum, spectrum).reshape(series, -1, 2)
    power = (squares[..., 0] + squares[..., 1]) / chains
    covariance = irfft(power, n=length)[:, : min(length - n + 1, n)] / n
    within = covariance[:, :1] * n / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = 1 - (within - covariance) / (covariance[:, :1] + between[:, None])
    rho[:, 0] = 1.0
    return np.asarray(rho)


def _time(rho: FloatArray, n: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return integrated autocorrelation times by Geyer's rules, and whether the lags sufficed.

    ``rho`` is ``(series, lag)``, of chains of ``n`` draws.
    """
    lags = rho.shape[1]
    rows = np.arange(len(rho))
    pairs = rho[:, : lags - lags % 2].reshape(len(rho), -1, 2).sum(axis=2)
    # Pairs count up to the first that is not positive; its first half counts if that is.
    falls = pairs <= 0
    falls |= np.isnan(pairs)
    first = np.argmax(falls, axis=1)
    positive = np.where(falls[rows, first], first, pairs.shape[1])
    ended = (positive < pairs.shape[1]) | (lags == n)
    last_pair = min(max(math.ceil((n - 2) / 2) - 1, 0), pairs.shape[1] - 1)
    stop = np.minimum(positive, last_pair)
    monotone = np.cumsum(np.minimum.accumulate(pairs, axis=1), axis=1)
    before = np.where(stop > 0, monotone[rows, stop - 1], 0.0)
    last = rho[rows, 2 * stop]
    kept = (last > 0) | (pairs[rows, stop] >= 0)
    time = -1 + 2 * before + np.where(kept, last, 0.0)
    return np.where(np.isnan(rho[:, 1]), math.nan, time), ended


def rhat_of_scores(z: FloatArray) -> FloatArray:
    """Return √((B / W + n − 1) / n), B and W the variances between and within chains.

    ``z`` has shape ``(…, chain, draw)``. NaN where nothing varies, infinite where nothing varies
    within chains.
    """
    n = z.shape[-1]
    between = n * np.var(np.mean(z, axis=-1), axis=-1, ddof=1)
    within = np.mean(np.var(z, axis=-1, ddof=1), axis=-1)
    return np.asarray(np.sqrt((between / within + n - 1) / n))


@lru_cache(maxsize=4)
def waves(n: int) -> FloatArray:
    """Return a function of ranks from 0 that varies quickly: ten waves over all of them."""
    found: FloatArray = np.cos(20 * np.pi * (np.arange(n) / n))
    found.flags.writeable = False
    return found


def local_worth(x: FloatArray, n: int) -> FloatArray:
    """Return the effective sizes of :func:`waves` of the ranks of chains, ``(…, chain, draw)``.

    Long chains count one by one, because they may be in different modes; short ones are too many.
    Where it is unknown, it is ``n``.
    """
    parts = x[..., :, None, :] if x.shape[-2] <= x.shape[-1] else x[..., None, :, :]
    local = np.sum(effective_sizes(parts), axis=-1)
    return np.where(np.isfinite(local), local, float(n))
