"""Names of scalars as Stan users write them, ``beta[2,1]``, and the variables they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.records import Draws, FloatArray


def stan_name(column: str) -> str:
    """Turn a CSV column name into Stan's: ``z.2.1`` is ``z[2,1]``, ``t:1.3`` is ``t:1[3]``."""
    match = re.fullmatch(r"(.*?)((?:\.\d+)+)(\.(?:real|imag))?", column)
    if match is None:
        return column
    base, indices, part = match.groups()
    return f"{base}[{indices[1:].replace('.', ',')}]{part or ''}"


def base_name(name: str) -> str:
    """Return the variable a scalar belongs to: ``beta`` of ``beta[2,1]``."""
    return name.partition("[")[0].partition(":")[0]


def variables(names: Sequence[str], values: FloatArray) -> dict[str, FloatArray]:
    """Put scalars together: ``b[1]``, ``b[2]`` become ``b`` of shape ``(chain, draw, 2)``.

    Cells that have no scalar (a quantity left out) are NaN.
    """
    grouped: dict[str, list[tuple[tuple[int, ...], int]]] = {}
    for column, name in enumerate(names):
        match = re.fullmatch(r"(.*)\[([\d,]+)\]((?:\.real|\.imag)?)", name)
        if match is None:
            grouped[name] = [((), column)]
            continue
        index = tuple(int(i) - 1 for i in match.group(2).split(","))
        grouped.setdefault(match.group(1) + match.group(3), []).append((index, column))
    out: dict[str, FloatArray] = {}
    for base, cells in grouped.items():
        shape = tuple(max(axis) + 1 for axis in zip(*(c[0] for c in cells), strict=True))
        array = np.full((*values.shape[:2], *shape), np.nan)
        for cell, column in cells:
            where: tuple[Any, ...] = (..., *cell)
            array[where] = values[:, :, column]
        out[base] = array
    return out


def scalars(arrays: Mapping[str, FloatArray], *, iid: bool) -> Draws:
    """Take variables of shape ``(chain, draw, …)`` apart into scalars named as Stan does."""
    names: list[str] = []
    columns: list[FloatArray] = []
    for base, array in arrays.items():
        a = np.asarray(array, dtype=np.float64)
        for index in np.ndindex(*a.shape[2:]):
            inside = ",".join(str(i + 1) for i in index)
            names.append(f"{base}[{inside}]" if index else base)
            columns.append(a[:, :, *index])
    if not columns:
        msg = "no quantities of a positive size among the draws"
        raise ValueError(msg)
    return Draws(tuple(names), np.stack(columns, axis=-1), iid=iid)
