"""Short chains: their kernel, coordinates and starts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import targets

from harness.records import FloatArray
from harness.vi.short_chains import hmc, starts
from harness.vi.short_chains.coordinates import (
    Dense,
    LowRank,
    Parts,
    from_covariance,
    low_rank,
    refined,
    slender,
)
from harness.vi.target import Clock, Target

K = 4.5
"""Standard errors allowed."""


def at(target: Target, z: FloatArray) -> hmc.Chains:
    """Return chains at points, all in the first coordinates."""
    return hmc.chains_at(target, z, np.zeros(len(z), dtype=np.intp))


# --- the kernel ------------------------------------------------------------------------------


def test_a_transition_leaves_the_posterior_invariant() -> None:
    """Exact draws of a bent posterior, moved thirty times, are draws of it still."""
    target, rng, n = targets.banana(0.3), np.random.default_rng(1), 40_000
    x, e = rng.standard_normal((2, n))
    chains = at(target, np.column_stack([x, 0.3 * (x**2 - 1) + e]))
    home = (Dense(np.zeros(2), np.diag([1.3, 0.6])),)
    for _ in range(30):
        chains, _ = hmc.transition(target, home, chains, 0.7, rng, Clock(60))
    x, y = chains.z.T
    e = y - 0.3 * (x**2 - 1)
    for found, mean, variance in (
        (x, 0, 1), (e, 0, 1), (x**2, 1, 2), (e**2, 1, 2), (x * e, 0, 1),
    ):  # fmt: skip
        assert abs(found.mean() - mean) < K * math.sqrt(variance / n)


def test_steps_of_their_own_do_not_change_what_chains_converge_to() -> None:
    """Far chains with one step each stay draws of the posterior, too."""
    target, rng, n = targets.standard(1), np.random.default_rng(2), 40_000
    chains = at(target, rng.standard_normal((n, 1)))
    step = rng.uniform(0.1, 1.9, n)
    for _ in range(10):
        chains, _ = hmc.transition(
            target, (Dense(np.zeros(1), np.eye(1)),), chains, step, rng, Clock(60)
        )
    assert abs(np.mean(chains.z**2) - 1) < K * math.sqrt(2 / n)


def test_the_step_is_adapted_to_the_wanted_acceptance() -> None:
    """In 500 dimensions acceptance is within .07 of .85: 32 pilots over 25 rounds know no more."""
    target, rng = targets.standard(500), np.random.default_rng(3)
    home = (Dense(np.zeros(500), np.eye(500)),)
    step = hmc.adapted_step(
        target, home, at(target, rng.standard_normal((32, 500))), rng, Clock(60)
    ).size
    chains = at(target, rng.standard_normal((2000, 500)))
    _, moved = hmc.transition(target, home, chains, step, rng, Clock(60))
    assert abs(moved.chance.mean() - hmc.WANTED) < 0.07


def test_necks_are_seen_and_get_shorter_steps() -> None:
    """A funnel has paths that are hopeless, a normal none; half of the steps are shorter."""
    rng = np.random.default_rng(8)
    wide = (Dense(np.zeros(10), np.eye(10) * np.concatenate([[3.0], np.full(9, 2.0)])),)
    for target, home_, necks in (
        (targets.funnel(10), wide, True),
        (targets.standard(10), (Dense(np.zeros(10), np.eye(10)),), False),
    ):
        start = at(target, rng.standard_normal((32, 10)))
        assert hmc.adapted_step(target, home_, start, rng, Clock(60)).necks is necks
    steps = hmc.careful(2.0, 10_000, rng)
    assert steps.max() == 2.0
    assert steps.min() > 2.0 * hmc.SMALLEST
    error = math.sqrt(hmc.SMALLER * (1 - hmc.SMALLER) / len(steps))
    assert abs(np.mean(steps < 2.0) - hmc.SMALLER) < K * error


def test_points_without_a_density_are_never_entered() -> None:
    """A path across an edge is rejected, be log p there −∞ or NaN."""
    for nothing in (-math.inf, math.nan):
        target, rng = targets.cut(targets.standard(2), 0.5, nothing), np.random.default_rng(4)
        z = rng.standard_normal((500, 2))
        chains = at(target, z)
        assert len(chains.z) == np.count_nonzero(z[:, 0] <= 0.5)
        for _ in range(5):
            chains, _ = hmc.transition(
                target, (Dense(np.zeros(2), np.eye(2)),), chains, 1.0, rng, Clock(60)
            )
        assert (chains.z[:, 0] <= 0.5).all()
        assert np.isfinite(chains.value).all()


def test_a_step_takes_two_gradients_and_errs_less_than_two_leapfrogs() -> None:
    """On a normal of 200 parameters with steps of 1.2 sds: two or three a path, nearly all kept."""
    target, rng = targets.standard(200), np.random.default_rng(13)
    home = (Dense(np.zeros(200), np.eye(200)),)
    chance = {}
    for share in (hmc.OUTER, 0.25):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hmc, "OUTER", share)
            chains = at(target, rng.standard_normal((500, 200)))
            _, moved = hmc.transition(target, home, chains, 1.2, rng, Clock(60))
        assert set(moved.leapfrogs) == {4, 6}
        chance[share] = float(moved.chance.mean())
    assert chance[hmc.OUTER] > 0.9
    assert chance[0.25] < 0.8


# --- coordinates -----------------------------------------------------------------------------


def test_coordinates_with_few_correlated_directions_keep_only_those() -> None:
    """Of 60 parameters three correlate: about the same covariance, in as many directions."""
    covariance = np.eye(60)
    covariance[:3, :3] = 0.8 + 0.2 * np.eye(3)
    sd = np.geomspace(0.1, 10, 60)
    own = from_covariance(np.zeros(60), covariance * np.outer(sd, sd))
    assert own is not None
    few = slender(own)
    assert isinstance(few, LowRank)
    assert few.vectors.shape == (60, 3)
    np.testing.assert_allclose(few.spread(np.eye(60)), own.spread(np.eye(60)), rtol=1e-9, atol=1e-9)
    full = from_covariance(np.zeros(3), covariance[:3, :3])
    assert full is not None
    assert slender(full) is full


def test_coordinates_are_undone_and_have_their_volume() -> None:
    """Whitening undoes pushing, spreading is L Lᵀ, and ln |det L| is that of the matrix."""
    rng = np.random.default_rng(5)
    vectors, _ = np.linalg.qr(rng.standard_normal((6, 2)))
    both = (
        Dense(rng.standard_normal(6), np.tril(rng.uniform(0.5, 1.5, (6, 6)))),
        LowRank(rng.standard_normal(6), rng.uniform(0.5, 2, 6), vectors, np.array([3.0, 0.2])),
    )
    for own in both:
        matrix = own.push(np.eye(6)).T
        u = rng.standard_normal((4, 6))
        np.testing.assert_allclose(own.whiten(own.mean + own.push(u)), u, atol=1e-12)
        np.testing.assert_allclose(own.spread(u), u @ matrix @ matrix.T, atol=1e-12)
        assert own.log_det == pytest.approx(np.linalg.slogdet(matrix)[1])


def test_low_rank_coordinates_find_the_directions_that_differ() -> None:
    """700 parameters that all correlate at .9: one direction is far wider than the sds say."""
    d = 700
    target = targets.Normal(np.zeros(d), np.full((d, d), 0.9) + 0.1 * np.eye(d))
    sd = 1 / np.sqrt(np.diag(target.precision))
    own = low_rank(target, np.zeros(d), sd, np.random.default_rng(6), Clock(60))
    wide = own.push(np.eye(d))
    # Differences of gradients are exact to some 1e-6 here.
    np.testing.assert_allclose(wide @ wide.T, target.covariance, rtol=1e-3, atol=1e-5)


def test_weighted_draws_refine_coordinates() -> None:
    """Half the sd becomes the right one; a few weights change nothing."""
    rng, n = np.random.default_rng(7), 20_000
    own = Dense(np.zeros(1), np.array([[0.5]]))
    found = refined(own, rng.standard_normal((n, 1)) * 1.0 + 3.0, np.full(n, 1 / n))
    # The sd of a clipped normal's variance is below that of the normal's own, √(2 / n).
    assert found.push(np.ones((1, 1)))[0, 0] == pytest.approx(
        1.0, abs=K * math.sqrt(0.5 / n) + 1e-3
    )
    assert found.mean[0] == pytest.approx(3.0, abs=K / math.sqrt(n))
    weight = np.zeros(n)
    weight[:3] = 1 / 3
    assert refined(own, rng.standard_normal((n, 1)), weight) is own


# --- starts ----------------------------------------------------------------------------------


def test_starts_are_distinct_and_keep_the_shares_of_regions() -> None:
    """A weight of a tenth is one start; each region has as many as its mass, to within one."""
    rng = np.random.default_rng(8)
    weight = rng.gamma(0.3, size=5000)
    weight[0] = weight.sum() / 9
    weight /= weight.sum()
    part = (rng.random(5000) < 0.3).astype(np.intp)
    found = starts.Weighted(np.zeros((5000, 1)), np.zeros(5000), weight, part)
    chosen = starts.distinct(found, 512, rng)
    assert len(np.unique(chosen)) == len(chosen) >= 510
    for k in (0, 1):
        assert abs(np.mean(part[chosen] == k) - weight[part == k].sum()) < 3 / 512


def test_weights_are_unbiased_and_their_error_is_told() -> None:
    """Proposals with equal shares of two regions of .2 and .8 give those, with their error."""
    target = targets.two_normals(12.0)
    each = tuple(Dense(np.array([m]), np.eye(1)) for m in (0.0, 12.0))
    parts, errors = Parts(each, np.array([0.5, 0.5])), []
    for seed in range(40):
        found = starts.weigh(target, parts, 2000, np.random.default_rng(seed), Clock(60))
        errors.append((found.weight[found.part == 0].sum() - 0.2) / found.share_error(2))
    assert abs(np.mean(errors)) < K / math.sqrt(40)
    # The standard error of an sd of 40 values is 1/√80.
    assert abs(np.std(errors) - 1) < K / math.sqrt(80)
