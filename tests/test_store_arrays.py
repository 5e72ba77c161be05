"""Arrays in the store: read back as views, and refused where the bytes are others."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from harness.study.arrays import packed, read_bytes, unpacked

ARRAYS = {
    "draws": np.random.default_rng(1).normal(size=(2, 3, 5))[:, :, ::2],
    "none": np.zeros((0, 4)),
    "one": np.array(3.5),
    "few": np.array([1, 2, 3], dtype=np.int8),
    "yes": np.array([True, False]),
    "transposed": np.arange(6.0).reshape(2, 3).T,
}


def _written(path: Path) -> Path:
    path.write_bytes(b"".join(packed(ARRAYS)))
    return path


def test_arrays_come_back_as_views(tmp_path: Path) -> None:
    """Values, types and shapes are the same; none is a copy, and all can be written to."""
    content = read_bytes(_written(tmp_path / "a"))
    found = unpacked(content)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert np.shares_memory(found[name], content) or array.size == 0
        assert found[name].flags.writeable
        assert found[name].flags.aligned


def test_no_arrays_are_a_file_too(tmp_path: Path) -> None:
    """A run without draws has an empty file of arrays."""
    (tmp_path / "a").write_bytes(b"".join(packed({})))
    assert unpacked(read_bytes(tmp_path / "a")) == {}


def test_objects_are_refused() -> None:
    """Only numbers are kept."""
    with pytest.raises(TypeError, match="bad: objects are not kept"):
        list(packed({"bad": np.array([object()])}))


@pytest.mark.parametrize("cut", [0, 7, 20, 100, -1])
def test_bytes_that_are_not_whole_are_refused(tmp_path: Path, cut: int) -> None:
    """A file cut anywhere before its last array's end, or of another kind, is no file of arrays."""
    whole = read_bytes(_written(tmp_path / "a"))
    with pytest.raises(ValueError, match=r"."):
        unpacked(whole[: cut if cut >= 0 else len(whole) - 64])
    with pytest.raises(ValueError, match=r"."):
        unpacked(np.frombuffer(struct.pack("<Q", 5) + b"PK\x03\x04 and more", dtype=np.uint8))
