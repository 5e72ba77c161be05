"""Fits of CmdStanPy, known by the names of their classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.intake.stan_output import is_resampled, of_columns
from harness.intake.taken import Taken

if TYPE_CHECKING:
    from harness.records import FloatArray


def of_fit(fit: Any, name: str) -> Taken:
    """Take a fit whose class is called ``name``, one of :data:`FITS`.

    Raises
    ------
    ValueError
        If its output was cut short, or it has no draws of a quantity.
    """
    __tracebackhide__ = True
    method, read = FITS[name]
    values = read(fit)
    _whole(fit)
    settings = dict(fit.metadata.cmdstan_config)
    columns = [str(c) for c in fit.column_names]
    if method == "variational":
        settings["eta"] = fit.eta
    taken = of_columns(method, columns, values, settings, name, _seconds(fit))
    if getattr(fit, "converged", True) is False:
        taken = replace(taken, doubt="CmdStan says that the optimiser did not converge")
    return taken


def _mcmc(fit: Any) -> FloatArray:
    """Return draws without warm-up, shape ``(chain, draw, column)``, as all of these readers."""
    # CmdStan writes the seconds last.
    if any("total" not in seconds for seconds in fit.time):
        raise ValueError("a chain's output ends before its last line: it was cut short")
    values = np.swapaxes(np.asarray(fit.draws(concat_chains=False)), 0, 1)
    return _counted(values, fit.num_draws_sampling)


def _vb(fit: Any) -> FloatArray:
    # Not `stan_variable`: it gives the mean of q.
    values = np.asarray(fit.variational_sample)[None]
    return _counted(values, int(fit.metadata.cmdstan_config["output_samples"]))


def _pathfinder(fit: Any) -> FloatArray:
    values = np.asarray(fit.draws())[None]
    settings = fit.metadata.cmdstan_config
    asked = int(settings["num_psis_draws" if is_resampled(settings) else "num_draws"])
    # Several paths without resampling, or more draws for the ELBO, give more.
    return _counted(values, asked, exact=False)


def _laplace(fit: Any) -> FloatArray:
    return _counted(np.asarray(fit.draws())[None], int(fit.metadata.cmdstan_config["draws"]))


def _mle(fit: Any) -> FloatArray:
    return np.asarray(fit.optimized_params_np)[None, None]


def _counted(values: FloatArray, asked: int, *, exact: bool = True) -> FloatArray:
    __tracebackhide__ = True
    count = values.shape[1]
    if count < asked or (exact and count > asked):
        why = "the output was cut short" if count < asked else "warm-up is among them"
        raise ValueError(f"the fit has {count} draws, but {asked} were requested: {why}")
    return values


FITS: Mapping[str, tuple[str, Callable[[Any], FloatArray]]] = {
    "CmdStanMCMC": ("sample", _mcmc),
    "CmdStanVB": ("variational", _vb),
    "CmdStanPathfinder": ("pathfinder", _pathfinder),
    "CmdStanLaplace": ("laplace", _laplace),
    "CmdStanMLE": ("optimize", _mle),
}
"""By class: CmdStan's method, and what reads the values."""


def _seconds(fit: Any) -> float:
    """Return the seconds of all chains; only those of the sampler are told."""
    if "CmdStanMCMC" not in (c.__name__ for c in type(fit).__mro__):
        return math.nan
    return float(sum(chain["total"] for chain in fit.time))


def _whole(fit: Any) -> None:
    """Refuse output that ends in the middle of a line: its last number may be incomplete."""
    __tracebackhide__ = True
    runs = vars(fit).get("runset") or vars(fit).get("_runset")
    for file in getattr(runs, "csv_files", ()):
        path = Path(str(file))
        if not path.is_file() or path.stat().st_size == 0:
            continue  # a pickled fit may outlive its files
        with path.open("rb") as f:
            f.seek(-1, 2)
            if f.read(1) != b"\n":
                raise ValueError(f"{path} ends in the middle of a line: it was cut short")
