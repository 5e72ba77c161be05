"""Draws as ArviZ has them: a DataTree, or the InferenceData that came before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from harness.intake.arrays import LOG_WEIGHTS, array_of, draws_of
from harness.intake.taken import Kind, Taken
from harness.intake.weighted import resampled
from harness.records import Draws
from harness.records.text import listed

if TYPE_CHECKING:
    from xarray import Dataset, DataTree

_NAMED = 8

_KEYED = ("diverging", "energy", "tree_depth")
"""Statistics that only a sampler has."""


def of_tree(tree: Any, source: str, *, iid: bool = False) -> Taken:
    """Take a DataTree or an InferenceData: its posterior, its statistics, its log weights.

    Raises
    ------
    TypeError, ValueError
        As :func:`draws_from_datatree`.
    """
    __tracebackhide__ = True
    groups = _groups(tree)
    draws = _draws(groups, dict(getattr(tree, "attrs", {})), iid=iid)
    posterior = groups["posterior"].data_vars
    beside = groups["sample_stats"].data_vars if "sample_stats" in groups else {}
    found = next((g[n] for n in LOG_WEIGHTS for g in (posterior, beside) if n in g), None)
    attrs = getattr(tree, "attrs", {})
    sampled = not draws.iid and any(name in draws.stats for name in _KEYED)
    kind: Kind = "sampler" if sampled else "unknown"
    # The harness's own files say what made them.
    kind = next((k for k in get_args(Kind) if k == attrs.get("made_by")), kind)
    taken = Taken(draws, str(attrs.get("taken_from", source)), kind)
    return taken if found is None else resampled(taken, array_of("log_weights", found))


def draws_from_datatree(tree: DataTree) -> Draws:
    """Read an ArviZ DataTree's ``posterior`` (and ``sample_stats``) into Draws.

    Trees of other people's making count as Markov chains: their ESS is estimated.

    Raises
    ------
    TypeError
        For variables that are no numbers.
    ValueError
        If there is no posterior, or it has odd shapes or no draws.
    """
    return _draws(_groups(tree), dict(getattr(tree, "attrs", {})))


def _groups(tree: Any) -> dict[str, Dataset]:
    """Return the groups of a tree, or of an InferenceData, by name."""
    if hasattr(tree, "children"):
        return {str(name): child.to_dataset() for name, child in tree.children.items()}
    names = [str(n).strip("/") for n in tree.groups()] if hasattr(tree, "groups") else []
    return {name: getattr(tree, name) for name in names}


def _draws(groups: Mapping[str, Dataset], attrs: Mapping[Any, Any], *, iid: bool = False) -> Draws:
    __tracebackhide__ = True
    if "posterior" not in groups:
        there = listed(sorted(groups), _NAMED) or "none"
        raise ValueError(f"the tree has no group 'posterior'; its groups: {there}")
    found = {
        v.attrs.get("stan_name", name): v
        for name, v in groups["posterior"].data_vars.items()
        if name not in LOG_WEIGHTS
    }
    draws = draws_of(found, iid=iid or str(attrs.get("iid", "False")) == "True")
    if "sample_stats" not in groups:
        return draws
    stats = {
        str(k): np.asarray(v.transpose("chain", "draw"), dtype=np.float64)
        for k, v in groups["sample_stats"].data_vars.items()
        if set(v.dims) == {"chain", "draw"} and v.dtype.kind in "biuf" and k not in LOG_WEIGHTS
    }
    return dataclasses.replace(
        draws,
        log_p=stats.pop("log_p", stats.pop("lp", None)),
        log_q=stats.pop("log_q", None),
        stats=stats,
    )
