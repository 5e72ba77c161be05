"""CmdStan's ADVI, with its defaults and with settings that a careful user would choose."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.methods.cmdstan import attempt
from harness.methods.method import DASHED, SOLID, Look, Method, Outcome
from harness.methods.served import by_cmdstan, draws_of, served
from harness.methods.settings import Options, real, switch, whole
from harness.records import Cost, Draws, FamilyName, RunContext, RunSpec, Trace
from harness.stan import console
from harness.stan.csv import CsvError, read_elbo, read_stan_csv

if TYPE_CHECKING:
    from harness.stan.embedded.model import EmbeddedModel
    from harness.vi.target import Clock

SINCE = (2, 27)


@dataclass(frozen=True)
class CmdStanAdviOptions(Options):
    """CmdStan's options with its defaults, written out: a changed default is then seen."""

    iter: int = whole(10_000, 1)
    grad_samples: int = whole(1, 1)
    elbo_samples: int = whole(100, 1)
    eta: float = real(1.0, above=0)
    adapt_engaged: bool = switch(default=True)
    adapt_iter: int = whole(50, 1)
    tol_rel_obj: float = real(0.01, above=0)
    eval_elbo: int = whole(100, 1)


TUNED = CmdStanAdviOptions(
    iter=30_000, grad_samples=20, eta=0.1, adapt_engaged=False, tol_rel_obj=1e-5
)
"""A small fixed step size, many gradient samples, a tight tolerance."""


def _fit(
    algorithm: FamilyName,
    spec: RunSpec,
    context: RunContext,
    scratch: Path,
    options: CmdStanAdviOptions,
) -> Outcome:
    """Run CmdStan's ADVI, or without CmdStan that of Stan in the embedded engine.

    The draws have ``log_p`` with its Jacobian and constants, on the unconstrained scale, and
    ``log_q`` without its constant, which importance ratios do not need.
    """
    if not by_cmdstan(context.program, SINCE):
        embedded = functools.partial(_embedded, algorithm, spec, context, options)
        return served(spec, context, algorithm, SINCE, embedded, constants=True)
    ended, text, draws = attempt(
        context,
        scratch,
        "variational",
        lambda: _read(scratch, spec),
        algorithm=algorithm,
        draws=spec.draws,
        save_diagnostics=True,
        require_converged=False,
        **options.plain(),
    )
    ended = dataclasses.replace(ended, engine="cmdstan")
    return _ended(ended, text, draws, read_elbo(scratch), options)


def _embedded(
    algorithm: FamilyName,
    spec: RunSpec,
    context: RunContext,
    options: CmdStanAdviOptions,
    model: EmbeddedModel,
    clock: Clock,
) -> Outcome:
    """Run Stan's ADVI in the embedded engine; its ELBO is known to three decimals."""
    from harness.stan.embedded import services

    limit = clock.limit_s - clock.elapsed_s
    found = services.variational(
        model, algorithm, context.cmdstan_seed, spec.draws, limit, **options.plain()
    )
    rows = [(*row, at) for at, _, line in found.lines if (row := console.elbo_of(line))]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    trace = Trace(table[:, 0].copy(), table[:, 2].copy(), table[:, 1].copy())
    ended = Outcome("ok", Cost(clock.elapsed_s), console=console.excerpt(found.text))
    return _ended(ended, found.text, draws_of(found), trace, options)


def _ended(
    ended: Outcome,
    text: str,
    draws: Draws | None,
    trace: Trace | None,
    options: CmdStanAdviOptions,
) -> Outcome:
    """Add draws and path, and what the console says of how they came about."""
    said = console.read_advi(text)
    diagnostics: dict[str, float] = {}
    if trace is not None and trace.iteration.size:
        diagnostics["iterations"] = float(trace.iteration[-1])
        diagnostics["elbo"] = float(trace.elbo[-1])
    eta = said.eta if options.adapt_engaged else options.eta
    if eta is not None:
        diagnostics["eta"] = eta
    ended = dataclasses.replace(ended, draws=draws, trace=trace, diagnostics=diagnostics)
    if draws is None:
        return ended
    gradients = said.gradient_evaluations(options.plain(), diagnostics)
    cost = Cost(ended.cost.seconds, None, gradients)
    return dataclasses.replace(
        ended, status=said.status, cost=cost, message=said.message, reason=said.reason
    )


def _read(folder: Path, spec: RunSpec) -> Draws:
    """Read the draws; row 0 is the transform of q's mean and not one of them."""
    files = [p for p in folder.glob("*.csv") if not p.stem.endswith("diagnostic")]
    if len(files) != 1:
        raise CsvError(f"expected one output file, found {len(files)}")
    table = read_stan_csv(files[0], spec.left_out)
    if len(table.values) != spec.draws + 1:
        raise CsvError(f"{len(table.values)} rows where {spec.draws + 1} were asked for: truncated")
    return Draws(
        names=table.quantities,
        values=table.quantity_values()[None, 1:],
        log_p=table.column("log_p__")[None, 1:],
        log_q=table.column("log_g__")[None, 1:],
    )


def _row(family: FamilyName, **more: Any) -> Method:
    return Method(
        kind="CmdStan's ADVI",
        fit=functools.partial(_fit, family),
        family=family,
        seeds=10,
        usual=True,
        since=SINCE,
        **more,
    )


MEANFIELD = _row(
    "meanfield",
    name="meanfield",
    title="mean-field",
    what="CmdStan's ADVI with its defaults: a Gaussian with independent parameters",
    options=CmdStanAdviOptions(),
    look=Look("#d1492e", SOLID, "s"),
    full_rank="fullrank",
    tuned="meanfield_tuned",
)

FULLRANK = _row(
    "fullrank",
    name="fullrank",
    title="full-rank",
    what="CmdStan's ADVI with its defaults: a Gaussian with any covariance",
    options=CmdStanAdviOptions(),
    look=Look("#1f8a5f", SOLID, "D"),
    tuned="fullrank_tuned",
)

MEANFIELD_TUNED = _row(
    "meanfield",
    name="meanfield_tuned",
    title="tuned mean-field",
    what="mean-field with step size 0.1 fixed, 20 gradient draws, up to 30 000 iterations",
    options=TUNED,
    look=Look("#8a2414", DASHED, "v"),
    full_rank="fullrank_tuned",
)

FULLRANK_TUNED = _row(
    "fullrank",
    name="fullrank_tuned",
    title="tuned full-rank",
    what="full-rank with step size 0.1 fixed, 20 gradient draws, up to 30 000 iterations",
    options=TUNED,
    look=Look("#0b5a43", DASHED, "^"),
)
