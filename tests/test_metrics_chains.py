"""Diagnostics of Markov chains."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arviz_stats.base import array_stats

from harness import metrics
from harness.metrics.chains import rhat
from harness.metrics.effective import effective_sizes
from harness.records import Estimate, FloatArray

GOOD = np.random.default_rng(1).normal(size=(4, 1000, 2))
STATS = {
    "diverging": np.zeros((4, 1000)),
    "energy": np.random.default_rng(2).normal(size=(4, 1000)),
    "tree_depth": np.full((4, 1000), 3.0),
}


def _of_chains(values: FloatArray) -> list[dict[str, Estimate]]:
    columns = (values[:, :, i] for i in range(values.shape[2]))
    return [metrics.of_chains(metrics.prepare(x, iid=False)) for x in columns]


def _by_name(rows: list[tuple[str, int | None, Estimate]]) -> dict[object, float]:
    return {(metric, column): e.value for metric, column, e in rows}


def test_good_chains_are_good() -> None:
    """Independent normals: R-hat near 1, ESS near the number of draws, nothing else amiss."""
    found = _by_name(metrics.chain_diagnostics(_of_chains(GOOD), STATS, max_depth=10))
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
    found = _by_name(metrics.chain_diagnostics(_of_chains(x[:, :, None]), STATS, 10))
    assert math.isnan(found["rhat", 0]), name
    assert math.isnan(found["ess_bulk", 0]), name
    assert math.isnan(found["ess_tail", 0]), name


def test_chains_stuck_at_points_are_infinitely_apart() -> None:
    """Each chain constant, but not the same: no R-hat is larger."""
    assert rhat(np.repeat([[0.0], [1.0]], 50, axis=1)) == math.inf


def test_missing_statistics_are_nan() -> None:
    """A statistic that was not recorded is NaN, and so is an unknown depth limit."""
    found = _by_name(metrics.chain_diagnostics(_of_chains(GOOD), {}))
    assert all(math.isnan(found[m, None]) for m in ("divergences", "ebfmi", "treedepth_hits"))
    found = _by_name(metrics.chain_diagnostics(_of_chains(GOOD), STATS))
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
    found = _by_name(metrics.chain_diagnostics(_of_chains(GOOD), stats))
    assert found["divergences", None] == 7 / 4000
    assert found["ebfmi", None] < 0.1
    assert found["treedepth_hits", None] == 0.05


def test_effective_sizes_are_arviz_own() -> None:
    """Of many series at once: slow, quick and antithetic chains, shares, large units, odd sizes."""
    rng = np.random.default_rng(3)
    for chains, draws in ((1, 4), (2, 5), (4, 11), (4, 250), (3, 501)):
        series = []
        for rho in (-0.9, 0.0, 0.5, 0.99):
            x = rng.normal(size=(chains, draws))
            for t in range(1, draws):
                x[:, t] += rho * x[:, t - 1]
            series += [x, x + 3 * rng.normal(size=(chains, 1)), 1e200 * x, (x > 0).astype(float)]
        found = effective_sizes(np.array(series))
        for x, size in zip(series, found, strict=True):
            centred = x - x.mean()
            largest = np.max(np.abs(centred)) or 1.0
            with np.errstate(all="ignore"):
                theirs = float(array_stats.ess(centred / largest, method="mean"))
            assert size == pytest.approx(theirs, rel=1e-9, nan_ok=True)


def test_a_series_without_an_effective_size_has_none() -> None:
    """One that is not finite or too short is NaN beside others; one that is constant has all."""
    good = np.random.default_rng(4).normal(size=(4, 100))
    bad = np.where(np.arange(100) == 7, np.inf, good)
    found = effective_sizes(np.stack([good, bad, np.ones((4, 100))]))
    assert found[0] > 100
    assert math.isnan(found[1])
    assert found[2] == 400
    assert math.isnan(effective_sizes(good[:, :3]))


def test_the_chains_diagnostics_are_arviz_own() -> None:
    """Bulk and tail ESS, also of a quantity with few values, and E-BFMI."""
    for x in (GOOD[:, :, 0], np.round(GOOD[:, :, 0]), np.cumsum(GOOD[:, :, 0], axis=1)):
        found = _by_name(metrics.chain_diagnostics(_of_chains(x[:, :, None]), STATS))
        assert found["ess_bulk", 0] == pytest.approx(array_stats.ess(x, method="bulk"), rel=1e-9)
        tail = array_stats.ess(x, method="tail", prob=(0.05, 0.95))
        assert found["ess_tail", 0] == pytest.approx(tail, rel=1e-9)
        bfmi = float(np.min(array_stats.bfmi(STATS["energy"])))
        assert found["ebfmi", None] == pytest.approx(bfmi, rel=1e-12)
