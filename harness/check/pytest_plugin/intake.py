"""Turn whatever a test hands over into draws: trees, cmdstanpy's fits, arrays, or lists of these.

The objects of cmdstanpy and ArviZ are recognised by the names of their classes, so that a test
suite needs neither package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.records import Draws
from harness.records.names import base_name
from harness.records.text import listed
from harness.report.files.netcdf import draws_of, posterior_of

if TYPE_CHECKING:
    from harness.records import FloatArray

TAKEN = (
    "an ArviZ DataTree, a CmdStanMCMC, CmdStanVB or CmdStanPathfinder of cmdstanpy, a dict of "
    "arrays (chain, draw, …), or a list of these: one for each seed"
)


@dataclass(frozen=True, slots=True, eq=False)
class Intake:
    """Draws to check: one run, or one for each seed, and the ``source`` they came from."""

    runs: tuple[Draws, ...]
    source: str
    several: bool
    """Runs of several seeds were given, which then carry the error."""
    moves: bool
    """This is a single run of an approximation, which moves with its seed."""

    @property
    def size(self) -> int:
        """The number of draws of a run."""
        chains, draws = self.runs[0].values.shape[:2]
        return int(chains) * int(draws)


def take(given: Any, *, quantities: Sequence[str] = (), independent: bool = False) -> Intake:
    """Read what a test hands over; the arguments are those of ``posterior_regression.check``.

    Raises
    ------
    TypeError
        If it is none of :data:`TAKEN`.
    ValueError
        If it has no draws, odd shapes, truncated output, or lacks a quantity.
    """
    __tracebackhide__ = True
    wanted = (quantities,) if isinstance(quantities, str) else tuple(quantities)
    several = isinstance(given, (list, tuple))
    if several and not given:
        raise ValueError("an empty list has no draws; give one fit for each seed")
    parts = [_one(g, independent=independent) for g in (given if several else [given])]
    runs = tuple(_chosen(draws, wanted) for draws, _ in parts)
    for run in runs[1:]:
        if other := sorted(set(run.names) ^ set(runs[0].names)):
            raise ValueError(f"not all seeds have the same quantities: {listed(other, _NAMED)}")
    sources = list(dict.fromkeys(source for _, source in parts))
    source = f"{len(runs)} × {' and '.join(sources)}" if several else sources[0]
    return Intake(runs, source, several, not several and sources[0] in _MOVING)


def _one(given: Any, *, independent: bool) -> tuple[Draws, str]:
    __tracebackhide__ = True
    classes = [c.__name__ for c in type(given).__mro__]
    for name, read in _FITS.items():
        if name in classes:
            draws = _of_fit(given, name, read)
            return replace(draws, iid=draws.iid or independent), name
    if "DataTree" in classes:
        iid = independent or str(given.attrs.get("iid", "False")) == "True"
        return draws_of(posterior_of(given), iid=iid), "DataTree"
    if isinstance(given, Mapping) and "InferenceData" not in classes:
        return draws_of(given, iid=independent), "dict"
    legacy = "InferenceData" in classes
    hint = "; convert a legacy InferenceData with its to_datatree()" if legacy else ""
    msg = f"cannot check a {type(given).__module__}.{type(given).__name__}; taken: {TAKEN}{hint}"
    raise TypeError(msg)


def _chosen(draws: Draws, wanted: Sequence[str]) -> Draws:
    """Keep the requested quantities, in the order of the draws."""
    __tracebackhide__ = True
    twice = sorted({n for n in draws.names if draws.names.count(n) > 1})
    if twice:
        raise ValueError(f"more than one quantity is called {listed(twice, _NAMED)}")
    if not wanted:
        return draws
    bases = [base_name(name) for name in draws.names]
    unknown = [w for w in wanted if w not in draws.names and w not in bases]
    if unknown:
        there = listed(list(dict.fromkeys(bases)), _NAMED)
        raise ValueError(f"unknown quantities: {listed(unknown, _NAMED)}; the draws have {there}")
    keep = [i for i, base in enumerate(bases) if base in wanted or draws.names[i] in wanted]
    return Draws(tuple(draws.names[i] for i in keep), draws.values[:, :, keep], iid=draws.iid)


# --- fits of cmdstanpy ----------------------------------------------------------------------


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
    asked = int(settings["num_psis_draws" if fit.is_resampled else "num_draws"])
    # Several paths without resampling, or more draws for the ELBO, give more.
    return _counted(values, asked, exact=False)


def _counted(values: FloatArray, asked: int, *, exact: bool = True) -> FloatArray:
    __tracebackhide__ = True
    count = values.shape[1]
    if count < asked or (exact and count > asked):
        why = "the output was cut short" if count < asked else "warm-up is among them"
        raise ValueError(f"the fit has {count} draws, but {asked} were requested: {why}")
    return values


_FITS: Mapping[str, Callable[[Any], FloatArray]] = {
    "CmdStanMCMC": _mcmc,
    "CmdStanVB": _vb,
    "CmdStanPathfinder": _pathfinder,
}

_MOVING = {"CmdStanVB", "CmdStanPathfinder"}
"""Approximations: their draws are independent, but they move with the seed."""

_NAMED = 8


def _of_fit(fit: Any, name: str, read: Callable[[Any], FloatArray]) -> Draws:
    __tracebackhide__ = True
    values = read(fit)
    _whole(fit)
    columns = [str(c) for c in fit.column_names]
    if values.size == 0 or values.shape[2] != len(columns):
        raise ValueError(f"the fit's draws have shape {values.shape} for {len(columns)} columns")
    keep = [i for i, column in enumerate(columns) if not column.endswith("__")]
    if not keep:
        raise ValueError("the program has no quantities, so there is nothing to check")
    names = tuple(columns[i] for i in keep)
    return Draws(names, values[:, :, keep].astype(np.float64), iid=name in _MOVING)


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
