"""CmdStan's NUTS."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.methods.cmdstan import attempt
from harness.methods.method import SOLID, Look, Method, Outcome
from harness.methods.settings import Options, between, whole
from harness.records import Draws, FloatArray, Reason, RunContext, RunSpec
from harness.stan import console
from harness.stan.csv import CsvError, StanTable, read_stan_csv


@dataclass(frozen=True)
class NutsOptions(Options):
    """The options."""

    chains: int = whole(4, 1)
    warmup: int = whole(1000, 0)
    samples: int = whole(1000, 1)
    adapt_delta: float = between(0.8, 0, 1)
    max_treedepth: int = whole(10, 1)
    # Where chains start: values by parameter on the constrained scale (CmdStan's inits), of one
    # point for all chains or a list of one for each.
    start: Any = None
    # The inverse metric that adaptation starts from: d variances on the unconstrained scale
    # (diagonal), or a d × d covariance (dense).
    inv_metric: Any = None


def _beginning(options: NutsOptions, scratch: Path) -> dict[str, Any]:
    """Write where chains start and their inverse metric as JSON; return cmdstanpy's arguments."""
    import stanio

    found: dict[str, Any] = {}
    start, chains = options.start, options.chains
    if start is not None:
        starts = [start] * chains if isinstance(start, Mapping) else list(start)
        if len(starts) != chains:
            msg = (
                f"start has {len(starts)} points for {chains} chains; allowed: one a chain, or one"
            )
            raise ValueError(msg)
        found["inits"] = [str(scratch / f"start_{i + 1}.json") for i in range(chains)]
        for path, point in zip(found["inits"], starts, strict=True):
            stanio.write_stan_json(path, point)
    if options.inv_metric is not None:
        kinds = {1: "diag_e", 2: "dense_e"}
        dimensions = np.ndim(options.inv_metric)
        if dimensions not in kinds:
            msg = f"inv_metric has {dimensions} dimensions; allowed: d variances, or d × d numbers"
            raise ValueError(msg)
        path = str(scratch / "inv_metric.json")
        stanio.write_stan_json(path, {"inv_metric": options.inv_metric})
        found |= {"metric": kinds[dimensions], "inv_metric": path}
    return found


def fit(spec: RunSpec, context: RunContext, scratch: Path, options: NutsOptions) -> Outcome:
    """Run NUTS, its chains one after the other on one core.

    Other runs keep the other cores busy, and the seconds are then one core's seconds.
    """
    del spec
    try:
        beginning = _beginning(options, scratch)
    except (TypeError, ValueError) as error:
        return Outcome("failed", message=str(error), reason=Reason.OPTIONS)
    chains, samples = options.chains, options.samples

    def read() -> list[StanTable]:
        tables = [read_stan_csv(p) for p in sorted(scratch.glob("*.csv"))]
        if len(tables) != chains or any(len(t.values) != samples for t in tables):
            got = [len(t.values) for t in tables]
            msg = f"{got} draws by chain where {chains} × {samples} were asked for: truncated"
            raise CsvError(msg)
        return tables

    ended, text, tables = attempt(
        context,
        scratch,
        "sample",
        read,
        chains=chains,
        parallel_chains=1,
        iter_warmup=options.warmup,
        iter_sampling=samples,
        adapt_delta=options.adapt_delta,
        max_treedepth=options.max_treedepth,
        show_progress=False,
        **beginning,
    )
    if tables is None:
        return ended

    def stacked(name: str) -> FloatArray:
        return np.stack([t.column(name) for t in tables])

    # Its cost has no gradients: the leapfrog steps of the warm-up are not saved.
    return dataclasses.replace(
        ended,
        message=console.sampler_warning(text, context.program.stan_file),
        draws=Draws(
            names=tables[0].quantities,
            values=np.stack([t.quantity_values() for t in tables]),
            log_p=stacked("lp__"),
            stats={
                "diverging": stacked("divergent__"),
                "energy": stacked("energy__"),
                "tree_depth": stacked("treedepth__"),
                "n_steps": stacked("n_leapfrog__"),
                "step_size": stacked("stepsize__"),
                "acceptance_rate": stacked("accept_stat__"),
            },
            iid=False,
        ),
        diagnostics={
            "iterations": float(chains * (options.warmup + samples)),
            "max_tree_depth": float(options.max_treedepth),
            "sampling_leapfrogs": float(stacked("n_leapfrog__").sum()),
        },
    )


NUTS = Method(
    name="nuts",
    title="NUTS",
    what="CmdStan's NUTS, four chains",
    kind="sampler",
    fit=fit,
    options=NutsOptions(),
    draws=4000,
    seeds=1,
    look=Look("#1769aa", SOLID, "o"),
    usual=True,
    since=(2, 27),
    repairable=False,
)
