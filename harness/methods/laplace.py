"""Stan's Laplace approximation: a Gaussian at the mode, with the curvature there."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.methods.cmdstan import attempt
from harness.methods.method import DOTTED, Look, Method, Outcome
from harness.methods.pathfinder import LbfgsOptions
from harness.methods.served import by_cmdstan, draws_of, generates, served
from harness.methods.settings import switch, whole, word
from harness.records import Cost, Draws, Reason, RunContext, RunSpec
from harness.stan import console
from harness.stan.csv import CsvError, read_stan_csv

if TYPE_CHECKING:
    from harness.stan.embedded.model import EmbeddedModel
    from harness.vi.target import Clock

SINCE = (2, 32)

_NO_GAUSSIAN = (
    "log p has no Gaussian's curvature where the optimiser ended: its Hessian is not negative "
    "definite there, or not finite"
)

_LOG_Q = {"log_q__", "log_q"}

UNUSUAL = 6.0
"""Standard errors by which a Gaussian's log densities may miss their mean and variance."""


@dataclass(frozen=True)
class LaplaceOptions(LbfgsOptions):
    """Stan's options of the optimiser and the approximation, with Stan's defaults."""

    algorithm: str = word("lbfgs", ("lbfgs", "bfgs", "newton"))
    iter: int = whole(2000, 1)
    jacobian: bool = switch(default=True)
    calculate_lp: bool = switch(default=True)

    @property
    def only_by_cmdstan(self) -> str:
        """The option that the embedded engine cannot follow; empty where it follows all."""
        if self.algorithm != "lbfgs":
            return f"laplace.algorithm={self.algorithm}"
        return "" if self.jacobian else "laplace.jacobian=false"


def fit(spec: RunSpec, context: RunContext, scratch: Path, options: LaplaceOptions) -> Outcome:
    """Climb to the mode, Jacobian included, and draw from the Gaussian with its curvature.

    ``log_q`` lacks its constant, which importance ratios do not need.
    """
    if by_cmdstan(context.program, SINCE):
        return _by_cmdstan(spec, context, scratch, options)
    alone = options.only_by_cmdstan
    if alone:
        words = f"{alone} needs CmdStan {SINCE[0]}.{SINCE[1]}: the embedded engine has no such way"
        return Outcome("failed", message=words, reason=Reason.OPTIONS)
    embedded = functools.partial(_embedded, spec, context, options)
    return served(spec, context, "laplace", SINCE, embedded)


def _embedded(
    spec: RunSpec,
    context: RunContext,
    options: LaplaceOptions,
    model: EmbeddedModel,
    clock: Clock,
) -> Outcome:
    from harness.methods.bridged import BridgeTarget, along, along_words
    from harness.stan.embedded import services
    from harness.stan.embedded.calls import ServiceError, ServiceTimeoutError
    from harness.vi.deterministic.improper import MOST_LEVEL, level_directions

    given = options.plain()
    for name in ("algorithm", "jacobian", "calculate_lp"):
        del given[name]
    seed, limit = context.cmdstan_seed, clock.limit_s
    mode = services.optimize(model, seed, limit, **given)
    d = model.dimension
    around = mode.z + np.random.default_rng(seed).standard_normal((2 * d + 8, d))
    with np.errstate(over="ignore", invalid="ignore"):
        flat = level_directions(BridgeTarget(model), around, np.ones(d)) if d <= MOST_LEVEL else []
    if flat:
        words = f"{along_words([along(model, v) for v in flat])}: the posterior is improper"
        return Outcome("failed", Cost(clock.elapsed_s), words, Reason.IMPROPER)
    left = limit - clock.elapsed_s
    whether = options.calculate_lp
    try:
        found = services.laplace(model, mode.z, seed, spec.draws, left, calculate_lp=whether)
    except ServiceTimeoutError:
        raise
    except ServiceError as error:
        if generates(model):
            raise  # perhaps for generated quantities
        words = f"{_NO_GAUSSIAN} ({error})"
        return Outcome("failed", Cost(clock.elapsed_s), words, Reason.NO_FINITE_DRAWS)
    said = "\n".join(dict.fromkeys(line.text for line in found.lines if line.level))
    # The Hessian is differenced from two gradients for each parameter, beside the mode's own.
    gradients = None if mode.gradients is None else mode.gradients + 2 * model.dimension + 1
    cost = Cost(clock.elapsed_s, spec.draws if options.calculate_lp else 0, gradients)
    return _outcome(draws_of(found), mode.iterations, options, cost, said)


def _by_cmdstan(
    spec: RunSpec, context: RunContext, scratch: Path, options: LaplaceOptions
) -> Outcome:
    if not options.calculate_lp:
        words = "laplace.calculate_lp=false needs the embedded engine: CmdStanPy does not pass it"
        return Outcome("failed", message=words, reason=Reason.OPTIONS)
    given = options.plain()
    given["algorithm"] = {"lbfgs": "LBFGS", "bfgs": "BFGS", "newton": "Newton"}[options.algorithm]
    given["inits"] = given.pop("init_radius")
    if options.algorithm != "lbfgs":
        del given["history_size"]
    if options.algorithm == "newton":
        given = {n: given[n] for n in ("algorithm", "iter", "inits")}
    for name in ("jacobian", "calculate_lp"):
        given.pop(name, None)

    def read() -> Draws:
        tables = [read_stan_csv(p, spec.left_out) for p in sorted(scratch.glob("*.csv"))]
        found = [t for t in tables if _LOG_Q & set(t.columns)]
        if len(found) != 1:
            raise CsvError(f"expected one file of draws, found {len(found)}")
        # Some versions write the densities without underscores, like quantities.
        columns = tuple(f"{c}__" if c in {"log_p", "log_q"} else c for c in found[0].columns)
        table = dataclasses.replace(found[0], columns=columns)
        log_p, log_q = table.column("log_p__"), table.column("log_q__")
        return Draws(table.quantities, table.quantity_values()[None], log_p[None], log_q[None])

    ended, text, draws = attempt(
        context,
        scratch,
        "laplace_sample",
        read,
        draws=spec.draws,
        jacobian=options.jacobian,
        opt_args=given,
    )
    if draws is not None:
        climb = console.read_climb(text)
        # How many parameters there are unconstrained, and so the Hessian's cost, is not printed.
        cost = Cost(ended.cost.seconds, spec.draws)
        iterations = None if climb is None else climb.iterations
        ended = _outcome(draws, iterations, options, cost, ended.console)
    return dataclasses.replace(ended, engine="cmdstan")


def _outcome(
    draws: Draws, iterations: int | None, options: LaplaceOptions, cost: Cost, said: str
) -> Outcome:
    """Refuse what is no Gaussian, and doubt what is not at a mode."""
    diagnostics = {} if iterations is None else {"iterations": float(iterations)}
    if not options.calculate_lp:
        draws = dataclasses.replace(draws, log_p=None, log_q=None)
    elif not gaussian(draws):
        reason = Reason.NO_FINITE_DRAWS
        return Outcome("failed", cost, _NO_GAUSSIAN, reason, diagnostics=diagnostics, console=said)
    ended = Outcome("ok", cost, draws=draws, diagnostics=diagnostics, console=said)
    if iterations is None:
        why = "it is unknown whether the optimiser arrived at the mode"
        return dataclasses.replace(
            ended, status="not_converged", message=why, reason=Reason.NOT_SETTLED
        )
    if iterations >= options.iter:
        why = f"the optimiser reached its limit of {options.iter} iterations before the mode"
        return dataclasses.replace(
            ended, status="not_converged", message=why, reason=Reason.ITERATION_LIMIT
        )
    return ended


def gaussian(draws: Draws) -> bool:
    """Return whether log q is that of a Gaussian's draws.

    Stan draws by a Cholesky factor without asking whether there is one. −log q, less its constant,
    is half a chi-square: its variance equals its mean m, up to √((2 m² + 3 m) / n).
    """
    if draws.log_q is None:
        return False
    half = -draws.log_q.reshape(-1)
    if not np.isfinite(half).all() or not np.isfinite(draws.values).any():
        return False
    mean, variance = float(half.mean()), float(half.var(ddof=1)) if half.size > 1 else math.nan
    error = math.sqrt((2 * mean**2 + 3 * max(mean, 0.0)) / half.size)
    return mean > 0 and abs(variance - mean) <= UNUSUAL * error


LAPLACE = Method(
    name="laplace",
    title="Laplace",
    what="Stan's Laplace approximation: a Gaussian with the curvature of log p at its mode",
    kind="Laplace",
    fit=fit,
    options=LaplaceOptions(),
    look=Look("#5b6d00", DOTTED, "$L$"),
    usual=True,
    since=SINCE,
    family="fullrank",
    repairable=False,
    other_optimum=(
        "curvature at the mode",
        "its mean is the mode and its covariance the inverse curvature there, not the ELBO's best",
    ),
    one_mode="it stays in the one to whose peak it climbed",
)
