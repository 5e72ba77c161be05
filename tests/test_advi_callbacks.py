"""Callbacks on sequences computed by hand, and on the lecture's mixture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from targets import lecture_mixture

from harness.records import FloatArray
from harness.vi import loop
from harness.vi.callbacks import CheckParametersConvergence, StopWhenSlow, Tracker
from harness.vi.families import MeanField
from harness.vi.loop import Callback, Info
from harness.vi.optimisers import AdagradWindow, Adam


def info(iteration: int, elbo: float = 0.0, *, bad: bool = False) -> Info:
    """Return what the loop would pass to a callback."""
    return Info(iteration, elbo, 1.0, bad, 0.0)


def walk(callback: Callback, path: Iterable[Any]) -> int | None:
    """Pass a path of parameters to a callback; return the iteration at which it stopped."""
    for iteration, phi in enumerate(path, start=1):
        try:
            callback(np.atleast_1d(np.asarray(phi, dtype=np.float64)), info(iteration))
        except StopIteration:
            return iteration
    return None


def test_the_first_parameters_are_those_compared_with_first() -> None:
    """By hand, with every=3: iteration 3 is compared with 1, and 6 with 3."""
    rule = CheckParametersConvergence(every=3, tolerance=1e-9, diff="absolute", stop=False)
    walk(rule, [1.0, 5.0, 3.0, 0.0, 0.0, 7.0, 0.0])
    assert rule.norms == {3: 2.0, 6: 4.0}
    assert rule.fired_at is None


def test_the_relative_change_is_pymcs() -> None:
    """By hand: (|Δ| + 1e-6) / (|previous| + 1e-6), the largest of them."""
    rule = CheckParametersConvergence(every=2, diff="relative", stop=False)
    walk(rule, [[1.0, -4.0, 0.0], [1.1, -4.2, 0.0]])
    expected = max((0.1 + 1e-6) / (1 + 1e-6), (0.2 + 1e-6) / (4 + 1e-6), 1.0)
    assert rule.norms[2] == pytest.approx(expected, rel=1e-12)


def test_a_parameter_that_stays_at_zero_is_never_relatively_converged() -> None:
    """0 / 0 counts as a change of 1, as in PyMC."""
    rule = CheckParametersConvergence(every=1, diff="relative")
    assert walk(rule, np.zeros(50)) is None
    absolute = CheckParametersConvergence(every=1, diff="absolute")
    assert walk(absolute, np.zeros(50)) == 2


@pytest.mark.parametrize(("order", "norm"), [(math.inf, 4.0), (1, 7.0), (2, 5.0)])
def test_the_norm_is_over_all_parameters(order: float, norm: float) -> None:
    """The 3-4-5 triangle: the largest change, their sum, their root of squares."""
    rule = CheckParametersConvergence(every=2, diff="absolute", order=order, stop=False)
    walk(rule, [[0.0, 0.0], [3.0, -4.0]])
    assert rule.norms[2] == pytest.approx(norm)


def test_it_stops_only_under_the_tolerance() -> None:
    """A change equal to the tolerance continues; a smaller one stops and is reported."""
    rule = CheckParametersConvergence(every=1, tolerance=0.5, diff="absolute")
    assert walk(rule, [0.0, 0.5, 1.0, 1.25, 1.25]) == 4
    assert rule.fired_at == 4
    with pytest.raises(StopIteration, match=r"absolute change .* 0\.25, below 0\.5, at iteration"):
        rule(np.array([1.5]), info(5))


def test_a_rule_that_only_watches_notes_the_first_time() -> None:
    """With stop=False the path continues, and fired_at keeps the first iteration."""
    rule = CheckParametersConvergence(every=1, tolerance=0.5, diff="absolute", stop=False)
    assert walk(rule, [0.0, 1.0, 1.25, 5.0, 5.0]) is None
    assert rule.fired_at == 3


def test_the_rule_remembers_values_not_the_array() -> None:
    """Parameters changed in place are compared with a copy of their old values."""
    rule = CheckParametersConvergence(every=1, diff="absolute", stop=False)
    phi = np.zeros(1)
    rule(phi, info(1))
    phi += 2
    rule(phi, info(2))
    assert rule.norms == {2: 2.0}


@pytest.mark.parametrize("wrong", [{"every": 0}, {"diff": "squared"}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    """The message has the value and what is allowed."""
    with pytest.raises(ValueError, match="allowed"):
        CheckParametersConvergence(**wrong)


def test_the_tracker_records_each_iteration() -> None:
    """Keyword callables become arrays (iteration, …), copied; numbers become (iteration,)."""
    family = MeanField(2)
    tracker = Tracker(mean=family.mean, total=lambda phi: float(phi.sum()), raw=lambda phi: phi)
    phi = np.zeros(4)
    for iteration in range(1, 4):
        tracker(phi, info(iteration))
        phi += 1
    assert tracker.iterations == [1, 2, 3]
    np.testing.assert_array_equal(tracker["mean"], [[0, 0], [1, 1], [2, 2]])
    np.testing.assert_array_equal(tracker["total"], [0, 4, 8])
    np.testing.assert_array_equal(tracker["raw"][:, 0], [0, 1, 2])


def test_the_tracker_may_record_less_often() -> None:
    """With every=10 it records iterations 10, 20, …; and 0 is refused."""
    tracker = Tracker(every=10, first=lambda phi: phi[0])
    walk(tracker, range(35))
    assert tracker.iterations == [10, 20, 30]
    np.testing.assert_array_equal(tracker["first"], [9, 19, 29])
    with pytest.raises(ValueError, match="at least 1"):
        Tracker(every=0)


def gains(rule: StopWhenSlow, elbo: FloatArray) -> int | None:
    """Pass a path of the ELBO to a rule; return where it stopped."""
    for iteration, value in enumerate(elbo, start=1):
        try:
            rule(np.zeros(1), info(iteration, float(value), bad=not math.isfinite(value)))
        except StopIteration:
            return iteration
    return None


def test_the_gain_is_in_sds_of_a_step() -> None:
    """By hand: windows 0, 2 and 3, 5 have means 1 and 4, variance 1: a gain of 3."""
    rule = StopWhenSlow(window=2, tolerance=2.0, stop=False)
    gains(rule, np.array([0.0, 2, 3, 5, 4, 4]))
    assert rule.gains[4] == pytest.approx(3.0)
    assert rule.gains[6] == pytest.approx(0.0)
    assert rule.fired_at == 6


def test_a_straight_climb_is_not_taken_for_noise() -> None:
    """Without noise the drift is the variance, and the gain is √12 up to 1/window²."""
    rule = StopWhenSlow(window=1000, tolerance=0.1)
    assert gains(rule, np.arange(5000.0)) is None
    assert rule.gains[5000] == pytest.approx(math.sqrt(12), rel=1e-5)


def test_a_flat_path_stops_and_a_noisy_one_too() -> None:
    """On a level ELBO it fires at the first comparison or soon after (each misses 1 in 80)."""
    assert gains(StopWhenSlow(), np.zeros(5000)) == 2000
    rng = np.random.default_rng(1)
    stopped = [gains(StopWhenSlow(), rng.normal(size=6000)) for _ in range(30)]
    assert all(stopped)


def test_bad_steps_are_left_out_of_the_gain() -> None:
    """NaN in a tenth of the steps changes nothing; with NaN in most steps it does not decide."""
    rng = np.random.default_rng(2)
    elbo = rng.normal(size=4000)
    elbo[::10] = np.nan
    assert gains(StopWhenSlow(), elbo) is not None
    elbo[: 10 * 390] = np.nan
    assert gains(StopWhenSlow(), elbo) is None


def test_a_window_too_short_for_its_tolerance_is_refused() -> None:
    """Two standard errors √(2 / window) must not exceed the tolerance."""
    StopWhenSlow(window=800, tolerance=0.1)
    with pytest.raises(ValueError, match=r"window of 799 .* at least 8"):
        StopWhenSlow(window=799, tolerance=0.1)


def test_on_the_mixture_the_elbo_is_flat_while_the_mean_wanders() -> None:
    """The lecture's run in PyMC's settings, 20 000 steps and 10 000 more.

    From iteration 8000 on the ELBO gains nothing that 2000 of its estimates would show, yet q is
    at neither mode (sd .38 where the modes have .1), and its mean still moves by more than .02.
    """
    family, optimiser = MeanField(1), AdagradWindow()
    tracker = Tracker(mean=family.mean, sd=family.sd)
    slow = StopWhenSlow(window=2000, stop=False)
    state = loop.start(optimiser, family.start(0.0, math.log(math.log(2))), _rng(1))
    found = loop.fit(lecture_mixture(), family, optimiser, state, 20_000, callbacks=[tracker, slow])
    found = loop.refine(found, 10_000)
    assert slow.fired_at is not None
    assert slow.fired_at <= 10_000
    mean = tracker["mean"][8000:, 0]
    assert mean.max() - mean.min() > 0.02
    assert 0.3 < family.sd(found.phi)[0] < 0.45
    assert len(tracker["mean"]) == len(found.elbo) == 30_000


def test_adam_finds_the_right_hand_mode_of_the_mixture() -> None:
    """Its ELBO there is ln .8, the family's best (the average of 2000 within 5 standard errors)."""
    family = MeanField(1)
    optimiser = Adam(0.02, decay_steps=10_000)
    start = loop.start(optimiser, family.start(0.0), _rng(2))
    found = loop.fit(lecture_mixture(), family, optimiser, start, 10_000)
    last = found.elbo[-2000:]
    assert abs(last.mean() - math.log(0.8)) < 5 * last.std() / math.sqrt(2000)
    assert abs(family.mean(found.phi)[0] - 0.5) < 0.01
    assert abs(math.log(family.sd(found.phi)[0] / 0.1)) < 0.05


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)
