"""Draws of many columns on one scale, worked on in parts of the columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.metrics.effective import effective_sizes
from harness.metrics.sample import MARKS, SD_PER_WIDTH, effective_size, weighted_size
from harness.metrics.threads import BLOCK, cached, each
from harness.ranks import row_ranks
from harness.records import FloatArray

R = TypeVar("R")

Columns = NDArray[np.intp]

ALL = slice(None)

PART = 256
"""Columns that are worked on together: what is made of them on the way stays small."""


def parts_of(count: int, size: int | None = None) -> list[slice]:
    """Return slices of at most ``size``, or ``PART``, that cover the columns.

    Where there are none it is one, and empty.
    """
    size = size or PART
    return [slice(i, min(i + size, count)) for i in range(0, max(count, 1), size)]


def of_parts(work: Callable[[slice], R], count: int, size: int | None = None) -> Iterator[R]:
    """Yield what work makes of each part of the columns, in their order; see :func:`each`."""
    return each(work, parts_of(count, size))


class Block:
    """Draws of all columns on the scale of the reference.

    ``z`` has shape ``(column, chain, draw)``, so that each column lies in one piece; of very many
    columns in single precision. ``centre`` and ``scale`` are the columns' medians and robust sds,
    ``(column,)``.
    """

    def __init__(
        self,
        z: FloatArray,
        *,
        iid: bool,
        copies: FloatArray | None = None,
        marks: FloatArray | None = None,
    ) -> None:
        """Take draws, and of each column its :func:`marks` if they are known."""
        self.z = z
        self._marks = marks
        self.iid = iid
        self.copies = copies

    @cached
    def flat(self) -> FloatArray:
        """All draws of each column, shape ``(column, chain * draw)``."""
        return self.z.reshape(self.z.shape[0], -1)

    @cached
    def _order(self) -> tuple[FloatArray, FloatArray]:

        def of(part: slice) -> tuple[FloatArray, FloatArray]:
            known = None if self._marks is None else self._marks[part]
            return centre_and_scale(self.flat[part], known)

        parts = of_parts(of, len(self.z))
        centre, scale = (np.concatenate(x) for x in zip(*parts, strict=True))
        return centre, scale

    @property
    def centre(self) -> FloatArray:
        """The columns' medians."""
        return self._order[0]

    @property
    def scale(self) -> FloatArray:
        """The columns' robust sds."""
        return self._order[1]

    def half(self, which: int, part: slice = ALL) -> FloatArray:
        """Return the first or second half of every chain, of some columns."""
        middle = self.z.shape[2] // 2
        return self.z[part, :, :middle] if which == 0 else self.z[part, :, middle:]

    def clipped(self, which: int, part: slice = ALL) -> FloatArray:
        """Return half the draws, centred, clipped to five robust sds because of heavy tails.

        Shape ``(column, chain * draw)``.
        """
        x = self.half(which, part)
        means, beyond = (of[part] for of in self._clips[which])
        found = x - means[:, None, None]
        some = np.flatnonzero(beyond)
        if some.size:
            columns = np.arange(len(self.z))[part][some]
            found[some] = self._clip(x[some], columns) - means[some, None, None]
        return np.asarray(found.reshape(len(x), -1))

    def _clip(self, x: FloatArray, columns: slice | Columns) -> FloatArray:
        reach = 5 * self.scale[columns]
        low, high = (self.centre[columns] + sign * reach for sign in (-1, 1))
        kind = self.z.dtype
        return np.clip(x, low.astype(kind)[:, None, None], high.astype(kind)[:, None, None])

    @cached
    def _clips(self) -> tuple[tuple[FloatArray, NDArray[np.bool_]], ...]:
        """Of each half the columns' means, clipped, and which columns have draws to clip."""

        def of(which: int, part: slice) -> tuple[FloatArray, NDArray[np.bool_]]:
            x = self.half(which, part)
            clipped = self._clip(x, part)
            beyond = np.any(clipped != x, axis=(1, 2))
            return np.mean(clipped.reshape(len(x), -1), axis=1), beyond

        found = [list(of_parts(partial(of, which), len(self.z))) for which in (0, 1)]
        return tuple(
            (np.concatenate(means), np.concatenate(beyond))
            for means, beyond in (zip(*parts, strict=True) for parts in found)
        )

    def projected(self, rows: FloatArray, of: Callable[[slice], FloatArray]) -> FloatArray:
        """Return linear combinations of the columns, the sum over parts of ``rows @ of(part)``.

        ``rows`` has shape ``(direction, column)``, ``of(part)`` ``(column of the part, draw)``.
        """
        rows = rows.astype(self.z.dtype)
        parts = of_parts(lambda part: rows[:, part] @ of(part), len(self.z))
        found = next(parts)
        for part in parts:
            found += part
        return np.asarray(found)

    def ranks(self, columns: Columns) -> FloatArray:
        """Return ranks on (−½, ½), shape ``(column, chain * draw)``; equal values share theirs."""
        n = self.flat.shape[1]
        return np.asarray((row_ranks(self.flat[columns]) - 0.5) / n - 0.5)

    def worth(self, series: FloatArray) -> float:
        """Return the effective number of draws for the mean of a flat series."""
        shaped = series.reshape(self.z.shape[1:])
        if not self.iid:
            return effective_size(shaped)
        return float(series.size) if self.copies is None else weighted_size(shaped, self.copies)

    @cached
    def least_worth(self) -> float:
        """The smallest effective size of the columns' means and squares."""
        if self.iid and self.copies is None:
            return float(self.flat.shape[1])
        if self.iid:
            worth = [self.worth(f(c)) for c in self.flat for f in (np.asarray, np.square)]
        else:

            def least(part: slice) -> float:
                x = self.z[part].astype(np.float64)
                return float(np.min([effective_sizes(f(x)).min() for f in (np.asarray, np.square)]))

            worth = list(of_parts(least, len(self.z), BLOCK))
        # NumPy's minimum, unlike Python's, keeps a NaN.
        return float(np.min(worth))


def marks_of(columns: FloatArray) -> FloatArray:
    """Return the draws at :data:`MARKS` of each column ``(column, draw)``: ``(column, mark)``."""
    at = [int(p * (columns.shape[1] - 1)) for p in MARKS]
    return np.asarray(np.partition(columns, at, axis=1)[:, at])


def centre_and_scale(
    columns: FloatArray, marks: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return median and robust sd of each column; the sd where the 5-95% width is zero."""
    low, centre, high = (marks_of(columns) if marks is None else marks).T
    scale = np.asarray((high - low) * SD_PER_WIDTH)
    flat = scale == 0
    if np.any(flat):
        scale[flat] = np.std(columns[flat], axis=1)
    return np.asarray(centre), scale
