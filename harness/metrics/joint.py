"""Draws of several quantities beside the reference's, prepared once for all joint metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.metrics.distance import INFINITE
from harness.metrics.sample import CONSTANT, SD_PER_WIDTH, effective_size, weighted_size
from harness.records import Estimate, FloatArray

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


class Block:
    """Draws of all columns on the scale of the reference.

    ``z`` has shape ``(column, chain, draw)``, so that each column lies in one piece;
    ``centre`` and ``scale`` are the columns' medians and robust sds, ``(column,)``.
    """

    def __init__(self, z: FloatArray, *, iid: bool, copies: FloatArray | None = None) -> None:
        self.z = z
        self.iid = iid
        self.copies = copies

    @cached_property
    def flat(self) -> FloatArray:
        """All draws of each column, shape ``(column, chain * draw)``."""
        return self.z.reshape(self.z.shape[0], -1)

    @cached_property
    def _order(self) -> tuple[FloatArray, FloatArray]:
        return centre_and_scale(self.flat)

    @property
    def centre(self) -> FloatArray:
        """The columns' medians."""
        return self._order[0]

    @property
    def scale(self) -> FloatArray:
        """The columns' robust sds."""
        return self._order[1]

    def half(self, which: int) -> FloatArray:
        """Return the first or second half of every chain."""
        middle = self.z.shape[2] // 2
        return self.z[:, :, :middle] if which == 0 else self.z[:, :, middle:]

    def clipped(self, which: int) -> FloatArray:
        """Return half the draws, centred, clipped to five robust sds because of heavy tails.

        Shape ``(column, chain * draw)``.
        """
        reach = 5 * self.scale
        low, high = (self.centre + sign * reach for sign in (-1, 1))
        x = np.clip(self.half(which), low[:, None, None], high[:, None, None])
        x = x.reshape(len(reach), -1)
        return np.asarray(x - np.mean(x, axis=1)[:, None])

    def ranks(self, columns: Columns) -> FloatArray:
        """Return ranks on (−½, ½), shape ``(column, chain * draw)``; equal values share theirs."""
        from scipy.stats import rankdata

        n = self.flat.shape[1]
        return np.asarray((rankdata(self.flat[columns], axis=1) - 0.5) / n - 0.5)

    def worth(self, series: FloatArray) -> float:
        """Return the effective number of draws for the mean of a flat series."""
        shaped = series.reshape(self.z.shape[1:])
        if not self.iid:
            return effective_size(shaped)
        return float(series.size) if self.copies is None else weighted_size(shaped, self.copies)

    @cached_property
    def least_worth(self) -> float:
        """The smallest effective size of the columns' means and squares."""
        # NumPy's minimum, unlike Python's, keeps a NaN.
        return float(np.min([self.worth(f(c)) for c in self.flat for f in (np.asarray, np.square)]))


class JointReference:
    """Draws of a reference, prepared once for the comparisons with many runs."""

    def __init__(
        self,
        values: FloatArray,
        *,
        iid: bool,
        seed: int,
        vectors: Sequence[Columns] = (),
    ) -> None:
        """Take draws, shape ``(chain, draw, quantity)``.

        ``vectors`` are the columns of each vector and matrix of the program; ``seed`` is that of
        random directions, the same for every run so that runs can be compared.
        """
        self.columns = usable(values)
        theirs = np.ascontiguousarray(np.moveaxis(values[:, :, self.columns], 2, 0))
        flat = theirs.reshape(len(theirs), -1)
        self.centre, self.scale = centre_and_scale(flat) if flat.size else (flat, flat)
        self.block = Block(self.standardised(theirs), iid=iid)
        self.seed = seed
        at = {int(c): i for i, c in enumerate(self.columns)}
        inside = [np.array([at[int(c)] for c in v if int(c) in at], dtype=np.intp) for v in vectors]
        self._vectors = sorted((v for v in inside if v.size > 1), key=len, reverse=True)[:SUMS]

    @property
    def large(self) -> bool:
        """Whether there are more quantities than covariance matrices are computed for."""
        return self.columns.size > LARGE

    def standardised(self, values: FloatArray) -> FloatArray:
        """Put draws, shape ``(column, chain, draw)``, on the scale of this reference."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray((values - self.centre[:, None, None]) / self.scale[:, None, None])

    @cached_property
    def paired(self) -> Columns:
        """The columns whose correlations are looked at: all, or a random choice of very many."""
        k = self.columns.size
        if k <= PAIRED:
            return np.arange(k)
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(k, PAIRED, replace=False))

    @cached_property
    def rank_correlation(self) -> tuple[FloatArray, ...]:
        """Rank correlations of the paired columns, of all draws or, of many columns, by halves."""
        return rank_correlations(self.block, self)

    @cached_property
    def common(self) -> FloatArray:
        """Random directions and sums of vectors, shape ``(direction, column)``."""
        rng = np.random.default_rng(self.seed)
        rows = [rng.normal(size=(RANDOM, self.columns.size))]
        for vector in self._vectors:
            row = np.zeros((1, self.columns.size))
            row[0, vector] = self.scale[vector]
            rows.append(row)
        return np.concatenate(rows)

    @cached_property
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
    ) -> None:
        """Take draws of the reference's quantities, shape ``(chain, draw, quantity)``."""
        self._q = q
        self._iid, self._copies = iid, copies
        self.reference = reference
        self.columns = reference.columns

    @cached_property
    def blocks(self) -> tuple[Block, Block] | None:
        """Both on the scale of the reference; None if q has draws that cannot be standardised."""
        own = self.reference.standardised(np.moveaxis(self._q[:, :, self.columns], 2, 0))
        if own.size == 0 or not np.all(np.isfinite(own)):
            return None
        own = np.ascontiguousarray(own)
        return Block(own, iid=self._iid, copies=self._copies), self.reference.block

    @cached_property
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


def copies(values: FloatArray) -> dict[int, int]:
    """Return the columns that are a linear function of one earlier column, with that column.

    ``values`` are draws that vary, shape ``(chain, draw, quantity)``. The elements above the
    diagonal of a symmetric matrix are such columns, and the second share of two.
    """
    chains, draws, quantities = values.shape
    flat = np.moveaxis(values, 2, 0).reshape(quantities, chains * draws)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        unit = flat - np.mean(flat, axis=1)[:, None]
        unit /= np.max(np.abs(unit), axis=1)[:, None]
    # Copies, and hardly any others, have the same sum of squares.
    squares = np.sum(unit**2, axis=1)
    found: dict[int, int] = {}
    order = np.argsort(squares, kind="stable")
    for at, column in enumerate(order):
        for other in order[at + 1 :]:
            if not squares[other] - squares[column] <= ROUNDING * squares[column]:
                break
            sign = np.sign(unit[column] @ unit[other])
            if np.max(np.abs(unit[column] - sign * unit[other])) <= ROUNDING:
                first, second = sorted((int(column), int(other)))
                found[second] = min(first, found.get(second, first))
    return found


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


def centre_and_scale(columns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return median and robust sd of each column; the sd where the 5-95% width is zero."""
    n = columns.shape[1]
    at = [int(p * (n - 1)) for p in (0.05, 0.5, 0.95)]
    low, centre, high = np.partition(columns, at, axis=1)[:, at].T
    scale = np.asarray((high - low) * SD_PER_WIDTH)
    flat = scale == 0
    scale[flat] = np.std(columns[flat], axis=1)
    return np.asarray(centre), scale


def leading(block: Block, half: int, seed: int) -> FloatArray:
    """Return the leading directions of half the draws' covariance, ``(direction, column)``."""
    x = block.clipped(half)
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(x.shape[0], min(LEADING, *x.shape)))
    for _ in range(POWERS):
        basis, _ = np.linalg.qr(x @ (x.T @ basis))
    return np.asarray(basis.T)


def rank_correlations(block: Block, reference: JointReference) -> tuple[FloatArray, ...]:
    """Return the rank correlations of the paired columns: of all draws, or of many by halves.

    The worst of very many correlations would be noise: it is chosen in one half of the draws and
    measured in the other.
    """
    ranks = block.ranks(reference.paired)
    if not reference.large:
        return (_correlation(ranks),)
    shape = (len(ranks), *block.z.shape[1:])
    middle = shape[2] // 2
    whole = ranks.reshape(shape)
    return tuple(
        _correlation(part.reshape(len(ranks), -1))
        for part in (whole[:, :, :middle], whole[:, :, middle:])
    )


def _correlation(ranks: FloatArray) -> FloatArray:
    ranks = ranks - np.mean(ranks, axis=1)[:, None]
    length = np.sqrt(np.sum(ranks**2, axis=1))
    unit = ranks / np.where(length == 0, 1.0, length)[:, None]
    return 2 * np.sin(np.pi / 6 * (unit @ unit.T))
