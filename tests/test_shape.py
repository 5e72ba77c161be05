"""The shape of posteriors: known answers, known non-answers, and errors that hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import special, stats
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter

from harness import metrics
from harness.metrics import funnels, influence, shape
from harness.records import Estimate

if TYPE_CHECKING:
    from harness.records import FloatArray

    Draw = Callable[[np.random.Generator, tuple[int, ...]], FloatArray]
    Pairs = Callable[[np.random.Generator, int], FloatArray]

N = 4000
REPETITIONS = 20

DRAWS: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "exponential": lambda rng, size: rng.exponential(size=size),
    "uniform": lambda rng, size: rng.random(size),
    "logistic": lambda rng, size: rng.logistic(size=size),
    "t10": lambda rng, size: rng.standard_t(10, size),
    "t3": lambda rng, size: rng.standard_t(3, size),
}
L_MOMENTS = {
    "normal": (0.0, 0.122602),
    "exponential": (1 / 3, 1 / 6),
    "uniform": (0.0, 0.0),
    "logistic": (0.0, 1 / 6),
    "t10": (0.0, 0.154157),
    "t3": (0.0, 0.261216),
}
"""τ₃ and τ₄ (Hosking, 1990, table 1); Student's by quadrature, as in ``_student`` below."""

MOMENTS = {"normal": (0.0, 0.0), "uniform": (0.0, -1.2), "logistic": (0.0, 1.2)}
"""Skewness and excess kurtosis, where 4000 draws settle them."""


def tails(found: metrics.Shape) -> str:
    """Name tails whose excess differs from zero by 4 errors, and by that of a t with 15 df."""
    value, error = found.tail_excess
    if not abs(value) > max(4 * error, 0.02) or math.isnan(error):
        return ""
    return "heavy" if value > 0 else "light"


def _ar(rng: np.random.Generator, size: tuple[int, int], rho: float) -> FloatArray:
    """Stationary standard normal AR(1) chains, worth (1 − ρ)/(1 + ρ) of their draws."""
    start = rng.normal(size=(1, size[1]))
    noise = math.sqrt(1 - rho**2) * rng.normal(size=(size[0] - 1, size[1]))
    return np.asarray(lfilter([1], [1, -rho], np.concatenate([start, noise]), axis=0))


def _z(estimates: list[Estimate], truth: float) -> FloatArray:
    return np.array([(e.value - truth) / e.mcse for e in estimates])


def _student(nu: float) -> tuple[float, float]:
    """Return τ₄ and the best Gaussian's nats for a Student t, both by quadrature."""
    t = np.linspace(0, 40, 20_001)
    weight = 2 * special.expit(t) * special.expit(-t) * (t[1] - t[0])
    weight[0] /= 2
    v = 2 * special.expit(t) - 1
    q = -stats.t.ppf(special.expit(-t), nu)
    # P₁ and P₃ of Legendre at v; both are odd, as the quantile function is.
    tau4 = float(np.sum(weight * q * (5 * v**3 - 3 * v) / 2) / np.sum(weight * q * v))
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    weights /= weights.sum()

    def nats(log_s: float) -> float:
        entropy = log_s + 0.5 * math.log(2 * math.pi * math.e)
        return float(-entropy - weights @ stats.t.logpdf(math.exp(log_s) * nodes, nu))

    return tau4, float(minimize_scalar(nats, bounds=(-1, 2), method="bounded").fun)


def _of(tau3: float, tau4: float) -> metrics.Shape:
    none = Estimate(0.0, 0.0)
    return metrics.Shape(none, none, Estimate(tau3, 0.0), Estimate(tau4, 0.0), settled=True)


@pytest.mark.parametrize("name", L_MOMENTS)
def test_l_moments_are_the_known_ones(name: str) -> None:
    """τ₃ and τ₄ come out within 4 errors in twenty repetitions (5 for t3: its errors vary)."""
    limit = 5 if name == "t3" else 4
    rng = np.random.default_rng(1)
    shapes = metrics.marginal_shapes(DRAWS[name](rng, (N, REPETITIONS)), N)
    assert np.all(np.abs(_z([s.l_skewness for s in shapes], L_MOMENTS[name][0])) < limit)
    assert np.all(np.abs(_z([s.l_kurtosis for s in shapes], L_MOMENTS[name][1])) < limit)


def test_l_moments_match_their_definition() -> None:
    """On few draws τ₃ and τ₄ agree with the unbiased ones over all subsets to order 1/n."""
    x = np.random.default_rng(2).gamma(2.0, size=(100, 1))
    (found,) = metrics.marginal_shapes(x, 100)
    ordered, i, n = np.sort(x[:, 0]), np.arange(100), 100
    b = [np.mean(special.comb(i, r) / special.comb(n - 1, r) * ordered) for r in range(4)]
    l2 = 2 * b[1] - b[0]
    l3 = 6 * b[2] - 6 * b[1] + b[0]
    l4 = 20 * b[3] - 30 * b[2] + 12 * b[1] - b[0]
    assert found.l_skewness.value == pytest.approx(l3 / l2, abs=2 / n)
    assert found.l_kurtosis.value == pytest.approx(l4 / l2, abs=2 / n)


@pytest.mark.parametrize("name", MOMENTS)
def test_moments_are_the_known_ones(name: str) -> None:
    """Skewness and excess kurtosis come out within 4 errors in twenty repetitions."""
    rng = np.random.default_rng(3)
    shapes = metrics.marginal_shapes(DRAWS[name](rng, (N, REPETITIONS)), N)
    settled = [s for s in shapes if s.settled]
    assert len(settled) >= 0.8 * REPETITIONS
    assert np.all(np.abs(_z([s.skewness for s in shapes], MOMENTS[name][0])) < 4)
    assert np.all(np.abs(_z([s.excess_kurtosis for s in settled], MOMENTS[name][1])) < 4)


@pytest.mark.parametrize("name", L_MOMENTS)
def test_errors_of_l_moments_are_calibrated(name: str) -> None:
    """Over 200 repetitions the z-scores of τ₃ and τ₄ have an sd from 0.8 to 1.25."""
    shapes = metrics.marginal_shapes(DRAWS[name](np.random.default_rng(4), (N, 200)), N)
    tau3, tau4 = L_MOMENTS[name]
    assert 0.8 < np.std(_z([s.l_skewness for s in shapes], tau3)) < 1.25
    assert 0.8 < np.std(_z([s.l_kurtosis for s in shapes], tau4)) < 1.25


@pytest.mark.parametrize("name", MOMENTS)
def test_errors_of_moments_are_calibrated(name: str) -> None:
    """Over 200 repetitions the z-scores of settled moments have an sd from 0.8 to 1.25."""
    shapes = metrics.marginal_shapes(DRAWS[name](np.random.default_rng(5), (N, 200)), N)
    settled = [s.excess_kurtosis for s in shapes if s.settled]
    assert 0.8 < np.std(_z([s.skewness for s in shapes], MOMENTS[name][0])) < 1.25
    assert 0.8 < np.std(_z(settled, MOMENTS[name][1])) < 1.25


def test_autocorrelated_draws_raise_no_false_alarm() -> None:
    """AR(1) chains with their effective size stay within 4 errors; taken as i.i.d. errors grow."""
    rho = 0.9
    worth = N * (1 - rho) / (1 + rho)
    z = _ar(np.random.default_rng(6), (N, 200), rho)
    shapes = metrics.marginal_shapes(z, worth)
    for estimates, truth in (
        ([s.l_skewness for s in shapes], 0.0),
        ([s.l_kurtosis for s in shapes], shape.NORMAL_TAU4),
        ([s.skewness for s in shapes], 0.0),
    ):
        scores = _z(estimates, truth)
        assert np.all(np.abs(scores) < 4)
        assert np.std(scores) < 1.25
    assert [tails(s) for s in shapes] == [""] * 200


def test_batch_means_notice_a_flattering_effective_size() -> None:
    """Chains of ρ = 0.8 declared independent: the z-scores of τ₃ have an sd of about 1, not 2."""
    shapes = metrics.marginal_shapes(_ar(np.random.default_rng(7), (N, 200), 0.8), N)
    assert 0.8 < np.std(_z([s.l_skewness for s in shapes], 0.0)) < 1.3


def test_student_with_three_degrees_has_no_fourth_moment() -> None:
    """The error of neither moment is known, at 4000 draws and at 40 000."""
    rng = np.random.default_rng(8)
    for n in (N, 10 * N):
        shapes = metrics.marginal_shapes(rng.standard_t(3, size=(n, 40)), n)
        assert not any(s.settled for s in shapes)
        assert all(math.isinf(s.excess_kurtosis.mcse) for s in shapes)
        assert all(math.isinf(s.skewness.mcse) for s in shapes)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("normal", ""),
        ("exponential", ""),
        ("uniform", "light"),
        ("logistic", "heavy"),
        ("t3", "heavy"),
    ],
)
def test_tails_are_named(name: str, expected: str) -> None:
    """Tails are named in twenty of twenty repetitions, and skewness alone is not a tail."""
    rng = np.random.default_rng(9)
    shapes = metrics.marginal_shapes(DRAWS[name](rng, (N, REPETITIONS)), N)
    assert [tails(s) for s in shapes] == [expected] * REPETITIONS


@pytest.mark.parametrize("nu", [2.0, 3.0, 5.0, 10.0, 30.0, 100.0])
def test_tail_nats_are_those_of_student(nu: float) -> None:
    """The formula is within 12% of the best Gaussian's nats by quadrature, skew zero."""
    tau4, nats = _student(nu)
    found = _of(0.0, tau4)
    assert found.tail_nats.value == pytest.approx(nats, rel=0.12)
    assert found.skew_nats.value == 0.0


@pytest.mark.parametrize("b", [2.2, 3.0, 4.0, 6.0, 8.0])
def test_tail_nats_of_light_tails(b: float) -> None:
    """The formula is within a factor 2 of the closed form for densities exp(−|x|^b)."""
    moment = 2 ** (b / 2) * special.gamma((b + 1) / 2) / math.sqrt(math.pi)
    nats = (
        math.log(2 * special.gamma(1 + 1 / b))
        + (math.log(b * moment) + 1) / b
        - 0.5 * math.log(2 * math.pi * math.e)
    )
    t = np.linspace(0, 34, 40_001)
    weight = special.expit(t) * special.expit(-t)
    v = 2 * special.expit(t) - 1
    q = special.gammainccinv(1 / b, 2 * special.expit(-t)) ** (1 / b)
    tau4 = np.sum(weight * q * (5 * v**3 - 3 * v) / 2) / np.sum(weight * q * v)
    found = _of(0.0, float(tau4)).tail_nats.value
    assert 0.5 < found / nats < 2


def test_skew_is_named_for_the_log_of_a_gamma() -> None:
    """−log Gamma(2), the log odds of Beta(1001, 2): 0.041 nats within 15%, almost all skew."""
    draws = -np.log(np.random.default_rng(10).gamma(2.0, size=(200_000, 1)))
    (found,) = metrics.marginal_shapes(draws, draws.size)
    assert found.skew_nats.value == pytest.approx(0.0413, rel=0.15)
    assert found.tail_nats.value < 0.1 * found.skew_nats.value
    odds = special.logit(np.random.default_rng(11).beta(1001, 2, size=(N, REPETITIONS)))
    for one in metrics.marginal_shapes(odds, N):
        assert one.skew_nats.value > 5 * one.tail_nats.value
        assert abs(one.skew_nats.value - 0.0449) < 4 * one.skew_nats.mcse


def test_tails_are_named_for_student() -> None:
    """Student t with 3 degrees of freedom: 0.0407 nats within 4 errors, most of it tails."""
    draws = np.random.default_rng(12).standard_t(3, size=(N, REPETITIONS))
    shapes = metrics.marginal_shapes(draws, N)
    for one in shapes:
        assert one.tail_nats.value > one.skew_nats.value
        assert abs(one.tail_nats.value - 0.0407) < 4 * one.tail_nats.mcse
    skew, tails = (np.median([f(s) for s in shapes]) for f in (_skew_nats, _tail_nats))
    assert tails > 20 * skew


def _skew_nats(found: metrics.Shape) -> float:
    return found.skew_nats.value


def _tail_nats(found: metrics.Shape) -> float:
    return found.tail_nats.value


def test_shapes_have_no_unit() -> None:
    """Location and scale, from 1e-150 to 1e300, change nothing; a sign turns the skewness."""
    x = np.random.default_rng(13).gamma(2.0, size=(N, 1))
    (plain,) = metrics.marginal_shapes(x, N)
    for scaled in (1e300 * x, 1e-150 * x, 3 + 2 * x):
        (other,) = metrics.marginal_shapes(scaled, N)
        assert other.l_kurtosis == pytest.approx(plain.l_kurtosis, rel=1e-9)
        assert other.skewness == pytest.approx(plain.skewness, rel=1e-9)
    (turned,) = metrics.marginal_shapes(-x, N)
    assert turned.l_skewness.value == pytest.approx(-plain.l_skewness.value, rel=1e-9)


def _neal(sd: float) -> Pairs:
    """Neal's funnel: v in column 0, three coordinates with sd exp(v/2)."""

    def draw(rng: np.random.Generator, n: int) -> FloatArray:
        v = sd * rng.normal(size=(n, 1))
        return np.concatenate([v, np.exp(v / 2) * rng.normal(size=(n, 3))], axis=1)

    return draw


def _neal_ratio(sd: float) -> float:
    """E[exp(v/2) | v in the upper third] over that of the lower third, v ~ N(0, sd²)."""
    edge, shift = stats.norm.ppf(2 / 3), sd / 2
    return float(stats.norm.sf(edge - shift) / stats.norm.cdf(-edge - shift))


@pytest.mark.parametrize(("sd", "called"), [(0.3, False), (1.0, True), (3.0, True)])
def test_neals_funnel_is_found(*, sd: float, called: bool) -> None:
    """The scale is named as `on`, with the analytic ratio, wide where the scale is large."""
    for seed in range(REPETITIONS):
        found = metrics.funnel(_neal(sd)(np.random.default_rng(seed), N), N)
        assert found is not None
        assert found.on == 0
        assert found.of in {1, 2, 3}
        assert found.wide == "upper"
        # The largest of three: 4 errors, and the bias of a maximum, one error.
        assert abs(found.ratio.value - _neal_ratio(sd)) < 5 * found.ratio.mcse
        assert metrics.is_funnel(found) is called


def test_an_upside_down_funnel_is_wide_below() -> None:
    """With the scale's sign turned the ratio stays above 1 and `wide` says lower."""
    z = _neal(1.0)(np.random.default_rng(1), N)
    found = metrics.funnel(z * [-1, 1, 1, 1], N)
    assert found is not None
    assert (found.wide, found.on) == ("lower", 0)
    assert found.ratio.value > 2


def _copula(rho: float, margin: Callable[[FloatArray], FloatArray]) -> Pairs:
    def draw(rng: np.random.Generator, n: int) -> FloatArray:
        a = rng.normal(size=(n, 2))
        other = rho * a[:, 0] + math.sqrt(1 - rho**2) * a[:, 1]
        return np.stack([a[:, 0], margin(other)], axis=1)

    return draw


def _modes(share: float, apart: tuple[float, float]) -> Pairs:
    def draw(rng: np.random.Generator, n: int) -> FloatArray:
        mode = rng.random((n, 1)) < share
        return np.asarray(rng.normal(size=(n, 2)) + np.array(apart) * mode)

    return draw


def _regression(rng: np.random.Generator, n: int) -> FloatArray:
    """Intercept, slope and log sd of a regression on 20 points: a t, wider for large sds."""
    log_sd = 0.5 * np.log(17 / rng.chisquare(17, size=(n, 1)))
    mix = np.array([[1.0, -0.87], [0.0, 0.5]])
    return np.concatenate([np.exp(log_sd) * (rng.normal(size=(n, 2)) @ mix), log_sd], axis=1)


def _mild(rng: np.random.Generator, n: int) -> FloatArray:
    """Return a pair with a ratio of spreads of 1.25."""
    v = rng.normal(size=n)
    return np.stack([v, np.exp(0.102 * v) * rng.normal(size=n)], axis=1)


NO_FUNNELS: dict[str, tuple[Pairs, float]] = {
    "correlation 0.5": (_copula(0.5, np.asarray), 1.2),
    "correlation 0.99": (_copula(0.99, np.asarray), 1.2),
    "correlation −0.99": (_copula(-0.99, np.asarray), 1.2),
    "exact dependence": (_copula(1.0, lambda x: 2 * x + 1), 1.2),
    "skewed and dependent": (_copula(0.9, np.exp), 1.25),
    "skewed, independent": (lambda rng, n: rng.exponential(size=(n, 4)), 1.25),
    "heavy tails, independent": (lambda rng, n: rng.standard_t(3, size=(n, 4)), 1.3),
    "two modes, even": (_modes(0.5, (8.0, 8.0)), 1.4),
    "two modes, uneven": (_modes(0.2, (4.0, 4.0)), 1.5),
    "two modes in one, a shift in the other": (_modes(0.2, (8.0, 1.0)), 1.7),
    "a mild dependence": (_mild, 1.45),
    "linear regression": (_regression, 1.75),
}


@pytest.mark.parametrize("name", NO_FUNNELS)
def test_what_is_no_funnel(name: str) -> None:
    """Correlation, skewness, tails, modes, mild dependence: under a bound, and never called."""
    draw, bound = NO_FUNNELS[name]
    for seed in range(REPETITIONS):
        found = metrics.funnel(draw(np.random.default_rng(seed), N), N)
        assert found is not None
        assert not metrics.is_funnel(found)
        assert not found.ratio.value > bound


def test_the_error_of_a_funnel_is_calibrated() -> None:
    """Over 200 repetitions the z-scores of a given pair have an sd from 0.8 to 1.25."""
    scores = []
    for seed in range(200):
        z = influence.standardised(_neal(1.0)(np.random.default_rng(seed), 2000)[:, :2])
        found = funnels._pair(z, np.argsort(z, axis=0), 1, 0, 2000.0)
        scores.append((found.ratio.value - _neal_ratio(1.0)) / found.ratio.mcse)
    assert 0.8 < np.std(scores) < 1.25


def test_the_search_goes_over_many_coordinates() -> None:
    """Among 40 coordinates and 1560 pairs the one funnel is found, and noise is not."""
    rng = np.random.default_rng(14)
    z = rng.normal(size=(N, 40))
    found = metrics.funnel(z, N)
    assert found is not None
    assert found.ratio.value < 1.3
    z[:, 31] *= np.exp(0.6 * z[:, 7])
    found = metrics.funnel(z, N)
    assert found is not None
    assert (found.of, found.on) == (31, 7)
    assert metrics.is_funnel(found)


def test_one_coordinate_has_no_funnel() -> None:
    """A pair takes two; None and NaN are not called a funnel."""
    assert metrics.funnel(np.random.default_rng(1).normal(size=(N, 1)), N) is None
    assert not metrics.is_funnel(None)
    assert not metrics.is_funnel(metrics.Funnel(0, 1, Estimate(math.nan, math.nan), ""))


REGRESSION = np.array([[0.16, -0.0713, 0.0], [-0.0713, 0.042, 0.001], [0.0, 0.001, 0.02]])


def test_mean_field_of_a_gaussian_has_the_conditional_sds() -> None:
    """1/√Λᵢᵢ and ½ (Σ ln Λᵢᵢ − ln det Λ), in any unit; nothing without correlation."""
    precision = np.linalg.inv(REGRESSION)
    sds = metrics.conditional_sds(REGRESSION)
    np.testing.assert_allclose(sds, 1 / np.sqrt(np.diag(precision)), rtol=1e-12)
    nats = 0.5 * (np.sum(np.log(np.diag(precision))) - np.linalg.slogdet(precision)[1])
    assert metrics.correlation_nats(REGRESSION) == pytest.approx(nats, rel=1e-12)
    unit = np.diag([1e-8, 1.0, 1e9])
    assert metrics.correlation_nats(unit @ REGRESSION @ unit) == pytest.approx(nats, rel=1e-9)
    assert metrics.correlation_nats(np.diag([1e-20, 4.0, 1e20])) < 1e-14


def test_two_coordinates_lose_minus_half_the_log_of_what_correlation_leaves() -> None:
    """The gap of two coordinates is −½ ln(1 − ρ²), which is KL(q ‖ p) of that q."""
    rho = 0.87
    covariance = np.array([[1.0, rho], [rho, 1.0]])
    gap = metrics.correlation_nats(covariance)
    assert gap == pytest.approx(-0.5 * math.log(1 - rho**2), rel=1e-12)
    q = metrics.conditional_sds(covariance) ** 2
    kl = 0.5 * (
        float(np.sum(q * np.diag(np.linalg.inv(covariance))))
        - 2
        + math.log(np.linalg.det(covariance))
        - float(np.sum(np.log(q)))
    )
    assert gap == pytest.approx(kl, rel=1e-12)


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.ones((2, 2)), "singular"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "singular"),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), "positive diagonal"),
        (np.array([[1.0, math.nan], [math.nan, 1.0]]), "not finite"),
        (np.ones((2, 3)), "square"),
    ],
)
def test_what_is_no_covariance_is_refused(covariance: FloatArray, message: str) -> None:
    """A singular, indefinite, constant, NaN or oblong matrix raises, and says which it is."""
    with pytest.raises(ValueError, match=message):
        metrics.correlation_nats(covariance)
    with pytest.raises(ValueError, match=message):
        metrics.conditional_sds(covariance)


@pytest.mark.parametrize("n", [500, N])
def test_the_gap_of_draws_is_calibrated(n: int) -> None:
    """Over 200 repetitions on a correlated Gaussian z has mean 0 and an sd from 0.8 to 1.25."""
    truth = metrics.correlation_nats(REGRESSION)
    factor = np.linalg.cholesky(REGRESSION)
    gaps = [
        metrics.correlation_gap(np.random.default_rng(s).normal(size=(n, 3)) @ factor.T, n)
        for s in range(200)
    ]
    scores = _z(gaps, truth)
    assert abs(np.mean(scores)) < 4 / math.sqrt(200)
    assert 0.8 < np.std(scores) < 1.25


@pytest.mark.parametrize(("d", "n"), [(2, N), (20, N), (100, N), (100, 1000)])
def test_chance_correlations_are_no_gap(d: int, n: int) -> None:
    """Independent coordinates: zero within 4 errors, and without the plug-in's bias on average."""
    found, plain = [], []
    for seed in range(REPETITIONS if d < 100 else 3):
        z = np.random.default_rng(seed).normal(size=(n, d))
        found.append(metrics.correlation_gap(z, n))
        plain.append(metrics.correlation_nats(np.cov(z.T)))
    assert np.all(np.abs(_z(found, 0.0)) < 4)
    if d > 2:
        assert abs(np.mean([f.value for f in found])) < 0.1 * np.mean(plain)


def test_the_gap_of_chains_keeps_its_error() -> None:
    """AR(1) chains with their effective size stay within 4 errors in 100 repetitions."""
    rho, factor = 0.9, np.linalg.cholesky(REGRESSION)
    for seed in range(100):
        z = _ar(np.random.default_rng(seed), (N, 3), rho) @ factor.T
        found = metrics.correlation_gap(z, N * (1 - rho) / (1 + rho))
        assert abs(found.value - metrics.correlation_nats(REGRESSION)) < 4 * found.mcse


@pytest.mark.parametrize("damage", ["nan", "infinite", "constant", "few", "short", "no size"])
def test_bad_draws_give_no_figure(damage: str) -> None:
    """A coordinate that cannot be used is NaN, its neighbour is not, and pairs are NaN."""
    z = np.random.default_rng(15).normal(size=(N, 2))
    worth = np.array([float(N), float(N)])
    if damage == "nan":
        z[7, 0] = math.nan
    elif damage == "infinite":
        z[7, 0] = -math.inf
    elif damage == "constant":
        z[:, 0] = 1e10
    elif damage == "few":
        worth[0] = 99.0
    elif damage == "no size":
        worth[0] = math.nan
    else:
        z = z[:99]
    bad, good = metrics.marginal_shapes(z, worth)
    for estimate in (bad.skewness, bad.excess_kurtosis, bad.l_skewness, bad.l_kurtosis):
        assert math.isnan(estimate.value)
    assert math.isnan(bad.skew_nats.value)
    assert math.isnan(bad.tail_nats.value)
    assert (bad.settled, tails(bad)) == (False, "")
    assert math.isnan(good.l_kurtosis.value) is (damage == "short")
    found = metrics.funnel(z, worth)
    assert found is not None
    assert math.isnan(found.ratio.value)
    assert math.isnan(metrics.correlation_gap(z, worth).value)


def test_a_gap_without_enough_draws_or_rank_is_nan() -> None:
    """Fewer than five draws for each coordinate, or coordinates that repeat, give NaN."""
    z = np.random.default_rng(16).normal(size=(400, 100))
    assert math.isnan(metrics.correlation_gap(z, 400).value)
    twice = np.concatenate([z[:, :3], z[:, :1]], axis=1)
    assert math.isnan(metrics.correlation_gap(twice, 400).value)
    assert metrics.correlation_gap(z[:, :1], 400) == Estimate(0.0, 0.0)


def test_shapes_that_do_not_fit_are_refused() -> None:
    """Draws of one axis and effective sizes of another length raise, with what was got."""
    z = np.zeros((N, 3))
    for function in (metrics.marginal_shapes, metrics.funnel, metrics.correlation_gap):
        with pytest.raises(ValueError, match=r"z has shape \(4000,\)"):
            function(z[:, 0], N)
        with pytest.raises(ValueError, match=r"effective has shape \(2,\)"):
            function(z, np.array([1.0, 2.0]))


def test_draws_are_left_as_they_were() -> None:
    """No function writes into its arguments."""
    z = np.random.default_rng(17).normal(size=(N, 3))
    z.flags.writeable = False
    metrics.marginal_shapes(z, N)
    metrics.funnel(z, N)
    metrics.correlation_gap(z, N)
