"""Draws of several quantities beside the reference's, prepared once for all joint metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.metrics.distance import INFINITE
from harness.metrics.effective import effective_sizes
from harness.metrics.sample import CONSTANT, MARKS, SD_PER_WIDTH, effective_size, weighted_size
from harness.metrics.samples import columns
from harness.metrics.threads import BLOCK, cached, each
from harness.ranks import row_ranks
from harness.records import Estimate, FloatArray

R = TypeVar("R")

Columns = NDArray[np.intp]

LARGE = 300
"""Up to this many quantities every correlation and every direction is looked at.

Beyond, covariance matrices cost too much: the worst direction is sought among combinations of
a few dozen directions, and the worst correlation among ``PAIRED`` quantities.
"""

PAIRED = 1000
"""Quantities whose correlations are looked at where there are more than ``LARGE``."""

LEADING, RANDOM, SUMS = 20, 20, 20
"""Directions of each kind that stand for all of a large number of quantities: the leading ones of
the draws' own covariance, random ones, and the sums of the largest vectors."""

ROUNDING = 1e-6
"""Two columns that differ by less of their largest deviation are one number under two names: draws
are written with six digits or more."""

POWERS = 4
"""Iterations of the randomised range finder (Halko, Martinsson and Tropp, 2011, SIAM Review 53)."""


ALL = slice(None)

PART = 256
"""Columns that are worked on together: what is made of them on the way stays small."""


def parts_of(count: int, size: int = PART) -> list[slice]:
    """Return slices of at most ``size`` that cover the columns; one where there are none."""
    return [slice(i, min(i + size, count)) for i in range(0, max(count, 1), size)]


def of_parts(work: Callable[[slice], R], count: int, size: int = PART) -> Iterator[R]:
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


class JointReference:
    """Draws of a reference, prepared once for the comparisons with many runs."""

    def __init__(
        self,
        values: FloatArray,
        *,
        iid: bool,
        seed: int,
        vectors: Sequence[Columns] = (),
        which: Columns | None = None,
        marks: FloatArray | None = None,
    ) -> None:
        """Take draws, shape ``(chain, draw, quantity)``.

        ``which`` are the columns to compare, all if None; ``columns``, ``vectors`` and ``marks``,
        if these are known, are places in it. ``vectors`` are the columns of each vector and matrix
        of the program; ``seed`` is that of random directions, the same for every run so that runs
        can be compared.
        """
        which = np.arange(values.shape[2]) if which is None else which
        self.columns = np.flatnonzero(np.isin(which, usable(values)))
        k = self.columns.size
        z = np.empty((k, *values.shape[:2]), dtype=np.float32 if k > LARGE else np.float64)
        self.centre, self.scale = np.empty(k), np.empty(k)
        known = None if marks is None else marks[self.columns]
        own = np.empty((k, len(MARKS)), dtype=z.dtype)

        def fill(part: slice) -> None:
            theirs = columns(values, which[self.columns[part]])
            flat = theirs.reshape(len(theirs), -1)
            at = marks_of(flat) if known is None else known[part]
            self.centre[part], self.scale[part] = centre_and_scale(flat, at)
            z[part] = self.standardised(theirs, part, out=theirs)
            own[part] = self.standardised(at[:, None], part)[:, 0]

        list(of_parts(fill, k) if k else ())
        self.block = Block(z, iid=iid, marks=own)
        self.seed = seed
        at = {int(c): i for i, c in enumerate(self.columns)}
        inside = [np.array([at[int(c)] for c in v if int(c) in at], dtype=np.intp) for v in vectors]
        self._vectors = sorted((v for v in inside if v.size > 1), key=len, reverse=True)[:SUMS]

    @property
    def large(self) -> bool:
        """Whether there are more quantities than covariance matrices are computed for."""
        return self.columns.size > LARGE

    def standardised(
        self, values: FloatArray, part: slice, *, out: FloatArray | None = None
    ) -> FloatArray:
        """Put draws of some columns, ``(column, chain, draw)``, on the scale of this reference.

        ``out`` may be ``values`` itself, which is then overwritten.
        """
        centre, scale = self.centre[part, None, None], self.scale[part, None, None]
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.subtract(values, centre, out=out)
            found /= scale
        return found

    @cached
    def paired(self) -> Columns:
        """The columns whose correlations are looked at: all, or a random choice of very many."""
        k = self.columns.size
        if k <= PAIRED:
            return np.arange(k)
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(k, PAIRED, replace=False))

    @cached
    def rank_correlation(self) -> tuple[FloatArray, ...]:
        """Rank correlations of the paired columns, of all draws or, of many columns, by halves."""
        return rank_correlations(self.block, self)

    @cached
    def common(self) -> FloatArray:
        """Random directions and sums of vectors, shape ``(direction, column)``."""
        rng = np.random.default_rng(self.seed)
        rows = [rng.normal(size=(RANDOM, self.columns.size))]
        for vector in self._vectors:
            row = np.zeros((1, self.columns.size))
            row[0, vector] = self.scale[vector]
            rows.append(row)
        return np.concatenate(rows)

    @cached
    def leading(self) -> tuple[FloatArray, FloatArray]:
        """The leading directions of each half of the draws, shape ``(direction, column)``."""
        return leading(self.block, 0, self.seed), leading(self.block, 1, self.seed)


class Joint:
    """Draws of a run beside a reference's."""

    def __init__(
        self,
        q: FloatArray,
        reference: JointReference,
        *,
        iid: bool,
        copies: FloatArray | None = None,
        which: Columns | None = None,
        marks: FloatArray | None = None,
    ) -> None:
        """Take draws, shape ``(chain, draw, quantity)``.

        ``which`` are the columns of the reference's quantities, all in their order if None;
        ``marks`` are theirs, if they are known.
        """
        self._marks = marks
        self._q = q
        self._which = np.arange(q.shape[2]) if which is None else which
        self._iid, self._copies = iid, copies
        self.reference = reference
        self.columns = reference.columns

    @cached
    def blocks(self) -> tuple[Block, Block] | None:
        """Both on the scale of the reference; None if q has draws that cannot be standardised."""
        reference, which = self.reference, self._which[self.columns]
        chains, draws = self._q.shape[:2]
        own = np.empty((which.size, chains, draws), dtype=reference.block.z.dtype)

        def fill(part: slice) -> bool:
            theirs = columns(self._q, which[part])
            with np.errstate(over="ignore"):
                own[part] = reference.standardised(theirs, part, out=theirs)
            return bool(np.all(np.isfinite(own[part])))

        if not all(of_parts(fill, which.size)) or own.size == 0:
            return None
        marks = None
        if self._marks is not None:
            theirs = self._marks[self.columns, None]
            marks = reference.standardised(theirs, ALL)[:, 0].astype(own.dtype)
        return Block(own, iid=self._iid, copies=self._copies, marks=marks), reference.block

    @cached
    def correlations(self) -> tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]]:
        """The rank correlations of q and of the reference; raises without ``blocks``."""
        if self.blocks is None:
            msg = "no correlations: some draws are not finite, or too large to be squared"
            raise ValueError(msg)
        return rank_correlations(self.blocks[0], self.reference), self.reference.rank_correlation

    def basis(self, half: int) -> FloatArray | None:
        """Return the directions in which very many quantities are compared, None for few.

        Orthonormal, shape ``(direction, column)``. They depend on one half of the draws only, so
        that the other half can be measured along them.
        """
        if not self.reference.large or self.blocks is None:
            return None
        own = leading(self.blocks[0], half, self.reference.seed)
        rows = np.concatenate([self.reference.common, self.reference.leading[half], own])
        q, r = np.linalg.qr(rows.T)
        return np.asarray(q.T[np.abs(np.diag(r)) > CONSTANT * np.max(np.abs(r))])


def copies(values: FloatArray, which: Columns | None = None) -> dict[int, int]:
    """Return the columns that are a linear function of one earlier column, with that column.

    ``values`` are draws that vary, shape ``(chain, draw, quantity)``; ``which`` are the columns to
    look at, all if None, and the columns returned are places in it. The elements above the
    diagonal of a symmetric matrix are such columns, and the second share of two.
    """
    which = np.arange(values.shape[2]) if which is None else which

    def of(part: slice) -> FloatArray:
        unit = _unit(values, which[part])
        return np.asarray(np.einsum("ij,ij->i", unit, unit))

    squares = np.concatenate(list(of_parts(of, which.size, BLOCK)))
    found: dict[int, int] = {}
    # Copies, and hardly any others, have the same sum of squares.
    order = np.argsort(squares, kind="stable")
    near = np.searchsorted(squares[order], squares[order] * (1 + ROUNDING), side="right")
    for at, last in enumerate(near.tolist()):
        if last <= at + 1:
            continue
        column, others = order[at], order[at + 1 : last]
        unit, *rest = _unit(values, which[[column, *others]])
        for other, row in zip(others, rest, strict=True):
            if np.max(np.abs(unit - np.sign(unit @ row) * row)) <= ROUNDING:
                first, second = sorted((int(column), int(other)))
                found[second] = min(first, found.get(second, first))
    return found


def _unit(values: FloatArray, which: Columns) -> FloatArray:
    """Return columns centred and over their largest deviation, ``(column, chain * draw)``."""
    unit = columns(values, which).reshape(which.size, values.shape[0] * values.shape[1])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        unit -= np.mean(unit, axis=1)[:, None]
        unit /= np.max(np.abs(unit), axis=1)[:, None]
    return unit


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


def usable(ref: FloatArray) -> Columns:
    """Return the columns that vary in the reference and are finite."""
    if ref.size == 0:
        return np.zeros(0, dtype=np.intp)
    low, high = np.min(ref, axis=(0, 1)), np.max(ref, axis=(0, 1))
    largest = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.flatnonzero(np.isfinite(largest) & (high / 2 - low / 2 > CONSTANT * largest))


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


def partners(values: FloatArray, which: Columns, scalars: Sequence[int]) -> list[tuple[int, float]]:
    """Return each column's most correlated partner and their correlation, by places in ``which``.

    ``values`` has shape ``(chain, draw, quantity)``. Of more than ``PAIRED`` columns the partner is
    sought among the ``PART`` neighbours and the first ``PART`` of the scalars.
    """
    few = which.size <= PAIRED
    both = np.arange(which.size) if few else np.array(scalars[:PART], dtype=np.intp)
    fixed = _of_length_one(values, which[both])

    def of(part: slice) -> list[tuple[int, float]]:
        own = np.arange(which.size)[part]
        unit = fixed[part] if few else _of_length_one(values, which[part])
        at, beside = (both, fixed) if few else (np.append(both, own), np.append(fixed, unit, 0))
        r = unit @ beside.T
        r[own[:, None] == at] = 0.0
        best = np.argmax(np.abs(r), axis=1)
        return [(int(at[j]), float(row[j])) for j, row in zip(best, r, strict=True)]

    return [one for found in of_parts(of, which.size) for one in found]


def _of_length_one(values: FloatArray, which: Columns) -> FloatArray:
    unit = _unit(values, which)
    return np.asarray(unit / np.sqrt(np.einsum("ij,ij->i", unit, unit))[:, None])


def leading(block: Block, half: int, seed: int) -> FloatArray:
    """Return the leading directions of half the draws' covariance, ``(direction, column)``."""
    k, n = len(block.z), block.half(half, slice(0, 1)).size
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(k, min(LEADING, k, n)))
    for _ in range(POWERS):
        y = block.projected(basis.T, partial(block.clipped, half)).T
        basis = np.concatenate(list(of_parts(partial(_along, block, half, y), k)))
        basis, _ = np.linalg.qr(basis.astype(np.float64))
    return np.asarray(basis.T)


def _along(block: Block, half: int, y: FloatArray, part: slice) -> FloatArray:
    return np.asarray(block.clipped(half, part) @ y)


def rank_correlations(block: Block, reference: JointReference) -> tuple[FloatArray, ...]:
    """Return the rank correlations of the paired columns: of all draws, or of many by halves.

    The worst of very many correlations would be noise: it is chosen in one half of the draws and
    measured in the other.
    """
    paired = reference.paired
    if not reference.large:
        return (_correlation(block.ranks(paired)),)
    k, shape = len(paired), block.z.shape[1:]
    ranks = np.empty((k, *shape), dtype=block.z.dtype)

    def fill(part: slice) -> None:
        ranks[part] = block.ranks(paired[part]).reshape(-1, *shape)

    list(of_parts(fill, k, BLOCK))
    middle = shape[1] // 2
    halves = [half.reshape(k, -1) for half in (ranks[..., :middle], ranks[..., middle:])]
    return tuple(each(_correlation, halves))


def _correlation(ranks: FloatArray) -> FloatArray:
    ranks = ranks - np.mean(ranks, axis=1)[:, None]
    length = np.sqrt(np.einsum("ij,ij->i", ranks, ranks))
    unit = ranks / np.where(length == 0, 1.0, length)[:, None]
    return 2 * np.sin(np.pi / 6 * (unit @ unit.T))
