"""Stan's Pathfinder: Gaussians along several paths of L-BFGS, their draws pooled and weighted."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.methods.cmdstan import attempt
from harness.methods.method import DASHED, Look, Method, Outcome
from harness.methods.served import by_cmdstan, cmdstan_version, generates, served
from harness.methods.settings import Options, real, switch, whole
from harness.records import Cost, Draws, Reason, RunContext, RunSpec, Status
from harness.records.names import kept_places
from harness.records.text import count, number
from harness.stan import console
from harness.stan.csv import CsvError, read_stan_csv

if TYPE_CHECKING:
    from harness.records import FloatArray
    from harness.stan.embedded.model import EmbeddedModel
    from harness.vi.target import Clock

SINCE = (2, 33)

MOST_NUMBERS = 50_000_000
"""Values of all paths' draws together, because of memory, unless ``num_draws`` says otherwise."""

DENSITIES_S = 10.0
"""Expected seconds of all draws' densities, at most: a verdict that needs more draws may
ask for 25 times the usual number. Those that are wanted are then drawn from fewer, with weights."""

USUAL_DRAWS = 4000

KEEPS_PATHS = (2, 34)
"""The first CmdStan that can return the draws of all paths as they are."""


@dataclass(frozen=True)
class LbfgsOptions(Options):
    """Stan's settings of L-BFGS."""

    history_size: int = whole(5, 1, 1000)
    init_alpha: float = real(0.001, above=0)
    tol_obj: float = real(1e-12, above=0)
    tol_rel_obj: float = real(1e4, above=0)
    tol_grad: float = real(1e-8, above=0)
    tol_rel_grad: float = real(1e7, above=0)
    tol_param: float = real(1e-8, above=0)
    # Starts are uniform on (−init_radius, init_radius), unconstrained scale; 0: at the origin.
    init_radius: float = real(2.0)


@dataclass(frozen=True)
class PathfinderOptions(LbfgsOptions):
    """Stan's options with its defaults, written out: a changed default is then seen."""

    num_paths: int = whole(4, 1, 10**4)
    # Draws of each path. 0: as many as are wanted of all together, which is the ratio of Stan's
    # defaults; without resampling, an equal part of them.
    num_draws: int = whole(0, 0, 10**7)
    num_elbo_draws: int = whole(25, 1)
    max_lbfgs_iters: int = whole(1000, 1)
    psis_resample: bool = switch(default=True)
    calculate_lp: bool = switch(default=True)

    @property
    def resamples(self) -> bool:
        """Whether draws are weighted: as in Stan, not those of a single path."""
        return self.psis_resample and self.calculate_lp and self.num_paths > 1

    def draws_a_path(self, wanted: int, columns: int = 1, density_s: float = 0.0) -> int:
        """Return how many draws each path delivers.

        Each has ``columns`` values and a density that takes ``density_s`` seconds.
        """
        part = wanted if self.resamples else math.ceil(wanted / self.num_paths)
        most = max(MOST_NUMBERS // (self.num_paths * max(columns, 1)), 1)
        if self.calculate_lp and density_s > 0:
            usual = USUAL_DRAWS if self.resamples else math.ceil(USUAL_DRAWS / self.num_paths)
            most = min(most, max(int(DENSITIES_S / (self.num_paths * density_s)), usual))
        return self.num_draws or min(part, most)


class Paths(NamedTuple):
    """What the paths delivered together; log densities as in :class:`~harness.records.Draws`."""

    names: tuple[str, ...]
    values: FloatArray  # (draw, quantity)
    log_p: FloatArray  # (draw,)
    log_q: FloatArray


def fit(spec: RunSpec, context: RunContext, scratch: Path, options: PathfinderOptions) -> Outcome:
    """Run all paths, weight their draws, resample.

    The weights are the harness's own Pareto-smoothed ones, because Stan tells neither their k-hat
    nor their effective sample size, and the embedded engine has single paths only. Each draw has
    the density of its own path, as in Stan.
    """
    if by_cmdstan(context.program, SINCE):
        return _by_cmdstan(spec, context, scratch, options)
    embedded = functools.partial(_embedded, spec, context, options)
    # All paths' draws are held at once, and most of them are not chosen.
    most = MOST_NUMBERS / options.num_paths
    return served(spec, context, "pathfinder", SINCE, embedded, late_from=most)


def _embedded(
    spec: RunSpec,
    context: RunContext,
    options: PathfinderOptions,
    model: EmbeddedModel,
    clock: Clock,
) -> Outcome:
    """Run the paths one after the other."""
    from harness.stan.embedded import services
    from harness.stan.embedded.calls import Line, ServiceError, ServiceTimeoutError, text_of

    given = options.plain()
    columns = len(model.constrained_names(transformed=True, generated=True))
    wanted = options.draws_a_path(spec.draws, columns, _density_s(spec, context, model))
    for name in ("num_paths", "num_draws", "psis_resample"):
        del given[name]
    parts: list[services.Served] = []
    lines: list[Line] = []
    failures: list[str] = []
    for path in range(1, options.num_paths + 1):
        left = clock.limit_s - clock.elapsed_s
        try:
            part = services.pathfinder(model, context.cmdstan_seed, path, wanted, left, **given)
        except ServiceTimeoutError:
            raise
        except ServiceError as error:
            lines += error.lines
            failures.append(str(error))
        else:
            lines += part.lines
            parts.append(part)
    if failures and generates(model):
        raise ServiceError(failures[0], lines)  # perhaps for them
    text = text_of(lines)
    said = "\n".join(dict.fromkeys(line.text for line in lines if line.level))
    if not parts:
        return Outcome("failed", Cost(clock.elapsed_s), failures[0], console=said)
    log_q = [p.log_q[0] for p in parts if p.log_q is not None]
    found = Paths(
        parts[0].names,
        np.concatenate([p.values[0] for p in parts]),
        np.concatenate([p.log_p[0] for p in parts]),
        np.concatenate(log_q),
    )
    return _outcome(found, text, said, spec, context, options, clock.elapsed_s, wanted)


def _density_s(spec: RunSpec, context: RunContext, model: EmbeddedModel) -> float:
    """Return about how long a density takes, from data and loops; 0 if that is all the same.

    The usual number of draws is always taken, and data are not read for it.
    """
    from harness.methods.bridged import arrays, expected_s
    from harness.models.data import kept_data

    if spec.draws <= USUAL_DRAWS:
        return 0.0
    data = arrays(kept_data(context.data_file, context.data_hash))
    return expected_s(context.program.stan_file, model, data).gradient


def _by_cmdstan(
    spec: RunSpec, context: RunContext, scratch: Path, options: PathfinderOptions
) -> Outcome:
    """Run CmdStan's Pathfinder; from 2.34 on, it returns all draws of all paths."""
    version = cmdstan_version(context.program)
    keeps = version is not None and version >= KEEPS_PATHS
    given = options.plain()
    radius, wanted = given.pop("init_radius"), given.pop("num_draws")
    wanted = options.draws_a_path(spec.draws)
    if keeps:
        given["psis_resample"] = False
    elif options.resamples:
        given["draws"] = spec.draws

    def read() -> Paths:
        files = list(scratch.glob("*.csv"))
        if len(files) != 1:
            raise CsvError(f"expected one output file, found {len(files)}")
        table = read_stan_csv(files[0], spec.left_out)
        log_p, log_q = table.column("lp__"), table.column("lp_approx__")
        return Paths(table.quantities, table.quantity_values(), log_p, log_q)

    ended, text, found = attempt(
        context,
        scratch,
        "pathfinder",
        read,
        inits=radius,
        num_single_draws=wanted,
        refresh=1,
        **given,
    )
    if found is not None:
        ended = _outcome(
            found,
            text,
            ended.console,
            spec,
            context,
            options,
            ended.cost.seconds,
            wanted,
            keeps=keeps,
        )
    return dataclasses.replace(ended, engine="cmdstan")


def _outcome(
    found: Paths,
    text: str,
    said: str,
    spec: RunSpec,
    context: RunContext,
    options: PathfinderOptions,
    seconds: float,
    wanted: int,
    *,
    keeps: bool = True,
) -> Outcome:
    """Weight and resample the draws of all paths, unless CmdStan has; say what paths found."""
    climbs = console.read_pathfinder(text, options.num_elbo_draws)
    notes = [
        f"path {path}: ELBO {number(c.elbo, 4)} after {count(c.iterations, 'iteration')}"
        for path, c in climbs.items()
        if c.elbo is not None
    ]
    diagnostics = {f"elbo.path_{p}": c.elbo for p, c in climbs.items() if c.elbo is not None}
    diagnostics["iterations"] = float(sum(c.iterations for c in climbs.values()))
    lost = options.num_paths - len(notes)
    message = f"{lost} of {count(options.num_paths, 'path')} failed" if lost else ""
    if not climbs:
        message = "how its paths went cannot be read from the console"
    status: Status = "ok"
    reason: Reason | None = None
    log_q: FloatArray | None = found.log_q
    stats: dict[str, FloatArray] = {}
    log_p: FloatArray | None = found.log_p if options.calculate_lp else None
    index = np.arange(len(found.values))
    if options.resamples and keeps:
        from harness.methods.weighting import weighed

        rng = np.random.default_rng(context.cmdstan_seed)
        weights = weighed(found.log_p, found.log_q, spec.draws, rng, "these Gaussians")
        index, log_q = weights.chosen, None
        if weights.copies is not None:
            stats["copies"] = weights.copies[None]
        notes += weights.notes
        diagnostics |= weights.diagnostics
        if weights.doubt:
            status, reason = "not_converged", Reason.WEIGHTS
            message = "; ".join(w for w in (message, weights.doubt) if w)
    elif options.resamples:
        # Copies of a draw have its densities; how large its weight was, CmdStan does not say.
        _, of, times = np.unique(
            np.stack([found.log_p, found.log_q]), axis=1, return_inverse=True, return_counts=True
        )
        stats["copies"] = times[of].astype(np.float64)[None]
        status, reason, log_q = "not_converged", Reason.WEIGHTS, None
        message = "the weights are unknown: CmdStan tells them from 2.34 on"
    elif len(index) > spec.draws:
        index = np.linspace(0, len(index) - 1, spec.draws).astype(int)
    keep = kept_places(found.names, spec.left_out)
    places = list(range(len(found.names)) if keep is None else keep)
    gradients = densities = None
    if climbs:
        more = max(wanted - options.num_elbo_draws, 0)
        gradients = sum(c.gradients + 1 for c in climbs.values())
        densities = sum(c.log_densities for c in climbs.values())
        densities += len(notes) * more if options.calculate_lp else 0
    return Outcome(
        status,
        Cost(seconds, densities, gradients),
        message,
        reason,
        Draws(
            names=tuple(found.names[i] for i in places),
            values=found.values[index[:, None], places][None],
            log_p=None if log_p is None else log_p[index][None],
            log_q=None if log_q is None or log_p is None else log_q[index][None],
            stats=stats,
        ),
        diagnostics=diagnostics,
        console="\n".join([*notes, said]).strip(),
    )


PATHFINDER = Method(
    name="pathfinder",
    title="Pathfinder",
    what="Stan's Pathfinder: Gaussians along four paths of L-BFGS, their draws weighted",
    kind="Pathfinder",
    fit=fit,
    options=PathfinderOptions(),
    # Version 3 counts a program's loops among the seconds that many draws take.
    version=3,
    draws=USUAL_DRAWS,
    look=Look("#c77700", DASHED, "$P$"),
    usual=True,
    since=SINCE,
    repairable=False,
    one_mode="its paths end in some of them, and weights cannot put draws where there are none",
)
