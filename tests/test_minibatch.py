"""ADVI on batches of rows, on regressions in NumPy whose best mean-field Gaussian is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from targets import LogisticRows, Rows

from harness.records import FloatArray
from harness.vi.families import MeanField
from harness.vi.minibatch import MinibatchFit, Settings, elbo, fit
from harness.vi.target import Clock


def regression(rows: int = 4003, beta: tuple[float, ...] = (1.0, 2.0, -1.0)) -> Rows:
    """Return a normal regression: correlated predictors that are not centred."""
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(rows), rng.random((rows, len(beta) - 1))])
    return Rows(x, x @ np.array(beta) + rng.normal(size=rows))


def logistic() -> LogisticRows:
    """Return a logistic regression on predictors of sds from 0.1 to 3."""
    rng = np.random.default_rng(2)
    x = np.column_stack([np.ones(3000), rng.normal(size=(3000, 3)) * [0.1, 1.0, 3.0]])
    y = rng.random(3000) < expit(x @ np.array([-0.5, 3.0, 1.0, -0.7]))
    return LogisticRows(x, y.astype(np.float64))


def fitted(model: Rows, seed: int, settings: Settings | None = None) -> MinibatchFit:
    """Fit from zero with unit sds."""
    start = MeanField(model.dimension).start(np.zeros(model.dimension))
    return fit(model.split(), start, np.random.default_rng(seed), Clock(), settings)


def test_a_regression_ends_at_the_best_mean_field_gaussian() -> None:
    """Means of the posterior within 0.02 sds of q, sds within 10% of 1/√Λᵢᵢ, in 3 seeds."""
    model = regression()
    x, y = model.all["x"], model.all["y"]
    precision = x.T @ x + np.eye(3) / Rows.prior_sd**2
    mean = np.linalg.solve(precision, x.T @ y)
    sd = 1 / np.sqrt(np.diag(precision))
    for seed in range(3):
        found = fitted(model, seed)
        assert found.status == "ok"
        assert found.phi is not None
        assert np.max(np.abs(found.phi[:3] - mean) / sd) < 0.02
        assert np.max(np.abs(found.phi[3:] - np.log(sd))) < math.log(1.1)


def test_a_logistic_regression_ends_where_quadrature_says() -> None:
    """Means within 0.05 sds and sds within 10% of the optimum of the ELBO by Gauss–Hermite."""
    model = logistic()
    x, y = model.all["x"], model.all["y"]
    node, weight = np.polynomial.hermite_e.hermegauss(20)
    weight = weight / weight.sum()

    def loss(phi: FloatArray) -> float:
        mu, variance = phi[:4], np.exp(2 * phi[4:])
        eta, spread = x @ mu, np.sqrt(x**2 @ variance)
        soft = np.logaddexp(0, eta[:, None] + spread[:, None] * node) @ weight
        prior = -0.5 * (mu**2 + variance).sum() / Rows.prior_sd**2
        return -float((y * eta - soft).sum() + prior + phi[4:].sum()) / len(y)

    best = minimize(loss, np.r_[np.zeros(4), np.full(4, -2.0)], tol=1e-9).x
    for seed in range(3):
        found = fitted(model, seed)
        assert found.phi is not None
        assert np.max(np.abs(found.phi[:4] - best[:4]) / np.exp(best[4:])) < 0.05
        assert np.max(np.abs(found.phi[4:] - best[4:])) < math.log(1.1)


def test_a_place_far_from_the_start_is_reached() -> None:
    """Coefficients of several hundred are reached, for which the first rate is too small."""
    model = regression(beta=(300.0, -600.0))
    x, y = model.all["x"], model.all["y"]
    precision = x.T @ x + np.eye(2) / Rows.prior_sd**2
    mean = np.linalg.solve(precision, x.T @ y)
    found = fitted(model, 1)
    assert found.status == "ok"
    assert found.phi is not None
    assert np.max(np.abs(found.phi[:2] - mean) * np.sqrt(np.diag(precision))) < 0.02


def test_it_does_not_stop_on_the_means_alone() -> None:
    """If log sds never count as equal, it continues to the last stage and reports it."""
    found = fitted(regression(), 1, Settings(tolerance_log_sd=0.0, stages=3))
    assert found.status == "not_converged"
    assert found.diagnostics["stages"] == 3
    assert found.diagnostics["mean_change"] < 0.02
    assert "in a log sd; allowed: 0.02 and 0;" in found.message


def test_one_stage_has_nothing_to_agree_with() -> None:
    """One stage is never converged, however close the fit is."""
    assert fitted(regression(), 1, Settings(stages=1)).status == "not_converged"


def test_the_elbo_is_that_of_all_rows() -> None:
    """Its estimate, and the trace's last tenth, are the closed form within 4 standard errors."""
    model = regression()
    found = fitted(model, 3)
    assert found.phi is not None
    x, y = model.all["x"], model.all["y"]
    mu, variance = found.phi[:3], np.exp(2 * found.phi[3:])
    exact = (
        -0.5 * ((y - x @ mu) ** 2).sum()
        - 0.5 * (x**2 @ variance).sum()
        - 0.5 * (mu**2 + variance).sum() / Rows.prior_sd**2
        + MeanField(3).entropy(found.phi)
    )
    value, error = elbo(model, found.phi, 200, np.random.default_rng(4))
    assert abs(value - exact) < 4 * error
    late = found.trace.elbo[-len(found.trace.elbo) // 10 :]
    # Within a nat besides: the iterates move about the average.
    assert abs(late.mean() - exact) < 4 * late.std() / math.sqrt(len(late)) + 1
    assert len(found.trace.elbo) <= 1000
    assert np.all(np.diff(found.trace.elapsed_s) > 0)
    assert found.trace.iteration[-1] == found.diagnostics["iterations"]


def test_the_model_sees_all_rows_in_the_end() -> None:
    """The next evaluation is the posterior of all rows."""
    model = regression()
    fitted(model, 1, Settings(stages=1))
    assert model.data["N"] == 4003
    assert model.data["s"] == 1


def test_the_same_seed_gives_the_same_fit() -> None:
    """Two fits with one seed are equal to the last bit."""
    one, two = (fitted(regression(), 5).phi for _ in range(2))
    assert one is not None
    assert two is not None
    np.testing.assert_array_equal(one, two)


def test_a_time_limit_ends_the_fit_with_its_trace() -> None:
    """The fit is timed out, without parameters but with its path."""
    target = regression().split()
    found = fit(target, np.zeros(6), np.random.default_rng(1), Clock(0.01))
    assert (found.status, found.phi) == ("timed_out", None)
    assert "time limit of 0.010 s" in found.message
    assert len(found.trace.elbo) >= 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_density_that_cannot_be_evaluated_ends_the_fit() -> None:
    """After a hundred steps without a finite gradient the fit has diverged."""
    model = regression()
    model.broken = True
    found = fitted(model, 1)
    assert (found.status, found.phi) == ("diverged", None)
    assert "100" in found.message
