"""The best Gaussian of a family: closed forms, the caller's starts, and basins."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from targets import LOG_2_PI, Density, any_normal, banana, funnel, log_odds, student, two_normals

from harness.vi import deterministic
from harness.vi.deterministic import StartError
from harness.vi.deterministic.fullrank import FULLRANK_LIMIT, fit_fullrank
from harness.vi.elbo import elbos
from harness.vi.family_optimum import (
    NEAR,
    SEVERAL,
    SHORTFALL,
    Best,
    best_fullrank,
    best_meanfield,
    climb,
    different,
)
from harness.vi.gaussian import Gaussian
from harness.vi.target import Clock, Target, TimeLimitError

FloatArray = NDArray[np.float64]
Function = Callable[[FloatArray], tuple[FloatArray, FloatArray]]

K = 5.0
"""Standard errors allowed."""

NATS = 0.01
"""Nats by which a gap may be wrong."""


def one(mean: float, sd: float) -> Gaussian:
    """Return a Gaussian of one parameter."""
    return Gaussian(np.array([mean]), np.array([sd]))


def meanfield(target: Target, *starts: Gaussian, seed: int = 1) -> Best:
    """Return the best mean-field Gaussian."""
    return best_meanfield(target, np.random.default_rng(seed), Clock(60), starts=starts)


def fullrank(target: Target, best: Best, *starts: Gaussian, seed: int = 2) -> Best:
    """Return the best full-rank Gaussian."""
    return best_fullrank(target, np.random.default_rng(seed), Clock(60), best, starts=starts)


# --- closed forms ---------------------------------------------------------------------------


@pytest.mark.parametrize("d", [2, 10, 40])
def test_correlated_normals_have_their_closed_form(d: int) -> None:
    """The mean-field gap is ½(Σ ln Λᵢᵢ − ln det Λ) to 0.01 nats, with sds 1/√Λᵢᵢ; full-rank 0."""
    posterior = any_normal(d, seed=d)
    best = meanfield(posterior)
    assert abs(posterior.kl(best.q) - posterior.gap) < NATS
    np.testing.assert_allclose(best.q.sd, np.diag(posterior.precision) ** -0.5, rtol=0.01)
    assert best.q.factor.shape == (d,)
    assert best.words == ""
    assert best.shortfall <= SHORTFALL
    full = fullrank(posterior, best)
    assert 0 <= posterior.kl(full.q) + 1e-9 < NATS
    assert full.q.factor.shape == (d, d)
    assert full.words == ""
    if d == 10:
        rng = np.random.default_rng(3)
        pair = [full.q, best.q]
        found = elbos(posterior, pair, rng, Clock(), error=0.002, share=0)
        assert abs(found[0].value.value) < NATS
        assert abs(found[1].below.value - posterior.gap) < NATS


def test_above_the_limit_full_rank_is_stochastic_and_says_so() -> None:
    """With 60 parameters the words name the steps, the shortfall is unknown, the ELBO better."""
    posterior = any_normal(60, seed=5)
    assert posterior.dimension > FULLRANK_LIMIT
    best = meanfield(posterior)
    assert abs(posterior.kl(best.q) - posterior.gap) < NATS
    full = fullrank(posterior, best)
    assert "stochastic" in full.words
    assert "averaged" in full.words
    assert "60 parameters" in full.words
    assert math.isnan(full.shortfall)
    assert posterior.kl(full.q) <= posterior.gap


@pytest.mark.parametrize(
    ("target", "gap"), [(student(), 0.04070), (log_odds(), 0.041045)], ids=["student", "beta"]
)
def test_known_distances_of_the_best_gaussian(target: Density, gap: float) -> None:
    """In one dimension the KL of the Gaussian found is the best one, up to the shortfall."""
    best = meanfield(target)
    x, step = np.linspace(-12, 12, 20_001, retstep=True)
    weight = np.exp(-0.5 * x**2 - 0.5 * LOG_2_PI) * step
    value = target.log_density((best.q.mean + best.q.sd * x)[:, None])
    elbo = float(weight @ value) + best.q.entropy
    # The figures have half a unit of their last digit; nothing is above the best.
    assert -1e-5 < -elbo - gap < SHORTFALL
    assert best.words == ""
    # One dimension has one family.
    assert fullrank(target, best) is best


BANANA = banana(bend=0.5, tilt=1.0, sd=0.5)


@pytest.mark.parametrize("target", [funnel(3), BANANA], ids=["funnel", "banana"])
def test_full_rank_is_never_below_mean_field(target: Density) -> None:
    """The best full-rank ELBO is at least the mean-field one, up to Monte Carlo error."""
    best = meanfield(target)
    full = fullrank(target, best)
    rng = np.random.default_rng(4)
    found = elbos(target, [full.q, best.q], rng, Clock(), error=0.002, share=0)
    assert found[1].below.value > -K * found[1].below.mcse - NATS / 10
    assert found[0].value.value < K * found[0].value.mcse
    if target is BANANA:
        assert found[1].below.value > 5 * NATS


# --- starts of the caller's -----------------------------------------------------------------


def test_the_better_mode_is_found_from_a_start_only_the_caller_knows() -> None:
    """Of two normals 6000 sds apart it finds the one at 0; with a start, both and the better."""
    target = two_normals(6000)
    alone = meanfield(target)
    assert abs(alone.q.mean[0]) < 0.01
    for start in (one(6000, 1), one(5997, 0.3), one(6002, 2)):
        started = meanfield(target, one(0, 1), start)
        assert abs(started.q.mean[0] - 6000) < 0.01
        assert abs(started.q.sd[0] - 1) < 0.01
        masses = sorted(b.mass for b in started.optimum.basins if b.separate)
        np.testing.assert_allclose(masses, [0.2, 0.8], atol=0.01)


def test_a_worse_start_does_no_harm() -> None:
    """The best mode is kept with starts at lower modes, far points and infinite ones."""
    target = two_normals(60, share=0.8)
    starts = (one(60, 1), one(-300, 5), one(math.nan, 1), one(0, math.inf), one(3, 0.01))
    best = meanfield(target, *starts)
    assert abs(best.q.mean[0]) < 0.01
    assert abs(best.q.sd[0] - 1) < 0.01


def test_full_rank_too_takes_the_callers_starts() -> None:
    """A distant correlated mode that mean-field did not find is found from a start there."""
    posterior = any_normal(2, seed=2)
    far = posterior.mean + 500

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        here, slope = posterior.log_density_gradient(z)
        there, slope_there = posterior.log_density_gradient(z - 500)
        value = np.logaddexp(here + math.log(0.1), there + math.log(0.9))
        share = np.exp(there + math.log(0.9) - value)[:, None]
        return value, (1 - share) * slope + share * slope_there

    target = Density(2, function)
    best = meanfield(target)
    assert np.all(np.abs(best.q.mean) < 100)
    covariance = np.linalg.inv(posterior.precision)
    start = Gaussian(far + 0.5 * np.sqrt(np.diag(covariance)), np.linalg.cholesky(covariance))
    full = fullrank(target, best, start)
    np.testing.assert_allclose(full.q.mean, far, atol=0.01)
    np.testing.assert_allclose(full.q.covariance, covariance, rtol=0.05, atol=0.01)


def test_extra_starts_of_fit_are_starts() -> None:
    """A start that alone leads to the best optimum wins; one that leads to a known optimum is idle.

    The random numbers are the same, and so is what is found without it.
    """
    target = two_normals(6000)
    settings = deterministic.Settings()
    extra = [np.array([5998.0, 0.5])]

    def fit(extra: list[FloatArray]) -> deterministic.Optimum:
        rng = np.random.default_rng(1)
        return deterministic.fit(target, rng, Clock(60), settings, "meanfield", extra)

    alone, started = fit([]), fit(extra)
    assert abs(alone.mean[0]) < 0.01
    assert abs(started.mean[0] - 6000) < 0.01
    np.testing.assert_allclose(started.elbo - alone.elbo, math.log(4), atol=0.01)
    known = fit([np.array([0.1, 0.1])])
    np.testing.assert_allclose(known.theta, alone.theta, atol=1e-6)


def test_different_gaussians_are_kept_in_their_order() -> None:
    """Unusable Gaussians, those near an earlier one, and those beyond the limit are dropped."""
    near = (0.5 * NEAR, math.exp(0.5 * NEAR))
    kept = different([one(0, 1), one(near[0], near[1]), one(1, 1), one(0, 2), one(math.nan, 1),
                      one(0, 0.5)])  # fmt: skip
    assert [(q.mean[0], q.sd[0]) for q in kept] == [(0, 1), (1, 1), (0, 2), (0, 0.5)]
    many = different([one(10 * i, 1) for i in range(3 * SEVERAL)])
    assert [q.mean[0] for q in many] == [10 * i for i in range(SEVERAL)]
    assert different([]) == []


# --- shortfall ------------------------------------------------------------------------------


def test_the_shortfall_is_about_what_base_draws_cost() -> None:
    """For full-rank fits of a banana, the mean shortfall is right within a factor of three.

    The truth is the ELBO of a fit on 16 384 base draws less theirs, on common random numbers.
    """
    target = BANANA
    mean, covariance = np.zeros(2), np.eye(2)

    def fit(size: int, seed: int) -> deterministic.FullRank:
        rng = np.random.default_rng(seed)
        return fit_fullrank(target, mean, covariance, rng, Clock(60), size)

    few = [fit(32, seed) for seed in range(16)]
    best = fit(16_384, 99)
    assert best.shortfall < 1e-3
    gaussians = [Gaussian(f.mean, f.factor) for f in (best, *few)]
    found = elbos(target, gaussians, np.random.default_rng(1), Clock(), error=0.001, most=1 << 14)
    truth = float(np.mean([e.below.value for e in found[1:]]))
    claimed = float(np.mean([f.shortfall for f in few]))
    assert truth > 0
    assert truth / 3 < claimed < 3 * truth


# --- what cannot be fitted ------------------------------------------------------------------


def flat(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a constant."""
    return np.zeros(len(z)), np.zeros_like(z)


def ridge(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a density that is flat in its last parameter."""
    slope = -z.copy()
    slope[:, -1] = 0
    return -0.5 * (z[:, :-1] ** 2).sum(axis=1), slope


def nowhere(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a density of zero."""
    return np.full(len(z), -math.inf), np.zeros_like(z)


def broken(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return NaN."""
    return np.full(len(z), math.nan), np.full_like(z, math.nan)


# A density exp(Σ z), improper though with a slope, is left out: instead of StartError there is a
# q somewhere beyond 1e50, with words for mean-field and none for full-rank.
@pytest.mark.parametrize("function", [flat, ridge, nowhere, broken])
def test_improper_targets_are_refused(function: Function) -> None:
    """They raise StartError with a message."""
    with pytest.raises(StartError, match=r"."):
        meanfield(Density(2, function))


def test_a_clock_that_is_over_raises() -> None:
    """All three searches respect the time limit."""
    posterior = any_normal(3, seed=1)
    with pytest.raises(TimeLimitError):
        best_meanfield(posterior, np.random.default_rng(1), Clock(0))
    best = meanfield(posterior)
    with pytest.raises(TimeLimitError):
        best_fullrank(posterior, np.random.default_rng(1), Clock(0), best)
    with pytest.raises(TimeLimitError):
        climb(posterior, best, best.q, np.random.default_rng(1), Clock(0))


# --- climbing -------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "sd"), [(0, 1), (2, 0.5), (-5, 0.1)])
def test_climbing_from_another_basin_says_how_much_lower_it_is(mean: float, sd: float) -> None:
    """Two normals of masses .2 and .8: ln 4 nats, from anywhere in the lower one's basin."""
    target = two_normals(25)
    best = meanfield(target, one(25, 1))
    assert abs(best.q.mean[0] - 25) < 0.01
    found = climb(target, best, one(mean, sd), np.random.default_rng(2), Clock(60))
    assert found is not None
    assert abs(found.value - math.log(4)) < K * found.mcse + NATS / 2
    assert found.mcse < NATS


@pytest.mark.parametrize(("mean", "sd"), [(25, 1), (22, 3), (30, 0.1), (24, 0.5)])
def test_climbing_to_the_same_optimum_finds_no_other(mean: float, sd: float) -> None:
    """It returns None from q* and from fits that are only too narrow, too wide or shifted."""
    target = two_normals(25)
    best = meanfield(target, one(25, 1))
    assert climb(target, best, one(mean, sd), np.random.default_rng(2), Clock(60)) is None


def test_a_full_rank_fit_climbs_with_its_mean_and_sds() -> None:
    """A correlated normal has one optimum, wherever a full-rank fit lies."""
    posterior = any_normal(4, seed=7)
    best = meanfield(posterior)
    factor = 2 * np.linalg.cholesky(np.linalg.inv(posterior.precision))
    q = Gaussian(posterior.mean + 3, factor)
    assert climb(posterior, best, q, np.random.default_rng(1), Clock(60)) is None
