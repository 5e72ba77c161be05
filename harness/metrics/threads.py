"""Threads for very many quantities: NumPy and SciPy let others run while they work on an array."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar, overload

from harness.records.cores import cores

T = TypeVar("T")
R = TypeVar("R")

BLOCK = 64
"""Columns that are read together, because neighbours share the lines of memory; fewer are not worth
a thread."""

LEAST = 16
"""Columns of a block where there are more cores than blocks of ``BLOCK``."""


def blocks_of(items: Sequence[T]) -> list[Sequence[T]]:
    """Return neighbours in blocks of at most ``BLOCK``, about as many for each core."""
    count = len(items)
    if count <= BLOCK:
        return [items] if count else []
    rounds = -(-count // (cores() * BLOCK))
    size = max(LEAST, -(-count // (cores() * rounds)))
    return [items[i : i + size] for i in range(0, count, size)]


def each(work: Callable[[T], R], items: Sequence[T]) -> Generator[R, None, None]:
    """Yield what work makes of each item, in their order, a thread for each core.

    An item should be work for some milliseconds: NumPy lets other threads run while it works on an
    array, but not between its operations. At most two items for each core are worked on before
    the first of them is yielded. No figure may depend on another item's.
    """
    if len(items) < 2 or cores() == 1:  # noqa: PLR2004 - one item needs no thread
        yield from map(work, items)
        return
    # NumPy's state for errors is that of the caller.
    here = contextvars.copy_context()
    with ThreadPoolExecutor(cores()) as pool:
        made: deque[Future[R]] = deque()
        try:
            for item in items:
                made.append(pool.submit(here.copy().run, work, item))
                if len(made) > 2 * cores():
                    yield made.popleft().result()
            while made:
                yield made.popleft().result()
        finally:
            for future in made:
                future.cancel()


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
