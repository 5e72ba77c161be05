"""CmdStan's NUTS, or where there is no CmdStan, that of Stan in the embedded engine."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.methods import pathfinder
from harness.methods.cmdstan import attempt
from harness.methods.method import SOLID, Look, Method, Outcome
from harness.methods.served import by_cmdstan, served
from harness.methods.settings import Options, between, whole, word
from harness.records import Cost, Draws, Reason, RunContext, RunSpec
from harness.records.names import variables
from harness.records.text import count
from harness.stan import console
from harness.stan.csv import CsvError, StanChains, read_chains

if TYPE_CHECKING:
    from harness.records import FloatArray
    from harness.stan.embedded.model import EmbeddedModel
    from harness.vi.target import Clock


SINCE = (2, 27)

_STATISTICS = {
    "diverging": "divergent",
    "energy": "energy",
    "tree_depth": "treedepth",
    "n_steps": "n_leapfrog",
    "step_size": "stepsize",
    "acceptance_rate": "accept_stat",
}
"""Statistics of a draw, and Stan's columns of them."""


@dataclass(frozen=True)
class NutsOptions(Options):
    """The options."""

    chains: int = whole(4, 1, 1000)
    warmup: int = whole(1000, 0, 10**7)
    samples: int = whole(1000, 1, 10**7)
    adapt_delta: float = between(0.8, 0, 1)
    max_treedepth: int = whole(10, 1, 30)
    # Where chains start: in Stan's random points, or at draws of Pathfinder.
    start: str = word("random", ("random", "pathfinder"), late=True)
    # Where they start instead: values by parameter on the constrained scale (CmdStan's inits), of
    # one point for all chains or a list of one for each.
    inits: Any = None
    # The inverse metric that adaptation starts from: d variances on the unconstrained scale
    # (diagonal), or a d × d covariance (dense).
    inv_metric: Any = None


def _points(options: NutsOptions) -> list[Mapping[str, Any]] | None:
    """Return the starting point of each chain; None for random ones."""
    given, chains = options.inits, options.chains
    if given is None:
        return None
    points = [given] * chains if isinstance(given, Mapping) else list(given)
    if len(points) != chains:
        msg = f"inits has {len(points)} points for {chains} chains; allowed: one a chain, or one"
        raise ValueError(msg)
    return points


def _metric(options: NutsOptions) -> tuple[str, FloatArray] | None:
    """Return the kind of the inverse metric and its numbers; None for Stan's own beginning."""
    if options.inv_metric is None:
        return None
    kinds = {1: "diag_e", 2: "dense_e"}
    dimensions = np.ndim(options.inv_metric)
    if dimensions not in kinds:
        msg = f"inv_metric has {dimensions} dimensions; allowed: d variances, or d × d numbers"
        raise ValueError(msg)
    return kinds[dimensions], np.asarray(options.inv_metric, dtype=np.float64)


def _beginning(options: NutsOptions, scratch: Path) -> dict[str, Any]:
    """Write where chains start and their inverse metric as JSON; return cmdstanpy's arguments."""
    import stanio

    found: dict[str, Any] = {}
    points, metric = _points(options), _metric(options)
    if points is not None:
        found["inits"] = [str(scratch / f"start_{i + 1}.json") for i in range(len(points))]
        for path, point in zip(found["inits"], points, strict=True):
            stanio.write_stan_json(path, point)
    if metric is not None:
        path = str(scratch / "inv_metric.json")
        stanio.write_stan_json(path, {"inv_metric": options.inv_metric})
        found |= {"metric": metric[0], "inv_metric": path}
    return found


def fit(spec: RunSpec, context: RunContext, scratch: Path, options: NutsOptions) -> Outcome:
    """Run NUTS, its chains one after the other on one core.

    Other runs keep the other cores busy, and the seconds are then one core's seconds.
    """
    seconds = 0.0
    if options.start == "pathfinder" and options.inits is None:
        begun = starts(spec, context, scratch, options.chains)
        if isinstance(begun, Outcome):
            return begun
        points, seconds = begun
        options = dataclasses.replace(options, inits=points)
    try:
        if by_cmdstan(context.program, SINCE):
            ended = _by_cmdstan(spec, context, scratch, options)
        else:
            _points(options), _metric(options)
            embedded = functools.partial(_embedded, context, options)
            ended = served(spec, context, "nuts", SINCE, embedded)
    except (TypeError, ValueError) as error:
        return Outcome("failed", message=str(error), reason=Reason.OPTIONS)
    whole = dataclasses.replace(ended.cost, seconds=ended.cost.seconds + seconds)
    return dataclasses.replace(ended, cost=whole)


def starts(
    spec: RunSpec, context: RunContext, scratch: Path, chains: int
) -> tuple[list[dict[str, Any]], float] | Outcome:
    """Return a draw of Pathfinder for each chain, parameters by name, and the seconds it took.

    Draws are distinct where there are enough; where Pathfinder fails, so does NUTS.
    """
    row = pathfinder.PATHFINDER
    folder = scratch / "pathfinder"
    folder.mkdir()
    asked = dataclasses.replace(
        spec, method=row.name, options=row.defaults, draws=max(1000, chains)
    )
    found = row.fit(asked, context, folder, row.options)
    if found.draws is None:
        words = f"no starts for NUTS: Pathfinder ended without draws: {found.message}"
        return dataclasses.replace(found, message=words)
    draws = found.draws
    flat = draws.values[0]
    usable = np.isfinite(flat).any(axis=1)
    if draws.log_p is not None:
        usable &= np.isfinite(draws.log_p[0])
    distinct = np.unique(flat[usable], axis=0)
    if not len(distinct):
        words = "no starts for NUTS: no draw of Pathfinder has a density"
        return Outcome("failed", found.cost, words, Reason.NO_FINITE_DRAWS)
    rng = np.random.default_rng(context.cmdstan_seed)
    chosen = distinct[rng.choice(len(distinct), chains, replace=len(distinct) < chains)]
    by_name = variables(draws.names, chosen[None])
    points = [{k: v[0, i].tolist() for k, v in by_name.items()} for i in range(chains)]
    return points, found.cost.seconds


def _by_cmdstan(spec: RunSpec, context: RunContext, scratch: Path, options: NutsOptions) -> Outcome:
    chains, samples = options.chains, options.samples

    def read() -> StanChains:
        files = sorted(scratch.glob("*.csv"))
        if len(files) != chains:
            raise CsvError(f"{len(files)} files of {chains} chains")
        columns = ("lp__", *(f"{c}__" for c in _STATISTICS.values()))
        return read_chains(files, samples, columns, spec.left_out)

    ended, text, found = attempt(
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
        **_beginning(options, scratch),
    )
    ended = dataclasses.replace(ended, engine="cmdstan")
    if found is None:
        return ended
    stats = {own: found.statistics[f"{column}__"] for own, column in _STATISTICS.items()}
    ended = dataclasses.replace(
        ended, message=console.sampler_warning(text, context.program.stan_file)
    )
    log_p = found.statistics["lp__"]
    draws = Draws(found.quantities, found.values, log_p, stats=stats, iid=False)
    return _sampled(ended, options, draws)


def _embedded(
    context: RunContext, options: NutsOptions, model: EmbeddedModel, clock: Clock
) -> Outcome:
    from harness.stan.embedded import services

    points, metric = _points(options), _metric(options)
    found = services.sample(
        model,
        context.cmdstan_seed,
        clock.limit_s - clock.elapsed_s,
        chains=options.chains,
        samples=options.samples,
        inits=None if points is None else np.stack([model.unconstrain(p) for p in points]),
        inv_metric=None if metric is None else metric[1],
        warmup=options.warmup,
        delta=options.adapt_delta,
        max_depth=options.max_treedepth,
    )
    values, message = found.values, ""
    # A draw whose generated quantities throw is all NaN, and has its parameters nevertheless.
    lost = np.isnan(values).all(axis=2)
    if lost.any():
        assert found.unconstrained is not None  # noqa: S101 - the sampler returns it
        own, _ = model.constrain(found.unconstrained[lost], transformed=True, generated=False)
        values[lost, : own.shape[1]] = own
        message = f"{count(int(lost.sum()), 'draw')} without generated quantities"
    stats = {own: found.stats[column] for own, column in _STATISTICS.items()}
    ended = Outcome("ok", Cost(clock.elapsed_s), message)
    return _sampled(ended, options, Draws(found.names, values, found.log_p, stats=stats, iid=False))


def _sampled(ended: Outcome, options: NutsOptions, draws: Draws) -> Outcome:
    """Add draws and what they say; the cost has no gradients, as the warm-up's are not saved."""
    return dataclasses.replace(
        ended,
        draws=draws,
        diagnostics={
            "iterations": float(options.chains * (options.warmup + options.samples)),
            "max_tree_depth": float(options.max_treedepth),
            "sampling_leapfrogs": float(draws.stats["n_steps"].sum()),
        },
    )


NUTS = Method(
    name="nuts",
    title="NUTS",
    what="Stan's NUTS, four chains",
    kind="sampler",
    fit=fit,
    options=NutsOptions(),
    draws=4000,
    seeds=1,
    look=Look("#1769aa", SOLID, "o"),
    usual=True,
    since=SINCE,
    helped=lambda options: options.get("start") == pathfinder.PATHFINDER.name,
    repairable=False,
)
