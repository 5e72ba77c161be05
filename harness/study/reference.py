"""The reference of a model: exact draws, the user's own, or NUTS that passes its diagnostics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness import judge, stan
from harness.metrics import measure
from harness.models.data import data_hash as hash_of
from harness.models.data import kept_data
from harness.records import Cost, Draws, Model, Reference, RunResult, RunSpec
from harness.records.names import scalars
from harness.records.text import integer
from harness.report.files.netcdf import draws_from_datatree
from harness.study.measuring import Measuring

EXACT_DRAWS = 40_000
"""Exact draws cost little. With four times as many as q has, q's own error dominates."""


def choose_reference(
    model: Model,
    runs: Sequence[RunResult],
    choice: str,
    data_hash: str = "",
    measuring: Measuring | None = None,
) -> tuple[Reference, measure.Selection]:
    """Take the most trustworthy reference there is: exact, supplied, NUTS that passes.

    The reference is judged before anything is compared with it. ``choice="nuts"`` rules out
    exact and supplied references.
    """
    if choice not in {"auto", "nuts"}:
        return _supplied(model, Path(choice))
    if choice == "auto" and model.reference is not None:
        draws = exact_draws(model, data_hash)
        why = f"{integer(draws.values.shape[1])} independent draws of the exact posterior"
        selection = measure.select(model, draws)
        return Reference("exact", trusted=True, why=why, draws=draws), selection
    nuts = next((r for r in runs if r.spec.method == "nuts" and r.draws is not None), None)
    if nuts is None or nuts.draws is None:
        failed = next((r for r in runs if r.spec.method == "nuts"), None)
        words = "NUTS was not run" if failed is None else f"NUTS {failed.status}: {failed.message}"
        none = Reference("none", trusted=False, why=f"no reference: {words}", short=words)
        return none, measure.Selection((), ())
    measuring = measuring or Measuring()
    selection = measure.select(model, nuts.draws, _parameters(model, nuts.draws))
    measures = measuring.chains(nuts, nuts.key, "nuts", selection.names)
    shares = measuring.mode_shares(nuts, nuts.key, selection.names)
    context = judge.JudgeContext(mode_shares=shares)
    found = judge.judge_chains(measures, judge.rules_for(model), context)
    reference = Reference(
        "nuts", found.trusted, found.sentence("NUTS"), nuts.draws, found.findings, found.short
    )
    return reference, selection


def exact_draws(model: Model, data_hash: str = "") -> Draws:
    """Draw from the model's exact posterior: for the same data the same draws every time."""
    from harness.models import exact

    sampler = exact.SAMPLERS[str(model.reference)]
    content = f"{model.reference} {data_hash or hash_of(model)}"
    rng = np.random.default_rng(measure.seed_of(content))
    found = sampler(kept_data(model.data_file, data_hash), EXACT_DRAWS, rng)
    return scalars({k: np.asarray(v)[None] for k, v in found.items()}, iid=True)


def supplied_draws(path: Path) -> Draws:
    """Read the user's own reference draws from NetCDF."""
    import xarray as xr

    with xr.open_datatree(path, engine="h5netcdf") as tree:
        return draws_from_datatree(tree)


def _supplied(model: Model, path: Path) -> tuple[Reference, measure.Selection]:
    draws = supplied_draws(path)
    selection = measure.select(model, draws)
    if draws.iid:
        why = f"supplied draws ({path.name})"
        return Reference("supplied", trusted=True, why=why, draws=draws), selection
    spec = RunSpec(model.name, "supplied", {}, 1, 0)
    probe = RunResult(spec, "", "ok", "", draws, None, {}, Cost(0.0), {})
    measures = measure.chain_measures(probe, selection.names, "supplied")
    found = judge.judge_chains(measures, judge.rules_for(model))
    why = f"supplied draws ({path.name}): {found.sentence('these chains')}"
    return Reference("supplied", found.trusted, why, draws, found.findings, found.short), selection


def _parameters(model: Model, draws: Draws) -> tuple[str, ...]:
    """Name the program's parameters; stanc is asked only if there are too many quantities."""
    if len(draws.names) <= measure.ALL_QUANTITIES_UP_TO:
        return ()
    cmdstan = stan.find_cmdstan()
    if cmdstan is None:
        return ()
    return tuple(stan.program_info(model.stan_file, cmdstan).parameters)
