"""What a fit's own draws say against it, on targets in closed form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from targets import Normal, standard

from harness.methods.free_checks import LEAST_ESS, Reweighted, moved, reweighted, words
from harness.metrics import METRICS
from harness.records import Cost, Doubt, Reason, RunResult, RunSpec
from harness.study.store import Store
from harness.vi.gaussian import Gaussian

if TYPE_CHECKING:
    from harness.records import FloatArray
    from harness.vi.target import Target

DRAWS = 10_000


def checked(q: Gaussian, target: Target, seed: int = 1) -> tuple[FloatArray, Reweighted]:
    """Return draws of a fit and what their weights are worth."""
    z = q.draw(DRAWS, np.random.default_rng(seed))
    return z, reweighted(target.log_density(z), q.log_density(z))


def doubted(q: Gaussian, target: Target, seed: int = 1) -> Doubt | None:
    """Return the doubt of a fit by its weights, which must be believed."""
    z, own = checked(q, target, seed)
    assert own.weight is not None
    return moved([f"x[{i + 1}]" for i in range(target.dimension)], z, own.weight)


def test_a_fit_whose_median_is_wrong_is_doubted_with_its_size_and_error() -> None:
    """Of three coordinates the second is 1.2 sds off: 4 standard errors hold the true size."""
    doubt = doubted(Gaussian(np.array([0.0, 1.2, 0.0]), np.ones(3)), standard(3))
    assert doubt is not None
    assert (doubt.reason, doubt.quantity) == (Reason.MOVED, "x[2]")
    assert doubt.metric in {"median_bias", "tail"}
    assert abs(doubt.value - 1.2) < 4 * doubt.mcse
    assert doubt.mcse < 0.1
    assert METRICS[doubt.metric].noun in words(doubt)
    assert "x[2]" in words(doubt)


def test_a_fit_that_is_too_wide_is_doubted() -> None:
    """Twice the sd: its quantiles are 1.645 sds off, within 4 standard errors."""
    doubt = doubted(Gaussian(np.zeros(2), np.array([1.0, 2.0])), standard(2))
    assert doubt is not None
    assert (doubt.metric, doubt.quantity) == ("tail", "x[2]")
    assert abs(abs(doubt.value) - 1.645) < 4 * doubt.mcse


@pytest.mark.parametrize("off", [0.0, 0.05, 0.3])
def test_a_fit_that_is_right_or_merely_off_is_not_doubted(off: float) -> None:
    """In 50 repetitions no right fit, and none .3 sds off, is said to be wrong."""
    q = Gaussian(np.full(3, off), np.ones(3))
    assert [doubted(q, standard(3), seed) for seed in range(50)] == [None] * 50


def test_few_heavy_weights_feign_no_wrong_quantile() -> None:
    """Three draws with 3% of the weight each move the 95% quantile by 2 sds, with a wide bound."""
    x = np.sort(np.random.default_rng(2).standard_normal(DRAWS))
    weight = np.full(DRAWS, 0.91 / (DRAWS - 3))
    weight[-3:] = 0.03
    order = np.argsort(x)
    at = np.searchsorted(np.cumsum(weight[order]), 0.95)
    assert x[order][at] - np.quantile(x, 0.95) > 1.5
    assert moved(["x"], x[:, None], weight) is None


def test_weights_that_hardly_count_show_nothing() -> None:
    """Six sds away the weights are worth a few draws: no claim, and the figures remain."""
    _, own = checked(Gaussian(np.full(2, 6.0), np.ones(2)), standard(2))
    assert own.weight is None
    assert own.diagnostics["weight_ess"] < LEAST_ESS
    assert {"khat", "khat_error", "khat_wide", "kl", "kl_error"} <= set(own.diagnostics)


def test_the_divergence_by_weights_has_an_honest_error() -> None:
    """Over 40 seeds the squared error is that stated, within 4 standard errors of a variance."""
    target = Normal(np.zeros(2), np.array([[1.0, 0.3], [0.3, 1.0]]), log_z=7.0)
    q = Gaussian(np.array([0.1, 0.0]), np.array([0.9, 1.0]))
    figures = [checked(q, target, seed)[1].diagnostics for seed in range(40)]
    ratios = [(f["kl"] - target.kl(q)) / f["kl_error"] for f in figures]
    assert abs(np.mean(np.square(ratios)) - 1) < 4 * math.sqrt(2 / 40)


def test_a_density_that_is_missing_leaves_no_figure() -> None:
    """A NaN among log p: the divergence is NaN, and the k-hat infinite."""
    z = np.random.default_rng(3).standard_normal((DRAWS, 1))
    log_q = Gaussian(np.zeros(1), np.ones(1)).log_density(z)
    log_p = log_q - 0.01 * z[:, 0]
    log_p[7] = np.nan
    found = reweighted(log_p, log_q).diagnostics
    assert math.isnan(found["kl"])
    assert found["khat"] == math.inf


def test_quantities_that_are_constant_or_broken_are_passed_over() -> None:
    """A constant, and one that is not finite everywhere, beside one that is wrong."""
    z, own = checked(Gaussian(np.array([1.2]), np.ones(1)), standard(1))
    assert own.weight is not None
    broken = z[:, 0].copy()
    broken[0] = np.inf
    values = np.column_stack([np.ones(DRAWS), broken, z[:, 0]])
    doubt = moved(["constant", "broken", "x"], values, own.weight)
    assert doubt is not None
    assert doubt.quantity == "x"


def test_a_doubt_is_stored_with_its_run(tmp_path: Path) -> None:
    """What comes back from the store is the same record."""
    doubt = Doubt(Reason.MOVED, "tail", "tau", 1.25, 0.0625, 0.75)
    spec = RunSpec("m", "dadvi", {}, 1, 10)
    result = RunResult(
        spec, "ab" * 32, "not_converged", "", None, None, {}, Cost(1.0), {}, doubts=(doubt,)
    )
    store = Store(tmp_path)
    store.put(result)
    kept = store.get(result.key)
    assert kept is not None
    assert kept.doubts == (doubt,)
