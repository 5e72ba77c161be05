"""Diagnostics of Markov chains."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arviz_stats.base import array_stats

from harness import metrics
from harness.metrics.chains import rhat
from harness.records import Estimate

GOOD = np.random.default_rng(1).normal(size=(4, 1000, 2))
STATS = {
    "diverging": np.zeros((4, 1000)),
    "energy": np.random.default_rng(2).normal(size=(4, 1000)),
    "tree_depth": np.full((4, 1000), 3.0),
}


def _by_name(rows: list[tuple[str, int | None, Estimate]]) -> dict[object, float]:
    return {(metric, column): e.value for metric, column, e in rows}


def test_good_chains_are_good() -> None:
    """Independent normals: R-hat near 1, ESS near the number of draws, nothing else amiss."""
    found = _by_name(metrics.chain_diagnostics(GOOD, STATS, max_depth=10))
    for column in (0, 1):
        assert found["rhat", column] < 1.01
        assert found["ess_bulk", column] > 3000
        assert found["ess_tail", column] > 3000
        assert found["chain_modes", column] == 0
    assert found["divergences", None] == 0
    assert found["ebfmi", None] > 1.5
    assert found["treedepth_hits", None] == 0


def test_rhat_is_arviz_own() -> None:
    """With several chains it is ArviZ's rank-normalised split R-hat."""
    x = GOOD[:, :, 0] + np.array([0.0, 0.0, 0.3, 0.1])[:, None]
    assert rhat(x) == pytest.approx(float(array_stats.rhat(x, method="rank")), abs=1e-12)


def test_one_chain_has_an_rhat() -> None:
    """A single chain is compared with itself, half by half."""
    drifting = GOOD[:1, :, 0] + np.linspace(0, 3, 1000)
    assert rhat(GOOD[:1, :, 0]) < 1.02
    assert rhat(drifting) > 1.3


@pytest.mark.parametrize(
    ("name", "x"),
    [
        ("constant", np.ones((4, 100))),
        ("not finite", np.where(np.arange(100) == 5, np.nan, GOOD[:, :100, 0])),
        ("too short", GOOD[:, :5, 0]),
    ],
)
def test_no_figure_is_nan(name: str, x: np.ndarray) -> None:
    """R-hat and ESS of nothing are NaN, not perfect."""
    found = _by_name(metrics.chain_diagnostics(x[:, :, None], STATS, 10))
    assert math.isnan(found["rhat", 0]), name
    assert math.isnan(found["ess_bulk", 0]), name
    assert math.isnan(found["ess_tail", 0]), name


def test_chains_stuck_at_points_are_infinitely_apart() -> None:
    """Each chain constant, but not the same: no R-hat is larger."""
    assert rhat(np.repeat([[0.0], [1.0]], 50, axis=1)) == math.inf


def test_missing_statistics_are_nan() -> None:
    """A statistic that was not recorded is NaN, and so is an unknown depth limit."""
    found = _by_name(metrics.chain_diagnostics(GOOD, {}))
    assert all(math.isnan(found[m, None]) for m in ("divergences", "ebfmi", "treedepth_hits"))
    found = _by_name(metrics.chain_diagnostics(GOOD, STATS))
    assert math.isnan(found["treedepth_hits", None])


def test_bad_runs_are_counted() -> None:
    """The share of divergences, the worst chain's E-BFMI and the share of deep trees given."""
    diverging = np.zeros((4, 1000))
    diverging[2, :7] = 1
    energy = STATS["energy"].copy()
    energy[3] = np.cumsum(np.random.default_rng(3).normal(size=1000))
    depth = np.where(np.arange(1000) < 50, 10.0, 3.0) * np.ones((4, 1))
    stats = {
        "diverging": diverging,
        "energy": energy,
        "tree_depth": depth,
        "max_tree_depth": np.full((4, 1000), 10.0),
    }
    found = _by_name(metrics.chain_diagnostics(GOOD, stats))
    assert found["divergences", None] == 7 / 4000
    assert found["ebfmi", None] < 0.1
    assert found["treedepth_hits", None] == 0.05
