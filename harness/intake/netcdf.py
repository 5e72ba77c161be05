"""NetCDF files of draws, opened only if reading them can end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.intake.taken import DrawsError

if TYPE_CHECKING:
    from xarray import DataTree


@contextmanager
def opened(path: Path) -> Iterator[DataTree]:
    """Open a NetCDF file as a tree, whose arrays are read when they are used.

    Raises
    ------
    DrawsError
        If a group contains itself, as a single wrong byte can bring about: xarray would never end.
    OSError, ValueError, KeyError
        If h5py or xarray cannot read it.
    """
    import h5py
    import xarray as xr

    with h5py.File(path, "r") as file:
        _require_tree(file, path.name)
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        yield tree


def _require_tree(file: Any, name: str) -> None:
    """Require that one way alone leads to each group."""
    import h5py

    todo, seen = [file], {h5py.h5o.get_info(file.id).addr}
    while todo:
        group = todo.pop()
        for key in group:
            if group.get(key, getclass=True) is not h5py.Group:
                continue
            inner = group[key]
            address = h5py.h5o.get_info(inner.id).addr
            if address in seen:
                found = f"the group {inner.name} is in it twice, or contains itself"
                raise DrawsError(f"{name} is damaged: {found}")
            seen.add(address)
            todo.append(inner)
