"""q behind CmdStan's draws of constrained parameters of many types, and log Z of a program."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from targets import Normal, cut

from harness.methods import METHODS
from harness.methods.bridged import BridgeTarget
from harness.records import Draws, Model, RunContext, RunResult, RunSpec
from harness.stan import CmdStan, cache_dir, compile_program
from harness.stan.bridge import BridgeModel, library
from harness.stan.unconstrain import MissingParametersError, unconstrained
from harness.vi.gaussian import Gaussian
from harness.why.fits import Fit, family_of, fit_of
from harness.why.log_evidence import log_evidence
from harness.why.posterior import Posterior

pytestmark = pytest.mark.stan

FloatArray = NDArray[np.float64]

K = 5.0
"""Standard errors allowed."""

PROGRAM = """
parameters {
  real<lower=1> scale;
  real<lower=-1, upper=2> between;
  simplex[3] s;
  ordered[2] o;
  cholesky_factor_corr[3] L;
  array[2] vector[2] a;
  matrix[2, 2] m;
}
model {
  scale ~ normal(3, 1);
  between ~ normal(0, 1);
  s ~ dirichlet([4, 3, 2]');
  o ~ normal(0, 2);
  L ~ lkj_corr_cholesky(4);
  for (i in 1:2) a[i] ~ normal(i, 0.5 * i);
  to_vector(m) ~ normal([1, 2, 3, 4]', 0.5);
  a[1, 1] - m[1, 2] ~ normal(0, 0.5);
}
"""
"""17 unconstrained parameters, 24 cells."""

QUICK = {"iter": 300, "eta": 0.1, "adapt_engaged": False, "eval_elbo": 100, "grad_samples": 5}
"""Options with which q is no Gaussian of round numbers; it need not be the best."""

DRAWS = 1000


class Known(NamedTuple):
    """The program behind the bridge, and a run of each family."""

    model: BridgeModel
    runs: dict[str, RunResult]


@pytest.fixture(scope="module")
def known(cmdstan: CmdStan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    """Run CmdStan's mean-field and full-rank ADVI, compiled without optimising: it is quicker."""
    folder = cache_dir() / "unoptimised"
    file = tmp_path_factory.mktemp("programs") / "kinds.stan"
    file.write_text(PROGRAM, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(folder))
        patch.setenv("CMDSTAN", str(cmdstan.path))
        patch.setenv("O", "0")
        program = compile_program(file, cmdstan)
        runs = {}
        for name in ("meanfield", "fullrank"):
            method = METHODS[name]
            spec = RunSpec("kinds", name, {**method.defaults, **QUICK}, 1, DRAWS)
            context = RunContext(program, None, 120.0, 4321)
            runs[name] = method.run(spec, context, tmp_path_factory.mktemp("scratch"))
            assert runs[name].draws is not None, runs[name].message
        yield Known(BridgeModel(library(file, cmdstan), {}), runs)


def draws_of(run: RunResult) -> Draws:
    """Return the draws of a run that has them."""
    assert run.draws is not None
    return run.draws


def q_of(fit: Fit) -> Gaussian:
    """Return the Gaussian of a fit that has one."""
    assert fit.q is not None, fit.words
    return fit.q


def changed(run: RunResult, **fields: object) -> RunResult:
    """Return a run whose draws have other fields."""
    draws = dataclasses.replace(draws_of(run), **fields)  # type: ignore[arg-type]
    return dataclasses.replace(run, draws=draws)


def first(run: RunResult, n: int) -> RunResult:
    """Return a run with its first draws only."""
    draws = draws_of(run)
    assert draws.log_p is not None
    assert draws.log_q is not None
    return changed(
        run, values=draws.values[:, :n], log_p=draws.log_p[:, :n], log_q=draws.log_q[:, :n]
    )


def on_the_bound(run: RunResult, which: NDArray[np.intp]) -> RunResult:
    """Return a run some of whose draws were rounded onto the lower bound of ``scale``."""
    values = draws_of(run).values.copy()
    values[0, which, draws_of(run).names.index("scale")] = 1.0
    return changed(run, values=values)


def moments_agree(q: Gaussian, z: FloatArray, family: str) -> None:
    """Check a Gaussian against its draws: every mean and covariance within K errors."""
    n, sd = len(z), q.sd
    assert np.all(np.abs(z.mean(axis=0) - q.mean) < K * sd / math.sqrt(n))
    seen, own = np.cov(z, rowvar=False), q.covariance
    error = np.sqrt((own**2 + np.outer(sd, sd) ** 2) / n)
    assert np.all(np.abs(seen - own) < K * error)
    if family == "meanfield":
        assert q.factor.ndim == 1


# --- draws back on the unconstrained scale --------------------------------------------------


def test_draws_are_taken_back_as_they_were(known: Known) -> None:
    """Every type of parameter, constrained again, is CmdStan's own draw to 1e-12."""
    draws = draws_of(known.runs["meanfield"])
    index = [0, 5, 17, DRAWS - 1]
    z = unconstrained(known.model, draws, index)
    assert z.shape == (4, 17)
    theta, status = known.model.constrain(z)
    assert not status.any()
    np.testing.assert_allclose(theta, draws.values[0, index], rtol=1e-9, atol=1e-12)
    assert draws.log_p is not None
    density = known.model.log_density(z, propto=True).value
    # CmdStan's own log density of the draw, Jacobian included, but for a constant.
    off = density - draws.log_p[0, index]
    np.testing.assert_allclose(off, off[0], atol=1e-6)


def test_chains_follow_one_another_and_columns_may_be_in_any_order(known: Known) -> None:
    """The index runs through the chains, and columns that are not parameters are ignored."""
    draws = draws_of(known.runs["meanfield"])
    expected = unconstrained(known.model, draws, [0, 3, 999])
    order = np.random.default_rng(1).permutation(len(draws.names))
    values = np.concatenate([draws.values[..., order], np.full((1, DRAWS, 1), math.nan)], axis=2)
    names = (*(draws.names[i] for i in order), "generated")
    turned = Draws(names, values.reshape(2, DRAWS // 2, -1))
    np.testing.assert_array_equal(unconstrained(known.model, turned, [0, 3, 999]), expected)


def test_draws_that_lack_a_parameter_are_refused_by_name(known: Known) -> None:
    """The error names every missing parameter, down to one cell of a matrix."""
    draws = draws_of(known.runs["meanfield"])
    keep = [i for i, n in enumerate(draws.names) if n != "L[2,1]"]
    lacking = Draws(tuple(draws.names[i] for i in keep), draws.values[..., keep])
    with pytest.raises(MissingParametersError, match=r"L\[2,1\]"):
        unconstrained(known.model, lacking, [0])
    with pytest.raises(MissingParametersError, match="scale"):
        unconstrained(known.model, Draws(("x",), np.zeros((1, 3, 1))), [0])


def test_a_draw_that_violates_its_constraint_is_not_finite(known: Known) -> None:
    """On a bound, beyond it, a sum that is not one, NaN: not finite; the others are as before."""
    draws = draws_of(known.runs["meanfield"])
    expected = unconstrained(known.model, draws, range(6))
    values = draws.values.copy()
    for row, name, value in (
        (0, "scale", 1.0), (1, "between", 2.5), (2, "s[1]", 0.999), (3, "m[1,2]", math.nan),
        (4, "o[1]", 1e9),
    ):  # fmt: skip
        values[0, row, draws.names.index(name)] = value
    found = unconstrained(known.model, Draws(draws.names, values), range(6))
    assert not np.isfinite(found[:5]).all(axis=1).any()
    np.testing.assert_array_equal(found[5], expected[5])


# --- q --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["meanfield", "fullrank"])
def test_q_is_what_cmdstans_draws_say(known: Known, family: str) -> None:
    """For all draws, also those not used for the fit, log_g is −½ ε'ε under the recovered q.

    Its moments are those of the draws within errors. CmdStan writes log_g at double precision.
    """
    run = known.runs[family]
    fit = fit_of(run, known.model)
    assert (fit.run, fit.family, fit.exact, fit.words, fit.lost) == (run, family, True, "", 0.0)
    assert family_of(run) == family
    q = q_of(fit)
    z = unconstrained(known.model, draws_of(run), range(DRAWS))
    log_g = draws_of(run).log_q
    assert log_g is not None
    form = q.log_density(z) - q.log_density(q.mean[None])
    np.testing.assert_allclose(form, log_g[0], rtol=1e-5, atol=1e-5)
    moments_agree(q, z, family)
    if family == "fullrank":
        correlation = q.covariance / np.outer(q.sd, q.sd) - np.eye(17)
        assert np.abs(correlation).max() > 0.05


@pytest.mark.parametrize("family", ["meanfield", "fullrank"])
def test_without_log_q_there_are_moments_and_words(known: Known, family: str) -> None:
    """The mean and covariance of the draws are used, and a note gives their number."""
    run = changed(known.runs[family], log_q=None)
    fit = fit_of(run, known.model)
    assert not fit.exact
    assert fit.draws == DRAWS
    assert "draws" in fit.words
    z = unconstrained(known.model, draws_of(run), range(DRAWS))
    q = q_of(fit)
    np.testing.assert_allclose(q.mean, z.mean(axis=0), rtol=1e-9, atol=1e-12)
    covariance = np.cov(z, rowvar=False)
    if family == "meanfield":
        covariance = np.diag(np.diag(covariance))
    np.testing.assert_allclose(q.covariance, covariance, rtol=1e-9, atol=1e-12)


def test_with_few_draws_there_are_moments_and_words(known: Known) -> None:
    """171 unknowns of full rank and 100 draws; mean-field has 35, and 100 are enough."""
    full = fit_of(first(known.runs["fullrank"], 100), known.model)
    assert not full.exact
    assert "100 draws" in full.words
    assert full.draws == 100
    z = unconstrained(known.model, draws_of(known.runs["fullrank"]), range(100))
    np.testing.assert_allclose(q_of(full).covariance, np.cov(z, rowvar=False), rtol=1e-8)
    mean = fit_of(first(known.runs["meanfield"], 100), known.model)
    assert mean.exact
    whole = q_of(fit_of(known.runs["meanfield"], known.model))
    np.testing.assert_allclose(q_of(mean).theta, whole.theta, rtol=1e-5, atol=1e-6)


def test_a_log_q_that_is_no_quadratic_form_is_not_believed(known: Known) -> None:
    """Shuffled densities give moments, of draws that were not chosen by them, and words."""
    run = known.runs["meanfield"]
    log_q = draws_of(run).log_q
    assert log_q is not None
    shuffled = np.random.default_rng(1).permutation(log_q[0])[None]
    fit = fit_of(changed(run, log_q=shuffled), known.model)
    assert not fit.exact
    assert fit.words
    z = unconstrained(known.model, draws_of(run), range(DRAWS))
    np.testing.assert_allclose(q_of(fit).mean, z.mean(axis=0), rtol=1e-9, atol=1e-12)


def test_fewer_draws_than_parameters_are_no_q(known: Known) -> None:
    """There is no covariance of 10 draws of 17 parameters: no q, and words."""
    fit = fit_of(first(known.runs["fullrank"], 10), known.model)
    assert fit.q is None
    assert not fit.exact
    assert fit.words


def test_draws_on_a_bound_are_passed_over(known: Known) -> None:
    """A tenth rounded onto the bound: q is the same, and without log_q the share is known."""
    run = known.runs["meanfield"]
    bound = on_the_bound(run, np.arange(0, DRAWS, 10))
    expected = q_of(fit_of(run, known.model))
    fit = fit_of(bound, known.model)
    assert fit.exact
    np.testing.assert_allclose(q_of(fit).theta, expected.theta, rtol=1e-6, atol=1e-7)
    assert 0.05 < fit.lost < 0.15
    moments = fit_of(changed(bound, log_q=None), known.model)
    assert moments.draws == 900
    np.testing.assert_allclose(moments.lost, 0.1)


def test_all_draws_on_a_bound_are_no_q(known: Known) -> None:
    """Nothing is left: no q, all lost, and words that name the bounds."""
    bound = on_the_bound(known.runs["meanfield"], np.arange(DRAWS))
    for run in (bound, changed(bound, log_q=None)):
        fit = fit_of(run, known.model)
        assert fit.q is None
        assert fit.lost == 1
        assert "bound" in fit.words


def test_draws_without_a_density_are_counted(known: Known) -> None:
    """The share of draws without log p is reported, and q is still recovered."""
    run = known.runs["meanfield"]
    log_p = draws_of(run).log_p
    assert log_p is not None
    without = log_p.copy()
    without[0, ::4] = -math.inf
    without[0, 0] = math.nan
    fit = fit_of(changed(run, log_p=without), known.model)
    assert fit.exact
    assert fit.lost == 0.25


def test_a_collapsed_q_is_none(known: Known) -> None:
    """All draws at one point are no Gaussian, with log q or without."""
    run = known.runs["fullrank"]
    draws = draws_of(run)
    point = np.repeat(draws.values[:, :1], DRAWS, axis=1)
    for log_q in (draws.log_q, None):
        fit = fit_of(changed(run, values=point, log_q=log_q), known.model)
        assert fit.q is None
        assert fit.words


def test_only_gaussian_families_have_a_q(known: Known) -> None:
    """NUTS and particles have none, and a run without draws is refused."""
    run = known.runs["meanfield"]
    for name in ("nuts", "svgd"):
        method = METHODS[name]
        spec = dataclasses.replace(run.spec, method=name, options=method.defaults)
        other = dataclasses.replace(run, spec=spec)
        assert family_of(other) is None
        with pytest.raises(ValueError, match=name):
            fit_of(other, known.model)
    with pytest.raises(ValueError, match="draws"):
        fit_of(dataclasses.replace(run, draws=None), known.model)


# --- log Z ----------------------------------------------------------------------------------


def posterior(log_z: float = 0.0) -> Normal:
    """Return a normal of two correlated parameters, times exp(``log_z``)."""
    return Normal([1, 2], [[1, 0.7], [0.7, 2]], log_z)


OWN = Model("own", "own", Path("own.stan"), None)
NEAR_Q = Gaussian(np.array([1.1, 2.1]), np.array([1.0, 1.3]))


def test_log_z_is_bridged_from_a_reference() -> None:
    """The constant of a normal, −3.25, within K errors, from draws that are worth a half."""
    target = posterior(-3.25)
    reference = Posterior(target.draw(2000, np.random.default_rng(1)), 1000.0, ())
    found = log_evidence(OWN, {}, target, reference, NEAR_Q, np.random.default_rng(2))
    assert "bridge" in found.source
    assert found.words == ""
    assert 0 < found.value.mcse < 0.05
    assert abs(found.value.value + 3.25) < K * found.value.mcse


def test_without_a_reference_q_is_weighted() -> None:
    """Weighted draws of q give the same constant, and a note says why they were used."""
    found = log_evidence(OWN, {}, posterior(-3.25), None, NEAR_Q, np.random.default_rng(3))
    assert "weighted" in found.source
    assert "reference" in found.source
    assert 0 < found.value.mcse < 0.05
    assert abs(found.value.value + 3.25) < K * found.value.mcse


def test_log_z_that_cannot_be_had_is_nan_with_words() -> None:
    """A q that is nowhere near: NaN, not zero, and a sentence with k-hat; so too without any p."""
    far = Gaussian(np.array([60.0, -60.0]), np.array([1e-2, 1e-2]))
    for target, q in ((posterior(), far), (cut(posterior(), -1e9), NEAR_Q)):
        found = log_evidence(OWN, {}, target, None, q, np.random.default_rng(4))
        assert math.isnan(found.value.value)
        assert math.isnan(found.value.mcse)
        assert found.source == "none"
        assert found.words


def test_a_reference_too_short_for_a_bridge_is_said() -> None:
    """Five draws: weighted draws of q in its place, with the bridge's own words."""
    target = posterior(2.0)
    reference = Posterior(target.draw(5, np.random.default_rng(1)), 5.0, ())
    found = log_evidence(OWN, {}, target, reference, NEAR_Q, np.random.default_rng(5))
    assert "weighted" in found.source
    assert "5 draws" in found.source
    assert abs(found.value.value - 2) < K * found.value.mcse


def test_a_known_log_z_that_does_not_fit_is_not_used(known: Known) -> None:
    """The lecture's formula on data that lack what it needs: NaN and words."""
    target = BridgeTarget(known.model)
    model = dataclasses.replace(OWN, reference="normal_mean")
    q = q_of(fit_of(known.runs["meanfield"], known.model))
    found = log_evidence(model, {}, target, None, q, np.random.default_rng(6))
    assert math.isnan(found.value.value)
    assert "do not fit" in found.words or "does not fit" in found.words


def test_log_z_of_a_program_is_the_same_from_q_and_from_draws(known: Known) -> None:
    """17 constrained parameters: where weights of q can tell it they agree with the bridge."""
    fits = {name: fit_of(run, known.model) for name, run in known.runs.items()}
    q = q_of(fits["meanfield"])
    target = BridgeTarget(known.model)
    rng = np.random.default_rng(7)
    # Draws of the posterior by resampling q's own, widened, by weight.
    wide = Gaussian(q.mean, 1.3 * q.factor)
    z = wide.draw(60_000, rng)
    weight = target.log_density(z) - wide.log_density(z)
    share = np.exp(weight - weight.max())
    log_z = weight.max() + math.log(share.mean())
    error = share.std() / share.mean() / math.sqrt(len(z))
    found = log_evidence(OWN, {}, target, None, q, rng)
    if math.isnan(found.value.value):
        assert "k-hat" in found.words
    else:
        assert abs(found.value.value - log_z) < K * math.hypot(error, found.value.mcse)
