"""Approximations from several seeds: what carries their error, and which seeds ran away."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from baseline_builders import SEEDS, against_seeds, as_draws, fits, method, shifted

from harness.check.baseline.change import exit_code
from harness.check.baseline.form import Figure
from harness.check.baseline.summarise import of_seeds, settle


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_carry_the_error(seed: int) -> None:
    """The error is that of a mean over ten seeds, not that of 40 000 draws."""
    runs = fits(seed, spread=0.2)
    found = of_seeds(runs)
    assert (found.kind, found.kept, found.ran_away, found.no_moments) == ("seeds", 10, (), "")
    means = [r.values.mean() for r in runs if r is not None]
    sds = [r.values.std(ddof=1) for r in runs if r is not None]
    mean, sd = found.quantities["x"]["mean"], found.quantities["x"]["sd"]
    assert mean.value == pytest.approx(np.mean(means))
    assert mean.spread == pytest.approx(np.std(means, ddof=1))
    assert mean.mcse == pytest.approx(np.std(means, ddof=1) / math.sqrt(10))
    assert mean.mcse > 5 / math.sqrt(40_000)
    assert sd.value == pytest.approx(math.exp(np.mean(np.log(sds))))
    assert mean.ess == 40_000


def test_one_seed_has_no_moments() -> None:
    """Nothing tells how far the approximation moves with the seed."""
    found = of_seeds(fits(1, count=1))
    assert found.no_moments.startswith("one seed")
    assert found.quantities == {}


def test_runs_without_draws_have_no_moments() -> None:
    """Whether one failed or all."""
    for count in (1, 10):
        assert of_seeds([None] * count).no_moments == "no run gave draws"
    assert of_seeds([]).no_moments == "no run gave draws"


@pytest.mark.parametrize("seed", SEEDS)
def test_runaway_seeds_are_counted_and_left_out(seed: int) -> None:
    """Seeds 1.5 sds away, four times as wide or of a fifth of the width are not averaged in."""
    runs = fits(seed)
    clean = of_seeds([r for i, r in enumerate(runs) if i not in {2, 7}])
    for spoil in ({"by": 1.5}, {"times": 4.0}, {"times": 0.2}, {"by": -80.0, "times": 30.0}):
        spoilt = [
            shifted(r, **spoil) if i in {2, 7} and r is not None else r for i, r in enumerate(runs)
        ]
        found = of_seeds(spoilt)
        assert found.ran_away == (2, 7)
        assert found.kept == 8
        assert found.quantities == clean.quantities


def test_positions_of_runaway_seeds_count_failed_ones() -> None:
    """A failed run before a runaway one moves nothing."""
    runs = fits(1)
    assert runs[9] is not None
    runs[9] = shifted(runs[9], by=9)
    runs[0] = None
    found = of_seeds(runs)
    assert found.ran_away == (9,)
    assert found.kept == 8


def test_too_few_seeds_that_agree_have_no_moments() -> None:
    """Seven of ten are too few, with three that ran away or that failed; it says how many."""
    runs = fits(1)
    failed = [None, None, None, *runs[3:]]
    nan = [shifted(r, times=math.nan) if i < 3 and r else r for i, r in enumerate(runs)]
    assert of_seeds(failed).no_moments == "only 7 of 10 seeds gave draws that lie near each other"
    assert of_seeds(nan).no_moments.startswith("only 7 of 10 seeds")
    assert of_seeds(nan).no_moments.endswith("not finite in some of them: x")


def test_a_quantity_that_a_seed_lacks_makes_it_run_away() -> None:
    """A missing quantity is not a number, and never left out of the mean in silence."""
    runs = fits(1)
    assert runs[4] is not None
    runs[4] = replace(runs[4], names=("y",))
    found = of_seeds(runs, ["x"])
    assert found.ran_away == (4,)


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_far_apart_are_kept_without_moments_and_say_why(seed: int) -> None:
    """If means scatter by half a posterior sd, differences of up to one sd are undecided."""
    kept = settle(of_seeds(fits(seed, spread=0.5), widths={"x": 10.0}))
    assert kept.quantities == {}
    assert " of x differs between seeds by " in kept.no_moments


def test_the_known_width_of_the_posterior_tells_who_ran_away() -> None:
    """Narrow approximations far apart from each other are near on the posterior's scale."""
    runs = fits(1, sd=0.01, spread=3.0)
    runs = [None if r is None else as_draws((r.values[:, :, 0] - r.values.mean()) /
            r.values.std() * 0.01 + r.values.mean()) for r in runs]  # fmt: skip
    assert of_seeds(runs).no_moments
    assert of_seeds(runs, widths={"x": 1.0}).kept == 10
    assert of_seeds(runs, widths={"x": math.nan}).no_moments


def test_beside_a_baseline_the_mode_it_kept_is_kept() -> None:
    """Most new seeds may be in the other of two modes; the baseline's mode is compared."""
    left, right = fits(1), fits(2, mean=20.0)
    old = method(of_seeds([*left[:9], right[0]]), left)
    found = of_seeds([*left[:4], *right[:6]], old=old)
    assert found.kept == 4
    assert found.ran_away == tuple(range(4, 10))
    assert found.quantities["x"]["mean"].value == pytest.approx(0, abs=0.1)
    none = of_seeds(right, old=old)
    assert none.no_moments == "only 0 of 10 seeds gave draws that lie near the baseline's"


def test_a_constant_over_seeds_is_a_constant() -> None:
    """A constant, even with rounding differences, makes no seed a runaway."""
    rng = np.random.default_rng(1)
    runs = [
        as_draws(
            np.stack([rng.normal(size=(1, 1000)), np.full((1, 1000), 3.0),
                      1 + 2.3e-16 * rng.integers(-i, i + 1, (1, 1000))], axis=2),
            ("x", "c", "one"),
        )
        for i in range(10)
    ]  # fmt: skip
    found = settle(of_seeds(runs))
    assert found.kept == 10
    assert found.quantities["c"]["mean"] == Figure(3.0, 0.0, 10_000.0, 0.0)
    assert found.quantities["one"]["sd"].value == 0.0
    assert found.quantities["one"]["mean"].value == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("share", [2e-2, 2e-3, 2e-4])
def test_seeds_with_and_without_a_rare_event_have_not_run_away(share: float) -> None:
    """With 1000 draws, some seeds have the event and some do not; so do other seeds."""
    rng = np.random.default_rng(11)
    runs = [[as_draws(rng.random((1, 1000)) < share) for _ in range(10)] for _ in range(20)]
    assert not any(of_seeds(some).ran_away for some in runs)
    for old, new in zip(runs[::2], runs[1::2], strict=True):
        assert exit_code(against_seeds(old, new)) != 1
    # A seed that always has the event is another matter.
    spoilt = [*runs[0][:9], as_draws(rng.random((1, 1000)) < 0.9)]
    assert of_seeds(spoilt).ran_away == (9,)
