"""Black-box variational inference: ADVI's mean-field Gaussian without the program's gradient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.methods.bridged import FitError, Problem, run_bridged
from harness.records import Method, RunContext, RunResult, RunSpec, Status

if TYPE_CHECKING:
    from harness.records import FloatArray
    from harness.vi.families import MeanField
    from harness.vi.target import Fitted

RECORDED = 1000
"""At most so many points of a run's path are kept."""


LEAST = {"iterations": 10, "gradient_draws": 10, "variance_draws": 100}
"""Control variates need ten draws; a variance a hundred."""


def run_bbvi(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:  # noqa: ARG001
    """Climb the ELBO of a mean-field Gaussian by score-function gradients."""
    return run_bridged(spec, context, _load)


def _load() -> Callable[[Problem], Fitted]:
    # Imported here, so that no run's seconds include it.
    import harness.vi.gradients
    import harness.vi.loop
    import harness.vi.optimisers  # noqa: F401

    return fit


def fit(problem: Problem) -> Fitted:
    """Fit from zero with unit sds; at the end, compare the estimators at the q that was found.

    Raises
    ------
    FitError
        If there is no estimator of the name in the options.
    """
    from harness.vi import loop
    from harness.vi.families import MeanField
    from harness.vi.gradients import ESTIMATORS, ScoreObjective
    from harness.vi.optimisers import Adam
    from harness.vi.stationarity import restlessness
    from harness.vi.target import Fitted

    options = problem.options
    if options["estimator"] not in ESTIMATORS:
        msg = f"no estimator {options['estimator']}; allowed: {', '.join(ESTIMATORS)}"
        raise FitError(msg)
    for name, least in LEAST.items():
        if int(options[name]) < least:
            msg = f"{name} is {options[name]}; allowed: whole numbers from {least}"
            raise FitError(msg)
    family = MeanField(problem.target.dimension)
    steps = int(options["iterations"])
    optimiser = Adam(float(options["learning_rate"]), beta2=0.99, decay_steps=steps)
    start = family.start(np.zeros(family.dimension))
    found = loop.fit(
        problem.target,
        family,
        optimiser,
        loop.start(optimiser, start, problem.rng.spawn(1)[0]),
        steps,
        objective=ScoreObjective(str(options["estimator"]), int(options["gradient_draws"])),
        clock=problem.clock,
        # The cosine's last half: its rates are low enough to stay, high enough to average.
        average_from=steps // 2,
    )
    trace = loop.trace(found, max(1, -(-found.state.iteration // RECORDED)))
    diagnostics = {
        "iterations": float(found.state.iteration),
        "bad_steps": float(found.bad_steps),
        "seconds_fit": problem.clock.elapsed_s,
    }
    if found.status != "ok":
        return Fitted(None, None, found.status, found.words, trace, diagnostics)
    diagnostics |= _variances(problem, family, found.phi)
    z = family.transform(found.phi, problem.rng.standard_normal((problem.draws, family.dimension)))
    log_q = family.log_density(found.phi, z)
    far = restlessness(
        problem.target, family.mean(found.phi), family.sd(found.phi), problem.rng.spawn(1)[0]
    ).words
    status: Status = "not_converged" if far else "ok"
    return Fitted(z, log_q, status, far, trace, diagnostics, found.words)


def _variances(problem: Problem, family: MeanField, phi: FloatArray) -> dict[str, float]:
    """Return each estimator's total variance, of one draw, and its standard error.

    ``variance_ratio`` is that of the plain score function over the reparameterised one.
    """
    from harness.vi.gradients import total_variance, variances

    n = int(problem.options["variance_draws"])
    spread = variances(problem.target, family, phi, problem.rng, n)
    found = {}
    for name, one in spread.items():
        total, error = total_variance(one, family.sd(phi))
        found[f"variance.{name}"] = total
        found[f"variance_error.{name}"] = error
    found["variance_ratio"] = found["variance.score"] / found["variance.reparameterised"]
    return found


BBVI = Method(
    "bbvi",
    run_bbvi,
    1,
    {
        "estimator": "score_both",
        "iterations": 5000,
        "gradient_draws": 100,
        "learning_rate": 0.05,
        "variance_draws": 20_000,
    },
    draws=10_000,
    seeds=5,
    approximate=True,
    bridge=True,
    family="meanfield",
)
