"""Draws moved by short chains: what is shown is true, and what cannot be told is not said."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from targets import Density, Normal, funnel, ill_conditioned, lecture_mixture, standard

from harness.judgement.movement import CENTRES, Shown, shown
from harness.metrics.movement import moved
from harness.records import RunSpec
from harness.vi.gaussian import Gaussian
from harness.vi.short_chains.coordinates import from_covariance
from harness.vi.short_chains.hmc import PILOTS
from harness.vi.short_chains.movement import (
    FORGOTTEN,
    KEPT,
    SETTLED,
    Movement,
    _directions,
    _memory,
    growth_of,
    memory_of,
    move,
)
from harness.vi.target import Clock, TimeLimitError

if TYPE_CHECKING:
    from harness.records import Estimate, FloatArray
    from harness.vi.target import Target

CHAINS, ONES = 1024, np.ones(1000)


def run(target: Target, z: FloatArray, covariance: FloatArray, seed: int = 1) -> Movement:
    """Return where draws go in the coordinates of a covariance."""
    own = from_covariance(np.zeros(target.dimension), covariance)
    assert own is not None
    found = move(target, z, own, np.random.default_rng(seed), Clock(60))
    assert found is not None
    return found


def figures(target: Target, q: Gaussian, covariance: FloatArray, seed: int) -> dict[str, Estimate]:
    """Return what is shown of the first coordinate, whose memory must be small."""
    z = q.draw(CHAINS + PILOTS, np.random.default_rng([seed, 1]))
    found = run(target, z, covariance, seed)
    assert found.doubts == ()
    before = z[found.start]
    assert FORGOTTEN.fine(float(memory_of(found, before, found.z[:, -1])[0]))
    return moved(before[:, 0], found.z[:, :, 0], np.ones(len(before)))


def test_errors_are_those_of_the_fit_within_their_standard_errors() -> None:
    """A mean .5 sds off and a width of 1.4: over 20 seeds no figure is 4 errors from the truth."""
    q = Gaussian(np.array([0.5, 0.0]), np.array([1.4, 1.0]))
    truth = {"bias": 0.5, "log_width_ratio": math.log(1.4), "tail": 0.5 + 0.4 * 1.645}
    squares = []
    for seed in range(20):
        for metric, e in figures(standard(2), q, np.eye(2), seed).items():
            assert abs(abs(e.value) - abs(truth[metric])) < 4 * e.mcse + 0.01
            squares.append(((abs(e.value) - abs(truth[metric])) / e.mcse) ** 2)
    # The errors are honest: three figures of a seed vary together, so the bound is wide.
    assert 0.5 < np.mean(squares) < 2


def test_the_unit_of_draws_that_spread_may_spread_again() -> None:
    """Draws half as wide as they become: their distances are said in a unit twice as large."""
    rng = np.random.default_rng(12)
    after = rng.standard_normal((4000, 1))
    for width, size in ((2.0, 0.8), (1.0, 0.8), (0.5, 0.4)):
        e = moved(0.8 + width * rng.standard_normal(4000), after, np.ones(4000))["bias"]
        assert abs(e.value - size) < 5 * e.mcse


def test_the_error_of_a_large_distance_is_also_that_of_its_unit() -> None:
    """Means 4 sds off, in units known to some 3%: over 200 samples z-scores have an sd of 1."""
    rng, scores = np.random.default_rng(17), []
    for width in (1.0, 0.6):
        size = 4 * min(width, 1)  # the unit of draws that spread is larger by as much
        for _ in range(200):
            e = moved(4 + width * rng.standard_normal(1000), rng.standard_normal((1000, 1)), ONES)
            scores.append((e["bias"].value - size) / e["bias"].mcse)
    assert 0.8 < np.std(scores[:200]) < 1.25
    assert 0.8 < np.std(scores[200:]) < 1.25
    assert abs(np.mean(scores)) < 0.3


def test_a_width_that_chains_have_not_reached_makes_no_distance_too_large() -> None:
    """Student's t with 2 degrees of freedom: after 12 transitions its tails are still short."""

    def slope(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        return -1.5 * np.log1p(z[:, 0] ** 2 / 2), -3 * z / (2 + z**2)

    target = Density(1, slope)
    truth = 1.5 / (2.92 / 1.645)  # its median is 1.5 off, in its own unit
    for seed in range(5):
        q = Gaussian(np.array([1.5]), np.array([0.5]))
        e = figures(target, q, np.eye(1), seed)
        centre = e.get("bias", e.get("median_bias"))
        assert centre is not None
        assert abs(centre.value) - 3 * centre.mcse < truth


@pytest.mark.parametrize("wide", [2.5, 4.0])
def test_an_even_number_of_transitions_does_not_overshoot(wide: float) -> None:
    """Where whitened directions are too wide, one path passes the mean; the bound holds."""
    assert all(k % 2 == 0 for k in KEPT)
    q = Gaussian(np.array([0.4]), np.ones(1))
    for seed in range(10):
        e = figures(standard(1), q, np.array([[wide**2]]), seed)["bias"]
        assert e.value - 3 * e.mcse < 0.4


def test_a_right_fit_does_not_move() -> None:
    """In 40 repetitions no figure of exact draws is 4.5 standard errors from 0."""
    target = ill_conditioned(2)
    factor = np.asarray(np.linalg.cholesky(target.covariance))
    for seed in range(40):
        own = figures(target, Gaussian(target.mean, factor), target.covariance, seed)
        assert set(own) == {"bias", "log_width_ratio", "tail"}
        assert all(abs(e.value) < 4.5 * e.mcse for e in own.values())


def test_a_quantity_that_depends_on_a_slow_direction_is_not_judged() -> None:
    """The sum of a fast and a slow coordinate, whose errors cancel: the slow one is remembered."""
    target = Normal(np.zeros(2), np.diag([1.0, 1e6]))
    q = Gaussian(np.array([1.0, -1.0]), np.array([1.0, 1.0]))
    z = q.draw(CHAINS + PILOTS, np.random.default_rng(5))
    found = run(target, z, np.eye(2))
    total = z[found.start].sum(axis=1), found.z[:, -1].sum(axis=1)
    memory = memory_of(found, *(x[:, None] for x in total))
    assert not FORGOTTEN.fine(float(memory[0]))
    fast = memory_of(found, z[found.start][:, :1], found.z[:, -1, :1])
    assert FORGOTTEN.fine(float(fast[0]))


def told(target: Target, z: FloatArray, found: Movement) -> Shown:
    """Return what a movement shows of the coordinates."""
    start = z[found.start]
    names = [str(j) for j in range(target.dimension)]
    spec = RunSpec("m", "dadvi", {}, 1, len(z))
    return shown(spec, names, start, found.z, found, np.ones(len(start)))


def test_a_centre_is_not_judged_where_chains_still_widen() -> None:
    """In a funnel, v's mean of 0 is right and moves by over .1 sd; only that v is too narrow holds.

    The coordinates of a normal that is half as wide have their width after four transitions.
    """
    target = funnel(10)
    sd = np.concatenate([[0.55], np.full(9, 0.6)])
    z = sd * np.random.default_rng(13).standard_normal((CHAINS + PILOTS, 10))
    found = run(target, z, np.diag(sd**2))
    growth = growth_of(found, found.z[:, -1])
    assert found.doubts == ()
    assert not SETTLED.fine(float(growth[0]))
    own = told(target, z, found)
    assert own.widening > 0
    assert {m.metric for m in own.measures if m.quantity == "0"} == {"log_width_ratio", "tail"}
    normal = run(standard(10), 0.5 * z / sd, np.eye(10))
    assert all(SETTLED.fine(float(g)) for g in growth_of(normal, normal.z[:, -1]))
    own = told(standard(10), 0.5 * z / sd, normal)
    assert own.widening == 0
    assert sum(m.metric in CENTRES for m in own.measures) == 10


def test_an_unknown_growth_is_not_fine() -> None:
    """NaN keeps no limit, neither as a figure nor in a direction that a quantity depends on."""
    z = np.random.default_rng(14).standard_normal((CHAINS + PILOTS, 2))
    found = run(standard(2), z, np.eye(2))
    unknown = dataclasses.replace(found, growth=np.full(3, np.nan))
    assert not any(SETTLED.fine(float(g)) for g in growth_of(unknown, found.z[:, -1]))
    assert not SETTLED.fine(math.nan)


def test_how_far_out_chains_are_may_be_remembered() -> None:
    """Coordinates whose signs are new, and whose common scale stays: each depends on a memory."""
    rng = np.random.default_rng(15)
    scale = np.exp(rng.standard_normal((CHAINS, 1)))
    before, after = (scale * rng.standard_normal((CHAINS, 10)) for _ in range(2))
    centre = np.zeros(10)
    own = from_covariance(centre, np.eye(10))
    assert own is not None
    out = _memory(*(_directions(own, x, centre) for x in (before, after)))
    assert not FORGOTTEN.fine(float(out[-1]))


def test_chains_that_are_stuck_say_nothing() -> None:
    """Draws in a centred funnel's neck never move with the step of the others."""
    target = funnel(10)
    rng = np.random.default_rng(6)
    z = rng.standard_normal((CHAINS + PILOTS, 10))
    z[-100:, 0] = -14.0
    with np.errstate(all="ignore"):
        found = run(target, z, np.eye(10))
    assert "stuck" in {c.id for c in found.doubts}


def test_draws_outside_the_support_say_nothing() -> None:
    """One draw of 50 where the density is zero: the chains do not start from the whole fit."""

    def half(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        inside = z[:, 0] > -2
        return np.where(inside, -0.5 * z[:, 0] ** 2, -np.inf), np.where(inside[:, None], -z, np.nan)

    z = np.random.default_rng(7).standard_normal((CHAINS, 1))
    found = run(Density(1, half), z, np.eye(1))
    assert "outside" in {c.id for c in found.doubts}
    assert found.figures["outside"] == np.mean(z[:, 0] <= -2)


def test_a_fit_without_enough_starts_has_no_movement() -> None:
    """Fewer than 100 draws with a density, after those that adapt the step."""
    own = from_covariance(np.zeros(1), np.eye(1))
    assert own is not None
    z = np.zeros((100, 1))
    assert move(standard(1), z, own, np.random.default_rng(1), Clock(60)) is None


def test_a_mode_that_no_draw_is_in_is_not_seen() -> None:
    """Chains in one mode of two stay there: nothing is shown, and nothing called close."""
    mixture = lecture_mixture()
    q = Gaussian(np.array([0.5]), np.array([0.1]))
    own = figures(mixture, q, np.array([[0.01]]), 3)
    assert all(abs(e.value) < 4.5 * e.mcse for e in own.values())


def test_the_clock_is_looked_at() -> None:
    """A limit of no seconds ends the move."""
    own = from_covariance(np.zeros(1), np.eye(1))
    assert own is not None
    z = np.random.default_rng(8).standard_normal((CHAINS, 1))
    with pytest.raises(TimeLimitError):
        move(standard(1), z, own, np.random.default_rng(1), Clock(0.0))


def test_copies_of_a_draw_count_as_one() -> None:
    """Every start twice: the errors are √2 as large."""
    rng = np.random.default_rng(9)
    before, after = rng.standard_normal(500), rng.standard_normal((500, 3))
    once = moved(before, after, np.ones(500))
    twice = moved(np.repeat(before, 2), np.repeat(after, 2, axis=0), np.full(1000, 2.0))
    assert twice["bias"].mcse == pytest.approx(once["bias"].mcse, rel=0.01)


@pytest.mark.parametrize("kind", ["constant", "broken", "discrete"])
def test_what_is_no_continuous_quantity_shows_nothing(kind: str) -> None:
    """A constant, infinities, and a few values."""
    rng = np.random.default_rng(10)
    before, after = rng.standard_normal(500), rng.standard_normal((500, 3))
    if kind == "constant":
        before, after = np.ones(500), np.ones((500, 3))
    elif kind == "broken":
        after[0, 0] = np.inf
    else:
        before, after = np.sign(before), np.sign(after)
    assert moved(before, after, np.ones(500)) == {}


def test_pilots_are_not_among_the_chains() -> None:
    """The step is adapted on draws that are used for nothing else."""
    z = np.random.default_rng(11).standard_normal((CHAINS, 1))
    assert run(standard(1), z, np.eye(1)).start.min() == PILOTS
