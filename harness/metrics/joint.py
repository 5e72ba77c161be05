"""Draws of several quantities beside the reference's, prepared once for all joint metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from harness.metrics.block import ALL, Block, Columns, centre_and_scale, marks_of, of_parts
from harness.metrics.distance import INFINITE
from harness.metrics.pairs import PAIRED
from harness.metrics.sample import CONSTANT, MARKS
from harness.metrics.samples import columns
from harness.metrics.threads import BLOCK, cached, each
from harness.records import Estimate, FloatArray

LARGE = 300
"""Up to this many quantities every correlation and every direction is looked at.

Beyond, covariance matrices cost too much: the worst direction is sought among combinations of
a few dozen directions, and the worst correlation among ``PAIRED`` quantities.
"""

LEADING, RANDOM, SUMS = 20, 20, 20
"""Directions of each kind that stand for all of a large number of quantities: the leading ones of
the draws' own covariance, random ones, and the sums of the largest vectors."""

POWERS = 4
"""Iterations of the randomised range finder (Halko, Martinsson and Tropp, 2011, SIAM Review 53)."""


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
