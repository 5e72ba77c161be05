"""Names of scalars as Stan users write them, ``beta[2,1]``, and the variables they belong to."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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


def kept_places(names: Sequence[str], left_out: Mapping[str, Collection[str]]) -> list[int] | None:
    """Return the places of scalars that are not left out; None if that is all of them.

    ``left_out`` has variables, each with its elements that are kept all the same.
    """
    if not left_out:
        return None
    kept = [i for i, n in enumerate(names) if n in left_out.get(base_name(n), (n,))]
    return None if len(kept) == len(names) else kept


def of_names(draws: Draws, names: Sequence[str]) -> Draws:
    """Return some of the quantities, in copies that do not keep the others in memory."""
    if len(names) == len(draws.names):
        return draws
    at = {name: i for i, name in enumerate(draws.names)}
    return dataclasses.replace(
        draws,
        names=tuple(names),
        values=np.take(draws.values, [at[n] for n in names], axis=2),
        stats={k: v.copy() for k, v in draws.stats.items()},
        log_p=None if draws.log_p is None else draws.log_p.copy(),
        log_q=None if draws.log_q is None else draws.log_q.copy(),
    )


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


def stan_names(names: Sequence[str], like: Sequence[str] = ()) -> tuple[str, ...]:
    """Return names of scalars as Stan writes them, whoever wrote them.

    ``beta.2.1``, ``beta[2, 1]`` and ``beta[2][1]`` are ``beta[2,1]``. A variable with an index 0
    counts from 0, so all of its indices grow by one. With names ``like`` which these are to be
    compared with, a vector of one element and a scalar are the same, and have the name they have
    there.
    """
    spelt = [stan_name(n.replace(" ", "").replace("][", ",")) for n in names]
    found = [re.fullmatch(r"(.*?)\[(\d+(?:,\d+)*)\](.*)", n) for n in spelt]
    from_zero = {m[1] for m in found if m and "0" in m[2].split(",")}
    out = []
    for name, match in zip(spelt, found, strict=True):
        if match is None or match[1] not in from_zero:
            out.append(name)
            continue
        indices = ",".join(str(int(i) + 1) for i in match[2].split(","))
        out.append(f"{match[1]}[{indices}]{match[3]}")
    elements = Counter(base_name(n) for n in like)
    single = {base_name(n): n for n in like if elements[base_name(n)] == 1 and _alone(n)}
    own = Counter(base_name(n) for n in out)
    return tuple(
        single.get(base_name(n), n) if own[base_name(n)] == 1 and _alone(n) else n for n in out
    )


def repeated(names: Sequence[str]) -> list[str]:
    """Return the names that occur more than once."""
    return sorted(name for name, times in Counter(names).items() if times > 1)


def _alone(name: str) -> bool:
    """Tell whether a name is a scalar's or that of the only element of an array."""
    return re.fullmatch(r"[^\[]*(\[1(?:,1)*\])?", name) is not None
