"""One-dimensional fits of a Stan program: see :mod:`harness.vi.quadrature`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import special

from harness.methods.bridged import FitError, Problem, on_bridge
from harness.methods.method import DASHED, DOTTED, SOLID, Look, Method
from harness.methods.settings import Options
from harness.records import Reason
from harness.stan.bridge import BridgeModel
from harness.vi.target import Fitted

Criterion = Literal["mse", "kl", "truncated"]


def _load(kind: Criterion) -> Callable[[Problem[Options]], Fitted]:
    from harness.vi.one_dimensional import QuadratureError

    def fit(problem: Problem[Options]) -> Fitted:
        """Fit; refuse several parameters, or one that the family cannot hold."""
        try:
            return _fitted(problem, kind)
        except QuadratureError as error:
            raise FitError(str(error)) from error

    return fit


def _fitted(problem: Problem[Options], kind: Criterion) -> Fitted:
    from harness.vi import one_dimensional, quadrature

    log_p = one_dimensional.one_dimensional(problem.target)
    criterion = quadrature.mean_square if kind == "mse" else quadrature.divergence
    if kind == "truncated":
        _refuse_other_supports(problem.model)
    about = one_dimensional.summarise(log_p)
    starts = [(about.mode, about.curvature_sd), (about.median, about.half_width)]
    family = quadrature.GAUSSIAN
    if kind == "truncated":
        family = quadrature.TRUNCATED
        logistic = [(float(special.expit(mu)), sd) for mu, sd in starts]
        starts = [(theta, sd * theta * (1 - theta)) for theta, sd in logistic]
    found = quadrature.fit(
        lambda z: log_p(z) - about.log_z, family, criterion, starts, about.log_z, problem.clock
    )
    log_sigma = float(np.log(found.sigma))
    z = family.sample(found.mu, log_sigma, problem.draws, problem.rng)
    words = f"Nelder–Mead had not settled after {found.evaluations} values"
    return Fitted(
        z=z[:, None],
        log_q=family.log_density(z, found.mu, log_sigma),
        status="ok" if found.converged else "not_converged",
        message="" if found.converged else words,
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
        reason=None if found.converged else Reason.NOT_SETTLED,
    )


def _refuse_other_supports(model: BridgeModel) -> None:
    """Refuse a parameter that is not in (0, 1).

    Stan has such a parameter as the logit of its value; that is what is looked at, because a
    declaration may be written in many ways.
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


# Few seeds: only the draws of q are random.
_row = functools.partial(
    Method, kind="quadrature", options=Options(), bridge=True, repairable=False
)

QUADRATURE_MSE = _row(
    name="quadrature_mse",
    title="1-D MSE fit",
    what="one parameter: a Gaussian by the weighted mean square of log q − log p",
    fit=on_bridge(functools.partial(_load, "mse")),
    look=Look("#2f6f9f", DASHED, "2"),
    family="meanfield",
    other_optimum=(
        "other objective",
        "it minimises a weighted square of log q − log p instead of KL(q ‖ p)",
    ),
)

QUADRATURE_KL = _row(
    name="quadrature_kl",
    title="1-D KL fit",
    what="one parameter: a Gaussian by KL(q‖p)",
    fit=on_bridge(functools.partial(_load, "kl")),
    look=Look("#3d6b1f", SOLID, "|"),
    family="meanfield",
)

QUADRATURE_TRUNCATED = _row(
    name="quadrature_truncated",
    title="1-D truncated fit",
    what="one parameter in (0, 1): a truncated normal by KL(q‖p), on its own scale",
    fit=on_bridge(functools.partial(_load, "truncated")),
    look=Look("#86501c", DOTTED, "4"),
    other_family="truncated normal",
)
