"""One-dimensional fits against closed forms, the lecture's optima and quadrature by SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import integrate, special, stats
from targets import standard

from harness.methods.method import Method
from harness.methods.quadrature import QUADRATURE_KL, QUADRATURE_MSE, QUADRATURE_TRUNCATED
from harness.models import folders
from harness.records import Program, RunContext, RunResult, RunSpec
from harness.stan import CmdStan
from harness.stan.bridge import BridgeModel
from harness.stan.bridge.build import library
from harness.vi import one_dimensional, quadrature
from harness.vi.one_dimensional import QuadratureError
from harness.vi.target import Clock, TimeLimitError

if TYPE_CHECKING:
    from harness.records import FloatArray

    LogDensity = Callable[[FloatArray], FloatArray]


def student_t(z: FloatArray) -> FloatArray:
    """Return Student-t with 3 degrees of freedom, not normalised."""
    return np.asarray(stats.t(3).logpdf(z) + 7)


def beta_logit(z: FloatArray) -> FloatArray:
    """Return Beta(1001, 2) on the logit scale, not normalised."""
    return np.asarray(1001 * special.log_expit(z) + 2 * special.log_expit(-z))


def mixture(z: FloatArray) -> FloatArray:
    """Return the lecture's mixture."""
    left = math.log(0.2) + stats.norm.logpdf(z, -0.3, 0.1)
    return np.asarray(np.logaddexp(left, math.log(0.8) + stats.norm.logpdf(z, 0.5, 0.1)))


def fitted(
    log_p: LogDensity,
    criterion: Callable[..., float] = quadrature.divergence,
    family: quadrature.Family = quadrature.GAUSSIAN,
) -> quadrature.Fit:
    """Fit from the starts that the rows of METHODS take."""
    about = one_dimensional.summarise(log_p)
    starts = [(about.mode, about.curvature_sd), (about.median, about.half_width)]
    if family is quadrature.TRUNCATED:
        thetas = [float(special.expit(mu)) for mu, _ in starts]
        starts = [(t, sd * t * (1 - t)) for t, (_, sd) in zip(thetas, starts, strict=True)]
    return quadrature.fit(
        lambda z: log_p(z) - about.log_z, family, criterion, starts, about.log_z, Clock()
    )


# --- the density itself -----------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "sd"), [(0, 1), (12345, 0.01), (-3e4, 1e4), (2, 1e-6)])
def test_a_normal_is_found_wherever_it_is(mean: float, sd: float) -> None:
    """Its integral, mode, curvature, median and width, whatever its place and scale."""
    about = one_dimensional.summarise(lambda z: np.asarray(stats.norm.logpdf(z, mean, sd) - 5))
    assert about.log_z == pytest.approx(-5, abs=1e-7)
    assert about.mode == pytest.approx(mean, abs=0.05 * sd)
    assert about.curvature_sd == pytest.approx(sd, rel=1e-3)
    assert about.median == pytest.approx(mean, abs=1e-3 * sd)
    assert about.half_width == pytest.approx(sd, rel=1e-3)


@pytest.mark.parametrize(
    ("log_p", "log_z"),
    [
        (student_t, 7.0),
        (beta_logit, special.betaln(1001, 2)),
        (mixture, 0.0),
        (lambda z: np.asarray(stats.cauchy.logpdf(z)), 0.0),
        (lambda z: np.asarray(0.5 * z - np.exp(z)), math.lgamma(0.5)),
    ],
    ids=["student_t", "beta", "mixture", "cauchy", "log-gamma"],
)
def test_the_integral_has_its_closed_form(log_p: LogDensity, log_z: float) -> None:
    """Heavy tails, skew and two modes have the right log Z to 1e-8."""
    with np.errstate(over="ignore"):
        assert one_dimensional.summarise(log_p).log_z == pytest.approx(log_z, abs=1e-8)


@pytest.mark.parametrize(
    ("log_p", "words"),
    [
        (lambda z: np.full(z.shape, -np.inf), "finite nowhere"),
        (np.zeros_like, "it has no mode"),
        (lambda z: np.asarray(-0.25 * np.log1p(np.square(z))), "no finite integral"),
        (lambda z: -0.5 * z**2 + np.where(np.abs(z) < 1, 1.0, 0.0), "too rough"),
    ],
    ids=["nowhere", "flat", "improper", "step"],
)
def test_a_density_that_cannot_be_summed_is_refused(log_p: LogDensity, words: str) -> None:
    """They raise with the reason, because a wrong log Z would make every KL wrong."""
    with pytest.raises(QuadratureError, match=words):
        one_dimensional.summarise(log_p)


def test_several_parameters_are_refused() -> None:
    """The sentence says how many there are."""
    with pytest.raises(QuadratureError, match="has 2 unconstrained parameters"):
        one_dimensional.one_dimensional(standard(2))


# --- the lecture's optima ---------------------------------------------------------------------

HALF = 5e-5
"""Four decimals."""


def test_student_t_by_mean_square() -> None:
    """The weighted mean square is least at sd 1.1496."""
    found = fitted(student_t, quadrature.mean_square)
    assert found.converged
    assert found.mu == pytest.approx(0, abs=1e-6)
    assert found.sigma == pytest.approx(1.1496, abs=HALF)


def test_student_t_by_divergence() -> None:
    """KL is least at sd 1.2602, where it is 0.04070 nats."""
    found = fitted(student_t)
    assert found.converged
    assert found.mu == pytest.approx(0, abs=1e-6)
    assert found.sigma == pytest.approx(1.2602, abs=HALF)
    assert found.kl == pytest.approx(0.04070, abs=5e-6)
    assert found.criterion == found.kl


def test_beta_on_the_logit_scale() -> None:
    """KL is least at mu 6.46513 and sigma 0.70827, where it is 0.041045 nats."""
    found = fitted(beta_logit)
    assert found.converged
    assert found.mu == pytest.approx(6.46513, abs=5e-6)
    assert found.sigma == pytest.approx(0.70827, abs=5e-6)
    assert found.kl == pytest.approx(0.041045, abs=5e-7)


def test_beta_by_a_truncated_normal_is_worse() -> None:
    """Squeezed into (0, 1) the best KL is 0.0501 nats, which SciPy's own integral confirms."""
    found = fitted(beta_logit, family=quadrature.TRUNCATED)
    assert found.converged
    assert found.kl == pytest.approx(0.0501, abs=HALF)
    sigma = found.sigma
    q = stats.truncnorm(-found.mu / sigma, (1 - found.mu) / sigma, found.mu, sigma)
    p = stats.beta(1001, 2)
    value, _ = integrate.quad(
        lambda t: q.pdf(t) * (q.logpdf(t) - p.logpdf(t)), 0.98, 1, epsabs=1e-11, limit=500
    )
    assert found.kl == pytest.approx(value, abs=1e-8)


def test_the_mixtures_best_gaussian_is_one_mode() -> None:
    """KL is slightly less than −ln .8 = .2231 nats, and both starts end at the better mode."""
    found = fitted(mixture)
    assert found.mu == pytest.approx(0.5, abs=1e-3)
    assert found.sigma == pytest.approx(0.1, rel=1e-3)
    assert found.kl == pytest.approx(-math.log(0.8), abs=1e-4)


@pytest.mark.parametrize("criterion", [quadrature.divergence, quadrature.mean_square])
@pytest.mark.parametrize(("mean", "sd"), [(0, 1), (12345, 0.01), (-3e4, 1e4)])
def test_a_normal_is_fitted_exactly(
    criterion: Callable[..., float], mean: float, sd: float
) -> None:
    """Both criteria find it and are zero there."""
    found = fitted(lambda z: np.asarray(stats.norm.logpdf(z, mean, sd) + 3), criterion)
    assert found.converged
    assert found.mu == pytest.approx(mean, abs=1e-5 * sd)
    assert found.sigma == pytest.approx(sd, rel=1e-5)
    assert found.kl == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("start", [(100.0, 1e-3), (-40.0, 5.0), (6.0, 30.0)])
def test_a_bad_start_ends_at_the_same_optimum(start: tuple[float, float]) -> None:
    """The search restarts until nothing is gained, also from starts like the lecture's."""
    about = one_dimensional.summarise(beta_logit)
    found = quadrature.fit(
        lambda z: beta_logit(z) - about.log_z,
        quadrature.GAUSSIAN, quadrature.divergence, [start], about.log_z, Clock(),
    )  # fmt: skip
    assert found.mu == pytest.approx(6.46513, abs=1e-5)
    assert found.sigma == pytest.approx(0.70827, abs=1e-5)


def test_the_trace_ends_at_the_fit() -> None:
    """Its ELBO is log Z − KL, and larger at the end than at the start."""
    found = fitted(student_t)
    trace = found.trace
    assert trace.elbo[-1] == pytest.approx(7 - found.kl, abs=1e-9)
    assert trace.elbo[-1] >= trace.elbo[0]
    assert trace.extras["sigma"][-1] == pytest.approx(found.sigma, rel=1e-6)
    assert len({len(a) for a in (trace.iteration, trace.elapsed_s, *trace.extras.values())}) == 1


def test_time_that_is_over_ends_the_search() -> None:
    """An unfinished search has no result."""
    with pytest.raises(TimeLimitError, match="time limit"):
        quadrature.fit(
            student_t, quadrature.GAUSSIAN, quadrature.divergence, [(0.0, 1.0)], 7.0, Clock(0.0)
        )


def test_no_finite_start_is_an_error() -> None:
    """A posterior with an edge in the middle of q has no finite KL."""
    with pytest.raises(QuadratureError, match="not finite at any start"):
        quadrature.fit(
            lambda z: np.where(z < 0, -np.inf, -np.abs(z)),
            quadrature.GAUSSIAN, quadrature.divergence, [(0.0, 1.0)], 0.0, Clock(),
        )  # fmt: skip


# --- the truncated normal ---------------------------------------------------------------------

MEMBERS = [(0.5, 0.2), (0.9986, 0.0017), (-0.7, 0.2), (3.0, 0.4), (0.3, 1e-4), (0.2, 500.0)]


@pytest.mark.parametrize(("mu", "sigma"), MEMBERS)
def test_the_truncated_density_is_scipys(mu: float, sigma: float) -> None:
    """The density includes the Jacobian of the logit, and the grid covers it."""
    z = quadrature.TRUNCATED.grid(mu, math.log(sigma))
    log_q = quadrature.TRUNCATED.log_density(z, mu, math.log(sigma))
    assert np.exp(log_q).sum() * (z[1] - z[0]) == pytest.approx(1, abs=1e-8)
    theta = special.expit(z)
    inside = (theta > 1e-6) & (theta < 1 - 1e-6)
    q = stats.truncnorm(-mu / sigma, (1 - mu) / sigma, mu, sigma)
    expected = q.logpdf(theta[inside]) + np.log(theta[inside]) + np.log1p(-theta[inside])
    np.testing.assert_allclose(log_q[inside], expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("mu", "sigma"), MEMBERS)
def test_truncated_draws_have_their_distribution(mu: float, sigma: float) -> None:
    """Kolmogorov's distance of 20 000 draws has a p value over one in 100 000."""
    z = quadrature.TRUNCATED.sample(mu, math.log(sigma), 20_000, np.random.default_rng(8))
    q = stats.truncnorm(-mu / sigma, (1 - mu) / sigma, mu, sigma)
    assert np.isfinite(z).all()
    assert stats.kstest(special.expit(z), q.cdf).pvalue > 1e-5


def test_a_uniform_parameter_is_the_edge_of_the_family() -> None:
    """Sigma goes to its limit, where the truncated normal is uniform; KL is zero."""
    uniform = fitted(
        lambda z: np.asarray(special.log_expit(z) + special.log_expit(-z)),
        family=quadrature.TRUNCATED,
    )
    assert uniform.kl == pytest.approx(0, abs=1e-9)


# --- the rows of METHODS on Stan programs -----------------------------------------------------


def run(method: Method, stan_file: Path, cmdstan: CmdStan, data_file: Path | None) -> RunResult:
    """Run a row on a program."""
    built = library(stan_file, cmdstan)
    program = Program(stan_file, {}, built, cmdstan.path, built)
    spec = RunSpec(stan_file.stem, method.name, method.defaults, 1, method.draws)
    return method.run(spec, RunContext(program, data_file, 60.0, 4711), Path())


def lecture(method: Method, name: str, cmdstan: CmdStan) -> RunResult:
    """Run a row on a lecture model."""
    model = folders.load(name)
    return run(method, model.stan_file, cmdstan, model.data_file)


@pytest.mark.stan
@pytest.mark.parametrize(
    ("method", "name", "sigma", "kl"),
    [
        (QUADRATURE_MSE, "student_t", 1.1496, 0.0453),
        (QUADRATURE_KL, "student_t", 1.2602, 0.0407),
        (QUADRATURE_KL, "beta_unit", 0.7083, 0.0410),
        (QUADRATURE_TRUNCATED, "beta_unit", 0.0017, 0.0501),
        (QUADRATURE_KL, "mixture", 0.1000, 0.2231),
    ],
)
def test_the_rows_find_the_optima(
    method: Method, name: str, sigma: float, kl: float, cmdstan: CmdStan
) -> None:
    """On the Stan programs, to four decimals; log q − log p of the draws averages to −ELBO."""
    found = lecture(method, name, cmdstan)
    assert (found.status, found.message) == ("ok", "")
    assert found.diagnostics["sigma"] == pytest.approx(sigma, abs=HALF)
    assert found.diagnostics["kl"] == pytest.approx(kl, abs=HALF)
    assert found.diagnostics["elbo"] == found.diagnostics["log_z"] - found.diagnostics["kl"]
    draws = found.draws
    assert draws is not None
    assert draws.log_p is not None
    assert draws.log_q is not None
    difference = draws.log_q - draws.log_p
    # 4.5 standard errors of 10 000 draws; the mixture's come from a valley that none visits.
    error = 4.5 * difference.std() / 100 + 1e-4
    assert difference.mean() == pytest.approx(-found.diagnostics["elbo"], abs=error)


@pytest.mark.stan
def test_the_truncated_draws_are_those_of_theta(cmdstan: CmdStan) -> None:
    """θ has the truncated normal's mean, not that of its logit's Gaussian."""
    found = lecture(QUADRATURE_TRUNCATED, "beta_unit", cmdstan)
    assert found.draws is not None
    theta = found.draws.quantity("theta")[0]
    mu, sigma = found.diagnostics["mu"], found.diagnostics["sigma"]
    q = stats.truncnorm(-mu / sigma, (1 - mu) / sigma, mu, sigma)
    assert stats.kstest(theta, q.cdf).pvalue > 1e-5


@pytest.mark.stan
def test_the_programs_constrained_density_is_the_one_fitted(cmdstan: CmdStan) -> None:
    """On the logit scale its Jacobian is log θ(1 − θ), which the truncated normal's has too."""
    model = BridgeModel(library(folders.load("beta_unit").stan_file, cmdstan), {})
    z = np.linspace(-3, 9, 13)
    jacobian = special.log_expit(z) + special.log_expit(-z)
    with_it = model.log_density(z[:, None]).value
    without = model.log_density(z[:, None], jacobian=False).value
    np.testing.assert_allclose(with_it - without, jacobian, rtol=1e-9, atol=1e-9)


@pytest.mark.stan
@pytest.mark.parametrize("method", [QUADRATURE_MSE, QUADRATURE_KL, QUADRATURE_TRUNCATED])
def test_programs_with_several_parameters_are_a_failed_run(
    method: Method, cmdstan: CmdStan
) -> None:
    """The sentence says how many there are."""
    found = lecture(method, "linear_regression", cmdstan)
    assert (found.status, found.draws) == ("failed", None)
    assert "has 3 unconstrained parameters" in found.message


@pytest.mark.stan
def test_a_parameter_outside_the_unit_interval_is_a_failed_run(cmdstan: CmdStan) -> None:
    """The message names the parameter that is not on (0, 1)."""
    found = lecture(QUADRATURE_TRUNCATED, "student_t", cmdstan)
    assert (found.status, found.draws) == ("failed", None)
    assert "between 0 and 1" in found.message
    assert "x is not" in found.message
