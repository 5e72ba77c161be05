"""Named arrays in one run of bytes that are used where they were read, without a copy.

Eight bytes give the length of a description (JSON: name, type, shape and place of each array),
which follows; then come the arrays, each on a line of the processor's cache. NumPy's own ``npz``
copies every array out of a ZIP file, which takes longer than to read it and to verify its checksum.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_LENGTH = struct.Struct("<Q")
_LINE = 64
_PIECE = 2**18

MAPPED = 2**24
"""Files of as many bytes are mapped, not copied."""


def packed(arrays: Mapping[str, NDArray[Any]]) -> Iterator[bytes | memoryview]:
    """Yield the pieces of a file of arrays.

    Raises
    ------
    TypeError
        If an array holds objects.
    """
    if objects := [k for k, v in arrays.items() if v.dtype.hasobject]:
        raise TypeError(f"{', '.join(objects)}: objects are not kept, only numbers")
    whole = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    rows, at = [], 0
    for name, array in whole.items():
        rows.append([name, array.dtype.str, array.shape, at])
        at += _upto_a_line(array.nbytes)
    about = json.dumps(rows).encode()
    about += b" " * (_upto_a_line(_LENGTH.size + len(about)) - _LENGTH.size - len(about))
    yield _LENGTH.pack(len(about)) + about
    for array in whole.values():
        yield array.reshape(-1).view(np.uint8).data
        yield bytes(_upto_a_line(array.nbytes) - array.nbytes)


def unpacked(content: Bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file's bytes, as views of them.

    Raises
    ------
    ValueError
        If these are not the bytes of such a file.
    """
    if content.size < _LENGTH.size:
        raise ValueError(f"{content.size} bytes are no file of arrays")
    (length,) = _LENGTH.unpack(content[: _LENGTH.size].tobytes())
    start = _LENGTH.size + length
    rows = json.loads(content[_LENGTH.size : start].tobytes())
    return {
        name: np.frombuffer(content, kind, math.prod(shape), start + at).reshape(shape)
        for name, kind, shape, at in rows
    }


def read_bytes(path: Path) -> tuple[Bytes, int]:
    """Return a file's bytes, which may be changed, and their CRC-32.

    A large file is read and checked piece by piece and then mapped, so that nothing is copied and
    processes that read the same file share its memory: taking new memory costs twice the rest.
    Writing to the array does not change the file. While the array exists, the file may be deleted
    or replaced, but not written to. Windows deletes no mapped file, so that it copies all of them.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < MAPPED or os.name == "nt":
            content = np.empty(size, dtype=np.uint8)
            content = content[: file.readinto(content.data)]
            return content, zlib.crc32(content.data)
        piece, crc, whole = memoryview(bytearray(_PIECE)), 0, 0
        while count := file.readinto(piece):
            crc = zlib.crc32(piece[:count], crc)
            whole += count
        mapped = mmap.mmap(file.fileno(), whole, access=mmap.ACCESS_COPY)
        return np.frombuffer(mapped, dtype=np.uint8), crc


def _upto_a_line(size: int) -> int:
    return -(-size // _LINE) * _LINE
