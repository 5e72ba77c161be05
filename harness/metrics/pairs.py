"""Pairs of quantities that go together: one number under two names, and the most correlated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.metrics import block
from harness.metrics.block import Columns, of_parts
from harness.metrics.samples import columns
from harness.metrics.threads import BLOCK
from harness.records import FloatArray

PAIRED = 1000
"""Quantities whose correlations are looked at where there are more than ``LARGE``."""

ROUNDING = 1e-6
"""Two columns that differ by less of their largest deviation are one number under two names: draws
are written with six digits or more."""


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


def partners(values: FloatArray, which: Columns, scalars: Sequence[int]) -> list[tuple[int, float]]:
    """Return each column's most correlated partner and their correlation, by places in ``which``.

    ``values`` has shape ``(chain, draw, quantity)``. Of more than ``PAIRED`` columns the partner is
    sought among the ``PART`` neighbours and the first ``PART`` of the scalars.
    """
    few = which.size <= PAIRED
    both = np.arange(which.size) if few else np.array(scalars[: block.PART], dtype=np.intp)
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
