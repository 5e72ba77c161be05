"""Black-box variational inference: ADVI's mean-field Gaussian without the program's gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.methods.bridged import RECORDED, Problem, on_bridge
from harness.methods.method import DASHED, Look, Method
from harness.methods.settings import Options, real, whole, word
from harness.records import FloatArray, Reason
from harness.vi.target import Fitted

if TYPE_CHECKING:
    from harness.vi.families import MeanField

ESTIMATORS = (
    "score_both", "score", "score_control", "score_rao_blackwell", "reparameterised",
)  # fmt: skip
"""The keys of :data:`harness.vi.gradients.ESTIMATORS`, which would load SciPy."""


@dataclass(frozen=True)
class BbviOptions(Options):
    """The options: control variates need ten draws, a variance a hundred."""

    estimator: str = word("score_both", ESTIMATORS)
    iterations: int = whole(5000, 10)
    gradient_draws: int = whole(100, 10)
    learning_rate: float = real(0.05, above=0)
    variance_draws: int = whole(20_000, 100)


def _load() -> Callable[[Problem[BbviOptions]], Fitted]:
    # Imported here, so that no run's seconds include it.
    import harness.vi.gradients
    import harness.vi.loop
    import harness.vi.optimisers
    import harness.vi.stationarity  # noqa: F401

    return fit


def fit(problem: Problem[BbviOptions]) -> Fitted:
    """Fit from zero with unit sds; at the end, compare the estimators at the q that was found."""
    from harness.vi import loop
    from harness.vi.families import MeanField
    from harness.vi.gradients import ScoreObjective
    from harness.vi.optimisers import Adam
    from harness.vi.stationarity import restlessness

    options = problem.options
    family = MeanField(problem.target.dimension)
    steps = options.iterations
    optimiser = Adam(options.learning_rate, beta2=0.99, decay_steps=steps)
    start = family.start(np.zeros(family.dimension))
    found = loop.fit(
        problem.target,
        family,
        optimiser,
        loop.start(optimiser, start, problem.rng.spawn(1)[0]),
        steps,
        objective=ScoreObjective(options.estimator, options.gradient_draws),
        clock=problem.clock,
        # The cosine's last half: its rates are low enough to stay, high enough to average.
        average_from=steps // 2,
    )
    every = max(1, -(-found.state.iteration // RECORDED))
    trace = loop.in_stretches(found.elbo, found.elapsed_s, every)
    diagnostics = {
        "iterations": float(found.state.iteration),
        "bad_steps": float(found.bad_steps),
        "seconds_fit": problem.clock.elapsed_s,
    }
    if found.status != "ok":
        return Fitted(None, None, found.status, found.words, trace, diagnostics)
    diagnostics |= _variances(problem, family, found.phi)
    z, log_q = problem.drawn(family, found.phi)
    far = restlessness(
        problem.target, family.mean(found.phi), family.sd(found.phi), problem.rng.spawn(1)[0]
    ).words
    if not far:
        return Fitted(z, log_q, "ok", "", trace, diagnostics, found.words)
    reason = Reason.NOT_STATIONARY
    return Fitted(z, log_q, "not_converged", far, trace, diagnostics, found.words, reason)


def _variances(
    problem: Problem[BbviOptions], family: MeanField, phi: FloatArray
) -> dict[str, float]:
    """Return each estimator's total variance, of one draw, and its standard error.

    ``variance_ratio`` is that of the plain score function over the reparameterised one.
    """
    from harness.vi.gradients import total_variance, variances

    n = problem.options.variance_draws
    spread = variances(problem.target, family, phi, problem.rng, n)
    found: dict[str, float] = {}
    for name, one in spread.items():
        total, error = total_variance(one, family.sd(phi))
        found |= {f"variance.{name}": total, f"variance_error.{name}": error}
    found["variance_ratio"] = found["variance.score"] / found["variance.reparameterised"]
    return found


BBVI = Method(
    name="bbvi",
    title="score-function VI",
    what="score-function gradients, with control variates and Rao–Blackwellisation",
    kind="stochastic gradients",
    fit=on_bridge(_load),
    options=BbviOptions(),
    look=Look("#5b6770", DASHED, "d"),
    bridge=True,
    family="meanfield",
)
