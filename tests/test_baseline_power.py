"""Draws of one distribution are the same and of another are changed, on twenty seeds each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from baseline_builders import (
    SEEDS,
    against,
    against_seeds,
    as_draws,
    conclusions,
    fits,
    normals,
    walks,
)

from harness.check.baseline.change import exit_code
from harness.check.baseline.form import SUMMARIES
from harness.records import Draws

EVERY = [f"x / {what}" for what in SUMMARIES]

Make = Callable[..., Draws]


@pytest.mark.parametrize("make", [normals, walks])
@pytest.mark.parametrize("seed", SEEDS)
def test_independent_draws_of_one_distribution_are_the_same(make: Make, seed: int) -> None:
    """16 000 draws and 16 000 others, independent or chains: all five figures are the same."""
    assert conclusions(against(make(seed), make(seed + 100))) == dict.fromkeys(EVERY, "same")


@pytest.mark.parametrize("make", [normals, walks])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_mean_moved_by_a_third_of_an_sd_is_changed(make: Make, seed: int) -> None:
    """By 0.3 sd: mean and median are changed, the sd is the same."""
    changes = against(make(seed), make(seed + 100, mean=0.3))
    found = conclusions(changes)
    assert found["x / mean"] == found["x / q50"] == "changed"
    assert found["x / sd"] == "same"
    (mean,) = (c for c in changes if c.name == "mean")
    assert mean.difference == pytest.approx(0.3, abs=4.5 * 0.0153)  # the error of the chains
    assert mean.interval[0] < mean.difference < mean.interval[1]
    assert exit_code(changes) == 1


@pytest.mark.parametrize("make", [normals, walks])
@pytest.mark.parametrize("seed", SEEDS)
def test_an_sd_shrunk_by_15_per_cent_is_changed(make: Make, seed: int) -> None:
    """With the mean where it was, which is the same."""
    changes = against(make(seed), make(seed + 100, sd=0.85))
    found = conclusions(changes)
    assert found["x / sd"] == "changed"
    assert found["x / mean"] == "same"
    (sd,) = (c for c in changes if c.name == "sd")
    assert sd.difference == pytest.approx(math.log(0.85), abs=4.5 * 0.0087)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thicker_tail_is_changed(seed: int) -> None:
    """Draws over 1 put twice as far beyond it move the 95% quantile alone, by 0.64 sd."""
    new = normals(seed + 100)
    values = np.where(new.values > 1, 1 + 2 * (new.values - 1), new.values)
    found = conclusions(against(normals(seed), replace(new, values=values)))
    assert found["x / q95"] == "changed"
    assert found["x / q5"] == found["x / q50"] == "same"


@pytest.mark.parametrize("seed", SEEDS)
def test_over_seeds_as_over_draws(seed: int) -> None:
    """Ten approximations: the same; moved by 0.3 sd; an sd 15% smaller."""
    old = fits(seed, spread=0.01)
    same = conclusions(against_seeds(old, fits(seed + 100, spread=0.01)))
    assert same == dict.fromkeys(EVERY, "same")
    moved = conclusions(against_seeds(old, fits(seed + 100, mean=0.3, spread=0.01)))
    assert moved["x / mean"] == moved["x / q50"] == "changed"
    shrunk = conclusions(against_seeds(old, fits(seed + 100, sd=0.85, spread=0.01)))
    assert shrunk["x / sd"] == "changed"
    assert shrunk["x / mean"] == "same"


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_that_scatter_are_allowed_for(seed: int) -> None:
    """Means with a spread of 0.1 sd differ by more than their draws' error, and did not change."""
    changes = against_seeds(fits(seed, spread=0.1), fits(seed + 100, spread=0.1))
    assert "changed" not in conclusions(changes).values()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["indicator", "count", "censored"])
def test_values_that_many_draws_share_can_be_compared(kind: str, seed: int) -> None:
    """Counts and censored quantities have quantiles without error; the same ones are the same."""

    def make(s: int, shift: float) -> Draws:
        x = walks(s, mean=shift - 0.5).values[:, :, 0]
        made = {
            "indicator": x > 1.5,
            "count": np.floor(np.exp(x / 2)),
            "censored": np.maximum(x, 0),
        }
        return as_draws(made[kind].astype(float), iid=False)

    same = conclusions(against(make(seed, 0.0), make(seed + 100, 0.0)))
    assert same == dict.fromkeys(EVERY, "same")
    moved = conclusions(against(make(seed, 0.0), make(seed + 100, 0.6)))
    assert moved["x / mean"] == "changed"
