"""One-dimensional fits of a Stan program: see :mod:`harness.vi.quadrature`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from harness.methods.bridged import FitError, Problem, run_bridged
from harness.records import Method, RunContext, RunResult, RunSpec, Status

if TYPE_CHECKING:
    from harness.stan.bridge import BridgeModel
    from harness.vi.target import Fitted

Kind = Literal["mse", "kl", "truncated"]


def run_mse(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:  # noqa: ARG001
    """Fit a Gaussian by the weighted mean square of log q − log p."""
    return run_bridged(spec, context, lambda: _load("mse"))


def run_kl(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:  # noqa: ARG001
    """Fit a Gaussian by KL(q‖p)."""
    return run_bridged(spec, context, lambda: _load("kl"))


def run_truncated(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:  # noqa: ARG001
    """Fit a normal truncated to (0, 1) by KL(q‖p), on the parameter's own scale."""
    return run_bridged(spec, context, lambda: _load("truncated"))


def _load(kind: Kind) -> Callable[[Problem], Fitted]:
    from harness.vi.one_dimensional import QuadratureError

    def fit(problem: Problem) -> Fitted:
        """Fit and draw.

        Raises
        ------
        FitError
            If the program has several parameters, or one that the family cannot hold.
        """
        try:
            return _fitted(problem, kind)
        except QuadratureError as error:
            raise FitError(str(error)) from error

    return fit


def _fitted(problem: Problem, kind: Kind) -> Fitted:
    from harness.vi import one_dimensional, quadrature
    from harness.vi.target import Fitted

    log_p = one_dimensional.one_dimensional(problem.target)
    family, criterion = quadrature.GAUSSIAN, quadrature.divergence
    if kind == "mse":
        criterion = quadrature.mean_square
    if kind == "truncated":
        refuse_other_supports(problem.model)
        family = quadrature.TRUNCATED
    about = one_dimensional.summarise(log_p)
    starts = [(about.mode, about.curvature_sd), (about.median, about.half_width)]
    if kind == "truncated":
        starts = [(theta, sd * theta * (1 - theta)) for theta, sd in _expit(starts)]
    found = quadrature.fit(
        lambda z: log_p(z) - about.log_z, family, criterion, starts, about.log_z, problem.clock
    )
    log_sigma = float(np.log(found.sigma))
    z = family.sample(found.mu, log_sigma, problem.draws, problem.rng)
    status: Status = "ok" if found.converged else "not_converged"
    words = (
        "" if found.converged else f"Nelder–Mead had not settled after {found.evaluations} values"
    )
    return Fitted(
        z=z[:, None],
        log_q=family.log_density(z, found.mu, log_sigma),
        status=status,
        message=words,
        trace=found.trace,
        diagnostics={
            "mu": found.mu,
            "sigma": found.sigma,
            "kl": found.kl,
            "criterion": found.criterion,
            "elbo": about.log_z - found.kl,
            "log_z": about.log_z,
            "iterations": float(found.evaluations),
        },
    )


def _expit(starts: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(float(special.expit(mu)), sd) for mu, sd in starts]


def refuse_other_supports(model: BridgeModel) -> None:
    """Refuse a parameter that is not in (0, 1).

    Stan has such a parameter as the logit of its value; that is what is looked at, because a
    declaration may be written in many ways.

    Raises
    ------
    FitError
        With the parameter's name and what is allowed.
    """
    z = np.array([-5.0, -1.0, 0.0, 0.5, 3.0])
    theta, _ = model.constrain(z[:, None], transformed=False)
    same = theta.shape[1] == 1 and np.allclose(theta[:, 0], special.expit(z), rtol=1e-9, atol=0)
    if not same:
        name = ", ".join(model.constrained_names())
        msg = (
            f"the truncated normal is for a parameter between 0 and 1, declared as "
            f"real<lower=0, upper=1>; {name} is not"
        )
        raise FitError(msg)


def _row(
    name: str, run: Callable[[RunSpec, RunContext, Path], RunResult], family: str = ""
) -> Method:
    """Return a row; few seeds, because only the draws of q are random."""
    return Method(name, run, 1, {}, 10_000, 5, approximate=True, bridge=True, family=family)


QUADRATURE_MSE = _row("quadrature_mse", run_mse, "meanfield")
QUADRATURE_KL = _row("quadrature_kl", run_kl, "meanfield")
QUADRATURE_TRUNCATED = _row("quadrature_truncated", run_truncated)
