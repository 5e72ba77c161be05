"""ADVI on batches of rows, for models that say how their data split."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.methods.bridged import FitError, Problem, run_bridged
from harness.records import Method, Model, RunContext, RunResult, RunSpec

if TYPE_CHECKING:
    from harness.vi.target import Fitted


LEAST = {"rows": 1, "stages": 1, "elbo_pairs": 2}


def run_minibatch(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:  # noqa: ARG001
    """Fit a mean-field Gaussian to batches of the program's rows."""
    return run_bridged(spec, context, _load)


def _load() -> Callable[[Problem], Fitted]:
    # Imported here, so that no run's seconds include it.
    import harness.vi.minibatch
    import harness.vi.subsampling  # noqa: F401

    return fit


def fit(problem: Problem) -> Fitted:
    """Check the split, fit from zero with unit sds, and estimate the ELBO of all rows.

    Raises
    ------
    FitError
        If the data do not split as the options' ``batch`` says, or the program does not scale
        its likelihood.
    """
    from harness.vi.families import MeanField
    from harness.vi.minibatch import Settings, elbo
    from harness.vi.minibatch import fit as fit_batches
    from harness.vi.subsampling import Subsampled, SubsamplingError, split_of
    from harness.vi.target import Fitted

    options = problem.options
    for name, least in LEAST.items():
        if int(options[name]) < least:
            msg = f"{name} is {options[name]}; allowed: whole numbers from {least}"
            raise FitError(msg)
    try:
        split = split_of(options.get("batch"), problem.data)
        target = Subsampled(
            problem.target,
            functools.partial(problem.model.rebind, seed=problem.seed),
            problem.data,
            split,
            int(options["rows"]),
        )
        target.check(problem.rng)
    except (SubsamplingError, ValueError) as error:
        raise FitError(str(error)) from error
    family = MeanField(target.dimension)
    settings = dataclasses.replace(
        Settings(),
        tolerance_mean=float(options["tolerance_mean"]),
        tolerance_log_sd=float(options["tolerance_log_sd"]),
        stages=int(options["stages"]),
    )
    found = fit_batches(
        target, family.start(np.zeros(target.dimension)), problem.rng, problem.clock, settings
    )
    if found.phi is None:
        return Fitted(None, None, found.status, found.message, found.trace, dict(found.diagnostics))
    value, value_error = elbo(target, found.phi, int(options["elbo_pairs"]), problem.rng)
    z = family.transform(found.phi, problem.rng.standard_normal((problem.draws, family.dimension)))
    return Fitted(
        z,
        family.log_density(found.phi, z),
        found.status,
        found.message,
        found.trace,
        {**found.diagnostics, "elbo": value, "elbo_error": value_error},
    )


def _unfit(model: Model) -> str | None:
    """Say why a model's data cannot be split."""
    if model.batch:
        return None
    return "model.toml has no [batch] table that says how the data split by rows"


MINIBATCH = Method(
    "minibatch",
    run_minibatch,
    1,
    {"rows": 500, "tolerance_mean": 0.02, "tolerance_log_sd": 0.04, "stages": 7, "elbo_pairs": 50},
    draws=10_000,
    seeds=5,
    approximate=True,
    bridge=True,
    batch=True,
    family="meanfield",
    unfit=_unfit,
)
