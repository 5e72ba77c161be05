"""Deterministic ADVI on densities that NumPy can write down."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from dadvi_problems import autoregression, fitted, hierarchy
from scipy import special
from targets import Density, Mixture, Normal, banana, funnel, ill_conditioned, lecture_mixture

from harness.methods.dadvi_gaussian import (
    basin_faults,
)
from harness.metrics.weights import khat
from harness.records import FloatArray, Reason
from harness.records.text import fixed
from harness.vi import deterministic
from harness.vi.deterministic import (
    Objective,
    Optimum,
    StartError,
    importance,
    sizes,
)
from harness.vi.deterministic.basins import Basin, weigh
from harness.vi.deterministic.conjugate_gradients import response_variances
from harness.vi.deterministic.curvature import dense, elbo_hessians, find_pattern
from harness.vi.deterministic.lbfgs import lbfgs
from harness.vi.sobol import base_block, base_blocks
from harness.vi.target import Clock, Target, TimeLimitError


def weighted(target: Target, optimum: Optimum, n: int, seed: int = 2) -> tuple[FloatArray, float]:
    """Return resampled draws and k-hat of linear response's Gaussian."""
    assert optimum.covariance is not None
    rng = np.random.default_rng(seed)
    factor = np.asarray(np.linalg.cholesky(optimum.covariance), dtype=np.float64)
    proposal = importance.Defensive(optimum.mean, factor)
    z = proposal.draw(n, rng)
    found = importance.smoothed_weights(
        target.log_density(z), proposal.log_density(z), lambda p, q: khat(p, q).value
    )
    count = importance.delivered(n, found.ess)
    return z[importance.systematic(found.weight, count, rng)], found.khat


def exact_by_weights(target: Target, optimum: Optimum) -> tuple[FloatArray, FloatArray, float]:
    """Return means and sds by 50 000 weighted draws of a wide Student-t, and their ESS."""
    assert optimum.covariance is not None
    rng = np.random.default_rng(3)
    d, nu, n = target.dimension, 8.0, 50_000
    factor = 1.1 * np.linalg.cholesky(optimum.covariance)
    e = rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(nu, size=(n, 1)) / nu)
    log_q = -0.5 * (nu + d) * np.log1p((e**2).sum(axis=1) / nu)
    z = optimum.mean + e @ factor.T
    log_w = target.log_density(z) - log_q
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    mean = w @ z
    return mean, np.sqrt(w @ (z - mean) ** 2), float(1 / np.sum(w**2))


@pytest.mark.parametrize(("dimension", "size"), [(1, 32), (3, 32), (8, 32), (20, 16)])
def test_base_draws_have_the_moments_they_promise(dimension: int, size: int) -> None:
    """Odd moments vanish; the second is the identity, or has its diagonal if pairs are few."""
    eps = base_block(dimension, size, np.random.default_rng(1))
    assert np.abs(eps.mean(axis=0)).max() < 1e-12
    second = eps.T @ eps / size
    if size // 2 >= 2 * dimension:
        np.testing.assert_allclose(second, np.eye(dimension), atol=1e-12)
    else:
        np.testing.assert_allclose(np.diag(second), 1, atol=1e-12)
    # Sobol: nothing far out, nothing missing.
    assert 1.2 < np.abs(eps).max() < 6


def test_other_numbers_of_base_draws_are_refused() -> None:
    """Sobol points are balanced only in powers of two."""
    with pytest.raises(ValueError, match="powers of two"):
        base_block(3, 24, np.random.default_rng(1))


def test_the_gradient_of_the_elbo_is_its_derivative() -> None:
    """Central differences of F on fixed base draws, error of order h²."""
    objective = Objective(banana(), base_blocks(2, 2, 16, np.random.default_rng(1)), Clock())
    theta = np.array([0.3, -0.2, -0.1, 0.2])
    _, gradient = objective(theta)
    for j in range(4):
        h = 1e-5 * np.eye(4)[j]
        difference = (objective(theta + h)[0] - objective(theta - h)[0]) / 2e-5
        assert abs(difference - gradient[j]) < 1e-8


def test_the_hessian_of_the_elbo_is_the_derivative_of_its_gradient() -> None:
    """In units of (s, 1): central differences; ours are one-sided, of relative error 5e-4."""
    objective = Objective(banana(), base_blocks(2, 1, 64, np.random.default_rng(1)), Clock())
    theta = np.array([0.3, -0.2, -0.1, 0.2])
    units = np.concatenate([np.exp(theta[2:]), [1, 1]])
    H = elbo_hessians(objective, theta, dense(2), size=64)[0]
    for j in range(4):
        h = 1e-5 * units * np.eye(4)[j]
        difference = (objective(theta + h)[1] - objective(theta - h)[1]) / 2e-5
        np.testing.assert_allclose(units * difference, H[:, j], atol=2e-3)


def test_the_optimiser_takes_back_steps_over_an_edge() -> None:
    """A function that is infinite for x ≤ 0, from a start whose first step leads there."""

    def function(x: FloatArray) -> tuple[float, FloatArray]:
        if x[0] <= 0:
            return math.inf, np.full(1, np.nan)
        return float(x[0] - math.log(x[0])), 1 - 1 / x

    path = lbfgs(function, np.array([50.0]), metric=lambda g: 100 * g, tolerance=1e-12)
    assert path.converged
    assert abs(path.x[0] - 1) < 1e-5


def test_a_correlated_normal_in_50_dimensions_is_exact() -> None:
    """Means and linear response's covariance to 1e-6; mean field has the sds 1 / √Λᵢᵢ to .0045."""
    target = ill_conditioned(50)
    mean, covariance = target.mean, target.covariance
    found = fitted(target)
    sd = np.sqrt(np.diag(covariance))
    assert found.settled
    assert found.error < 1e-6
    assert found.covariance is not None
    np.testing.assert_allclose((found.mean - mean) / sd, 0, atol=1e-6)
    np.testing.assert_allclose(found.covariance / np.outer(sd, sd), covariance / np.outer(sd, sd),
                               atol=1e-6)  # fmt: skip
    narrow = 1 / np.sqrt(np.diag(np.linalg.inv(covariance)))
    # What a decrement of 1e-5 nats leaves.
    np.testing.assert_allclose(found.sd, narrow, rtol=4.5e-3)
    # KL(q, p) = ½ (Σ ln Λᵢᵢ + ln |Σ|).
    gap = -np.log(narrow).sum() + 0.5 * np.linalg.slogdet(covariance)[1]
    assert abs(found.elbo + gap) < 1e-5


def test_conjugate_gradients_give_the_same_sds() -> None:
    """Linear-response variances of chosen means, without a Hessian, to 1%."""
    target = ill_conditioned(12)
    covariance = target.covariance
    found = fitted(target)
    chosen = np.array([0, 5, 11])
    variances, ended = response_variances(found.objective, found.theta, chosen)
    assert ended == "solved"
    expected = np.diag(covariance)[chosen]
    np.testing.assert_allclose(variances * found.sd[chosen] ** 2, expected, rtol=0.01)


@pytest.mark.parametrize("curvature_s", [20.0, 0.0])
def test_many_parameters_give_the_same_optimum_with_a_hessian_and_without(
    curvature_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit of 5 dimensions, 12 count as many; without time there is no covariance."""
    if not curvature_s:
        monkeypatch.setattr(sizes, "FORMED_S", 0.0)
    target = ill_conditioned(12)
    mean, covariance = target.mean, target.covariance
    found = fitted(target, dense_limit=5, curvature_s=curvature_s)
    if curvature_s:
        assert found.covariance is not None
        np.testing.assert_allclose(found.covariance, covariance, rtol=0.01, atol=1e-3)
    else:
        assert found.covariance is None
    np.testing.assert_allclose((found.mean - mean) / np.sqrt(np.diag(covariance)), 0, atol=0.02)
    narrow = 1 / np.sqrt(np.diag(np.linalg.inv(covariance)))
    np.testing.assert_allclose(found.sd, narrow, rtol=0.02)


@pytest.mark.parametrize("make", [banana, hierarchy, autoregression])
def test_runs_with_different_base_draws_agree_within_their_stated_error(
    make: Callable[[], Density],
) -> None:
    """Over pairs of seeds, differences have the size that the stated errors give them.

    The root mean square of difference / error is 1 if the errors are honest; with four to eight
    blocks, few coordinates and six pairs it may be twice as much, and no more.
    """
    ratios = []
    for seed in range(0, 12, 2):
        one, two = fitted(make(), seed, draws=64), fitted(make(), seed + 1, draws=64)
        assert one.covariance is not None
        assert two.covariance is not None
        sd = np.sqrt(np.diag(one.covariance))
        means = (one.mean - two.mean) / sd
        widths = np.log(sd) - 0.5 * np.log(np.diag(two.covariance))
        expected = np.hypot(one.errors.mean, two.errors.mean)
        ratios.append(means / np.maximum(expected, 1e-3))
        expected = np.hypot(one.errors.log_response, two.errors.log_response)
        ratios.append(widths / np.maximum(expected, 1e-3))
    assert math.sqrt(float(np.mean(np.square(ratios)))) < 2


@pytest.mark.parametrize("seed", range(20))
def test_both_modes_of_a_mixture_are_found_and_weighed(seed: int) -> None:
    """Every seed finds two basins, with ELBOs ln .8 and ln .2 and a fifth of the mass in one."""
    found = fitted(lecture_mixture(), seed)
    # Starts far away may lead to optima of the ELBO that are no modes.
    assert [b.separate for b in found.basins[:2]] == [True, True]
    assert not any(b.separate for b in found.basins[2:])
    assert abs(found.basins[0].elbo - math.log(0.8)) < 0.01
    assert abs(found.basins[1].elbo - math.log(0.2)) < 0.01
    assert abs(found.basins[1].mass - 0.2) < 0.01
    ((reason, words, _),) = basin_faults(found.basins)
    assert reason is Reason.OTHER_BASINS
    assert words.startswith("2 basins found: a Gaussian can hold only one; the best has ELBO −0.22")
    assert "about 20% of the mass" in words


def two_modes(dimension: int) -> Mixture:
    """Return N(−3, ½) and N(3, ½) along the first axis, two nats apart, sds 1 along the others."""
    place, sd = np.zeros((2, dimension)), np.ones((2, dimension))
    place[:, 0], sd[:, 0] = (-3, 3), 0.5
    share = float(special.expit(2.0))
    return Mixture([share, 1 - share], place, sd)


@pytest.mark.parametrize("dimension", [30, 100])
@pytest.mark.parametrize("seed", range(3))
def test_the_heavier_mode_is_kept_where_evaluations_are_dear(dimension: int, seed: int) -> None:
    """With modes two nats apart, a few base draws do not favour the wrong one."""
    found = fitted(two_modes(dimension), seed, seconds=1e-3)
    assert found.mean[0] < 0
    modes = [b for b in found.basins if b.separate]
    assert len(modes) == 2
    assert found.elbo == found.basins[0].elbo == max(b.elbo for b in found.basins)
    assert abs(modes[0].elbo - modes[1].elbo - 2) < 0.05
    ((reason, words, _),) = basin_faults(found.basins)
    assert reason is Reason.OTHER_BASINS
    best, other = fixed(modes[0].elbo, 2), fixed(modes[1].elbo, 2)
    assert f"the best has ELBO {best}, the other {other}" in words


def _basin(place: float, elbo: float) -> Basin:
    return Basin(np.array([place, math.log(0.1)]), elbo, 1, True, (), lambda g: g)


def test_masses_are_relative_to_the_highest_elbo() -> None:
    """A difference of a thousand nats does not overflow in any order."""
    first, second = weigh(lecture_mixture(), [_basin(-0.3, -5000.0), _basin(0.5, -4000.0)])
    assert (first.elbo, second.elbo) == (-4000.0, -5000.0)
    assert first.mass == 1
    assert second.mass < 1e-300


def test_a_mode_is_counted_once() -> None:
    """Of two optima in one mode the lower one is not separate."""
    found = weigh(lecture_mixture(), [_basin(0.5, -0.2), _basin(-0.3, -1.6), _basin(-0.28, -1.7)])
    assert [b.separate for b in found] == [True, True, False]
    assert found[2].mass == 0


def test_a_density_with_one_mode_has_one_basin() -> None:
    """No alarm on a normal, a banana, a hierarchy or an autoregression."""
    for target in (ill_conditioned(5), banana(), hierarchy(), autoregression()):
        assert basin_faults(fitted(target).basins) == ()


def test_a_funnel_is_detected_or_corrected() -> None:
    """The Gaussian is too narrow for v (sd 3); k-hat of its weights says so."""
    target = funnel(10)
    found = fitted(target)
    draws, k = weighted(target, found, 20_000)
    close = abs(draws[:, 0].mean()) < 0.3 and abs(math.log(draws[:, 0].std() / 3)) < 0.14
    assert close or not k <= 0.7
    # Not a tail of equal weights, for all that log p spans.
    assert k > 0.3


def test_weights_correct_a_banana() -> None:
    """Linear response gets the means and x right; weighting gets the sd of the skewed y."""
    target = banana()
    found = fitted(target)
    draws, k = weighted(target, found, 40_000)
    sds = np.array([1.0, math.sqrt(1 + 2 * 0.3**2)])
    assert found.covariance is not None
    assert k < 0.7
    # Five standard errors of about 9000 draws.
    assert np.all(np.abs(draws.mean(axis=0)) < 0.055 * sds)
    np.testing.assert_allclose(draws.std(axis=0), sds, rtol=0.05)


def test_linear_response_is_close_on_an_autoregression() -> None:
    """Means within .05 sd and sds within 5% of a long importance sample."""
    target = autoregression()
    found = fitted(target)
    mean, sd, ess = exact_by_weights(target, found)
    assert ess > 20_000
    assert found.covariance is not None
    assert np.abs((found.mean - mean) / sd).max() < 0.05
    assert np.abs(0.5 * np.log(np.diag(found.covariance)) - np.log(sd)).max() < 0.05
    draws, k = weighted(target, found, 40_000)
    assert k < 0.7
    # Five standard errors of 9000 draws.
    assert np.abs((draws.mean(axis=0) - mean) / sd).max() < 5 / math.sqrt(len(draws))


def test_weights_correct_the_spread_of_a_hierarchy() -> None:
    """Eight groups say little about ln tau: its mean is .3 sd off without weights.

    All other means are within .15 sd, all sds but mu's within 5%.
    """
    target = hierarchy()
    found = fitted(target)
    mean, sd, ess = exact_by_weights(target, found)
    # Five standard errors of the long sample are .09 sd.
    assert ess > 3000
    assert found.covariance is not None
    bias = np.abs((found.mean - mean) / sd)
    assert 0.2 < bias[1] < 0.4
    assert np.delete(bias, 1).max() < 0.15 + 0.09
    widths = np.abs(0.5 * np.log(np.diag(found.covariance)) - np.log(sd))
    assert widths.max() < 0.25
    assert widths[2:].max() < 0.05 + 0.06
    draws, k = weighted(target, found, 40_000)
    # The tail of ln tau is at the edge of what weights can do, and k-hat says so.
    assert 0.5 < k < 0.9
    # Five standard errors of both.
    error = 5 * math.hypot(1 / math.sqrt(len(draws)), 1 / math.sqrt(ess))
    assert error < 0.2
    assert np.abs((draws.mean(axis=0) - mean) / sd).max() < error


def test_the_full_rank_family_holds_a_correlated_normal() -> None:
    """Mean and covariance to 1e-4, ELBO 0, from the diagonal start too."""
    target = ill_conditioned(6)
    mean, covariance = target.mean, target.covariance
    narrow = np.diag(1 / np.diag(np.linalg.inv(covariance)))
    for start in (covariance, narrow):
        full = deterministic.fit_fullrank(
            target, mean + 0.1, start, np.random.default_rng(1), Clock()
        )
        assert full.settled
        assert full.error < 0.01
        np.testing.assert_allclose(full.mean, mean, atol=0.01)
        np.testing.assert_allclose(full.factor @ full.factor.T, covariance, rtol=0.01, atol=0.05)
        assert abs(full.elbo) < 0.01


def test_an_edge_of_the_support_is_survived() -> None:
    """A density that is −∞ beyond 20 sds and NaN beyond 25: steps there are taken back."""

    def density(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        x = (z - 1) / 0.05
        value = -0.5 * (x**2).sum(axis=1)
        far = np.abs(x).max(axis=1)
        value = np.where(far > 25, np.nan, np.where(far > 20, -np.inf, value))
        slope = np.where(far[:, None] > 20, np.nan, -x / 0.05)
        return value, slope

    found = fitted(Density(1, density))
    assert found.settled
    assert abs(found.mean[0] - 1) < 1e-4
    assert abs(found.sd[0] - 0.05) < 1e-4


def test_a_density_that_is_nowhere_finite_says_so() -> None:
    """It raises an error with advice."""

    def density(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.full(len(z), np.nan), np.full_like(z, np.nan)

    with pytest.raises(StartError, match=r"none of .* starting points"):
        fitted(Density(2, density))


def test_the_time_limit_ends_a_fit() -> None:
    """An expired clock raises."""
    with pytest.raises(TimeLimitError):
        deterministic.fit(banana(), np.random.default_rng(1), Clock(0.0))


def test_a_sparse_hessian_is_found_and_used() -> None:
    """Correlated pairs and one parameter related to all need four differences."""
    d = 41
    rng = np.random.default_rng(1)
    precision = np.eye(d) * 3
    for i in range(1, d, 2):
        precision[i, i + 1] = precision[i + 1, i] = 0.5
    precision[0, 1:] = precision[1:, 0] = 0.1
    target = Normal(np.zeros(d), np.asarray(np.linalg.inv(precision), dtype=np.float64))
    pattern = find_pattern(target, rng.normal(size=(6, d)), np.ones(d))
    assert pattern.colours <= 4
    objective = Objective(target, base_blocks(d, 2, 16, rng), Clock())
    theta = np.zeros(2 * d)
    sparse = elbo_hessians(objective, theta, pattern, size=16)
    full = elbo_hessians(objective, theta, dense(d), size=16)
    np.testing.assert_allclose(sparse, full, atol=1e-6)


def test_weights_of_a_shifted_normal_find_its_mean() -> None:
    """With q = N(0, 1) and p = N(.5, 1): mean and ESS by the closed form n exp(−.25)."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal(40_000)
    found = importance.smoothed_weights(
        -0.5 * (z - 0.5) ** 2, -0.5 * z**2, lambda p, q: khat(p, q).value
    )
    assert abs(float(found.weight @ z) - 0.5) < 5 / math.sqrt(found.ess)
    assert abs(found.ess / (40_000 * math.exp(-0.25)) - 1) < 0.05
    count = importance.delivered(10_000, found.ess)
    kept = z[importance.systematic(found.weight, count, rng)]
    assert len(np.unique(kept)) > 0.7 * count
    assert abs(kept.mean() - 0.5) < 5 / math.sqrt(count)


def test_resampled_draws_may_pass_for_independent_ones() -> None:
    """Over 200 repetitions the sd of a mean is at most 10% above that of independent draws.

    The sd of 200 means is known to 5%, so that the limit is 1.1 + 2 × .05.
    """
    rng = np.random.default_rng(4)
    means = []
    for _ in range(200):
        z = rng.standard_normal(4000)
        found = importance.smoothed_weights(
            -0.5 * ((z - 0.3) / 0.9) ** 2, -0.5 * z**2, lambda p, q: khat(p, q).value
        )
        count = importance.delivered(1000, found.ess)
        kept = z[importance.systematic(found.weight, count, rng)]
        means.append(math.sqrt(count) * (kept.mean() - 0.3) / 0.9)
    assert 0.8 < np.std(means) < 1.2


def test_points_that_cannot_be_evaluated_are_not_weighed_as_zero_in_silence() -> None:
    """−∞ is a weight of 0; NaN makes k-hat infinite."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal(1000)
    log_q = -0.5 * z**2
    outside = np.where(z > 1, -np.inf, -0.5 * (0.9 * z) ** 2)
    found = importance.smoothed_weights(outside, log_q, lambda p, q: khat(p, q).value)
    assert found.outside == int((z > 1).sum())
    assert math.isfinite(found.khat)
    assert found.weight[z > 1].sum() == 0
    unknown = np.where(z > 1, np.nan, outside)
    found = importance.smoothed_weights(unknown, log_q, lambda p, q: khat(p, q).value)
    assert found.khat == math.inf
