"""Arrays in the store: read back as views, and refused where the bytes are others."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from harness.study import arrays
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


@pytest.mark.parametrize("least", [0, 2**24])
def test_arrays_come_back_as_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    """Of small and large files: the same arrays, no copies, that can be written to, not to disk."""
    monkeypatch.setattr(arrays, "MAPPED", least)
    path = _written(tmp_path / "a")
    before = path.read_bytes()
    content, crc = read_bytes(path)
    assert content.tobytes() == before
    assert crc == zlib.crc32(before)
    found = unpacked(content)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert np.shares_memory(found[name], content) or array.size == 0
        assert found[name].flags.writeable
        assert found[name].flags.aligned
    found["few"][0] = 7
    path.unlink()
    assert found["few"].tolist() == [7, 2, 3]
    path.write_bytes(before)
    assert unpacked(read_bytes(path)[0])["few"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("size", [0, 1, 2**18, 2**18 + 1, 2**20])
def test_large_files_are_read_to_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Whatever the number of pieces, the checksum is that of all bytes."""
    monkeypatch.setattr(arrays, "MAPPED", 1)
    content = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()
    (tmp_path / "a").write_bytes(content)
    found, crc = read_bytes(tmp_path / "a")
    assert found.tobytes() == content
    assert crc == zlib.crc32(content)


def test_no_arrays_are_a_file_too(tmp_path: Path) -> None:
    """A run without draws has an empty file of arrays."""
    (tmp_path / "a").write_bytes(b"".join(packed({})))
    assert unpacked(read_bytes(tmp_path / "a")[0]) == {}


def test_objects_are_refused() -> None:
    """Only numbers are kept."""
    with pytest.raises(TypeError, match="bad: objects are not kept"):
        list(packed({"bad": np.array([object()])}))


@pytest.mark.parametrize("cut", [0, 7, 20, 100, -1])
def test_bytes_that_are_not_whole_are_refused(tmp_path: Path, cut: int) -> None:
    """A file cut anywhere before its last array's end, or of another kind, is no file of arrays."""
    whole, _ = read_bytes(_written(tmp_path / "a"))
    with pytest.raises(ValueError, match=r"."):
        unpacked(whole[: cut if cut >= 0 else len(whole) - 64])
    with pytest.raises(ValueError, match=r"."):
        unpacked(np.frombuffer(struct.pack("<Q", 5) + b"PK\x03\x04 and more", dtype=np.uint8))
