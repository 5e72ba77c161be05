"""Arrays as the embedded engine takes them: addresses of their data and of their rows."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from harness.records import FloatArray


def address(array: Any) -> int:
    """Return the address of a contiguous array's data, which the caller keeps alive."""
    return int(array.__array_interface__["data"][0])


def rows(array: FloatArray, size: int) -> Sequence[int]:
    """Return the addresses of an array's rows of ``size`` bytes."""
    start = address(array)
    return range(start, start + len(array) * size, size) if size else [start] * len(array)


def text(words: ctypes.Array[ctypes.c_char]) -> str:
    """Return a C string as text."""
    return words.value.decode(errors="replace").strip()


class Staged:
    """Buffers for points, values, gradients and codes, with the addresses of their rows."""

    def __init__(self, count: int, dimension: int, x: FloatArray | None = None) -> None:
        self.count = count
        self.x = np.empty((count, dimension)) if x is None else x
        self.gradient = np.empty((count, dimension))
        self.value = np.empty(count)
        size = 8 * dimension
        self.code = np.empty(count, dtype=np.int32)
        self.at_code = address(self.code)
        self.at = (rows(self.x, size), rows(self.value, 8), rows(self.gradient, size))
