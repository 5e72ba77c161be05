"""ADVI on batches of rows, for models that say how their data split."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.methods.bridged import FitError, Problem, on_bridge
from harness.methods.method import SOLID, Look, Method
from harness.methods.settings import Options, real, whole
from harness.records import Model
from harness.vi.target import Fitted


@dataclass(frozen=True)
class MinibatchOptions(Options):
    """The options."""

    rows: int = whole(500, 1)  # of a batch
    # Two stages agree if no mean differs by more sds of q, and no log sd by more.
    tolerance_mean: float = real(0.02, above=0)
    tolerance_log_sd: float = real(0.04, above=0)
    stages: int = whole(7, 1)  # at most
    elbo_pairs: int = whole(50, 2)  # of draws that estimate the ELBO of all rows
    batch: Mapping[str, Any] | None = None  # the model's [batch] table


def _load() -> Callable[[Problem[MinibatchOptions]], Fitted]:
    # Imported here, so that no run's seconds include it.
    import harness.vi.minibatch
    import harness.vi.subsampling  # noqa: F401

    return fit


def fit(problem: Problem[MinibatchOptions]) -> Fitted:
    """Check the split, fit from zero with unit sds, and estimate the ELBO of all rows.

    Raises FitError if the data do not split as the options' ``batch`` says, or the program does
    not scale its likelihood.
    """
    from harness.vi.families import MeanField
    from harness.vi.minibatch import Settings, elbo
    from harness.vi.minibatch import fit as fit_batches
    from harness.vi.subsampling import Subsampled, SubsamplingError, split_of

    options = problem.options
    try:
        split = split_of(options.batch, problem.data)
        target = Subsampled(
            problem.target,
            functools.partial(problem.model.rebind, seed=problem.seed),
            problem.data,
            split,
            options.rows,
        )
        target.check(problem.rng)
    except (SubsamplingError, ValueError) as error:
        raise FitError(str(error)) from error
    family = MeanField(target.dimension)
    settings = Settings(
        tolerance_mean=options.tolerance_mean,
        tolerance_log_sd=options.tolerance_log_sd,
        stages=options.stages,
    )
    found = fit_batches(
        target, family.start(np.zeros(target.dimension)), problem.rng, problem.clock, settings
    )
    if found.phi is None:
        return Fitted(None, None, found.status, found.message, found.trace, dict(found.diagnostics))
    value, value_error = elbo(target, found.phi, options.elbo_pairs, problem.rng)
    z, log_q = problem.drawn(family, found.phi)
    diagnostics = {**found.diagnostics, "elbo": value, "elbo_error": value_error}
    return Fitted(z, log_q, found.status, found.message, found.trace, diagnostics)


def _unfit(model: Model) -> str | None:
    """Say why a model's data cannot be split."""
    said = "model.toml has no [batch] table that says how the data split by rows"
    return None if model.batch else said


MINIBATCH = Method(
    name="minibatch",
    title="minibatch ADVI",
    what="mean-field ADVI on batches of rows",
    kind="stochastic gradients",
    fit=on_bridge(_load),
    options=MinibatchOptions(),
    look=Look("#00798c", SOLID, ">"),
    bridge=True,
    family="meanfield",
    unfit=_unfit,
)
