"""Draws as ArviZ reads them: DataTrees, and NetCDF files of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.records import Draws, Trace
from harness.records.names import scalars, variables
from harness.records.text import listed

if TYPE_CHECKING:
    from xarray import DataTree

    from harness.records import FloatArray


_NAMED = 8


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
    folder: Path, name: str, key: str, draws: Draws | None, trace: Trace | None
) -> None:
    """Write one run's draws as NetCDF, with the ELBO trace in group ``vi_trace``.

    A file that already holds the run of this key is left alone.
    """
    path = folder / f"{name}.nc"
    index = folder / "keys.json"
    keys = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    if keys.get(name) == key and path.is_file():
        return
    import xarray as xr

    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    tree = xr.DataTree() if draws is None else to_datatree(draws, {"key": key, "iid": draws.iid})
    if trace is not None:
        columns = {"elapsed_s": trace.elapsed_s, "elbo": trace.elbo, **trace.extras}
        tree["vi_trace"] = xr.DataTree(
            xr.Dataset(
                {k: ("iteration", v) for k, v in columns.items()},
                coords={"iteration": trace.iteration},
            )
        )
    if draws is not None or trace is not None:
        tree.to_netcdf(path, engine="h5netcdf")
    keys[name] = key
    index.write_text(json.dumps(keys, indent=0, sort_keys=True), encoding="utf-8")


def read_draws(path: Path) -> tuple[Draws | None, Trace | None]:
    """Read what :func:`write_draws` wrote; None for what the file does not hold."""
    if not path.is_file():
        return None, None
    import xarray as xr

    with xr.open_datatree(path, engine="h5netcdf") as tree:
        draws = draws_from_datatree(tree) if "posterior" in tree.children else None
        trace = None
        if "vi_trace" in tree.children:
            group = tree["vi_trace"].to_dataset()
            columns = {str(k): np.asarray(v, dtype=np.float64) for k, v in group.variables.items()}
            trace = Trace(columns["iteration"], columns["elapsed_s"], columns["elbo"])
    return draws, trace


def draws_from_datatree(tree: DataTree) -> Draws:
    """Read an ArviZ DataTree's ``posterior`` (and ``sample_stats``) into Draws.

    Trees of other people's making count as Markov chains: their ESS is estimated. Raises as
    :func:`posterior_of` and :func:`draws_of`.
    """
    draws = draws_of(posterior_of(tree), iid=str(tree.attrs.get("iid", "False")) == "True")
    if "sample_stats" not in tree.children:
        return draws
    sampled = tree["sample_stats"].to_dataset().data_vars
    stats = {
        str(k): np.asarray(v.transpose("chain", "draw"), dtype=np.float64)
        for k, v in sampled.items()
        if set(v.dims) == {"chain", "draw"} and v.dtype.kind in "biuf"
    }
    return dataclasses.replace(
        draws,
        log_p=stats.pop("log_p", stats.pop("lp", None)),
        log_q=stats.pop("log_q", None),
        stats=stats,
    )


def posterior_of(tree: DataTree) -> Mapping[Any, Any]:
    """Return the variables of a tree's posterior, or raise ValueError if there is none."""
    __tracebackhide__ = True
    if "posterior" not in tree.children:
        groups = listed(sorted(tree.children), _NAMED) or "none"
        raise ValueError(f"the DataTree has no group 'posterior'; its groups: {groups}")
    found = tree["posterior"].to_dataset().data_vars
    return {v.attrs.get("stan_name", name): v for name, v in found.items()}


def draws_of(given: Mapping[Any, Any], *, iid: bool) -> Draws:
    """Return variables of shape ``(chain, draw, …)`` as Draws.

    Raises TypeError for what are no numbers, ValueError for odd shapes or no draws.
    """
    __tracebackhide__ = True
    if not given:
        raise ValueError("there are no variables, so there is nothing to check")
    arrays = {str(name): _array(str(name), value) for name, value in given.items()}
    shapes = {name: a.shape[:2] for name, a in arrays.items()}
    if len(set(shapes.values())) > 1:
        told = listed([f"{name}: {c} × {d}" for name, (c, d) in shapes.items()], _NAMED)
        raise ValueError(f"the variables differ in chains × draws ({told})")
    return scalars(arrays, iid=iid)


def _array(name: str, value: Any) -> FloatArray:
    """Return one variable, shape ``(chain, draw, …)``."""
    __tracebackhide__ = True
    dims = getattr(value, "dims", None)
    labelled = isinstance(dims, tuple) and "draw" in dims
    if labelled:
        value = value if "chain" in value.dims else value.expand_dims("chain")
        value = value.transpose("chain", "draw", ...).to_numpy()
    a = np.ma.asarray(value) if isinstance(value, np.ma.MaskedArray) else np.asarray(value)
    if a.dtype.kind not in "biuf":
        hint = ": give real and imaginary parts" if a.dtype.kind == "c" else ""
        raise TypeError(f"{name} has type {a.dtype}, which has no moments to compare{hint}")
    # Masked values are missing, whatever lies under the mask.
    a = np.ma.filled(a.astype(np.float64), np.nan)
    if a.ndim == 0:
        raise ValueError(f"{name} is a single number; its draws are needed")
    if a.ndim == 1:
        a = a[None, :]
    chains, draws = a.shape[:2]
    if chains * draws == 0:
        raise ValueError(f"{name} has no draws: its shape is {a.shape}")
    if chains > draws and not labelled:
        raise ValueError(
            f"{name} has shape {a.shape}, that is {chains} chains of {draws} draws: arrays are "
            "(chain, draw, …). For draws of one chain, pass array[None]; for chains that really "
            "are that short, a DataTree, whose axes have names"
        )
    return np.asarray(a, dtype=np.float64)
