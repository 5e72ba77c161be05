"""Threads for very many quantities: NumPy and SciPy let others run while they work on an array."""

from __future__ import annotations

import contextvars
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Generic, TypeVar, overload

from harness.records.cores import cores

T = TypeVar("T")
R = TypeVar("R")

BLOCK = 64
"""Columns that are read together, because neighbours share the lines of memory; fewer are not worth
a thread."""

TASKS = 4
"""Tasks for each core, so that a slow one keeps the others from waiting."""


def each(
    work: Callable[[T], R], items: Iterable[T], *, at_once: int = BLOCK, least: int = BLOCK
) -> Iterator[R]:
    """Yield what work makes of each item, in their order, a thread for each core.

    Items are asked for in blocks of ``at_once``, the next when all of a block are done; fewer than
    ``least`` are worked on in this thread. No figure may depend on another item's.
    """
    coming = iter(items)
    block = list(islice(coming, at_once))
    if len(block) < least or cores() == 1:
        yield from map(work, itertools.chain(block, coming))
        return
    # NumPy's state for errors is that of the caller.
    here = contextvars.copy_context()
    with ThreadPoolExecutor(cores()) as pool:
        while block:
            # A task for a few items: handing one over takes as long as a short one.
            few = max(1, len(block) // (TASKS * cores()))
            tasks = [block[i : i + few] for i in range(0, len(block), few)]
            for found in pool.map(lambda task: here.copy().run(list, map(work, task)), tasks):
                yield from found
            block = list(islice(coming, at_once))


def ahead(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield what work makes of each item; threads make the next ones while one is looked at."""
    if len(items) < 2:  # noqa: PLR2004 - there is no next one
        yield from map(work, items)
        return
    here = contextvars.copy_context()
    with ThreadPoolExecutor(cores()) as pool:
        made: deque[Future[R]] = deque()
        for item in items:
            made.append(pool.submit(here.copy().run, work, item))
            if len(made) > cores():
                yield made.popleft().result()
        while made:
            yield made.popleft().result()


class cached(Generic[R]):  # noqa: N801 - used like a function
    """A property that is computed once for each object.

    ``functools.cached_property`` holds one lock for all objects up to Python 3.11, so that threads
    would wait for each other. Two threads on one object may both compute it, with equal results.
    """

    def __init__(self, compute: Callable[[Any], R]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, owner: None, kind: type) -> cached[R]: ...

    @overload
    def __get__(self, owner: object, kind: type) -> R: ...

    def __get__(self, owner: object | None, kind: type) -> cached[R] | R:
        """Return the value, computed at the first call: later ones find it on the object."""
        if owner is None:
            return self
        found = owner.__dict__[self._name] = self._compute(owner)
        return found
