"""The draws of many scalars, read in blocks of columns and prepared once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from harness.metrics.sample import CONSTANT, Sample
from harness.metrics.threads import blocks_of, each
from harness.metrics.together import Columns, fill
from harness.ranks import ascending, in_order
from harness.records import Draws, FloatArray

R = TypeVar("R")

LARGE_BYTES = 2**26
"""Draws of more bytes are not kept sorted beside themselves: only their figures are."""

TURNED = 500
"""Draws whose rows and columns are exchanged at a time."""

_KEPT: WeakKeyDictionary[Draws, dict[str, Sample]] = WeakKeyDictionary()
"""The samples of draws with which many others are compared."""


def sample_of(draws: Draws, name: str) -> Sample:
    """Prepare one scalar of a run's or a reference's draws for comparisons."""
    kept = _KEPT.get(draws, {}).get(name)
    if kept is not None:
        return kept
    return Sample(draws.quantity(name), iid=draws.iid, copies=draws.copies)


class Reader:
    """The scalars of draws, prepared a block of columns at a time.

    With ``keep`` each is prepared once as long as the draws live. Of large draws it then keeps its
    figures, and its arrays only until :meth:`let_go`. They are not read again for these figures:
    without ``arrays`` one may have nothing else. Blocks without a common name may be read in
    several threads.

    Raises
    ------
    KeyError
        If the draws have no such quantity.
    """

    def __init__(
        self, draws: Draws, names: Sequence[str], *, keep: bool = False, arrays: bool = True
    ) -> None:
        """Take draws, and the names of all scalars that will be asked for."""
        self._draws, self._keep, self._arrays = draws, keep, arrays
        self._kept = _KEPT.setdefault(draws, {}) if keep else {}
        self._at = dict(zip(names, places(draws, names).tolist(), strict=True))

    def read(self, block: Sequence[str]) -> list[Sample]:
        """Return some scalars, in their order."""
        own = {n: self._kept[n] for n in block if n in self._kept}
        missing = [n for n in block if n not in own or (self._arrays and own[n].released)]
        if missing:
            _prepare(self._draws, own, {n: self._at[n] for n in missing}, keep=self._keep)
        if self._keep:
            self._kept.update(own)
        return [own[n] for n in block]

    def let_go(self, block: Sequence[str]) -> None:
        """Let go of the arrays of scalars of large draws that are kept."""
        if self._keep and self._draws.values.nbytes > LARGE_BYTES:
            for name in block:
                if not self._kept[name].released:
                    self._kept[name].release(partial(_again, weakref.ref(self._draws), name))


def samples_of(draws: Draws, names: Sequence[str], *, keep: bool = False) -> Iterator[Sample]:
    """Yield the prepared scalars of draws, in the order of their names; see :class:`Reader`."""
    return of_samples(lambda sample: sample, draws, names, keep=keep)


def of_samples(
    work: Callable[[Sample], R],
    draws: Draws,
    names: Sequence[str],
    *,
    keep: bool = False,
    arrays: bool = True,
) -> Iterator[R]:
    """Yield what work makes of each scalar of draws, in their order, a thread for each core.

    See :class:`Reader`: work has a scalar's arrays, the caller may have its figures only.
    """
    reader = Reader(draws, names, keep=keep, arrays=arrays)

    def of(block: Sequence[str]) -> list[R]:
        found = [work(sample) for sample in reader.read(block)]
        reader.let_go(block)
        return found

    return (result for found in each(of, blocks_of(names)) for result in found)


def _prepare(draws: Draws, own: dict[str, Sample], at: dict[str, int], *, keep: bool) -> None:
    """Read columns of draws into samples, those that were released or new ones."""
    values = columns(draws.values, np.array(list(at.values()), dtype=np.intp))
    flat = values.reshape(len(at), -1)
    new = not at.keys() <= own.keys()
    # The order is for figures that a sample has had before it was released.
    wanted = new and keep and not draws.iid
    ordered, order = in_order(flat) if wanted else (ascending(flat), None)
    for i, (name, x) in enumerate(zip(at, values, strict=True)):
        if name in own:
            own[name].restore(x)
        else:
            own[name] = Sample(x, iid=draws.iid, copies=draws.copies)
        own[name].have_sorted(ordered[i], None if order is None else order[i])
    if new:
        found = [own[name] for name in at]
        fill(found, Columns(values, ordered, order), whole=keep)
        for sample in found if keep else ():
            sample.settle()


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
    first, count = (int(which[0]), which.size) if which.size else (0, 0)
    if np.array_equal(which, np.arange(first, first + count)):  # neighbours need not be gathered
        some = values[:, :, first : first + count]
    else:
        some = np.take(values, which, axis=2)
    chains, draws = values.shape[:2]
    found = np.empty((count, chains, draws))
    # Some draws at a time, whose lines of memory stay in the processor's cache.
    for chain in range(chains):
        for first in range(0, draws, TURNED):
            found[:, chain, first : first + TURNED] = some[chain, first : first + TURNED].T
    return found


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
