"""The search for optima: climbs in a batch, starts in a known basin, and what they cost."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest
from dadvi_problems import hierarchy
from scipy import special
from scipy.stats import qmc
from targets import Density, Mixture, Normal, banana, ill_conditioned

from harness.records import FloatArray
from harness.vi import deterministic
from harness.vi.deterministic import Objective, Settings
from harness.vi.deterministic import starts as starting
from harness.vi.deterministic.basins import Basin, find_basins, jagged, settle
from harness.vi.deterministic.beyond import beyond_valleys
from harness.vi.deterministic.climb import climb, dips
from harness.vi.deterministic.curvature import colour_columns, dense, elbo_hessians, find_pattern
from harness.vi.deterministic.lbfgs import lbfgs
from harness.vi.deterministic.newton import errors, newton
from harness.vi.deterministic.polish import still_pattern
from harness.vi.deterministic.search import search
from harness.vi.deterministic.starts import start_at, usual_starts
from harness.vi.sobol import base_blocks, scrambled_normals
from harness.vi.target import Clock, Counted

TWO = Mixture([0.4, 0.6], np.array([[0.0, 0.0], [6.0, 6.0]]), np.full((2, 2), 0.5))
"""Modes 17 sds apart."""

MOST_HIERARCHY, MOST_NORMAL = 7000, 9500
"""Gradients of a fit."""


def at(place: float, elbo: float = 0.0) -> Basin:
    """Return a basin of ``TWO`` at a point of its diagonal, as wide as a mode."""
    theta = np.array([place, place, math.log(0.5), math.log(0.5)])
    return Basin(theta, elbo, 1, True, (), lambda g: 0.25 * g)


def test_climbs_end_at_the_maximum_whatever_the_others_do() -> None:
    """Of a correlated normal: to .05 nats, and alone as among others but for rounding."""
    target = ill_conditioned(20)
    start = np.random.default_rng(1).uniform(-2, 2, (6, 20))
    ends = climb(target, start, Clock(), tolerance=1e-3, iterations=200)
    assert ends.converged.all()
    step = ends.z - target.mean
    assert np.einsum("ni,ij,nj->n", step, target.precision, step).max() < 0.1
    alone = climb(target, start[:1], Clock(), tolerance=1e-3, iterations=200)
    np.testing.assert_allclose(alone.z[0], ends.z[0], atol=1e-6)


def test_climbs_take_back_steps_over_an_edge_and_skip_points_without_a_density() -> None:
    """Of log x − x for x > 0: from 50 to 1; a start at −1 has no finite end."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        inside = z[:, 0] > 0
        x = np.where(inside, z[:, 0], 1.0)
        value = np.where(inside, np.log(x) - x, -np.inf)
        return value, np.where(inside, 1 / x - 1, np.nan)[:, None]

    start = np.array([[50.0], [-1.0]])
    ends = climb(Density(1, function), start, Clock(), tolerance=1e-8, iterations=100)
    assert ends.converged.tolist() == [True, False]
    assert abs(ends.z[0, 0] - 1) < 1e-3
    assert ends.value[1] == -math.inf


def test_no_trial_step_goes_far_beyond_the_way_behind() -> None:
    """A metric that asks for a step of 10¹⁵ gets ten; a maximum at 10⁵ is reached all the same."""
    top = np.array([1e5, -3.0])
    seen: list[float] = []

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        seen.append(float(np.abs(z).max()))
        return -0.5 * ((z - top) ** 2).sum(axis=1), top - z

    wide = np.full(2, 1e10)
    ends = climb(
        Density(2, function), np.zeros((1, 2)), Clock(), covariance=wide, tolerance=1e-6,
        iterations=200,
    )  # fmt: skip
    assert ends.converged.all()
    np.testing.assert_allclose(ends.z[0], top, atol=0.01)
    assert max(seen) < 12 * 1e5
    assert seen[1] <= 10


def test_climbs_across_a_valley_do_not_follow_each_other() -> None:
    """Both modes have a start, whichever is higher."""
    points = np.random.default_rng(2).uniform(-2, 8, (24, 2))
    found, left = usual_starts(TWO, points, 6, 0, 0, Clock())
    assert not len(left)
    places = sorted(start.theta[0] for start in found)
    np.testing.assert_allclose(places, [0, 6], atol=0.3)


def test_climbs_that_follow_a_higher_one_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twelve without an end one goes on; all points are tried again in a fit's coordinates."""
    points = np.random.default_rng(3).uniform(-2, 2, (12, 2))
    taken = []
    for looks in (starting.LOOKS, ()):
        monkeypatch.setattr(starting, "LOOKS", looks)
        target = Counted(Density(2, lambda z: (-z[:, 0], np.tile([-1.0, 0.0], (len(z), 1)))))
        found, left = usual_starts(target, points, 6, 0, 0, Clock())
        np.testing.assert_array_equal(left, points)
        assert len(found) == 1  # q starts at one of them at least
        taken.append(target.gradients)
    assert taken[0] < 0.5 * taken[1]


def test_no_q_starts_where_there_is_no_density() -> None:
    """A far start outside the support leads nowhere; one at another mode does."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        value = np.logaddexp(-0.5 * z[:, 0] ** 2, -0.5 * (z[:, 0] - 20) ** 2)
        near = (np.abs(z[:, 0]) < np.abs(z[:, 0] - 20)).astype(float)[:, None]
        slope = -z * near - (z - 20) * (1 - near)
        return np.where(z[:, 0] > 50, -np.inf, value), slope

    target = Density(1, function)
    known = Basin(np.array([0.0, 0.0]), -0.9, 1, True, ((0.0, 0.9),), lambda x: x)
    starts = [start_at(np.array([z, 0.0])) for z in (60.0, 21.0)]
    _, left = beyond_valleys(target, starts, [known], [], Clock())
    assert [round(float(start.theta[0])) for start in left] == [20]


def test_a_density_without_a_maximum_is_climbed_no_higher_than_asked() -> None:
    """The end has at least that density, did not converge, and took a few steps."""
    counted = Counted(Density(1, lambda z: (-z[:, 0], -np.ones_like(z))))
    ends = climb(counted, np.zeros((1, 1)), Clock(), tolerance=1e-3, iterations=1000, enough=50.0)
    assert ends.value[0] >= 50
    assert not ends.converged[0]
    assert counted.gradients < 20


def test_a_valley_is_seen_on_the_line() -> None:
    """Between two modes there is one, within a mode there is none."""
    assert dips(TWO, np.zeros(2), np.full(2, 6.0))
    assert not dips(TWO, np.full(2, -1.0), np.full(2, 0.5))


def test_starts_that_climb_to_a_known_basin_are_counted_and_not_followed() -> None:
    """Of three far starts two lead to the known mode, and one beyond a valley is left."""
    starts = [start_at(at(place).theta) for place in (-2.0, 1.5, 7.0)]
    counted, left = beyond_valleys(TWO, starts, [at(0.0)], (), Clock())
    assert counted[0].starts == 3
    assert len(left) == 1
    np.testing.assert_allclose(left[0].theta[:2], 6, atol=0.3)
    # Where q has started at the other mode's maximum already, nothing is left.
    _, left = beyond_valleys(TWO, starts, [at(0.0)], [np.full(2, 6.0)], Clock())
    assert not left


def test_a_far_run_ends_where_no_valley_is_left() -> None:
    """It is one more start of the known basin; a run to the other mode goes on to its optimum."""
    scout = Objective(TWO, base_blocks(2, 1, 16, np.random.default_rng(1)), Clock())
    (known,) = find_basins(scout, [start_at(at(0.0).theta)])
    begin = np.array([-3.0, 1.0, math.log(0.01), math.log(0.01)])
    # With 12 iterations in all, the first look comes after two.
    joined = settle(scout, begin, lambda g: 1e-4 * g, [known], 12, far=True)
    assert joined is not None
    assert joined.elbo == known.elbo
    assert joined.starts == 1
    other = settle(scout, at(6.5).theta, lambda g: 0.25 * g, [known], far=True)
    assert other is not None
    assert abs(other.elbo - known.elbo - math.log(1.5)) < 0.01


def test_a_climb_ends_where_it_is_in_the_bulk_of_a_known_basin() -> None:
    """Four climbs to a normal count as its starts, for less than climbs to its maximum take."""
    target = ill_conditioned(20)
    known = Basin(np.concatenate([target.mean, np.zeros(20)]), 0.0, 1, True, (), lambda g: g)
    points = target.mean + 30 * np.random.default_rng(3).standard_normal((4, 20))
    counted = Counted(target)
    climb(counted, points, Clock(), covariance=np.ones(20), tolerance=0.1, iterations=60)
    alone, counted.gradients = counted.gradients, 0
    starts = [start_at(np.concatenate([z, np.zeros(20)])) for z in points]
    basins, left = beyond_valleys(counted, starts, [known], [], Clock())
    assert basins[0].starts == 5
    assert not left
    assert counted.gradients < 0.8 * alone


@pytest.mark.parametrize(("lower", "count"), [(25.0, 1), (35.0, 0)])
def test_no_q_starts_where_log_p_is_hopelessly_low(lower: float, count: int) -> None:
    """In one dimension that is 30 nats below the best basin."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        parts = -0.5 * np.stack([z[:, 0] ** 2, (z[:, 0] - 40) ** 2 + 2 * lower])
        value = np.logaddexp(*parts)
        share = np.exp(parts - value)
        return value, (-z[:, 0] * share[0] - (z[:, 0] - 40) * share[1])[:, None]

    known = Basin(np.zeros(2), 0.0, 1, True, (), lambda g: g)
    starts = [start_at(np.array([39.0, 0.0]))]
    _, left = beyond_valleys(Density(1, function), starts, [known], [], Clock())
    assert len(left) == count


def test_starts_that_join_a_basin_do_not_repeat_it() -> None:
    """Three of them leave one basin with four starts."""
    scout = Objective(TWO, base_blocks(2, 1, 16, np.random.default_rng(1)), Clock())
    known = settle(scout, at(6.2).theta, lambda g: 0.25 * g, [])
    assert known is not None
    starts = [start_at(at(place).theta) for place in (4.5, 7.5, 8.0)]
    found = find_basins(scout, starts, [known], far=True)
    assert [basin.starts for basin in found] == [4]


def test_a_run_that_would_end_hopelessly_low_is_given_up_unless_patient() -> None:
    """A mode 1000 nats below the known one is reached only with patience."""
    far = Basin(at(0.0).theta, 1000.0, 1, True, (), lambda g: g)
    scout = Objective(banana(), base_blocks(2, 1, 16, np.random.default_rng(1)), Clock())
    begin = np.array([8.0, 8.0, -3.0, -3.0])
    metric = start_at(begin).metric
    assert settle(scout, begin, metric, [far]) is None
    end = settle(scout, begin, metric, [far], patient=True)
    assert end is not None
    assert end.converged


def test_a_pattern_that_was_found_elsewhere_is_confirmed_or_found_again() -> None:
    """A diagonal one is not that of a hierarchy; the right one is kept."""
    target = hierarchy(groups=12)
    rng = np.random.default_rng(2)
    objective = Objective(target, base_blocks(15, 1, 16, rng), Clock())
    theta = np.concatenate([0.3 * rng.normal(size=15), np.full(15, math.log(0.4))])
    wrong = colour_columns(np.eye(15, dtype=bool))
    right = still_pattern(objective, theta, wrong)
    assert wrong.colours == 1 < right.colours < 8
    assert still_pattern(objective, theta, right) is right


FIRST = Normal(np.zeros(12), 0.25 * np.eye(12))
BEST = Normal(np.full(12, 4.0), 0.25 * (0.7 * np.eye(12) + 0.3))


def unlike() -> Density:
    """Return .05 of ``FIRST``, whose coordinates are independent, and .95 of ``BEST``."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        (one, slope), (two, other) = (m.log_density_gradient(z) for m in (FIRST, BEST))
        value = np.logaddexp(one + math.log(0.05), two + math.log(0.95))
        share = np.exp(two + math.log(0.95) - value)[:, None]
        return value, (1 - share) * slope + share * other

    return Density(12, function)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_mode_has_its_own_pattern(seed: int) -> None:
    """Where it is not the mode that is found first."""
    rng = np.random.default_rng(seed)
    found = deterministic.fit(unlike(), rng, Clock(60), Settings(starts=24))
    assert found.covariance is not None
    np.testing.assert_allclose(found.covariance, BEST.covariance, atol=1e-3)


def test_a_mode_that_more_draws_put_first_has_its_own_pattern(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pattern is that of the mode that few draws put first."""

    def swapped(*given: Any) -> Any:
        found, _ = search(*given)
        assert len(found) == 2
        return found[::-1], colour_columns(np.eye(12, dtype=bool))

    module = importlib.import_module("harness.vi.deterministic.fit")  # a function has its name
    monkeypatch.setattr(module, "search", swapped)
    rng = np.random.default_rng(1)
    found = deterministic.fit(unlike(), rng, Clock(60), Settings(starts=24))
    assert found.covariance is not None
    np.testing.assert_allclose(found.covariance, BEST.covariance, atol=1e-3)


def test_a_metric_that_is_far_too_small_does_not_end_a_search_at_its_start() -> None:
    """From elsewhere it says that no step is worth taking; with three steps it is corrected."""
    function = Objective(TWO, base_blocks(2, 1, 16, np.random.default_rng(1)), Clock())
    begin = at(0.3).theta
    tiny = lbfgs(function, begin, metric=lambda g: 1e-6 * g, tolerance=1e-3)
    assert tiny.converged
    assert len(tiny.values) == 1
    right = lbfgs(function, begin, metric=lambda g: 1e-6 * g, tolerance=1e-3, least=3)
    assert len(right.values) > 3
    assert right.value < tiny.value - 0.1


def test_sums_by_groups_of_columns_are_those_of_whole_hessians() -> None:
    """On a hierarchy with a sparse Hessian, to the error of differences."""
    target = hierarchy(groups=12)
    rng = np.random.default_rng(2)
    objective = Objective(target, base_blocks(15, 2, 32, rng), Clock())
    theta = np.concatenate([0.3 * rng.normal(size=15), np.full(15, math.log(0.4))])
    sd = np.exp(theta[15:])
    pattern = find_pattern(target, theta[:15] + sd * rng.standard_normal((10, 15)), sd)
    assert pattern.colours < 8
    sparse = elbo_hessians(objective, theta, pattern, size=16)
    whole = elbo_hessians(objective, theta, dense(15), size=16)
    np.testing.assert_allclose(sparse, whole, atol=1e-3 * np.abs(whole).max())


def test_hessians_of_parts_of_the_draws_make_up_the_whole() -> None:
    """The mean over a normal's draws is the same from halves; newton forms the new part only."""
    target = ill_conditioned(6)
    objective = Objective(target, base_blocks(6, 4, 32, np.random.default_rng(3)), Clock())
    theta = np.concatenate([target.mean, np.zeros(6)])
    whole = elbo_hessians(objective, theta, dense(6), size=32)
    halves = [elbo_hessians(objective, theta, dense(6), size=16, skipped=k) for k in (0, 16)]
    means = [h[:, :6, :6] for h in (whole, np.mean(halves, axis=0))]
    np.testing.assert_allclose(means[1], means[0], atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize(("size", "blocks"), [(32, 4), (16, 8)])
def test_more_draws_keep_the_hessians_of_those_before(size: int, blocks: int) -> None:
    """On a hierarchy: gradients are saved; Hessians are what whole ones are, to 2 errors."""
    target, rng = hierarchy(groups=4), np.random.default_rng(4)
    eps = base_blocks(7, blocks, 32, rng)
    few = Objective(target, eps[:4], Clock())
    fit = deterministic.fit(target, rng, Clock(), Settings(seconds=2e-6))
    metric = start_at(fit.theta).metric
    before = newton(few, fit.theta, dense(7), 16, metric)
    counted = Counted(target)
    more = Objective(counted, eps, Clock())
    # The searches take about the same steps; half of the Hessian gradients are saved.
    found = newton(more, before.theta, dense(7), size, metric, before)
    spent, counted.gradients = counted.gradients, 0
    whole = newton(Objective(counted, eps, Clock()), before.theta, dense(7), size, metric)
    assert found.sound
    assert found.size == size
    assert len(found.hessians) == blocks
    assert counted.gradients - spent > 0.3 * 8 * size * blocks
    np.testing.assert_allclose(found.theta, whole.theta, atol=2e-3)
    # The errors of linear response by either differ less than they are uncertain.
    one, two = errors(more, found), errors(more, whole)
    np.testing.assert_allclose(one.log_response.max(), two.log_response.max(), rtol=0.5)
    error = whole.hessians.std(axis=0, ddof=1).max() / math.sqrt(blocks)
    np.testing.assert_allclose(found.hessian, whole.hessian, atol=2 * error)


def test_a_fit_takes_few_gradients() -> None:
    """Half as many again as were counted when this was written; before, ten times as many."""
    for target, most in ((hierarchy(), MOST_HIERARCHY), (ill_conditioned(30), MOST_NORMAL)):
        counted = Counted(target)
        deterministic.fit(counted, np.random.default_rng(1), Clock(), Settings(seconds=2e-6))
        assert counted.gradients < most, counted.gradients


@pytest.mark.parametrize(("dimension", "count"), [(1, 2), (5, 16), (64, 64), (215, 256)])
def test_scrambles_are_scipys_to_the_last_bit(dimension: int, count: int) -> None:
    """So two of them in a row from one generator."""
    one, two = (np.random.default_rng(3) for _ in range(2))
    for _ in range(2):
        cube = qmc.Sobol(dimension, scramble=True, seed=one).random(count)
        np.testing.assert_array_equal(
            scrambled_normals(dimension, count, two), special.ndtri(np.maximum(cube, 2.0**-32))
        )


def test_a_fit_depends_on_target_and_seed_only() -> None:
    """Two runs are equal to the last bit, whatever the clock says."""
    one, two = (
        deterministic.fit(banana(), np.random.default_rng(3), Clock(limit), Settings(seconds=1e-6))
        for limit in (60.0, 600.0)
    )
    assert one.elbo == two.elbo
    assert np.array_equal(one.theta, two.theta)
    assert one.covariance is not None
    assert two.covariance is not None
    assert np.array_equal(one.covariance, two.covariance)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("place", "sd"),
    [(np.outer([4.0, -4.0], np.eye(20)[0]), 0.5), (np.outer([2.0, -2.0], np.ones(3)), 0.2)],
    ids=["narrow in 20 dimensions", "on a diagonal"],
)
def test_a_mode_that_climbs_miss_is_found(place: FloatArray, sd: float, seed: int) -> None:
    """Its ELBO gives it its mass, because both modes are Gaussians: .3 to rounding."""
    target = Mixture([0.7, 0.3], place, np.outer([1.0, sd], np.ones(place.shape[1])))
    rng = np.random.default_rng(seed)
    fit = deterministic.fit(target, rng, Clock(), Settings(seconds=2e-6))
    masses = [b.mass for b in fit.basins if b.separate]
    np.testing.assert_allclose(masses, [0.7, 0.3], atol=1e-3)


def test_an_optimum_of_rounding_errors_is_none() -> None:
    """One base draw meets a spike without width; a step of the density is no spike."""
    scout = Objective(Density(2, spiked), np.random.default_rng(1).normal(size=(1, 16, 2)), Clock())
    wide = Basin(np.zeros(4), 0.0, 1, True, (), lambda g: g)
    assert not jagged(scout, wide)
    place = scout.eps[0, 3]
    spike = Objective(Density(2, lambda z: spiked(z, place)), scout.eps, Clock())
    assert jagged(spike, wide)
    step = Objective(Density(2, lambda z: spiked(z, rise=100.0)), scout.eps, Clock())
    assert not jagged(step, wide)


def spiked(
    z: FloatArray, place: FloatArray | None = None, rise: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Return a standard normal with a spike at a point, and a step at 0."""
    value = -0.5 * (z**2).sum(axis=1) + rise * (z[:, 0] > 0)
    if place is not None:
        value = value + 1e6 * (np.abs(z - place) < 1e-9).all(axis=1)
    return value, -z
