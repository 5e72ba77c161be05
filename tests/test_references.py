"""The exact samplers against closed forms, or against quadrature written another way.

A mean or variance of n draws may differ from its true value by 4.5 standard errors: with some
60 comparisons a right sampler fails in fewer than one seed of 2000.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scripts
from numpy.typing import NDArray
from scipy import integrate, special, stats

from harness.models import exact

STANDARD_ERRORS = 4.5
N = 20_000
STAN = Path(__file__).parent.parent / "stan"

FloatArray = NDArray[np.float64]


def load_json(model: str) -> dict[str, Any]:
    """Return a model's committed data."""
    data: dict[str, Any] = json.loads((STAN / model / "data.json").read_text(encoding="utf-8"))
    return data


def make_data(model: str, *args: int) -> dict[str, Any]:
    """Return a model's simulated data, of a smaller size."""
    module = scripts.load(STAN / model / "data.py", f"data_{model}")
    data: dict[str, Any] = module.make_data(*args)
    return data


def draw(model: str, data: Mapping[str, Any] | None = None, seed: int = 1) -> dict[str, FloatArray]:
    """Draw from a model's exact posterior."""
    given = load_json(model) if data is None else data
    return dict(exact.SAMPLERS[model](given, N, np.random.default_rng(seed)))


def assert_moments(draws: FloatArray, mean: float, variance: float) -> None:
    """Compare mean and variance with the truth, in standard errors."""
    se = np.sqrt(variance / draws.size)
    assert abs(draws.mean() - mean) < STANDARD_ERRORS * se
    squares = np.square(draws - mean)
    se_variance = squares.std(ddof=1) / np.sqrt(draws.size)
    assert abs(squares.mean() - variance) < STANDARD_ERRORS * se_variance


def quadrature(
    log_density: Callable[[float], float], lower: float, upper: float
) -> Callable[[Callable[[float], float]], float]:
    """Return the expectation under an unnormalised density on an interval."""
    peak = max(log_density(v) for v in np.linspace(lower, upper, 400))

    def integral(f: Callable[[float], float]) -> float:
        value: float = integrate.quad(
            lambda v: f(v) * np.exp(log_density(v) - peak), lower, upper, limit=400, epsabs=0
        )[0]
        return value

    total = integral(lambda _: 1.0)
    return lambda f: integral(f) / total


def test_inversion_gives_the_quantiles_of_a_gamma() -> None:
    """Every draw is the gamma quantile of the uniform number behind it, to 10⁻⁵ of the sd."""
    shape = 3.7
    got = exact.draw_by_inversion(
        lambda v: shape * v - np.exp(v), -60.0, 30.0, N, np.random.default_rng(5)
    )
    uniform = np.random.default_rng(5).random(N)
    expected = np.log(stats.gamma(shape).ppf(uniform))
    np.testing.assert_allclose(got, expected, atol=1e-5 * expected.std(), rtol=0)


def test_inversion_finds_a_narrow_density_in_a_wide_interval() -> None:
    """A peak between two points of the first grid is found, to 10⁻⁵ of its sd."""
    mean, sd = 3.000_1, 1e-7
    got = exact.draw_by_inversion(
        lambda v: -0.5 * np.square((v - mean) / sd), -100.0, 100.0, N, np.random.default_rng(5)
    )
    expected = stats.norm.ppf(np.random.default_rng(5).random(N))
    # 10⁻⁴: at sd 10⁻⁷ a double near 3 itself is only good to 4 · 10⁻⁹ sd, times the draws' tails.
    np.testing.assert_allclose((got - mean) / sd, expected, atol=1e-4, rtol=0)


def test_inversion_refuses_to_cut_mass_off() -> None:
    """A density that is still large at an end of the interval is an error, not a truncation."""
    with pytest.raises(ValueError, match="not negligible at the ends"):
        exact.draw_by_inversion(
            lambda v: -0.5 * np.square(v), 0.0, 10.0, 10, np.random.default_rng(1)
        )


def test_inversion_refuses_a_density_that_is_nowhere_finite() -> None:
    """NaN everywhere is an error."""
    with pytest.raises(ValueError, match="nowhere finite"):
        exact.draw_by_inversion(
            lambda v: np.full_like(v, np.nan), 0.0, 1.0, 10, np.random.default_rng(1)
        )


def test_student_t() -> None:
    """The shares beyond known quantiles are binomial (fourth moments are infinite)."""
    x = draw("student_t")["x"]
    for p in (0.01, 0.05, 0.5, 0.95, 0.99):
        share = float(np.mean(x < stats.t(3).ppf(p)))
        assert abs(share - p) < STANDARD_ERRORS * np.sqrt(p * (1 - p) / N)


def test_beta_unit() -> None:
    """Moments of θ and of its logit: digamma and trigamma functions."""
    draws = draw("beta_unit")
    a, b = 1001.0, 2.0
    assert_moments(draws["theta"], a / (a + b), stats.beta(a, b).var())
    assert_moments(
        draws["logit_theta"],
        float(special.digamma(a) - special.digamma(b)),
        float(special.polygamma(1, a) + special.polygamma(1, b)),
    )
    # Near 1 a double keeps 10⁻¹⁶ / (1 − θ) of the logit, here at worst 10⁻¹⁰.
    np.testing.assert_allclose(special.logit(draws["theta"]), draws["logit_theta"], rtol=1e-8)


def test_mixture() -> None:
    """Moments of x, x² and sin x of the two normals."""
    draws = draw("mixture")
    w, mu, v = np.array([0.2, 0.8]), np.array([-0.3, 0.5]), 0.01
    second = float(w @ (mu**2 + v))
    fourth = float(w @ (mu**4 + 6 * mu**2 * v + 3 * v**2))
    mean = float(w @ mu)
    sin1 = float(w @ np.sin(mu)) * np.exp(-v / 2)
    sin2 = 0.5 - 0.5 * float(w @ np.cos(2 * mu)) * np.exp(-2 * v)
    assert_moments(draws["x"], mean, second - mean**2)
    assert_moments(draws["x2"], second, fourth - second**2)
    assert_moments(draws["sin_x"], sin1, sin2 - sin1**2)


def test_conjugate_posterior_is_gaussian_conditioning() -> None:
    """Mean and Λ⁻¹ equal those got by conditioning (β, y) jointly on y."""
    data = load_json("conjugate_regression")
    X = np.column_stack([np.ones(50), data["x"]])
    y = np.array(data["y"])
    prior = data["prior_sd"] ** 2
    gain = prior * X.T @ np.linalg.inv(prior * X @ X.T + data["noise_sd"] ** 2 * np.eye(50))
    mean, precision = exact.conjugate_posterior(data)
    np.testing.assert_allclose(mean, gain @ y, rtol=1e-8)
    np.testing.assert_allclose(
        np.linalg.inv(precision), prior * np.eye(2) - gain @ X * prior, rtol=1e-6
    )


def test_conjugate_regression() -> None:
    """Means, variances and the covariance are those of the closed form."""
    draws = draw("conjugate_regression")
    mean, precision = exact.conjugate_posterior(load_json("conjugate_regression"))
    covariance = np.linalg.inv(precision)
    assert_moments(draws["intercept"], mean[0], covariance[0, 0])
    assert_moments(draws["slope"], mean[1], covariance[1, 1])
    total = draws["intercept"] + draws["slope"]
    assert_moments(total, mean.sum(), covariance.sum())


def check_regression(data: Mapping[str, Any], draws: Mapping[str, FloatArray]) -> None:
    """Compare with quadrature over σ of the dense marginal likelihood N(y; 0, σ²I + 400XXᵀ)."""
    X = np.column_stack([np.ones(len(data["y"])), np.asarray(data["x"])])
    y = np.asarray(data["y"])
    n, k = X.shape

    def log_density(sigma: float) -> float:
        marginal = stats.multivariate_normal(np.zeros(n), sigma**2 * np.eye(n) + 400 * X @ X.T)
        return float(marginal.logpdf(y)) + float(stats.halfcauchy(scale=10).logpdf(sigma))

    expect = quadrature(log_density, 0.3, 1.2)

    def conditional(sigma: float) -> tuple[FloatArray, FloatArray]:
        covariance = np.linalg.inv(X.T @ X / sigma**2 + np.eye(k) / 400)
        return covariance @ X.T @ y / sigma**2, covariance

    sigma_mean = expect(lambda s: s)
    assert_moments(draws["sigma"], sigma_mean, expect(lambda s: s**2) - sigma_mean**2)
    slopes = draws["slope"].reshape(N, -1)
    columns = np.column_stack([draws["intercept"], slopes])
    for direction in (*np.eye(k), np.ones(k)):

        def first(s: float, u: FloatArray = direction) -> float:
            return float(u @ conditional(s)[0])

        def second(s: float, u: FloatArray = direction) -> float:
            mean, covariance = conditional(s)
            return float(u @ covariance @ u + (u @ mean) ** 2)

        mean = expect(first)
        assert_moments(columns @ direction, mean, expect(second) - mean**2)


def test_linear_regression() -> None:
    """Moments of σ, the coefficients and their sum agree with quadrature over σ."""
    check_regression(load_json("linear_regression"), draw("linear_regression"))


def test_large_regression() -> None:
    """The same with two predictors, on 60 rows that quadrature can take."""
    data = make_data("large_regression", 60)
    check_regression(data, draw("large_regression", data))


def test_large_regression_centres_on_least_squares() -> None:
    """With all 50 000 rows the posterior is least squares' normal: priors weigh nothing."""
    data = make_data("large_regression")
    draws = draw("large_regression", data)
    X = np.column_stack([np.ones(50_000), data["x"]])
    beta, rss, *_ = np.linalg.lstsq(X, data["y"], rcond=None)
    variance = float(rss[0]) / 50_000
    covariance = variance * np.linalg.inv(X.T @ X)
    assert_moments(draws["intercept"], beta[0], covariance[0, 0])
    assert_moments(draws["slope"][:, 1], beta[2], covariance[2, 2])
    assert_moments(draws["sigma"], np.sqrt(variance), variance / 100_000)


def test_wide_normal() -> None:
    """Moments of every column's sd and mean agree with quadrature over the sd."""
    data = make_data("wide_normal", 30, 4)
    draws = draw("wide_normal", data)
    for d in range(4):
        y = data["y"][:, d]

        def log_density(sd: float, y: FloatArray = y) -> float:
            # The flat mean integrates the likelihood to its value at ȳ times sd √(2π/N).
            likelihood = float(stats.norm(y.mean(), sd).logpdf(y).sum()) + float(np.log(sd))
            return likelihood + float(stats.halfnorm.logpdf(sd))

        expect = quadrature(log_density, 0.05, 8.0)
        mean, second = expect(lambda s: s), expect(lambda s: s**2)
        assert_moments(draws["sd"][:, d], mean, second - mean**2)
        assert_moments(draws["mu"][:, d], float(y.mean()), second / 30)


@pytest.mark.parametrize(("model", "size"), [("wide_normal", 30), ("large_regression", 60)])
def test_a_minibatch_has_no_exact_posterior_here(model: str, size: int) -> None:
    """Data with a scaled likelihood are refused: their posterior is another one."""
    data = make_data(model, size) | {"likelihood_scale": 2.0}
    with pytest.raises(ValueError, match="likelihood_scale is 2"):
        draw(model, data)


def test_normal_mean() -> None:
    """Mean Σx/(N+1), variance 1/(N+1)."""
    x = np.array(load_json("normal_mean")["x"])
    assert_moments(draw("normal_mean")["m"], x.sum() / 31, 1 / 31)


def test_inverse_gamma_posterior_is_the_joint_density() -> None:
    """Log prior plus log likelihood less the closed form is one constant everywhere."""
    data = load_json("inverse_gamma_normal")
    x = np.array(data["x"])
    shape, scale, mean, weight = exact.inverse_gamma_posterior(data)
    gaps = [
        stats.invgamma(2, scale=3).logpdf(s)
        + stats.norm(0, np.sqrt(s)).logpdf(m)
        + stats.norm(m, np.sqrt(s)).logpdf(x).sum()
        - stats.invgamma(shape, scale=scale).logpdf(s)
        - stats.norm(mean, np.sqrt(s / weight)).logpdf(m)
        for s, m in [(0.5, -1.0), (1.0, 0.3), (2.7, 0.6), (9.0, 2.0)]
    ]
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-10)


def test_inverse_gamma_normal() -> None:
    """Moments of s are an inverse gamma's; m has variance E[s]/weight."""
    draws = draw("inverse_gamma_normal")
    shape, scale, mean, weight = exact.inverse_gamma_posterior(load_json("inverse_gamma_normal"))
    assert_moments(draws["s"], scale / (shape - 1), stats.invgamma(shape, scale=scale).var())
    assert_moments(draws["m"], mean, scale / (shape - 1) / weight)


@pytest.mark.parametrize("model", sorted(exact.SAMPLERS))
def test_draws_depend_on_the_generator_alone(model: str) -> None:
    """The same seed gives the same draws, another seed others; all are finite, n first."""
    small = {"wide_normal": (30, 4), "large_regression": (60,)}
    data = make_data(model, *small[model]) if model in small else load_json(model)
    one, again, other = draw(model, data, 3), draw(model, data, 3), draw(model, data, 4)
    for name, values in one.items():
        assert values.shape[0] == N
        assert np.all(np.isfinite(values))
        np.testing.assert_array_equal(values, again[name])
        assert not np.array_equal(values, other[name])
