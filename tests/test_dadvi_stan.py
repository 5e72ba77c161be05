"""Deterministic ADVI on the lecture's programs, against their exact posteriors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.methods.bridged import BridgeTarget
from harness.methods.dadvi import DADVI, DADVI_LR, DADVI_PSIS
from harness.methods.method import Method
from harness.models import folders
from harness.models.data import load_data
from harness.models.exact import SAMPLERS, conjugate_posterior
from harness.records import Program, RunContext, RunResult, RunSpec
from harness.stan.bridge import BridgeModel, library

if TYPE_CHECKING:
    from harness.records import FloatArray
    from harness.stan import CmdStan

pytestmark = pytest.mark.stan

Run = Callable[..., RunResult]

TRUTH = 40_000
"""Exact draws: with 10 000 of a method the standard error of a bias is .011 sd."""


@pytest.fixture(scope="module")
def run(cmdstan: CmdStan, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs a method on a lecture model, in this process."""
    scratch = tmp_path_factory.mktemp("scratch")

    def once(name: str, method: Method, seed: int = 1, **options: Any) -> RunResult:
        model = folders.load(name)
        program = Program(
            model.stan_file, {}, Path("unused"), cmdstan.path, library(model.stan_file, cmdstan)
        )
        context = RunContext(program, model.data_file, 300.0, 7000 + seed)
        spec = RunSpec(name, method.name, {**method.defaults, **options}, seed, method.draws)
        return method.run(spec, context, scratch)

    return once


@dataclass(frozen=True, slots=True)
class Distance:
    """The largest errors over all quantities: in sds, and as ln of the ratio of widths."""

    bias: float
    width: float
    tail: float


def summary(values: FloatArray) -> FloatArray:
    """Return mean, 5% and 95% quantiles."""
    return np.array([values.mean(), *np.quantile(values, [0.05, 0.95])])


def distance(one: FloatArray, two: FloatArray) -> Distance:
    """Return how far the first sample is from the second."""
    a, b, sd = summary(one), summary(two), float(two.std())
    width = math.log((a[2] - a[1]) / (b[2] - b[1]))
    return Distance(abs(a[0] - b[0]) / sd, abs(width), float(np.abs(a - b)[1:].max()) / sd)


def worst(result: RunResult) -> Distance:
    """Return the largest errors of a run, against exact draws of its model."""
    assert result.draws is not None, result.message
    model = folders.load(result.spec.model)
    exact = SAMPLERS[model.name](load_data(model), TRUTH, np.random.default_rng(5))
    found = [distance(result.draws.quantity(name)[0], truth) for name, truth in exact.items()]
    return Distance(
        max(d.bias for d in found), max(d.width for d in found), max(d.tail for d in found)
    )


@pytest.mark.parametrize("method", [DADVI_LR, DADVI_PSIS], ids=["lr", "psis"])
@pytest.mark.parametrize("name", ["linear_regression", "conjugate_regression", "normal_mean"])
@pytest.mark.parametrize("seed", [1, 2])
def test_linear_response_is_close(run: Run, name: str, method: Method, seed: int) -> None:
    """Comfortably: biases under .06 sd, widths within 10%, tails within .15 sd."""
    result = run(name, method, seed)
    assert result.status == "ok", result.message
    found = worst(result)
    assert found.bias < 0.06
    assert found.width < math.log(1.1)
    assert found.tail < 0.15


def test_weights_correct_the_skewed_variance(run: Run) -> None:
    """With 20 points the variance is skewed, and PSIS is right up to Monte Carlo error."""
    result = run("inverse_gamma_normal", DADVI_PSIS)
    assert result.status == "ok", result.message
    assert result.draws is not None
    assert result.draws.log_q is None
    # Five standard errors of a mean, and of a 95% quantile of a skewed quantity. k-hat is no gate.
    count = min(result.draws.values.shape[1], result.diagnostics["weight_ess"])
    assert count >= 3000
    found = worst(result)
    assert found.bias < 5 / math.sqrt(count)
    assert found.tail < 20 / math.sqrt(count)


def test_plain_dadvi_has_only_the_widths_wrong(run: Run) -> None:
    """Means within .05 sd; sds those of the best mean-field Gaussian, half the posterior's."""
    result = run("conjugate_regression", DADVI)
    found = worst(result)
    assert found.bias < 0.05
    assert found.width > math.log(1.5)
    assert result.draws is not None
    data = load_data(folders.load("conjugate_regression"))
    precision = conjugate_posterior(data).precision
    expected = 1 / np.sqrt(np.diag(precision))
    sds = result.draws.values[0].std(axis=0)
    # The sd of 10 000 draws is known to 0.7%; four of them.
    np.testing.assert_allclose(sds, expected, rtol=0.028)


def test_the_full_rank_family_has_the_widths(run: Run) -> None:
    """The family contains the posterior of conjugate_regression."""
    result = run("conjugate_regression", DADVI, family="fullrank")
    assert result.status == "ok", result.message
    found = worst(result)
    assert found.bias < 0.05
    assert found.width < math.log(1.05)


def test_a_family_that_does_not_exist_is_a_failed_run(run: Run) -> None:
    """The message names the families."""
    result = run("normal_mean", DADVI, family="both")
    assert result.status == "failed"
    assert "allowed: meanfield or fullrank" in result.message


@pytest.mark.parametrize("method", [DADVI, DADVI_LR, DADVI_PSIS], ids=lambda m: m.name)
def test_on_the_mixture_the_basins_are_announced(run: Run, method: Method) -> None:
    """Without any reference: two basins, a fifth of the mass in the other; draws are kept."""
    for seed in (1, 2, 3):
        result = run("mixture", method, seed)
        assert result.status == "not_converged"
        assert result.message.startswith("2 basins found: a Gaussian can hold only one")
        assert "about 20% of the mass" in result.message
        assert result.diagnostics["basins"] == 2
        assert abs(result.diagnostics["basin_gap"] - math.log(4)) < 0.01
        assert result.draws is not None
        assert "basin 2: ELBO −1.6094" in result.console


def test_the_trace_rises_to_the_elbo(run: Run) -> None:
    """On linear_regression the trace has all iterations in order and ends at the ELBO."""
    result = run("linear_regression", DADVI)
    trace = result.trace
    assert trace is not None
    assert len(trace.elbo) == result.diagnostics["iterations"]
    assert abs(trace.elbo[-1] - result.diagnostics["elbo"]) < 1e-6
    assert np.all(np.diff(trace.elapsed_s) >= 0)
    assert 0 <= trace.elapsed_s[0] <= trace.elapsed_s[-1] <= result.cost.seconds


def test_the_drug_trial_is_right_but_for_nu(run: Run, cmdstan: CmdStan) -> None:
    """Linear response is close on the exercise's answers; importance weights fix nu too.

    The truth is 200 000 draws of a multivariate t about linear response's Gaussian, weighted.
    """
    model = folders.load("drug_trial")
    bridge = BridgeModel(library(model.stan_file, cmdstan), load_data(model))
    names = bridge.constrained_names(transformed=True, generated=True)
    exact = dict(zip(names, _weighted_truth(BridgeTarget(bridge), bridge).T, strict=True))
    linear, weighted = run("drug_trial", DADVI_LR), run("drug_trial", DADVI_PSIS)
    for result in (linear, weighted):
        assert result.status == "ok", result.message
        assert result.draws is not None
        for name in ("difference_of_means", "difference_of_sds", "effect_size"):
            found = distance(result.draws.quantity(name)[0], exact[name])
            assert found.bias < 0.1, name
            assert found.width < math.log(1.15), name
            assert found.tail < 0.2, name
    assert weighted.draws is not None
    found = distance(weighted.draws.quantity("nu")[0], exact["nu"])
    assert found.bias < 0.1
    assert found.width < math.log(1.15)
    assert found.tail < 0.2


def _weighted_truth(target: BridgeTarget, bridge: BridgeModel) -> FloatArray:
    """Return 20 000 resampled constrained draws, by weights of 200 000."""
    from harness.vi import deterministic
    from harness.vi.deterministic import importance
    from harness.vi.target import Clock

    rng = np.random.default_rng(11)
    optimum = deterministic.fit(target, rng, Clock())
    assert optimum.covariance is not None
    nu, n, d = 6.0, 200_000, target.dimension
    factor = 1.15 * np.linalg.cholesky(optimum.covariance)
    unit = rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(nu, size=(n, 1)) / nu)
    z = optimum.mean + unit @ factor.T
    log_w = target.log_density(z) + 0.5 * (nu + d) * np.log1p((unit**2).sum(axis=1) / nu)
    weight = np.exp(log_w - log_w.max())
    assert weight.sum() ** 2 / (weight**2).sum() > 40_000
    kept = z[importance.systematic(weight / weight.sum(), 20_000, rng)]
    values, _ = bridge.constrain(kept, transformed=True, generated=True)
    return values
