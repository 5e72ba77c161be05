"""Masses of regions by bridges: shares with honest errors, for bent regions too."""

from __future__ import annotations

import math

import numpy as np
import pytest
import targets

from harness.methods.dadvi_weighted import SHARES, share_faults
from harness.records import FloatArray, Reason
from harness.vi import deterministic
from harness.vi.bridge_sampling import bridged
from harness.vi.deterministic import Settings
from harness.vi.short_chains import Sizes
from harness.vi.short_chains.coordinates import Dense, Parts
from harness.vi.short_chains.home import Home, kernel
from harness.vi.short_chains.masses import FEWEST, Masses, bridged_masses
from harness.vi.short_chains.starts import Weighted, parts_of, weigh
from harness.vi.target import Clock, Target

K = 4.5
"""Standard errors allowed."""

SEEDS = 20


def bent(dimension: int, pairs: int, bend: float) -> targets.Density:
    """Return .3 and .7 of two normals 8 sds apart, pairs of their other parameters bent."""
    means = np.zeros((2, dimension))
    means[:, 0] = -4.0, 4.0
    plain = targets.Mixture([0.3, 0.7], means, np.ones((2, dimension)))
    x = np.arange(2, 2 + 2 * pairs, 2)

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        straight = z.copy()
        straight[:, x + 1] -= bend * z[:, x] ** 2
        value, slope = plain.log_density_gradient(straight)
        slope[:, x] -= 2 * bend * z[:, x] * slope[:, x + 1]
        return value, slope

    return targets.Density(dimension, function)


def masses_of(target: Target, seed: int) -> tuple[Masses, Parts]:
    """Fit, weight proposals, and build a bridge in each region."""
    rng, clock = np.random.default_rng(seed), Clock(60)
    fit = deterministic.fit(target, rng, clock, Settings(starts=24, seconds=2e-6))
    home = Home.of(target, fit, fit.basins, rng, clock, Sizes())
    found = bridged_masses(target, home.parts, home.maps, home.weights, home.step, rng, clock)
    return found, home.parts


@pytest.mark.parametrize(
    ("target", "share"),
    [
        (targets.lecture_mixture(), 0.2),
        (targets.Mixture([0.4, 0.6], [[0.0], [3.5]], [[0.3], [0.3]]), 0.4),
        (
            targets.Mixture(
                [0.2, 0.5, 0.3], [[-6, 0], [0, 5], [6, -5]], [[0.2, 1.0], [1.0, 0.3], [0.5, 0.5]]
            ),
            0.2,
        ),
        (
            targets.Mixture(
                [0.3, 0.7],
                np.outer([-4.0, 4.0], np.eye(20)[0]),
                np.array([[0.5] * 20, [1.0] * 20]),
            ),
            0.3,
        ),
        (bent(10, 4, 1.0), 0.3),
    ],
    ids=["lecture", "silent", "three widths", "twenty dimensions", "bent"],
)
def test_shares_have_honest_errors(target: Target, share: float) -> None:
    """The leftmost mode's share, over 20 seeds in its own errors: mean 0, sd 1; error under .01."""
    scores, errors = [], []
    for seed in range(SEEDS):
        found, parts = masses_of(target, seed)
        left = int(np.argmin([own.mean[0] for own in parts.each]))
        scores.append((found.shares[left] - share) / found.errors[left])
        errors.append(found.error)
        assert math.isclose(found.shares.sum(), 1.0)
    assert np.median(errors) < 0.01
    assert abs(np.mean(scores)) < K / math.sqrt(SEEDS)
    # An sd of 20 scores has an error of 1 / √40.
    assert abs(np.std(scores, ddof=1) - 1) < K / math.sqrt(2 * SEEDS)


def test_a_region_that_few_chains_tell_has_no_known_mass() -> None:
    """With half as many proposals of weight as chains are needed, all errors are infinite."""
    target, rng = targets.lecture_mixture(), np.random.default_rng(1)
    sides = tuple(Dense(np.array([at]), np.array([[0.1]])) for at in (-0.3, 0.5))
    parts = Parts(sides, np.array([0.5, 0.5]))
    whole = weigh(target, parts, 4000, rng, Clock(60))
    seen = np.flatnonzero(whole.part == 0)[FEWEST // 2 :]
    weight = whole.weight.copy()
    weight[seen] = 0.0
    few = Weighted(whole.z, whole.log_p, weight / weight.sum(), whole.part)
    maps, step = kernel(target, parts, whole, rng, Clock(60))
    found = bridged_masses(target, parts, maps, few, step.size, rng, Clock(60))
    assert found.error == math.inf
    assert np.isnan(found.shares).all()
    enough = bridged_masses(target, parts, maps, whole, step.size, rng, Clock(60))
    assert abs(enough.shares[0] - 0.2) < K * enough.errors[0]


def test_each_region_has_a_covariance_of_its_own() -> None:
    """Two modes in ten dimensions, correlated by .9 and by −.9 in pairs: both factors are right."""
    one, two = (np.kron(np.eye(5), np.array([[1.0, r], [r, 1.0]])) for r in (0.9, -0.9))
    place = 8.0 * np.eye(10)[0]
    normals = targets.Normal(-place, one), targets.Normal(place, two)

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        each, slopes = zip(*(n.log_density_gradient(z) for n in normals), strict=True)
        value = np.logaddexp(*each)
        weight = np.exp(np.stack(each) - value)
        return value, np.asarray((weight[:, :, None] * np.stack(slopes)).sum(axis=0))

    target, rng = targets.Density(10, function), np.random.default_rng(1)
    fit = deterministic.fit(target, rng, Clock(60), Settings(starts=24, seconds=2e-6))
    parts, _ = parts_of(target, fit, fit.basins, rng, Clock(60))
    assert len(parts.each) == 2
    for own in parts.each:
        factor = own.push(np.eye(10)).T
        true = one if own.mean[0] < 0 else two
        np.testing.assert_allclose(factor @ factor.T, true, atol=0.02)


def test_starts_take_the_shares_of_a_bridge_where_weights_are_uncertain() -> None:
    """Bent regions: the ensemble's error is the bridge's, under that of its few weights."""
    target, rng, clock = bent(10, 4, 1.0), np.random.default_rng(3), Clock(60)
    fit = deterministic.fit(target, rng, clock, Settings(starts=24, seconds=2e-6))
    home = Home.of(target, fit, fit.basins, rng, clock, Sizes()).with_shares(target, rng, clock)
    alone = weigh(target, home.parts, len(home.weights.weight), rng, clock).share_error(2)
    assert home.weights.known is not None
    assert home.weights.share_error(2) < alone
    mass = np.bincount(home.weights.part, home.weights.weight, 2)
    chains = np.bincount(home.starts.part, minlength=2) / len(home.starts.z)
    assert (np.abs(chains - mass) < 1.5 / len(home.starts.z)).all()


def test_the_check_on_shares_counts_proposals() -> None:
    """Sixty-four proposals a region leave an error over .02; forty for each chain do not."""
    target = targets.Mixture([0.4, 0.6], np.outer([0.0, 9.0], np.ones(2)), np.ones((2, 2)))
    rng = np.random.default_rng(1)
    sides = tuple(Dense(np.full(2, at), np.eye(2)) for at in (0.0, 9.0))
    parts = Parts(sides, np.array([0.5, 0.5]))
    errors = [weigh(target, parts, n, rng, Clock(60)).share_error(2) for n in (128, 20_480)]
    assert [SHARES.fine(error) for error in errors] == [False, True]


@pytest.mark.parametrize(("error", "said"), [(0.019, False), (0.021, True), (math.nan, True)])
def test_a_mixture_of_basins_with_uncertain_shares_is_a_fault(error: float, said: bool) -> None:
    """At the ensemble's own limit, an error that is no number included."""
    faults = share_faults(error)
    assert bool(faults) is said
    assert all(fault.reason is Reason.WEIGHTS for fault in faults)


def test_errors_of_a_bridge_count_chains_that_stay_where_they_are() -> None:
    """Ten copies of each draw are worth no more than one: the error is that of the draws."""
    rng = np.random.default_rng(1)
    q = rng.standard_normal(4000)
    z = 1.3 * rng.standard_normal(400)

    def ratio(x: FloatArray) -> FloatArray:
        return np.asarray(-0.5 * (x / 1.3) ** 2 - math.log(1.3) + 0.5 * x**2)

    once = bridged(ratio(z), ratio(q), 1.0)
    copies = bridged(ratio(np.tile(z, 10)), ratio(q), 0.1, np.tile(np.arange(400), 10))
    assert abs(copies.value) < K * copies.error
    assert math.isclose(copies.error, once.error, rel_tol=0.02)
