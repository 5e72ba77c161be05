"""CmdStan's output, whether CmdStanPy or its files give it: columns and settings to draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.intake.taken import Kind, Taken
from harness.records import Draws
from harness.records.names import stan_name

if TYPE_CHECKING:
    from harness.records import FloatArray

KINDS: Mapping[str, Kind] = {
    "sample": "sampler",
    "variational": "approximation",
    "pathfinder": "approximation",
    "laplace": "approximation",
    "optimize": "point",
}
"""CmdStan's methods whose output holds draws, or a point."""

_STATS = {"diverging": "divergent__", "energy": "energy__", "tree_depth": "treedepth__"}

_DENSITIES = {
    "variational": ("log_p__", "log_g__"),
    "pathfinder": ("lp__", "lp_approx__"),
    "laplace": ("log_p__", "log_q__"),
}
"""The columns with log p and log q, unconstrained scale, either perhaps without a constant."""

_KEPT = ("iter", "grad_samples", "elbo_samples", "tol_rel_obj", "eval_elbo", "adapt_engaged")


def on(settings: Mapping[str, Any], name: str, default: str) -> bool:
    """Tell whether a switch is on: CmdStan has written 1 and true."""
    return str(settings.get(name, default)).lower() in {"1", "true"}


def is_resampled(settings: Mapping[str, Any]) -> bool:
    """Tell whether Pathfinder's draws were chosen by their weights."""
    several = int(settings.get("num_paths", 4)) > 1
    return several and on(settings, "psis_resample", "1") and on(settings, "calculate_lp", "1")


def of_columns(
    method: str,
    columns: Sequence[str],
    values: FloatArray,
    settings: Mapping[str, Any],
    source: str,
    seconds: float = math.nan,
) -> Taken:
    """Turn columns into draws.

    Parameters
    ----------
    method
        CmdStan's: one of :data:`KINDS`.
    columns
        Names as CmdStan writes them; those that end with two underscores are the method's own.
    values
        Shape ``(chain, draw, column)``: draws alone, without warm-up or q's mean.
    settings
        The values that the output's comments tell.
    source
        What was handed over, for people.
    seconds
        Of all chains together.

    Raises
    ------
    ValueError
        If shapes do not agree, or the program has no quantities.
    """
    __tracebackhide__ = True
    # Some versions write Laplace's densities without underscores, like quantities.
    renamed = {"log_p": "log_p__", "log_q": "log_q__"} if method == "laplace" else {}
    names = [renamed.get(str(c), str(c)) for c in columns]
    if values.size == 0 or values.shape[2] != len(names):
        raise ValueError(f"the fit's draws have shape {values.shape} for {len(names)} columns")
    keep = [i for i, name in enumerate(names) if not name.endswith("__")]
    if not keep:
        raise ValueError("the program has no quantities, so there is nothing to check")
    values = values.astype(np.float64)

    def column(name: str) -> FloatArray | None:
        return values[:, :, names.index(name)] if name in names else None

    stats: dict[str, FloatArray] = {}
    log_p, log_q = (column(name) for name in _DENSITIES.get(method, ("", "")))
    if method == "sample":
        stats = {n: found for n, c in _STATS.items() if (found := column(c)) is not None}
        if "max_depth" in settings and "tree_depth" in stats:
            deepest = float(settings["max_depth"])
            stats["max_tree_depth"] = np.full_like(stats["tree_depth"], deepest)
    if method == "pathfinder" and is_resampled(settings):
        # These densities are of draws that the weights chose: their ratio is no weight any more.
        log_p = log_q = None
        copies = _copies(values[0])
        stats = {"copies": copies[None]} if copies.max() > 1 else {}
    if log_p is None or log_q is None:
        log_p = log_q = None
    quantities = tuple(stan_name(names[i]) for i in keep)
    draws = Draws(quantities, values[:, :, keep], log_p, log_q, stats, iid=method != "sample")
    eta = settings.get("eta") if method == "variational" else None
    options: dict[str, Any] = {n: float(settings[n]) for n in _KEPT if _number(settings.get(n))}
    if method == "variational":
        options["family"] = row_of(method, settings)
    return Taken(
        draws,
        source,
        KINDS[method],
        row_of(method, settings),
        options,
        {"eta": float(eta)} if eta is not None and _number(eta) else {},
        seconds,
    )


def row_of(method: str, settings: Mapping[str, Any]) -> str:
    """Return what made the draws, as the table of methods calls it."""
    if method == "variational":
        return str(settings.get("algorithm", "meanfield"))
    return "nuts" if method == "sample" else method


def _copies(rows: FloatArray) -> FloatArray:
    """Return how many rows are the same as each, shape ``(draw,)``."""
    _, of, times = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return np.asarray(times[np.ravel(of)], dtype=np.float64)


def _number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
