"""Draws of several quantities beside the reference's, prepared once for all joint metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.metrics.distance import INFINITE
from harness.metrics.sample import CONSTANT, SD_PER_WIDTH, effective_size
from harness.records import Estimate, FloatArray

MOST_DRAWS = 10_000
"""More draws than this are thinned: their error is well below every limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Standardised draws of all columns.

    ``z`` has shape ``(column, chain, draw)``, so that each column lies in one piece;
    ``centre`` and ``scale`` are the columns' medians and robust sds, ``ranks`` their ranks on
    (−½, ½), shape ``(column, chain * draw)``.
    """

    z: FloatArray
    iid: bool
    centre: FloatArray
    scale: FloatArray
    ranks: FloatArray

    @property
    def flat(self) -> FloatArray:
        """All draws of each column, shape ``(column, chain * draw)``."""
        return self.z.reshape(self.z.shape[0], -1)

    def half(self, which: int) -> FloatArray:
        """Return the first or second half of every chain."""
        middle = self.z.shape[2] // 2
        return self.z[:, :, :middle] if which == 0 else self.z[:, :, middle:]

    def worth(self, series: FloatArray) -> float:
        """Return the effective number of draws for the mean of a flat series."""
        shape = self.z.shape[1:]
        return float(series.size) if self.iid else effective_size(series.reshape(shape))


class Joint:
    """Draws of a run and of the reference."""

    def __init__(
        self, q: FloatArray, ref: FloatArray, *, iid: tuple[bool, bool], rng: np.random.Generator
    ) -> None:
        """Thin the draws of both, shape ``(chain, draw, quantity)``, to 10 000.

        ``iid`` says whether the draws of each are independent.
        """
        self._q, self._ref = (
            a[:, :: max(1, -(-a.shape[0] * a.shape[1] // MOST_DRAWS))] for a in (q, ref)
        )
        self._iid = iid
        self.rng = rng  # for random directions
        self.columns = _usable(self._ref)

    @cached_property
    def blocks(self) -> tuple[Block, Block] | None:
        """Both on the scale of the reference; None if q has draws that cannot be standardised."""
        q, ref = (a[:, :, self.columns] for a in (self._q, self._ref))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return _blocks(q, ref, iid=self._iid)

    @cached_property
    def correlations(self) -> tuple[FloatArray, FloatArray]:
        """The rank correlations of q and of the reference; raises without ``blocks``."""
        if self.blocks is None:
            msg = "no correlations: some draws are not finite, or too large to be squared"
            raise ValueError(msg)
        own, theirs = (_rank_correlation(b.ranks) for b in self.blocks)
        return own, theirs


Compare = Callable[[Joint, Block, Block], Estimate]


def jointly(compare: Compare) -> Callable[[Joint], Estimate | None]:
    """Extend a comparison of good draws to all draws.

    None where fewer than two quantities vary in the reference; infinite where q has a draw that
    is not finite, or too large to be squared.
    """

    def measure(joint: Joint) -> Estimate | None:
        if joint.columns.size < 2:  # noqa: PLR2004 (one quantity has no joint distribution)
            return None
        if joint.blocks is None:
            return INFINITE
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return compare(joint, *joint.blocks)

    return measure


def _usable(ref: FloatArray) -> NDArray[np.intp]:
    """Return the columns that vary in the reference and are finite."""
    low, high = np.min(ref, axis=(0, 1)), np.max(ref, axis=(0, 1))
    largest = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.flatnonzero(np.isfinite(largest) & (high / 2 - low / 2 > CONSTANT * largest))


def _blocks(
    q: FloatArray, ref: FloatArray, *, iid: tuple[bool, bool]
) -> tuple[Block, Block] | None:
    """Put both on the scale of the reference's medians and 5-95% widths; None if q cannot be."""
    k = ref.shape[2]
    theirs = np.ascontiguousarray(np.moveaxis(ref, 2, 0))
    centre, scale, ranks = _order(theirs.reshape(k, -1))
    theirs = (theirs - centre[:, None, None]) / scale[:, None, None]
    own = (np.moveaxis(q, 2, 0) - centre[:, None, None]) / scale[:, None, None]
    if own.size == 0 or not np.all(np.isfinite(own)):
        return None
    own = np.ascontiguousarray(own)
    return (
        Block(own, iid[0], *_order(own.reshape(k, -1))),
        Block(theirs, iid[1], np.zeros(k), np.ones(k), ranks),
    )


def _order(columns: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return median, robust sd (the sd where the width is zero) and ranks of each column.

    Equal values share their rank.
    """
    from scipy.stats import rankdata

    k, n = columns.shape
    order = np.argsort(columns, axis=1)
    ranks = np.empty((k, n))
    np.put_along_axis(ranks, order, np.arange(1.0, n + 1)[None], axis=1)
    ordered = np.take_along_axis(columns, order, axis=1)
    tied = np.flatnonzero(np.any(ordered[:, 1:] == ordered[:, :-1], axis=1))
    if tied.size:
        ranks[tied] = rankdata(columns[tied], axis=1)
    low, centre, high = (ordered[:, int(p * (n - 1))] for p in (0.05, 0.5, 0.95))
    scale = (high - low) * SD_PER_WIDTH
    flat = scale == 0
    scale[flat] = np.std(columns[flat], axis=1)
    return centre, scale, (ranks - 0.5) / n - 0.5


def _rank_correlation(ranks: FloatArray) -> FloatArray:
    length = np.sqrt(np.sum(ranks**2, axis=1))
    unit = ranks / np.where(length == 0, 1.0, length)[:, None]
    return 2 * np.sin(np.pi / 6 * (unit @ unit.T))
