"""How bbvi, minibatch, svgd and quadrature fit, from the pieces in :mod:`harness.vi`."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from scipy import special

from harness.methods.bbvi import BbviOptions
from harness.methods.bridged import RECORDED, FitError, Problem
from harness.methods.minibatch import MinibatchOptions
from harness.methods.settings import Options
from harness.methods.svgd import SvgdOptions
from harness.records import FloatArray, Reason
from harness.stan.bridge import BridgeModel
from harness.stan.density import Density
from harness.vi import gradients, loop, minibatch, one_dimensional, quadrature, svgd
from harness.vi.families import MeanField
from harness.vi.optimisers import Adam
from harness.vi.stationarity import restlessness
from harness.vi.subsampling import Subsampled, SubsamplingError, split_of
from harness.vi.target import Fitted


def score_function(problem: Problem[BbviOptions]) -> Fitted:
    """Fit from zero with unit sds; at the end, compare the estimators at the q that was found."""
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
        objective=gradients.ScoreObjective(options.estimator, options.gradient_draws),
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
    n = problem.options.variance_draws
    spread = gradients.variances(problem.target, family, phi, problem.rng, n)
    found: dict[str, float] = {}
    for name, one in spread.items():
        total, error = gradients.total_variance(one, family.sd(phi))
        found |= {f"variance.{name}": total, f"variance_error.{name}": error}
    found["variance_ratio"] = found["variance.score"] / found["variance.reparameterised"]
    return found


def batches(problem: Problem[MinibatchOptions]) -> Fitted:
    """Check the split, fit from zero with unit sds, and estimate the ELBO of all rows.

    Raises FitError if the data do not split as the options' ``batch`` says, or the program does
    not scale its likelihood.
    """
    options, model = problem.options, problem.model
    if not isinstance(model, BridgeModel):
        raise FitError("batches need the compiled program: the embedded engine takes no new data")
    try:
        split = split_of(options.batch, problem.data)
        target = Subsampled(
            problem.target,
            functools.partial(model.rebind, seed=problem.seed),
            problem.data,
            split,
            options.rows,
        )
        target.check(problem.rng)
    except (SubsamplingError, ValueError) as error:
        raise FitError(str(error)) from error
    family = MeanField(target.dimension)
    settings = minibatch.Settings(
        tolerance_mean=options.tolerance_mean,
        tolerance_log_sd=options.tolerance_log_sd,
        stages=options.stages,
    )
    found = minibatch.fit(
        target, family.start(np.zeros(target.dimension)), problem.rng, problem.clock, settings
    )
    if found.phi is None:
        return Fitted(None, None, found.status, found.message, found.trace, dict(found.diagnostics))
    value, value_error = minibatch.elbo(target, found.phi, options.elbo_pairs, problem.rng)
    z, log_q = problem.drawn(family, found.phi)
    diagnostics = {**found.diagnostics, "elbo": value, "elbo_error": value_error}
    return Fitted(z, log_q, found.status, found.message, found.trace, diagnostics)


def particles(problem: Problem[SvgdOptions]) -> Fitted:
    """Run SVGD; the draws are the particles, however many draws were asked for."""
    settings = svgd.Settings(**problem.options.plain())
    return svgd.svgd(problem.target, settings, problem.rng, problem.clock)


def mean_square(problem: Problem[Options]) -> Fitted:
    """Fit a Gaussian by the weighted mean square of log q − log p."""
    return _one_dimensional(problem, quadrature.GAUSSIAN, quadrature.mean_square)


def divergence(problem: Problem[Options]) -> Fitted:
    """Fit a Gaussian by KL(q‖p)."""
    return _one_dimensional(problem, quadrature.GAUSSIAN, quadrature.divergence)


def truncated(problem: Problem[Options]) -> Fitted:
    """Fit a truncated normal by KL(q‖p)."""
    return _one_dimensional(problem, quadrature.TRUNCATED, quadrature.divergence)


def _one_dimensional(
    problem: Problem[Options], family: quadrature.Family, criterion: Callable[..., float]
) -> Fitted:
    """Fit; refuse several parameters, or one that the family cannot hold."""
    try:
        log_p = one_dimensional.one_dimensional(problem.target)
        if family is quadrature.TRUNCATED:
            _refuse_other_supports(problem.model)
        about = one_dimensional.summarise(log_p)
        starts = [(about.mode, about.curvature_sd), (about.median, about.half_width)]
        if family is quadrature.TRUNCATED:
            logistic = [(float(special.expit(mu)), sd) for mu, sd in starts]
            starts = [(theta, sd * theta * (1 - theta)) for theta, sd in logistic]
        found = quadrature.fit(
            lambda z: log_p(z) - about.log_z, family, criterion, starts, about.log_z, problem.clock
        )
    except one_dimensional.QuadratureError as error:
        raise FitError(str(error)) from error
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


def _refuse_other_supports(model: Density) -> None:
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
