"""What an ensemble is judged by: nested R-hat by definition, and every limit from both sides."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest
import targets
from scipy.stats import rankdata
from test_short_chains_ensemble import ensemble_of, optimum_of

from harness.check.baseline.summarise import of_draws
from harness.ranks import ranks
from harness.records import Draws, FloatArray, Reason
from harness.vi.short_chains import (
    CHECKS,
    Sizes,
    doubts,
    hmc,
    home,
    length,
    nested,
    regions,
    starts,
)
from harness.vi.short_chains.coordinates import Dense, Parts
from harness.vi.short_chains.figures import balance
from harness.vi.target import Clock

K = 4.5
"""Standard errors allowed."""


# --- figures ---------------------------------------------------------------------------------


def test_ranks_are_scipys() -> None:
    """With ties, one column constant and one with NaN."""
    x = np.random.default_rng(1).integers(0, 20, (200, 4)).astype(np.float64)
    x[:, 1] = 3.0
    x[7, 2] = math.nan
    np.testing.assert_array_equal(ranks(x), rankdata(x, axis=0))


def by_definition(x: FloatArray) -> float:
    """Return nested R-hat as the paper writes it; ``x`` is ``(superchain, chain, draw)``."""
    k_of, m_of, n_of = x.shape
    whole = x.mean()
    between = sum((x[k].mean() - whole) ** 2 for k in range(k_of)) / (k_of - 1)
    within = 0.0
    for k in range(k_of):
        chain_between = chain_within = 0.0
        for m in range(m_of):
            if m_of > 1:
                chain_between += (x[k, m].mean() - x[k].mean()) ** 2 / (m_of - 1)
            if n_of > 1:
                chain_within += sum((v - x[k, m].mean()) ** 2 for v in x[k, m]) / (n_of - 1) / m_of
        within += (chain_between + chain_within) / k_of
    return math.sqrt((within + between) / within)


@pytest.mark.parametrize("shape", [(4, 8, 5), (16, 32, 20), (3, 1, 9), (5, 6, 1)])
def test_nested_rhat_is_the_papers(shape: tuple[int, int, int]) -> None:
    """Equal to the loops, one draw a chain and one chain a superchain included."""
    x = (
        np.random.default_rng(1).standard_normal((*shape, 2))
        + np.arange(shape[0])[:, None, None, None]
    )
    found = nested.nested_rhat(x)
    for j in (0, 1):
        assert found[j] == pytest.approx(by_definition(x[..., j]), rel=1e-12)


def test_nested_rhat_of_stationary_chains_is_small_and_of_stuck_ones_large() -> None:
    """Independent draws of 16 × 32 × 20: 1 + 1/(2 · 32 · 20) on average; a third of an sd: more."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((16, 32, 20, 200))
    found = nested.nested_rhat(x)
    # B is the variance of 16 means: its relative standard error is √(2 / 15), over 200 columns.
    assert found.mean() - 1 == pytest.approx(1 / 1280, rel=K * math.sqrt(2 / 15 / 200))
    moved = x[..., :1] + rng.normal(0, 0.33, (16, 1, 1, 1))
    assert nested.nested_rhat(moved)[0] > 1.02


def test_nothing_that_varies_has_no_rhat() -> None:
    """A constant gives NaN, which no check takes."""
    assert math.isnan(nested.nested_rhat(np.ones((4, 4, 4, 1)))[0])


def test_groups_by_start_have_the_same_nested_rhat_as_the_sorted_chains() -> None:
    """What is computed from chains' means and variances is the definition's figure."""
    rng = np.random.default_rng(3)
    chains, start = rng.standard_normal((100, 5, 3)), rng.standard_normal((100, 3))
    chains += 0.3 * start[:, None]
    by_hand = nested.nested_rhat(nested.superchains(chains, start, 4))
    np.testing.assert_allclose(nested.rhat_by_start(chains, start, 4), by_hand, rtol=1e-12)
    assert by_hand.min() > 1.01
    constant = nested.rhat_by_start(np.ones((100, 5, 1)), start[:, :1], 4)
    assert math.isnan(constant[0])


@pytest.mark.parametrize("draws", [4, 5])
def test_scores_are_those_of_ranks_and_of_ranks_of_distances(draws: int) -> None:
    """Ties, odd and even numbers, and a column with NaN."""
    rng = np.random.default_rng(4)
    x = np.round(rng.standard_normal((7, draws, 4)), 1)
    x[0, 0, 3] = np.nan
    scores, middle = nested.scores_of(x)
    np.testing.assert_array_equal(middle, np.median(x, axis=(0, 1)))
    by_hand = np.concatenate([nested.ranked(x), nested.ranked(np.abs(x - middle))], axis=2)
    np.testing.assert_array_equal(scores, by_hand)
    assert np.isnan(scores[:, :, [3, 7]]).all()
    assert np.isfinite(scores[:, :, :3]).all()


def test_superchains_are_neighbours() -> None:
    """Sorted by start, column by column, and equally large."""
    rng = np.random.default_rng(3)
    start = rng.standard_normal((70, 2))
    chains = np.repeat(start[:, None], 3, axis=1)
    found = nested.superchains(chains, start, 4)
    assert found.shape == (4, 17, 3, 2)
    for j in (0, 1):
        assert (np.diff(found[:, :, 0, j].ravel()) > 0).all()


def test_effective_size_is_that_of_the_mean() -> None:
    """Of an AR(1) with coefficient .5 in 20 draws, by the variance of its mean over repetitions."""
    rng, rho, draws = np.random.default_rng(4), 0.5, 20
    x = np.empty((512, draws, 300))
    x[:, 0] = rng.standard_normal((512, 300))
    for i in range(1, draws):
        x[:, i] = rho * x[:, i - 1] + math.sqrt(1 - rho**2) * rng.standard_normal((512, 300))
    lags = np.arange(1, draws)
    exact = 512 * draws / (1 + 2 * np.sum((1 - lags / draws) * rho**lags))
    # The variance of 512 chain means has a relative standard error of √(2 / 511).
    found = nested.effective(x)
    assert found.mean() == pytest.approx(exact, rel=K * math.sqrt(2 / 511 / 300) + 2e-3)


def test_rank_correlation_is_spearmans() -> None:
    """Equal to SciPy's, ties included."""
    from scipy.stats import spearmanr

    rng = np.random.default_rng(5)
    one = rng.integers(0, 20, (100, 3)).astype(np.float64)
    two = one + rng.standard_normal((100, 3))
    found = nested.rank_correlation(one, two)
    for j in range(3):
        assert found[j] == pytest.approx(spearmanr(one[:, j], two[:, j]).statistic)


# --- limits ----------------------------------------------------------------------------------

GOOD = {
    "other_regions": 0.0,
    "other_mass": 0.01,
    "share_error": 0.02,
    "balance": 4.0,
    "stuck": 0.002,
    "acceptance": 0.6,
    "nested_rhat": 1.01,
    "memory": 0.3,
    "far_rhat": 1.03,
    "arrived": 0.25,
    "weight_share": 0.01,
    "ess": 2000.0,
    "tail_error": 0.1,
}
"""Figures exactly at their limits."""


def test_every_check_has_its_limit_and_reason() -> None:
    """The table is that of the figures above; at its limit a figure is fine."""
    assert {c.id: c.rule.close for c in CHECKS} == GOOD
    assert all(c.rule.why and c.noun for c in CHECKS)
    assert doubts(GOOD) == ()


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.id)
def test_a_figure_beyond_its_limit_missing_or_nan_is_a_doubt(check: object) -> None:
    """And it alone."""
    check = next(c for c in CHECKS if c is check)
    side = -1 if check.rule.at_least else 1
    beyond = check.rule.close + side * 1e-6 * max(1.0, check.rule.close)
    for figures in (
        {**GOOD, check.id: beyond},
        {**GOOD, check.id: math.nan},
        {k: v for k, v in GOOD.items() if k != check.id},
    ):
        assert doubts(figures) == (check,)


def test_without_far_starts_theirs_is_not_asked() -> None:
    """All three figures absent: whoever left far starts out knows it."""
    own = {k: v for k, v in GOOD.items() if k not in {"other_regions", "far_rhat", "arrived"}}
    assert doubts(own) == ()


# --- that they fire on what they are for -----------------------------------------------------


def fired(figures: Mapping[str, float]) -> set[str]:
    """Return the ids of the doubts."""
    return {c.id for c in doubts(figures)}


@pytest.mark.parametrize("seed", range(5))
def test_nothing_fires_on_a_normal(seed: int) -> None:
    """Correlated, in five dimensions."""
    assert fired(ensemble_of(targets.any_normal(5, seed), seed).figures) == set()


def test_slow_chains_fire_memory_rhat_far_rhat_and_ess(monkeypatch: pytest.MonkeyPatch) -> None:
    """One leapfrog of at most .05 sd: chains, near and far, stay where they started."""
    monkeypatch.setattr(hmc, "LONGEST", 1)
    monkeypatch.setattr(hmc, "LARGEST", 0.05)
    found = ensemble_of(targets.standard(2)).figures
    assert {"memory", "nested_rhat", "ess"} <= fired(found)
    assert found["memory"] > 0.8
    # The last may never come to where they could be compared: that is a doubt as well.
    assert fired(found) & {"far_rhat", "arrived"}


def wrong_slope(beyond: float, factor: float) -> targets.Density:
    """Return a normal whose gradient is wrong where the coordinate exceeds an edge."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        return -0.5 * (z**2).sum(axis=1), -z * np.where(z > beyond, factor, 1.0)

    return targets.Density(1, function)


def test_chains_that_no_step_moves_fire_stuck() -> None:
    """A gradient a hundred thousand times too large above 1.5: 7% of the chains start there."""
    optimum = optimum_of(targets.standard(1))
    found = ensemble_of(wrong_slope(1.5, 1e5), optimum=optimum).figures
    assert "stuck" in fired(found)
    assert 0.02 < found["stuck"] < 0.12


def test_a_basin_where_steps_are_rejected_fires_acceptance() -> None:
    """The gradient of the smaller of two modes is twelve times too large."""
    target = targets.two_normals(14.0, 0.9)

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        value, slope = target.log_density_gradient(z)
        return value, slope * np.where(z > 7, 12.0, 1.0)

    found = ensemble_of(targets.Density(1, function), optimum=optimum_of(target, starts=24)).figures
    assert "acceptance" in fired(found)


def test_basins_that_are_left_out_fire_other_mass() -> None:
    """Of twelve equal modes only eight have proposals of their own."""
    angle = np.arange(12) * math.pi / 6
    target = targets.Mixture(
        [1 / 12] * 12, 9 * np.column_stack([np.cos(angle), np.sin(angle)]), np.ones((12, 2))
    )
    one = optimum_of(targets.standard(2))
    each = [
        dataclasses.replace(
            one.basins[0], theta=np.concatenate([m, np.zeros(2)]), separate=True, mass=1 / 12
        )
        for m in target.means
    ]
    optimum = dataclasses.replace(one, basins=tuple(each))
    found = ensemble_of(target, optimum=optimum).figures
    assert "other_mass" in fired(found)


def test_weights_that_are_worth_little_fire_weight_share() -> None:
    """A fit thirty times too wide in three dimensions: one proposal in 27 000 counts."""
    target = targets.standard(3)
    optimum = optimum_of(target)
    assert optimum.covariance is not None
    wide = dataclasses.replace(optimum, covariance=900 * optimum.covariance)
    assert "weight_share" in fired(ensemble_of(target, optimum=wide).figures)


def test_few_draws_fire_ess_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """192 chains of ten draws that cannot go on are 1920 draws."""
    sizes = Sizes(chains=192, draws=10)
    assert "ess" not in fired(ensemble_of(targets.standard(2), sizes=sizes).figures)
    monkeypatch.setattr(length, "LONGEST", 0)
    monkeypatch.setattr(home, "WORTH", 0)
    assert fired(ensemble_of(targets.standard(2), sizes=sizes).figures) == {"ess"}


def test_heavy_tails_fire_tail_error_and_are_known_by_more_draws() -> None:
    """The error of quantiles is that over repetitions, for a normal and a Cauchy."""
    rng, n, draws = np.random.default_rng(8), 256, 40
    group = np.zeros(n, dtype=np.intp)
    x = rng.standard_normal((n, draws, 200))
    heavy = rng.standard_cauchy((n, draws, 200))
    for drawn, fires in ((x, False), (heavy, True)):
        low, high = np.quantile(drawn.reshape(n * draws, -1), [0.05, 0.95], axis=0)
        sd = (high - low) / (2 * 1.6449)
        # Either quantile's error over 200 repetitions has a relative standard error of 5%, and the
        # figure is the larger of two estimates, each of which varies by a tenth or so.
        true = max(float(low.std()), float(high.std())) / float(sd.mean())
        found = float(np.mean(nested.tail_error(drawn, group)))
        assert 0.85 < found / true < 1.4
        assert fired({**GOOD, "tail_error": found}) == set()
        few = float(np.mean(nested.tail_error(drawn[:, :4], group)))
        assert fired({**GOOD, "tail_error": few}) == ({"tail_error"} if fires else set())


def test_the_number_of_chains_in_a_group_is_no_error_of_quantiles() -> None:
    """Two groups, one in either tail's place: shares are chosen, and only what is inside varies."""
    rng = np.random.default_rng(9)
    group = np.repeat(np.array([0, 1]), (16, 240))
    x = rng.standard_normal((256, 20, 1)) + 10 * group[:, None, None]
    together = nested.tail_error(x, np.zeros_like(group))[0]
    assert nested.tail_error(x, group)[0] < 0.2 * together


def test_quantiles_of_what_does_not_vary_have_no_error() -> None:
    """NaN, which no check takes."""
    assert math.isnan(nested.tail_error(np.ones((8, 5, 1)), np.zeros(8, dtype=np.intp))[0])


# --- how long chains are ---------------------------------------------------------------------


def test_chains_go_on_as_long_as_effective_draws_ask_for() -> None:
    """Old draws stay if only their number is at fault; else as many transitions come again."""
    few = {**GOOD, "ess": 1536.0}
    # A chain has 6 of the 10.2 that are wanted, beyond the first 5 in 20: 37 would do.
    assert length.longer(few, 256, 20, 1, 25) == length.More(17, 1, 1)
    slow = {**GOOD, "nested_rhat": 1.02}
    assert length.longer(slow, 256, 20, 1, 30) == length.More(21, 2, None)
    assert length.longer({**few, **slow, "ess": 800.0}, 256, 20, 1, 30) == length.More(21, 5, None)
    tails = {**GOOD, "ess": 5120.0, "tail_error": 0.12}
    # 64 draws are more than are looked at: every second one of the old and new.
    assert length.longer({**GOOD, "ess": 1000.0}, 256, 20, 1, 25) == length.More(22, 2, 2)
    assert length.longer(tails, 256, 20, 1, 25) == length.More(19, 1, 1)


def test_chains_that_cannot_be_long_enough_do_not_go_on() -> None:
    """One effective draw a chain, whatever its length, and chains that were long already."""
    assert length.longer({**GOOD, "ess": 256.0}, 256, 20, 1, 30) is None
    assert length.longer({**GOOD, "ess": 300.0}, 256, 20, 1, 30) is None
    assert length.longer({**GOOD, "nested_rhat": 1.02}, 256, 20, 8, 190) is None


def test_more_chains_come_for_a_chance_and_for_several_regions() -> None:
    """One stuck chain of 256, and slow chains that may change regions; never a second doubt."""
    one = {**GOOD, "stuck": 1 / 256}
    assert length.merely_few(one, 1)
    assert not length.merely_slow(one)
    assert not length.merely_few({**GOOD, "stuck": 3 / 256}, 1)
    assert not length.merely_few({**one, "weight_share": 0.0}, 1)
    slow = {**GOOD, "ess": 1000.0}
    assert length.merely_slow(slow)
    assert length.merely_few(slow, 2)
    assert not length.merely_few(slow, 1)
    assert not length.merely_few(GOOD, 2)
    assert not length.merely_slow({**slow, "nested_rhat": math.nan})
    assert not length.merely_slow({**slow, "ess": math.nan, "acceptance": 0.1})


def test_uncertain_shares_fire_share_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 128 proposals a share of .2 has an error of .035, and they are too few for a bridge.

    With 1280 there is one, and the check is silent. All are drawn.
    """
    monkeypatch.setattr(starts, "LARGEST", 0.0)
    target = targets.two_normals(14.0, 0.2)
    few, enough = (
        ensemble_of(target, sizes=Sizes(chains=128, proposals=n)).figures for n in (1, 10)
    )
    assert "share_error" in fired(few)
    assert "share_error" not in fired(enough)


def test_proposals_go_on_where_none_has_a_density_yet() -> None:
    """Of 800 the first hundred have none, and each of the second has too much weight."""

    class Late(targets.Normal):
        def log_density(self, z: FloatArray) -> FloatArray:
            self.seen = getattr(self, "seen", 0) + len(z)
            value = super().log_density(z)
            return value if self.seen > 100 else np.full(len(z), -np.inf)

    parts = Parts((Dense(np.zeros(2), np.eye(2)),), np.ones(1))
    rng = np.random.default_rng(4)
    found = starts.weigh(Late(np.zeros(2), np.eye(2)), parts, 800, rng, Clock())
    assert len(found.weight) == 300
    assert np.count_nonzero(found.weight) == 200


def test_a_share_that_chains_change_fires_balance() -> None:
    """Thirty chains leave a region and none comes; fifteen each way are balanced."""
    start = np.repeat(np.array([0, 1]), 256)
    end = start.copy()
    end[:30] = 1
    assert balance(start, end) == pytest.approx(math.sqrt(30))
    end[15:30] = 0
    end[300:315] = 0
    assert balance(start, end) == 0


def test_far_starts_that_stay_away_fire_arrived() -> None:
    """Beyond two sds the density is a plateau, from which few chains come back."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        square = (z**2).sum(axis=1)
        flat = square > 4
        value = np.where(flat, -40.0, -0.5 * square)
        return value, np.where(flat[:, None], 0.0, -z)

    target = targets.Density(3, function)
    far = dataclasses.replace(optimum_of(targets.standard(3)))
    # Around 0 half of Stan's box lies inside; around 30 nothing does.
    moved = targets.Density(3, lambda z: function(z - 30))
    theta = np.concatenate([far.mean + 30, np.log(far.sd)])
    basin = dataclasses.replace(far.basins[0], theta=theta)
    optimum = dataclasses.replace(far, mean=far.mean + 30, basins=(basin,))
    assert "arrived" in fired(ensemble_of(moved, optimum=optimum).figures)
    assert "arrived" not in fired(ensemble_of(target, optimum=far).figures)


def chains(target: targets.Mixture | targets.Density, z: FloatArray) -> hmc.Chains:
    """Return chains at points."""
    return hmc.chains_at(target, z, np.zeros(len(z), dtype=np.intp))


def test_another_mode_is_apart_and_a_bend_is_not() -> None:
    """The valley test: a mode that home lacks is named once; the ends of a banana are home."""
    rng, parts = np.random.default_rng(6), Parts((Dense(np.zeros(2), np.eye(2)),), np.ones(1))
    two = targets.Mixture([0.5, 0.5], [[0.0, 0.0], [8.0, 0.0]], np.ones((2, 2)))
    home = chains(two, rng.standard_normal((512, 2)))
    far = chains(two, rng.standard_normal((60, 2)) + np.array([8.0, 0.0]))
    assert len(regions.apart(two, parts, home, far)) == 1
    assert len(regions.apart(two, parts, home, chains(two, rng.standard_normal((60, 2))))) == 0
    bent = targets.banana(1.0, sd=0.3)

    def draws(n: int) -> FloatArray:
        x, e = rng.standard_normal((2, n))
        return np.column_stack([x, x**2 - 1 + 0.3 * e])

    home = chains(bent, draws(512))
    assert len(regions.apart(bent, parts, home, chains(bent, draws(2000)))) == 0


def test_the_way_home_may_bend_where_chains_lie_on_it() -> None:
    """The ends of a thin ridge beyond home: with chains between they are home, else they are not.

    Straight lines from them to home leave the ridge by 3 sds and more.
    """
    rng, bent = np.random.default_rng(9), targets.banana(1.0, sd=0.1)
    parts = Parts((Dense(np.array([0.0, -1.0]), np.diag([0.23, 0.1])),), np.ones(1))

    def ridge(x: FloatArray) -> hmc.Chains:
        return chains(bent, np.column_stack([x, x**2 - 1 + 0.03 * rng.standard_normal(len(x))]))

    home = ridge(rng.uniform(-1, 1, 512))
    ends = np.repeat([-2.5, 2.5], 4)
    assert len(regions.apart(bent, parts, home, ridge(ends))) == 2
    between = np.concatenate([ends, rng.uniform(-2.5, 2.5, 200)])
    assert len(regions.apart(bent, parts, home, ridge(between))) == 0


def test_a_mode_stays_apart_whatever_chains_lie_on_the_way() -> None:
    """Chains in the valley itself, and in a third mode halfway, are no bridge."""
    rng, parts = np.random.default_rng(10), Parts((Dense(np.zeros(2), np.eye(2)),), np.ones(1))
    three = targets.Mixture([0.4, 0.2, 0.4], [[0.0, 0.0], [8.0, 0.0], [16.0, 0.0]], np.ones((3, 2)))
    home = chains(three, rng.standard_normal((512, 2)))
    x = np.concatenate([rng.uniform(2, 16, 100), 8 + rng.standard_normal(30), 16 + np.zeros(9)])
    far = chains(three, np.column_stack([x, 0.3 * rng.standard_normal(len(x))]))
    assert len(regions.apart(three, parts, home, far)) == 2


def test_a_region_of_no_mass_is_not_comparable() -> None:
    """A mode 20 nats down is no other region."""
    rng, parts = np.random.default_rng(7), Parts((Dense(np.zeros(1), np.eye(1)),), np.ones(1))
    target = targets.two_normals(10.0, 1 - math.exp(-20))
    home = chains(target, rng.standard_normal((512, 1)))
    assert len(regions.apart(target, parts, home, chains(target, np.full((5, 1), 10.0)))) == 0


def test_reasons_are_those_of_the_run() -> None:
    """Other regions, weights, and mixing are told apart."""
    assert {c.reason for c in CHECKS} == {Reason.OTHER_BASINS, Reason.WEIGHTS, Reason.NOT_MIXED}


def test_long_chains_are_told_from_many_short_ones() -> None:
    """512 × 20 draws are summarised for a baseline; 4 × 2560 with four means have not mixed."""
    rng = np.random.default_rng(8)
    for chains, draws, apart in ((512, 20, 0.0), (4, 2560, 1.0)):
        values = rng.standard_normal((chains, draws, 1)) + apart * np.arange(chains)[:, None, None]
        found = Draws(("x",), values, iid=False)
        assert found.long_chains is (chains == 4)
        assert bool(of_draws(found).no_moments) is (chains == 4)
    assert not Draws(("x",), np.zeros((4, 100, 1))).long_chains
