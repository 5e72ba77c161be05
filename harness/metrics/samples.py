"""The draws of many scalars, read in blocks of columns and prepared once."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from harness.metrics.sample import CONSTANT, Sample
from harness.metrics.threads import BLOCK, ahead
from harness.metrics.together import Columns, fill
from harness.records import Draws, FloatArray

LARGE_BYTES = 2**26
"""Draws of more bytes are not kept sorted beside themselves: only their figures are."""

_KEPT: WeakKeyDictionary[Draws, dict[str, Sample]] = WeakKeyDictionary()
"""The samples of draws with which many others are compared."""


def sample_of(draws: Draws, name: str) -> Sample:
    """Prepare one scalar of a run's or a reference's draws for comparisons."""
    kept = _KEPT.get(draws, {}).get(name)
    if kept is not None:
        return kept
    return Sample(draws.quantity(name), iid=draws.iid, copies=draws.copies)


def samples_of(draws: Draws, names: Sequence[str], *, keep: bool = False) -> Iterator[Sample]:
    """Yield the prepared scalars of draws, in the order of their names.

    With ``keep`` each is prepared once as long as the draws live. Of large draws it then keeps its
    figures, and its arrays only until the next block is asked for.

    Raises
    ------
    KeyError
        If the draws have no such quantity.
    """
    kept = _KEPT.setdefault(draws, {}) if keep else {}
    large = draws.values.nbytes > LARGE_BYTES
    at = dict(zip(names, places(draws, names).tolist(), strict=True))
    blocks = [names[first : first + BLOCK] for first in range(0, len(names), BLOCK)]

    def read(block: Sequence[str]) -> list[Sample]:
        missing = [n for n in block if n not in kept or kept[n].released]
        own = {n: kept[n] for n in block if n in kept}
        values = columns(draws.values, np.array([at[n] for n in missing], dtype=np.intp))
        flat = values.reshape(len(missing), values[0:1].size)
        again = all(n in own for n in missing)
        # The order is for figures that a sample has had before it was released.
        order = None if again or draws.iid or not keep else np.argsort(flat, axis=1)
        ordered = np.sort(flat, axis=1) if order is None else np.take_along_axis(flat, order, 1)
        for i, name in enumerate(missing):
            if name in own:
                own[name].restore(values[i])
            else:
                own[name] = Sample(values[i], iid=draws.iid, copies=draws.copies)
            own[name].have_sorted(ordered[i], None if order is None else order[i])
        found = [own[n] for n in block]
        if not again:
            fill([own[n] for n in missing], Columns(values, ordered, order), whole=keep)
            if keep:
                for sample in found:
                    sample.settle()
        return found

    for block, found in zip(blocks, ahead(read, blocks), strict=True):
        yield from found
        if keep:
            kept.update(zip(block, found, strict=True))
            for name, sample in zip(block, found, strict=True) if large else ():
                sample.release(partial(_again, weakref.ref(draws), name))


def places(draws: Draws, names: Sequence[str]) -> NDArray[np.intp]:
    """Return the columns of quantities; raises KeyError if there is no such quantity."""
    at = {name: i for i, name in enumerate(draws.names)}
    return np.array([at[n] for n in names], dtype=np.intp)


def _again(draws: weakref.ref[Draws], name: str) -> FloatArray:
    found = draws()
    if found is None:
        raise ReferenceError(f"the draws of {name} are gone")
    return found.quantity(name)


def columns(values: FloatArray, which: NDArray[np.intp]) -> FloatArray:
    """Return some columns of ``(chain, draw, quantity)``, each in one piece.

    Shape ``(column, chain, draw)``.
    """
    return np.ascontiguousarray(np.moveaxis(np.take(values, which, axis=2), 2, 0))


def unusable(values: FloatArray) -> list[str | None]:
    """Say why draws of quantities cannot serve as a reference; None where they can.

    Shape ``(chain, draw, quantity)``.
    """
    chains, draws, count = values.shape
    if chains * draws == 0:
        return ["empty"] * count
    low, high = np.min(values, axis=(0, 1)), np.max(values, axis=(0, 1))
    largest = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(over="ignore", invalid="ignore"):
        constant = high / 2 - low / 2 <= CONSTANT * largest
    found: list[str | None] = ["constant" if c else None for c in constant]
    for i in np.flatnonzero(~np.isfinite(largest)):
        bad = int(np.count_nonzero(~np.isfinite(values[:, :, i])))
        found[i] = f"not finite ({bad} of {chains * draws} draws)"
    return found
