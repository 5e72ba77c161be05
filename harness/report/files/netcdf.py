"""Draws as ArviZ reads them: DataTrees, and NetCDF files of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.intake.netcdf import opened
from harness.intake.trees import draws_from_datatree
from harness.records import Draws, Trace
from harness.records.names import variables
from harness.records.untrusted import MOST_TEXT, file_name, parse_json, read_bytes
from harness.records.whole import replaced, write_text

if TYPE_CHECKING:
    from xarray import DataTree

    from harness.records import FloatArray

_INDEX = "keys.json"
_TIMELESS = " without seconds"


def to_datatree(draws: Draws, attrs: Mapping[str, Any] | None = None) -> DataTree:
    """Return draws as an ArviZ DataTree.

    Group ``posterior`` has every variable with its own shape, constrained scale;
    ``sample_stats`` has ``log_p``, ``log_q`` (unconstrained scale, nats) and, for NUTS,
    ``diverging``, ``energy``, ``tree_depth``, …. A variable that is called as a dimension
    (``draw``, ``chain``, ``b_dim_0`` beside ``b``) gets an underscore, and its name as attribute
    ``stan_name``.
    """
    import arviz_base

    stats: dict[str, Any] = dict(draws.stats)
    if "diverging" in stats:
        stats["diverging"] = stats["diverging"].astype(bool)
    if draws.log_p is not None:
        stats["lp" if not draws.iid else "log_p"] = draws.log_p
    if draws.log_q is not None:
        stats["log_q"] = draws.log_q
    arrays = variables(draws.names, draws.values)
    called = _names_in_tree(arrays)
    groups: dict[str, Any] = {"posterior": {called[k]: a for k, a in arrays.items()}}
    if stats:
        groups["sample_stats"] = stats
    # Many short chains are no mistaken dimensions.
    tree = arviz_base.from_dict(groups, check_conventions=False)
    for group in tree.subtree:
        group.attrs.pop("created_at", None)  # equal draws are equal files
    tree.attrs.update({k: str(v) for k, v in (attrs or {}).items()})
    for name, other in called.items():
        if other != name:
            tree["posterior"][other].attrs["stan_name"] = name
    return tree


def _names_in_tree(arrays: Mapping[str, FloatArray]) -> dict[str, str]:
    """Return names of variables that are no names of dimensions."""
    axes = {f"{name}_dim_{i}" for name, a in arrays.items() for i in range(a.ndim - 2)}
    taken = {"chain", "draw", *axes}
    found: dict[str, str] = {}
    for name in arrays:
        other = name
        while other in taken or (other != name and other in arrays):
            other += "_"
        found[name] = other
    return found


def write_draws(
    folder: Path,
    name: str,
    key: str,
    draws: Draws | None,
    trace: Trace | None,
    made_by: str = "unknown",
    *,
    clock: bool = True,
) -> None:
    """Write one run's draws as NetCDF, with the ELBO trace in group ``vi_trace``.

    ``made_by`` says what its draws are, so that an approximation's are never taken for a reference.
    A file that already holds the run of this key is left alone. Without ``clock`` the trace has no
    seconds, so that files of equal runs are equal.
    """
    path = folder / f"{name}.nc"
    if written_keys(folder, clock=clock).get(name) == key:
        return
    import xarray as xr

    # Until the index has the new key, nothing stands under the old one.
    path.unlink(missing_ok=True)
    about = {"key": key, "iid": draws.iid, "made_by": made_by} if draws is not None else {}
    tree = xr.DataTree() if draws is None else to_datatree(draws, about)
    if trace is not None:
        columns = {"elbo": trace.elbo, **trace.extras}
        if clock:
            columns["elapsed_s"] = trace.elapsed_s
        tree["vi_trace"] = xr.DataTree(
            xr.Dataset(
                {k: ("iteration", v) for k, v in columns.items()},
                coords={"iteration": trace.iteration},
            )
        )
    if draws is not None or trace is not None:
        with replaced(path) as partial:
            tree.to_netcdf(partial, engine="h5netcdf")
    keys = {**_index(folder), name: key if clock else key + _TIMELESS}
    write_text(folder / _INDEX, json.dumps(keys, indent=0, sort_keys=True))


def written_keys(folder: Path, *, clock: bool | None = None) -> dict[str, str]:
    """Return the keys of the runs whose files :func:`write_draws` left in a folder, by file name.

    With ``clock`` only those that were written with seconds, or without. A damaged index counts
    as absent, so that its files are written again.
    """
    return {
        name: key.removesuffix(_TIMELESS)
        for name, key in _index(folder).items()
        if clock is None or clock != key.endswith(_TIMELESS)
    }


def _index(folder: Path) -> dict[str, str]:
    try:
        keys = parse_json(read_bytes(folder / _INDEX, MOST_TEXT))
        # Names with a folder in them are not ours: what is named here may be removed.
        return {file_name(n): str(k) for n, k in keys.items() if (folder / f"{n}.nc").is_file()}
    except (OSError, ValueError, AttributeError):
        return {}


def remove_draws(folder: Path) -> None:
    """Remove what :func:`write_draws` wrote into a folder: draws of other runs are no one's."""
    for name in written_keys(folder):
        (folder / f"{name}.nc").unlink(missing_ok=True)
    (folder / _INDEX).unlink(missing_ok=True)


def read_draws(path: Path) -> tuple[Draws | None, Trace | None]:
    """Read what :func:`write_draws` wrote; None for what the file does not hold."""
    if not path.is_file():
        return None, None
    with opened(path) as tree:
        draws = draws_from_datatree(tree) if "posterior" in tree.children else None
        trace = None
        if "vi_trace" in tree.children:
            group = tree["vi_trace"].to_dataset()
            columns = {str(k): np.asarray(v, dtype=np.float64) for k, v in group.variables.items()}
            unknown = np.full(len(columns["iteration"]), np.nan)
            elapsed_s = columns.get("elapsed_s", unknown)
            trace = Trace(columns["iteration"], elapsed_s, columns["elbo"])
    return draws, trace
