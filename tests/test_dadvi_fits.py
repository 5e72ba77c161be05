"""What fits of deterministic ADVI deliver and say: Gaussians, doubts and faults in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dadvi_problems import fitted, problem
from scipy import special
from scipy.ndimage import gaussian_filter1d
from targets import Density, funnel, ill_conditioned

from harness.methods.bridged import FitError
from harness.methods.dadvi import DADVI, DADVI_LR, DADVI_PSIS
from harness.methods.dadvi_gaussian import (
    Judged,
    _drawn,
    _few_directions,
    fit_family,
    fit_response,
    optimum_of,
    response_of,
)
from harness.methods.dadvi_weighted import fit_weighted
from harness.methods.method import Method
from harness.records import FloatArray, Reason
from harness.vi.deterministic import (
    Optimum,
    StartError,
    large,
)
from harness.vi.deterministic.large import _others, low_rank
from harness.vi.roots import LowRankRoot
from harness.vi.target import Fitted, Target


def edged(kind: str) -> Density:
    """Return densities without a maximum or with a hard edge, as from careless programs."""

    def density(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        x = z[:, 0]
        if kind == "uniform":
            return np.where((x > 0) & (x < 1), 0.0, -np.inf), np.zeros_like(z)
        if kind == "half-normal":
            return np.where(x > 0, -0.5 * x**2, -np.inf), np.where(z > 0, -z, np.nan)
        if kind == "flat":
            return np.zeros(len(z)), np.zeros_like(z)
        if kind == "improper":
            return -x, -np.ones_like(z)
        return np.exp(-x), -np.exp(-z)

    return Density(1, density)


@pytest.mark.parametrize("kind", ["uniform", "half-normal", "flat", "improper", "pole"])
@pytest.mark.parametrize("dense_limit", [300, 0])
@pytest.mark.parametrize("seed", range(3))
def test_improper_densities_and_hard_edges_end_in_words(
    kind: str, dense_limit: int, seed: int
) -> None:
    """They end with a message, or in an optimum without a covariance, never in NumPy's errors."""
    try:
        found = fitted(edged(kind), seed, dense_limit=dense_limit)
    except StartError as error:
        assert "declare <lower=" in str(error)  # noqa: PT017
    else:
        assert found.covariance is None or found.error == math.inf
        assert np.isfinite(found.sd).all()
        assert not (found.settled and found.error <= 0.05)


@pytest.mark.parametrize("fit", [fit_family, fit_response, fit_weighted])
def test_a_program_without_parameters_is_an_error_in_words(fit: Callable[[Any], Fitted]) -> None:
    """All three methods report it."""
    with pytest.raises(FitError, match="the program has no parameters"):
        fit(problem(Density(0, lambda z: (np.zeros(len(z)), z)), DADVI))


@pytest.mark.parametrize("kind", ["uniform", "half-normal", "flat", "improper"])
@pytest.mark.parametrize("fit", [fit_family, fit_response, fit_weighted])
def test_careless_programs_get_words(fit: Callable[[Any], Fitted], kind: str) -> None:
    """The run fails, or its draws are not converged, with advice."""
    own = problem(edged(kind), DADVI_PSIS, family="meanfield")
    try:
        found = fit(own)
    except FitError as error:
        words = str(error)
    else:
        assert found.status == "not_converged"
        words = found.message
    assert "declare <lower=" in words


def test_linear_response_in_a_few_directions_says_what_they_leave() -> None:
    """All 30 directions are a note; fewer than the posterior has are a fault, with a true bound."""
    target = ill_conditioned(30)
    found = fitted(target, dense_limit=5, seconds=1e-6)
    q = _few_directions(problem(target, DADVI_LR), found, ())
    assert q.faults == ()
    assert q.notes[0].startswith("30 parameters are too many for a Hessian: linear response in 30")
    assert isinstance(q.factor, LowRankRoot)
    covariance = q.factor.times(np.eye(30)).T @ q.factor.times(np.eye(30))
    np.testing.assert_allclose(covariance, target.covariance, rtol=0.02, atol=1e-3)
    many = ill_conditioned(200)
    found = fitted(many, dense_limit=5, seconds=1e-6)
    rough = _few_directions(problem(many, DADVI_LR, conjugate_s=0.0), found, ())
    assert "linear response in 25 directions" in rough.faults[0].words
    left = low_rank(found.objective, found.theta, 1e-6, 0.0, np.random.default_rng(1))
    assert left.root is not None
    true = np.linalg.eigvalsh(_whitened(many.precision, left.root.times(np.eye(200))))
    assert 1.0 < left.wide <= 1.01 * true[0] ** -0.5
    assert 1.0 < left.narrow <= 1.01 * true[-1] ** 0.5


def test_eigenvalues_that_are_not_found_count_as_their_mean() -> None:
    """It is exact where P is diagonal, also if it is negative or unknown."""
    curvature = np.r_[8.0, 5.0, np.linspace(-0.5, 1.0, 38)]
    vectors, rng = np.eye(40)[:, :2], np.random.default_rng(1)

    def mean(P: FloatArray) -> float:
        return _others(P[:2], vectors, lambda v: P * v, rng)

    assert math.isclose(mean(curvature), curvature[2:].mean())
    assert math.isclose(mean(curvature - 0.5), curvature[2:].mean() - 0.5)
    assert math.isnan(mean(np.full(40, math.nan)))


@pytest.mark.parametrize("others", [-0.5, 0.0, math.nan])
def test_there_is_no_linear_response_if_other_eigenvalues_are_not_positive(
    others: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their mean is no curvature then, and the fit fails with it."""
    target = ill_conditioned(200)
    found = fitted(target, dense_limit=5, seconds=1e-6)
    monkeypatch.setattr(large, "_others", lambda *_: others)
    left = low_rank(found.objective, found.theta, 1e-6, 0.0, np.random.default_rng(1))
    assert left.root is None
    with pytest.raises(FitError, match="not positive definite"):
        _few_directions(problem(target, DADVI_LR, conjugate_s=0.0), found, ())


def _spectra(*, logistic: bool) -> Density:
    """Return a regression of 40 rows on 300 smooth columns, all coefficients N(0, 1)."""
    rng = np.random.default_rng(12)
    X = gaussian_filter1d(rng.normal(size=(80, 300)), 6.0, axis=1, mode="wrap")
    y = rng.integers(0, 2, 80) if logistic else rng.normal(size=80)

    def density(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        eta = z @ X.T
        if logistic:
            value, rest = y * eta - np.logaddexp(0, eta), y - special.expit(eta)
        else:
            rest = 10 * (y - eta)
            value = -0.5 * (y - eta) * rest
        return value.sum(axis=1) - 0.5 * (z**2).sum(axis=1), rest @ X - z

    return Density(300, density)


def test_a_regression_with_many_coefficients_without_a_hessian() -> None:
    """Independence is ten times off in some direction; half as many directions as parameters do."""
    target = _spectra(logistic=False)
    q, optimum = _without_hessian(target)
    _, slope = target.log_density_gradient(np.concatenate([np.eye(300), np.zeros((1, 300))]))
    precision = np.asarray(slope[-1] - slope[:-1], dtype=np.float64)
    alone = np.linalg.eigvalsh(_whitened(precision, np.diag(optimum.sd)))
    assert min(alone[0] ** -0.5, alone[-1] ** 0.5) > 5
    assert isinstance(q.factor, LowRankRoot)
    assert len(q.factor.stretch) < 160
    found = np.linalg.eigvalsh(_whitened(precision, q.factor.times(np.eye(300))))
    assert max(found[0] ** -0.5, found[-1] ** 0.5) < 1.25
    # Base draws leave errors in mean field's sds, which do not matter here.
    assert optimum.errors.log_sd.max() > 0.3 > optimum.error


def test_a_curvature_that_varies_takes_more_base_draws_and_says_what_it_lacks() -> None:
    """At the same cost a logistic regression gets fewer directions, and that is a fault."""
    target = _spectra(logistic=True)
    q, _ = _without_hessian(target)
    exact = fitted(target).covariance
    assert exact is not None
    assert isinstance(q.factor, LowRankRoot)
    found = np.linalg.eigvalsh(
        _whitened(np.asarray(np.linalg.inv(exact)), q.factor.times(np.eye(300)))
    )
    assert max(found[0] ** -0.5, found[-1] ** 0.5) > 1.15
    assert [fault.reason for fault in q.faults] == [Reason.APPROXIMATE_SDS]
    assert len(q.factor.stretch) < 50


def _without_hessian(target: Target) -> tuple[Judged, Optimum]:
    """Return linear response where a gradient is said to take so long that no Hessian is formed."""
    optimum = fitted(target, seconds=0.06, dense_limit=5)
    assert optimum.covariance is None
    assert optimum.root is None
    return response_of(problem(target, DADVI_LR, conjugate_s=180.0), optimum), optimum


def _whitened(precision: FloatArray, rows: FloatArray) -> FloatArray:
    return np.asarray(rows @ precision @ rows.T, dtype=np.float64)


def test_a_linear_response_that_is_worse_than_mean_field_says_so() -> None:
    """On a funnel it is hundreds of nats farther; on a correlated normal it is closer."""
    with np.errstate(over="ignore"):
        bad = fit_response(problem(funnel(10), DADVI_LR))
    assert bad.reason is Reason.LOWER_ELBO
    assert "nats below mean field's" in bad.message
    good = fit_response(problem(ill_conditioned(10), DADVI_LR))
    assert good.reason is None


def test_a_fit_that_its_own_weights_move_is_not_ok() -> None:
    """Twice as wide as the posterior: the run says by how much, and the sentence names it."""
    target = ill_conditioned(2)
    own = problem(target, DADVI_LR)
    own.draws = 10_000
    optimum = optimum_of(own, "response")
    found = _drawn(
        own, optimum, Judged(target.mean, np.asarray(2 * np.linalg.cholesky(target.covariance)))
    )
    assert (found.status, found.reason) == ("not_converged", Reason.MOVED)
    (doubt,) = found.doubts
    assert (doubt.reason, doubt.metric) == (Reason.MOVED, "tail")
    assert abs(abs(doubt.value) - 1.645) < 4 * doubt.mcse
    assert f"quantile of {doubt.quantity} is" in found.message
    # Of a normal twice as wide in two directions: ln 4 less (4 − 1).
    assert abs(found.diagnostics["kl"] - (3 - math.log(4))) < 4 * found.diagnostics["kl_error"]


def test_a_fit_that_its_own_weights_confirm_is_ok() -> None:
    """Linear response is exact on a normal: no doubt, and a divergence of 0 within 4 errors."""
    own = problem(ill_conditioned(10), DADVI_LR)
    own.draws = 10_000
    found = fit_response(own)
    assert (found.status, found.doubts) == ("ok", ())
    assert abs(found.diagnostics["kl"]) < 1e-3
    assert found.diagnostics["weight_ess"] > 9000


def test_an_improper_posterior_names_the_flat_direction() -> None:
    """The first parameter has no prior."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        return -0.5 * z[:, 1] ** 2, -z * [0, 1]

    words, reason = "no fit", None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        try:
            words = fit_family(problem(Density(2, function), DADVI, family="meanfield")).message
        except FitError as error:
            words, reason = str(error), error.reason
    assert words.endswith("log p does not fall along x[1]")
    assert reason is Reason.IMPROPER


@pytest.mark.parametrize("row", [DADVI, DADVI_LR])
def test_a_combination_that_nothing_identifies_ends_the_fit(row: Method) -> None:
    """Mean field has an optimum where only the sum has a density; the difference is named."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        off = z.sum(axis=1) - 3
        return -5 * off**2, np.repeat(-10 * off[:, None], 2, axis=1)

    with pytest.raises(FitError, match=r"log p does not fall along x\[1\] − x\[2\]$"):
        optimum_of(problem(Density(2, function), row), "meanfield")
