"""The known log Z against densities of the data written another way."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scripts
from numpy.typing import NDArray
from scipy import integrate, special, stats

from harness.models.exact import SAMPLERS
from harness.models.exact_evidence import LOG_EVIDENCE, log_integral

FloatArray = NDArray[np.float64]
LogDensity = Callable[[FloatArray], FloatArray]

STAN = Path(__file__).parent.parent / "stan"
NATS = 1e-6
WITHOUT_DATA = ("student_t", "beta_unit", "mixture")


def small(model: str) -> dict[str, Any]:
    """Return a model's data; of simulated ones a few rows."""
    if (STAN / model / "data.json").is_file():
        data: dict[str, Any] = json.loads((STAN / model / "data.json").read_text(encoding="utf-8"))
        return data
    module = scripts.load(STAN / model / "data.py", f"data_{model}")
    made: dict[str, Any] = module.make_data(*{"wide_normal": (30, 4)}.get(model, (60,)))
    return made


def design(data: Mapping[str, Any]) -> FloatArray:
    """Return the predictors behind a column of ones."""
    return np.column_stack([np.ones(len(data["y"])), np.asarray(data["x"])])


def log_quad(log_density: Callable[[float], float], lower: float, upper: float) -> float:
    """Return the log of an integral by adaptive quadrature."""
    peak = max(log_density(v) for v in np.linspace(lower, upper, 400))
    found: float = integrate.quad(
        lambda v: math.exp(log_density(v) - peak), lower, upper, limit=400, epsabs=0, epsrel=1e-11
    )[0]
    return peak + math.log(found)


def test_every_exact_model_has_a_known_evidence() -> None:
    """The names are those of the exact samplers."""
    assert set(LOG_EVIDENCE) == set(SAMPLERS)


# --- the integral --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [0.5, 1.0, 3.7, 200.0, 20_000.0])
def test_the_integral_of_a_gamma_density_is_the_gamma_function(shape: float) -> None:
    """On the log scale, relative to its peak; wrong by less than its error and rounding."""
    peak = shape * math.log(shape) - shape

    def log_density(t: FloatArray) -> FloatArray:
        return np.asarray(-shape * (np.expm1(t) - t))

    found = log_integral(log_density, -200.0, 20.0)
    assert found.mcse < 1e-9
    rounding = 1e-15 * (10 + abs(peak))
    assert abs(found.value + peak - special.gammaln(shape)) < found.mcse + rounding


def test_the_error_tells_of_a_density_with_a_corner() -> None:
    """The trapezoidal rule is of second order there: the error said is larger than the true."""
    for corner in np.random.default_rng(1).uniform(-1, 1, 50):

        def log_density(t: FloatArray, corner: float = float(corner)) -> FloatArray:
            return np.asarray(-np.abs(t - corner))

        found = log_integral(log_density, -200.0, 200.0)
        assert found.mcse < 1e-2
        assert abs(found.value - math.log(2)) < found.mcse


@pytest.mark.parametrize(
    ("log_density", "says"),
    [
        (lambda t: -0.5 * t, "not negligible at the ends"),
        (lambda t: np.full_like(t, -np.inf), "peak .* is -inf"),
        (lambda t: np.where(t > 1, np.nan, -(t**2)), "peak .* is nan"),
        (lambda t: np.where(t > 1, np.inf, -(t**2)), "peak .* is inf"),
    ],
)
def test_what_has_no_integral_is_refused(log_density: LogDensity, says: str) -> None:
    """In words."""
    with pytest.raises(ValueError, match=says):
        log_integral(log_density, -20.0, 20.0)


# --- densities written another way ---------------------------------------------------------


def test_normal_mean_is_the_density_of_its_data() -> None:
    """Its x is normal with covariance I + 11ᵀ."""
    data = small("normal_mean")
    n = data["N"]
    expected = stats.multivariate_normal(np.zeros(n), np.eye(n) + 1).logpdf(data["x"])
    assert LOG_EVIDENCE["normal_mean"](data).value == pytest.approx(expected, abs=1e-9)


def test_conjugate_regression_is_the_density_of_its_data() -> None:
    """Its y is normal with covariance s²I + t²XXᵀ."""
    data = small("conjugate_regression")
    X = design(data)
    covariance = data["noise_sd"] ** 2 * np.eye(len(X)) + data["prior_sd"] ** 2 * X @ X.T
    expected = stats.multivariate_normal(np.zeros(len(X)), covariance).logpdf(data["y"])
    assert LOG_EVIDENCE["conjugate_regression"](data).value == pytest.approx(expected, abs=1e-8)


def test_inverse_gamma_normal_is_the_density_of_its_data() -> None:
    """Its x is Student-t with 4 degrees of freedom and shape 3/2 (I + 11ᵀ)."""
    data = small("inverse_gamma_normal")
    shape = 1.5 * (np.eye(data["N"]) + 1)
    expected = stats.multivariate_t(np.zeros(data["N"]), shape, df=4).logpdf(data["x"])
    assert LOG_EVIDENCE["inverse_gamma_normal"](data).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("model", ["linear_regression", "large_regression"])
def test_regressions_are_the_density_of_their_data(model: str) -> None:
    """Dense N(y; 0, σ²I + 400XXᵀ), integrated under a whole Cauchy's right half."""
    data = small(model)
    X, y = design(data), np.asarray(data["y"])

    def log_density(sigma: float) -> float:
        covariance = sigma**2 * np.eye(len(y)) + 400 * X @ X.T
        marginal = stats.multivariate_normal(np.zeros(len(y)), covariance)
        return float(marginal.logpdf(y)) + float(stats.cauchy(0, 10).logpdf(sigma))

    found = LOG_EVIDENCE[model](data)
    assert found.value == pytest.approx(log_quad(log_density, 0.25, 1.5), abs=1e-8)
    assert found.mcse < 1e-9


@pytest.mark.parametrize(
    ("x", "y"),
    [
        # Three rows: the density falls as σ⁻⁵ only.
        ([0, 1, 5], [3, -2, 40]),
        # A slope of 160, far out in its prior: one mode near σ = .01 and one near 300.
        ([0, 1, 2, 3, 4], [0.01, 160, 319.98, 480, 640.01]),
        # A predictor that does not vary: intercept and slope cannot be told apart.
        ([2, 2, 2, 2, 2, 2], [1, 3, 2, 5, 4, 0]),
        ([1e6, 1e6 + 1, 1e6 + 2, 1e6 + 3], [1, 3, 2, 5]),
    ],
)
def test_regressions_that_are_odd_are_whole(x: list[float], y: list[float]) -> None:
    """By Gauss–Legendre over log σ in 600 pieces, in all N left singular vectors of X."""
    vectors, singular, _ = np.linalg.svd(design({"x": x, "y": y}))
    variances = 400 * np.append(singular, np.zeros(len(y) - 2)) ** 2
    nodes, weights = np.polynomial.legendre.leggauss(10)
    log_sigma = (np.linspace(-8, 22, 600, endpoint=False)[:, None] + (nodes + 1) / 40).ravel()
    spread = np.sqrt(np.exp(2 * log_sigma)[:, None] + variances)
    log_p = stats.norm(0, spread).logpdf(vectors.T @ np.asarray(y)).sum(axis=1) + log_sigma
    log_p += stats.cauchy(0, 10).logpdf(np.exp(log_sigma)) + np.log(np.tile(weights, 600) / 40)
    found = LOG_EVIDENCE["linear_regression"]({"N": len(x), "x": x, "y": y})
    assert found.value == pytest.approx(float(special.logsumexp(log_p)), abs=NATS)
    assert found.mcse < NATS


def test_wide_normal_is_the_sum_of_its_columns() -> None:
    """Each column over its sd, under a whole normal's right half."""
    data = small("wide_normal")
    expected = 0.0
    for y in data["y"].T:

        def log_density(sd: float, y: FloatArray = y) -> float:
            # The flat mean integrates the likelihood to its value at ȳ times sd √(2π/N).
            likelihood = float(stats.norm(y.mean(), sd).logpdf(y).sum())
            likelihood += math.log(sd * math.sqrt(2 * math.pi / 30))
            return likelihood + float(stats.norm.logpdf(sd))

        expected += log_quad(log_density, 0.05, 8.0)
    found = LOG_EVIDENCE["wide_normal"](data)
    assert found.value == pytest.approx(expected, abs=1e-8)
    assert found.mcse < 1e-9


# --- data that have no evidence here -------------------------------------------------------


@pytest.mark.parametrize("model", ["wide_normal", "large_regression"])
def test_scaled_data_are_refused(model: str) -> None:
    """A minibatch's Z is another one."""
    with pytest.raises(ValueError, match=r"likelihood_scale is 2\.5"):
        LOG_EVIDENCE[model](small(model) | {"likelihood_scale": 2.5})


@pytest.mark.parametrize("model", sorted(set(LOG_EVIDENCE) - set(WITHOUT_DATA)))
def test_data_with_something_missing_are_refused(model: str) -> None:
    """Each variable in turn: not there, None, NaN, masked, or one element short."""
    data = small(model)
    for name, value in data.items():
        with pytest.raises(ValueError, match=f"^{name} is missing from the data"):
            LOG_EVIDENCE[model]({k: v for k, v in data.items() if k != name})
        holed = np.array(value, dtype=np.float64)
        holed.flat[-1] = np.nan
        masked = np.ma.masked_array(np.array(value, dtype=np.float64), np.isnan(holed))
        for bad in (None, holed, masked, holed.tolist()):
            with pytest.raises(ValueError, match=f"^{name} (has|does not)"):
                LOG_EVIDENCE[model](data | {name: bad})
        if holed.ndim:
            with pytest.raises(ValueError, match=r"shape .*; allowed: N = "):
                LOG_EVIDENCE[model](data | {name: value[:-1]})


@pytest.mark.parametrize(
    ("model", "changed", "says"),
    [
        ("linear_regression", {"N": 2, "x": [0, 1], "y": [1, 3]}, "2 rows for 2 coefficients"),
        ("linear_regression", {"N": 3, "x": [0, 1, 2], "y": [1, 3, 5]}, "straight line"),
        ("linear_regression", {"N": 3, "x": [0, 1, 2], "y": [0, 0, 0]}, "straight line"),
        ("linear_regression", {"N": 3, "x": [0, 1, [2]], "y": [1, 3, 5]}, "rows of one length"),
        ("linear_regression", {"N": 0, "x": [], "y": []}, "N = 0"),
        ("conjugate_regression", {"noise_sd": 0}, "noise_sd is 0; allowed: positive"),
        ("conjugate_regression", {"prior_sd": -1}, "prior_sd is -1; allowed: positive"),
        ("wide_normal", {"N": 3, "D": 2, "y": [[1, 2], [2, 2], [3, 2]]}, "column 2 of y is const"),
        ("wide_normal", {"N": 1, "D": 2, "y": [[1, 2]]}, "N is 1"),
        ("normal_mean", {"N": 30.7}, r"N = 30\.7"),
    ],
)
def test_data_without_a_posterior_are_refused(
    model: str, changed: dict[str, Any], says: str
) -> None:
    """Infinite Z and unusable data are refused."""
    with pytest.raises(ValueError, match=says):
        LOG_EVIDENCE[model](small(model) | changed)
