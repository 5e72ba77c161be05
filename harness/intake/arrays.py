"""Draws as plain arrays: a dict of name → array, an xarray Dataset, a table of pandas."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.intake.taken import Taken
from harness.intake.weighted import resampled
from harness.records import Draws
from harness.records.names import repeated, scalars
from harness.records.text import listed

if TYPE_CHECKING:
    import pandas as pd

    from harness.records import FloatArray

LOG_WEIGHTS = ("log_weights", ".log_weight")
"""The names under which draws bring their log weights: ours, and that of R's posterior."""

_NAMED = 8


def of_arrays(given: Mapping[Any, Any], source: str, *, iid: bool) -> Taken:
    """Take variables of shape ``(chain, draw, …)``, one of them perhaps ``log_weights``.

    Raises
    ------
    TypeError
        For what are no numbers.
    ValueError
        For odd shapes, or no draws.
    """
    __tracebackhide__ = True
    arrays = _arrays(given)
    log_weights = next((arrays.pop(n) for n in LOG_WEIGHTS if n in arrays), None)
    taken = Taken(scalars(arrays, iid=iid), source)
    return taken if log_weights is None else resampled(taken, log_weights)


def draws_of(given: Mapping[Any, Any], *, iid: bool) -> Draws:
    """Return variables of shape ``(chain, draw, …)`` as Draws; raises as :func:`of_arrays`."""
    __tracebackhide__ = True
    return scalars(_arrays(given), iid=iid)


def _arrays(given: Mapping[Any, Any]) -> dict[str, FloatArray]:
    __tracebackhide__ = True
    if not given:
        raise ValueError("there are no variables, so there is nothing to check")
    arrays = {str(name): array_of(str(name), value) for name, value in given.items()}
    shapes = {name: a.shape[:2] for name, a in arrays.items()}
    if len(set(shapes.values())) > 1:
        told = listed([f"{name}: {c} × {d}" for name, (c, d) in shapes.items()], _NAMED)
        raise ValueError(f"the variables differ in chains × draws ({told})")
    return arrays


def array_of(name: str, value: Any) -> FloatArray:
    """Return one variable, shape ``(chain, draw, …)``; raises as :func:`of_arrays`."""
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


# --- tables: a row a draw, a column a scalar -------------------------------------------------

CHAIN = ("chain", ".chain", "chain__")
NUMBERS = ("iteration", ".iteration", "iter__", "draw", ".draw", "draw__")
"""Columns that number chains and draws: of Turing, R's posterior, and CmdStanPy."""

STATS = {
    "diverging": ("divergent__", "numerical_error", "diverging"),
    "energy": ("energy__", "hamiltonian_energy", "energy"),
    "tree_depth": ("treedepth__", "tree_depth"),
}
"""A sampler's statistics, and what Stan, Turing and ArviZ call them."""

INTERNALS = (
    "lp", "n_steps", "is_accept", "acceptance_rate", "log_density", "hamiltonian_energy_error",
    "max_hamiltonian_energy_error", "step_size", "nom_step_size", "logprior", "loglikelihood",
    "logjoint",
)  # fmt: skip
"""Columns of Turing's tables that are no quantities; they stand beside ``iteration``."""


def of_table(table: pd.DataFrame, source: str, *, iid: bool) -> Taken:
    """Take a table with a column for each scalar; raises as :func:`of_arrays`.

    A column ``chain`` (``.chain``, ``chain__``) tells chains apart; without one all rows are one
    chain, in order.
    """
    __tracebackhide__ = True
    columns = [str(c) for c in table.columns]
    table = table.set_axis(columns, axis=1)
    if twice := repeated(columns):
        raise ValueError(f"more than one column is called {listed(twice, _NAMED)}")
    chain = next((c for c in CHAIN if c in columns), None)
    numbers = [c for c in NUMBERS if c in columns]
    parts = [table] if chain is None else [p for _, p in table.groupby(chain, sort=True)]
    if len({len(p) for p in parts}) > 1:
        told = listed([str(len(p)) for p in parts], _NAMED)
        raise ValueError(f"the chains differ in their numbers of draws: {told}")
    stats = {
        name: next(c for c in called if c in columns)
        for name, called in STATS.items()
        if (chain is not None or numbers) and any(c in columns for c in called)
    }
    beside = {*numbers, chain, *stats.values(), *(INTERNALS if numbers else ())}
    kept = [c for c in columns if c not in beside and not c.endswith("__")]

    def stacked(column: str) -> FloatArray:
        # Nullable columns give objects for what is missing; NaN is what stands for it here.
        values = [p[column].to_numpy(dtype=np.float64, na_value=np.nan) for p in parts]
        return np.stack(values)

    for name in kept:
        if table[name].dtype.kind not in "biuf":
            raise TypeError(f"{name} has type {table[name].dtype}, which has no moments to compare")
    if not kept or not len(table):
        raise ValueError("the table has no draws of a quantity, so there is nothing to check")
    taken = of_arrays({name: stacked(name) for name in kept}, source, iid=iid)
    if not stats or taken.draws.copies is not None:
        return taken
    found = {name: stacked(column) for name, column in stats.items()}
    return dataclasses.replace(
        taken, draws=dataclasses.replace(taken.draws, stats=found), kind="sampler"
    )
