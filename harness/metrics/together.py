"""The figures of many samples of one shape at once, which each would else compute alone.

Many short operations on arrays cost more than their arithmetic, and threads wait for each other
between them. What is filled in here are the cached properties of
:class:`~harness.metrics.sample.Sample` of the same names, whose words define them; draws with few
values, or that are not finite, or of an odd number in each chain, are left to these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.effective import (
    SQUARED,
    effective_sizes,
    halves_of,
    local_worth,
    pieces,
    rhat_of_scores,
    waves,
)
from harness.metrics.modes import find_many
from harness.metrics.sample import CONSTANT, FEWEST_PER_LEVEL, LEVELS, QUANTILES, Sample
from harness.ranks import together_scores
from harness.records import FloatArray

FEWEST = 8
"""Shorter chains are left alone: their halves are too short."""

_P = np.array([QUANTILES[name] for name in QUANTILES])


class Columns(NamedTuple):
    """Draws of several scalars."""

    values: FloatArray
    """Shape ``(row, chain, draw)``."""
    ordered: FloatArray
    """In ascending order, ``(row, chain * draw)``."""
    order: NDArray[np.intp] | None
    """The places of these, where they are known."""


def fill(samples: Sequence[Sample], columns: Columns, *, whole: bool) -> None:
    """Compute the figures of samples; ``whole`` with those that only references and chains need."""
    draws = columns.values.shape[2]
    if draws < FEWEST or draws % 2 or not samples or samples[0].copies is not None:
        return
    usual = np.flatnonzero(_usual(columns.ordered))
    whole = whole and columns.order is not None and not samples[0].iid
    parts = pieces(usual.size, columns.ordered[:1].nbytes)
    series = None
    if not samples[0].iid and usual.size:
        # One place for all of them: the kernel clears new memory, and one thread after another.
        shape = columns.values.shape[1:]
        series = np.empty((parts[0].stop, 2 + len(LEVELS) + whole, *shape))
    for part in parts:
        at = usual[part]
        order = None if columns.order is None else columns.order[at]
        some = Columns(columns.values[at], columns.ordered[at], order)
        _fill([samples[i] for i in at], some, series, whole=whole)


def _usual(ordered: FloatArray) -> NDArray[np.bool_]:
    """Return which rows are finite, can be squared, and take many values."""
    low, high = ordered[:, 0], ordered[:, -1]
    with np.errstate(invalid="ignore", over="ignore"):
        spread = high / 2 - low / 2
        varies = spread > CONSTANT * np.maximum(np.abs(low), np.abs(high))
    varies &= (spread > 1 / SQUARED) & (spread < SQUARED)
    changes = np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1)
    return np.asarray(varies & (changes >= ordered.shape[1] / FEWEST_PER_LEVEL))


def _fill(
    samples: Sequence[Sample], columns: Columns, series: FloatArray | None, *, whole: bool
) -> None:
    """Compute the figures of a few samples; ``series`` is where those of chains are put."""
    x, ordered = columns.values, columns.ordered
    n = ordered.shape[1]
    mean, sd, squares = _moments(columns)
    found: dict[str, Sequence[object]] = {
        "finite": [True] * len(x),
        "constant": [False] * len(x),
        "_levels": [None] * len(x),
        "_moments": list(zip(mean.tolist(), sd.tolist(), strict=True)),
        "_squares_sd": np.std(squares.reshape(len(x), n), axis=1).tolist(),
    }
    if series is None:
        worth = np.full((len(x), len(QUANTILES)), float(n))
    else:
        series = series[: len(x)]
        series[:, 0], series[:, 1] = x, squares
        at = quantiles(ordered, np.array(LEVELS)[None])
        np.less_equal(x[:, None], at[:, :, None, None], out=series[:, 2 : 2 + len(LEVELS)])
        if whole:
            found |= _by_rank(columns, series[:, -1])
            found["basins"] = find_many(ordered, np.array(found["_local_worth"]))
        sizes = effective_sizes(series)
        found["_sizes"] = [tuple(row[: 2 + len(LEVELS)]) for row in sizes.tolist()]
        if whole:
            found["bulk_worth"] = sizes[:, -1].tolist()
        worth = sizes[:, [2 + LEVELS.index(p) for p in QUANTILES.values()]]
    at, slopes = quantiles(ordered, _P[None]), sparsities(ordered, worth)
    found["quantiles"] = _by_name(at)
    found["sparsity"] = _by_name(slopes)
    if series is not None:
        found["_width_worth"] = _width_worth(x, at, slopes).tolist()
    for name, figures in found.items():
        for sample, figure in zip(samples, figures, strict=True):
            sample.__dict__[name] = figure


def _by_name(rows: FloatArray) -> list[dict[str, float]]:
    return [dict(zip(QUANTILES, row, strict=True)) for row in rows.tolist()]


def _moments(columns: Columns) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return means, sds, and the squares of draws in these units, in the shape of the draws."""
    ordered = columns.ordered
    n = ordered.shape[1]
    centre = ordered[:, n // 2]
    scale = np.maximum(ordered[:, -1] - centre, centre - ordered[:, 0])
    u = columns.values - centre[:, None, None]
    u /= scale[:, None, None]
    mean = np.mean(u.reshape(len(u), n), axis=1)
    u -= mean[:, None, None]
    np.square(u, out=u)
    variance = np.sum(u.reshape(len(u), n), axis=1) / (n - 1)
    u /= variance[:, None, None]
    return centre + mean * scale, np.sqrt(variance) * scale, u


def quantiles(ordered: FloatArray, p: FloatArray) -> FloatArray:
    """Return quantiles of draws with many values; ``p`` is ``(row, k)`` or ``(1, k)``."""
    n = ordered.shape[1]
    at = np.clip(p, 0.0, 1.0) * (n - 1)
    low = np.minimum(at.astype(np.intp), n - 1)
    high = np.minimum(low + 1, n - 1)
    rows = np.arange(len(ordered))[:, None]
    below, above = ordered[rows, low], ordered[rows, high]
    mixed = below * (low + 1 - at) + above * (at - low)
    # Rounding of a weighted mean of equal values could give widths under zero.
    return np.asarray(np.where(below == above, below, mixed))


def sparsities(ordered: FloatArray, worth: FloatArray) -> FloatArray:
    """Return the slopes of the quantile function at the named quantiles, ``(row, quantile)``."""
    step = np.sqrt(_P * (1 - _P) / np.maximum(worth, 1.0))
    usual = np.maximum(0.3 * np.minimum(_P, 1 - _P), 2 * step)
    reach = np.stack([usual, step, 2 * step, 3 * step], axis=2)
    low, high = np.maximum(_P[:, None] - reach, 0.0), np.minimum(_P[:, None] + reach, 1.0)
    rows = len(ordered)
    both = quantiles(ordered, np.concatenate([low.reshape(rows, -1), high.reshape(rows, -1)], 1))
    below, above = both.reshape(rows, 2, *low.shape[1:]).swapaxes(0, 1)
    slope = (above - below) / (high - low)
    steep = np.max(slope[:, :, 1:], axis=2)
    found = np.where(steep <= 2 * slope[:, :, 0], slope[:, :, 0], steep)
    return np.where(np.isnan(worth), math.nan, found)


def _width_worth(x: FloatArray, at: FloatArray, slopes: FloatArray) -> FloatArray:
    names = list(QUANTILES)
    first, last = names.index("q5"), names.index("q95")
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        slopes = slopes / (at[:, last] - at[:, first])[:, None]
    low, high, q5, q95 = (
        a[:, i, None, None] for a, i in ((slopes, first), (slopes, last), (at, first), (at, last))
    )
    return effective_sizes(low * (x <= q5) + high * (x > q95))


def _by_rank(columns: Columns, scores: FloatArray) -> dict[str, Sequence[object]]:
    """Return what ranks give, and put their normal scores into ``scores``."""
    x, ordered, order = columns
    if order is None:
        raise ValueError("ranks need the order of the draws")
    rows, n = ordered.shape
    ties = ordered[:, 1:] == ordered[:, :-1]
    scores[:] = together_scores(ordered, order, np.any(ties, axis=1)).reshape(x.shape)
    # Distances from the median fall and then rise: two runs, which are quickly merged.
    median = (ordered[:, n // 2 - 1] / 2 + ordered[:, n // 2] / 2)[:, None]
    distance = ordered - median
    np.abs(distance, out=distance)
    inside = np.argsort(distance, axis=1, kind="stable")
    far_order = np.take_along_axis(order, inside, axis=1)
    distance = np.take_along_axis(distance, inside, axis=1)
    far = together_scores(distance, far_order, np.any(distance[:, 1:] == distance[:, :-1], axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        rhats = [rhat_of_scores(halves_of(z.reshape(x.shape))).tolist() for z in (scores, far)]
    # The lowest of equal ranks.
    wave = np.empty((rows, n))
    if np.any(ties):
        lowest = np.broadcast_to(np.arange(n), ordered.shape).copy()
        lowest[:, 1:][ties] = 0
        heights = waves(n)[np.maximum.accumulate(lowest, axis=1)]
    else:
        heights = waves(n)[None]
    np.put_along_axis(wave, order, heights, axis=1)
    return {
        "rhats": list(zip(*rhats, strict=True)),
        "_local_worth": local_worth(wave.reshape(x.shape), n).tolist(),
    }
