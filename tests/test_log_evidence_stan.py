"""The known log Z against the Stan programs themselves.

Where both sides are closed forms or quadratures of smooth densities they agree to 1e-6 nats or
better; bridge sampling may differ by 5 of its standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from harness.methods.bridged import BridgeTarget
from harness.models import folders
from harness.models.data import load_data
from harness.models.exact import SAMPLERS, conjugate_posterior, inverse_gamma_posterior
from harness.models.exact_evidence import LOG_EVIDENCE
from harness.stan.bridge import BridgeModel, library
from harness.vi.bridge_sampling import bridge_sampling

if TYPE_CHECKING:
    from harness.stan import CmdStan

pytestmark = pytest.mark.stan

FloatArray = NDArray[np.float64]
Data = Mapping[str, Any]
Open = Callable[[str, Data], BridgeModel]
Posterior = Callable[[Data, FloatArray], FloatArray]

NATS = 1e-6
STANDARD_ERRORS = 5


def design(data: Data) -> FloatArray:
    """Return the predictors behind a column of ones."""
    return np.column_stack([np.ones(len(data["y"])), np.asarray(data["x"])])


def log_bessel_k(order: float, x: float) -> float:
    """Return log K of a large order by its uniform expansion (DLMF 10.41.4), to order⁻⁴."""
    z = x / order
    root = math.hypot(1, z)
    p = 1 / root
    eta = root + math.log(z / (1 + root))
    terms = (
        1,
        -(3 * p - 5 * p**3) / 24,
        (81 * p**2 - 462 * p**4 + 385 * p**6) / 1152,
        -(30375 * p**3 - 369603 * p**5 + 765765 * p**7 - 425425 * p**9) / 414720,
    )
    total = sum(t / order**k for k, t in enumerate(terms))
    return 0.5 * math.log(math.pi / (2 * order * root)) - order * eta + math.log(total)


def log_sd_integral(rows: int, squares: float) -> float:
    """Return log ∫ sd^(1−N) exp(−S/2sd² − sd²/2) d sd: sd² is generalised inverse Gaussian."""
    order = rows / 2 - 1
    return log_bessel_k(order, math.sqrt(squares)) - 0.5 * order * math.log(squares)


@pytest.fixture(scope="module")
def open_model(cmdstan: CmdStan) -> Open:
    """Return a function that opens a lecture model's program on data."""
    return lambda name, data: BridgeModel(
        library(folders.load(name).stan_file, cmdstan),
        {k: v for k, v in data.items() if np.size(v)},
    )


def unconstrained(model: BridgeModel, name: str, data: Data, n: int) -> FloatArray:
    """Return exact draws of a model's parameters on the unconstrained scale, ``(n, d)``."""
    draws = SAMPLERS[name](data, n, np.random.default_rng(1))
    bases = {p.split(".")[0] for p in model.constrained_names()}
    return np.stack([model.unconstrain({base: draws[base][i] for base in bases}) for i in range(n)])


@pytest.mark.parametrize(
    ("name", "centre", "scale"),
    [
        ("student_t", 0.0, 1.0),
        ("beta_unit", 6.5, 0.7),
        ("mixture", 0.1, 0.5),
        ("normal_mean", 0, 1),
    ],
)
def test_one_parameter(open_model: Open, name: str, centre: float, scale: float) -> None:
    """The trapezoidal rule on z = centre + scale sinh u, so that heavy tails end too."""
    data = load_data(folders.load(name))
    u = np.linspace(-18, 18, 20_001)
    z = centre + scale * np.sinh(u)
    log_p = open_model(name, data).log_density(z[:, None]).value
    inside = log_p > log_p[np.isfinite(log_p)].max() - 60
    integrand = np.where(inside, np.exp(np.where(inside, log_p - log_p[inside].max(), 0)), 0)
    total = float(np.trapezoid(integrand * scale * np.cosh(u), u))
    assert LOG_EVIDENCE[name](data).value == pytest.approx(
        log_p[inside].max() + math.log(total), abs=NATS
    )


@pytest.mark.parametrize("name", ["conjugate_regression", "inverse_gamma_normal", "wide_normal"])
def test_two_parameters(open_model: Open, name: str) -> None:
    """The trapezoidal rule in two dimensions, in the axes and sds of exact draws."""
    data = load_data(folders.load(name))
    if name == "wide_normal":
        data |= {"N": 30, "D": 1, "y": np.asarray(data["y"])[:30, :1]}
    model = open_model(name, data)
    draws = unconstrained(model, name, data, 2000)
    factor = np.linalg.cholesky(np.cov(draws, rowvar=False))
    u = np.linspace(-14, 14, 281)
    grid = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2)
    log_p = model.log_density(draws.mean(axis=0) + grid @ factor.T).value
    peak = float(log_p.max())
    edge = np.abs(grid).max(axis=1) == u[-1]
    assert log_p[edge].max() < peak - 25
    area = (u[1] - u[0]) ** 2 * float(np.prod(np.diag(factor)))
    total = peak + math.log(float(np.exp(log_p - peak).sum()) * area)
    assert LOG_EVIDENCE[name](data).value == pytest.approx(total, abs=NATS)


def normal_mean(data: Data, z: FloatArray) -> FloatArray:
    """Return log p(m | data), closed form."""
    weight = len(data["x"]) + 1
    return np.asarray(stats.norm(np.sum(data["x"]) / weight, weight**-0.5).logpdf(z[:, 0]))


def conjugate_regression(data: Data, z: FloatArray) -> FloatArray:
    """Return log p(intercept, slope | data), closed form."""
    mean, precision = conjugate_posterior(data)
    return np.asarray(stats.multivariate_normal(mean, np.linalg.inv(precision)).logpdf(z))


def inverse_gamma_normal(data: Data, z: FloatArray) -> FloatArray:
    """Return log p(log s, m | data), closed form."""
    shape, scale, mean, weight = inverse_gamma_posterior(data)
    s = np.exp(z[:, 0])
    log_s = stats.invgamma(shape, scale=scale).logpdf(s) + z[:, 0]
    return np.asarray(log_s + stats.norm(mean, np.sqrt(s / weight)).logpdf(z[:, 1]))


def wide_normal(data: Data, z: FloatArray) -> FloatArray:
    """Return log p(mu, log sd | data), closed form with Bessel functions."""
    y = np.asarray(data["y"])
    rows, columns = y.shape
    squares = np.square(y - y.mean(axis=0)).sum(axis=0)
    mu, log_sd = z[:, :columns], z[:, columns:]
    sd = np.exp(log_sd)
    norm = np.array([log_sd_integral(rows, float(s)) for s in squares])
    # 2 − N is 1 − N and the Jacobian of the logarithm.
    log_p = (2 - rows) * log_sd - squares / (2 * sd**2) - sd**2 / 2 - norm
    log_p += stats.norm(y.mean(axis=0), sd / math.sqrt(rows)).logpdf(mu)
    return np.asarray(log_p.sum(axis=1))


def beta_unit(_: Data, z: FloatArray) -> FloatArray:
    """Return log p(logit theta), closed form: θ^1001 (1 − θ)² with the Jacobian."""
    log_p = 1001 * special.log_expit(z[:, 0]) + 2 * special.log_expit(-z[:, 0])
    return np.asarray(log_p - special.betaln(1001, 2))


def mixture(_: Data, z: FloatArray) -> FloatArray:
    """Return log p(x), closed form."""
    left, right = 0.2 * stats.norm(-0.3, 0.1).pdf(z[:, 0]), stats.norm(0.5, 0.1).pdf(z[:, 0])
    return np.asarray(np.log(left + 0.8 * right))


def student_t(_: Data, z: FloatArray) -> FloatArray:
    """Return log p(x), closed form."""
    return np.asarray(stats.t(3).logpdf(z[:, 0]))


@pytest.mark.parametrize(
    ("posterior", "draws", "nats"),
    [
        (student_t, 50, 1e-9),
        (beta_unit, 50, 1e-9),
        (mixture, 50, 1e-9),
        (normal_mean, 50, 1e-9),
        (conjugate_regression, 50, 1e-9),
        (inverse_gamma_normal, 50, 1e-9),
        # The program's sums of squares cancel to a few 10⁻¹⁴ of six million nats.
        (wide_normal, 20, 1e-5),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_stans_density_is_the_posteriors_times_one_constant(
    open_model: Open, posterior: Posterior, draws: int, nats: float
) -> None:
    """Its log less the closed form of log p(z | data) is log Z at every point, for all data."""
    name = posterior.__name__
    data = load_data(folders.load(name))
    model = open_model(name, data)
    z = unconstrained(model, name, data, draws)
    gap = model.log_density(z).value - posterior(data, z)
    np.testing.assert_allclose(gap, LOG_EVIDENCE[name](data).value, rtol=0, atol=nats)


@pytest.mark.parametrize("name", ["linear_regression", "large_regression"])
def test_regressions_with_their_coefficients_out(open_model: Open, name: str) -> None:
    """Stan's density over the coefficients' normal given σ depends on σ alone; it sums to Z."""
    data = load_data(folders.load(name))
    model = open_model(name, data)
    X, y = design(data), np.asarray(data["y"])
    rng = np.random.default_rng(1)
    gram, cross, k = X.T @ X, X.T @ y, X.shape[1]
    sigmas = unconstrained(model, name, data, 1000)[:, -1]
    grid = sigmas.mean() + sigmas.std() * np.linspace(-12, 12, 201)
    marginal = np.empty((2, len(grid)))
    for i, log_sigma in enumerate(grid):
        covariance = np.linalg.inv(gram * math.exp(-2 * log_sigma) + np.eye(k) / 400)
        given = stats.multivariate_normal(covariance @ cross * math.exp(-2 * log_sigma), covariance)
        beta = given.rvs(2, random_state=rng)
        z = np.column_stack([beta, [log_sigma, log_sigma]])
        marginal[:, i] = model.log_density(z).value - given.logpdf(beta)
    np.testing.assert_allclose(marginal[0], marginal[1], rtol=0, atol=NATS / 10)
    peak = float(marginal.max())
    assert max(marginal[0, 0], marginal[0, -1]) < peak - 25
    total = peak + math.log(float(np.trapezoid(np.exp(marginal[0] - peak), grid)))
    assert LOG_EVIDENCE[name](data).value == pytest.approx(total, abs=NATS)


@pytest.mark.parametrize(
    "name",
    ["linear_regression", "large_regression", "conjugate_regression", "inverse_gamma_normal"],
)
def test_bridge_sampling_agrees(open_model: Open, name: str) -> None:
    """It agrees within 5 standard errors, which are under 0.05 nats."""
    data = load_data(folders.load(name))
    model = open_model(name, data)
    z = unconstrained(model, name, data, 3000)
    found = bridge_sampling(BridgeTarget(model), z, 1.0, np.random.default_rng(2))
    assert found.words == ""
    assert found.error < 0.05
    assert abs(found.value - LOG_EVIDENCE[name](data).value) < STANDARD_ERRORS * found.error


def test_bessels_function_of_large_order() -> None:
    """The expansion that the next test rests on, against SciPy where SciPy can."""
    for order, x in [(50.0, 20.0), (80.0, 200.0), (100.0, 100.0)]:
        expected = math.log(special.kve(order, x)) - x
        assert log_bessel_k(order, x) == pytest.approx(expected, abs=10 / order**4)


def test_wide_normal_with_all_rows_has_a_closed_form() -> None:
    """40 000 rows of 100 columns: Bessel functions, within the error said, and that under 1e-6."""
    data = load_data(folders.load("wide_normal"))
    y = np.asarray(data["y"])
    rows, columns = y.shape
    squares = np.square(y - y.mean(axis=0)).sum(axis=0)
    constant = -rows / 2 * math.log(2 * math.pi) - 0.5 * math.log(rows)
    expected = columns * constant + math.fsum(log_sd_integral(rows, float(s)) for s in squares)
    found = LOG_EVIDENCE["wide_normal"](data)
    assert found.mcse < NATS
    assert abs(found.value - expected) < NATS
