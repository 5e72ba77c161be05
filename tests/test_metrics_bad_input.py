"""What runaways, collapsed fits and broken chains measure as: never as fine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness import metrics

if TYPE_CHECKING:
    from harness.records import Estimate, FloatArray

SCALAR = ("bias", "log_width_ratio", "log_sd_ratio", "w1", "tail", "missed_mass")
REF = np.random.default_rng(1).normal(size=(1, 4000))
ONE, TWO = np.random.default_rng(2).normal(size=(2, 1, 1000))
BAD: dict[str, FloatArray] = {
    "one infinite": np.where(np.arange(1000) == 999, np.inf, ONE),
    "one NaN": np.where(np.arange(1000) == 999, np.nan, ONE),
    "all NaN": np.full((1, 1000), np.nan),
    "up to 1e300": 1e300 * ONE,
    "up to the largest float": 1.7e308 * np.tanh(ONE),
    "a point": np.full((1, 1000), 3.0),
    "the right point": np.zeros((1, 1000)),
}


def joint(q: FloatArray, ref: FloatArray) -> dict[str, Estimate]:
    """Compare independent draws of several quantities."""
    return metrics.compare_joint(
        metrics.Joint(q, metrics.JointReference(ref, iid=True, seed=1), iid=True)
    )


@pytest.mark.parametrize("name", BAD)
def test_runaways_are_far(name: str) -> None:
    """No metric is NaN, and width and tails are beyond every limit and error."""
    found = metrics.compare_quantity(
        metrics.prepare(BAD[name], iid=True), metrics.prepare(REF, iid=True)
    )
    assert tuple(found) == SCALAR
    assert not any(math.isnan(e.value) or math.isnan(e.mcse) for e in found.values())
    assert abs(found["log_width_ratio"].value) - 5 * found["log_width_ratio"].mcse > 1
    assert abs(found["tail"].value) - 5 * found["tail"].mcse > 0.75


@pytest.mark.parametrize("name", BAD)
def test_joint_runaways_are_far(name: str) -> None:
    """The worst direction of a runaway is far too wide or narrow; nothing is NaN."""
    other = np.random.default_rng(3).normal(size=REF.shape)
    ref = np.stack([REF, other], axis=-1)
    q = np.stack([TWO, BAD[name]], axis=-1)
    found = joint(q, ref)
    assert not any(math.isnan(x) for j in found.values() for x in j)
    assert abs(found["worst_direction"].value) > 1


def test_a_point_has_no_width() -> None:
    """A collapsed q is infinitely narrow, without doubt."""
    q = metrics.prepare(BAD["the right point"], iid=True)
    found = metrics.compare_quantity(q, metrics.prepare(REF, iid=True))
    assert found["log_width_ratio"] == (-math.inf, 0.0)
    assert found["log_sd_ratio"] == (-math.inf, 0.0)


def test_draws_that_are_not_finite_lie_in_no_mode() -> None:
    """The share of a mode counts against all draws: nine of ten NaN miss it, half do not."""
    ref = metrics.prepare(REF, iid=True)
    for share, missed in ((0.9, 1.0), (0.5, 0.0)):
        q = ONE.copy()
        q[0, : int(share * 1000)] = np.nan
        assert (
            metrics.compare_quantity(metrics.prepare(q, iid=True), ref)["missed_mass"][0] == missed
        )


def test_a_constant_reference() -> None:
    """Against a point mass only the same point is near, up to rounding."""
    ref = metrics.prepare(np.full((1, 100), 2.0), iid=True)
    for at in (2.0, 2.0 + 1e-12):
        same = metrics.compare_quantity(metrics.prepare(np.full((1, 50), at), iid=True), ref)
        assert {m: e.value for m, e in same.items()} == {"probability": 0.0}
    for bad in (REF, np.full((1, 50), 2.001), np.full((1, 50), math.nan)):
        other = metrics.compare_quantity(metrics.prepare(bad, iid=True), ref)
        assert {m: e.value for m, e in other.items()} == {"probability": 1.0}


@pytest.mark.parametrize("values", [np.empty((1, 0)), np.full((1, 9), np.nan)])
def test_a_broken_reference_measures_nothing(values: FloatArray) -> None:
    """Without a reference every metric is NaN, which no rule calls close."""
    found = metrics.compare_quantity(
        metrics.prepare(REF, iid=True), metrics.prepare(values, iid=True)
    )
    assert all(math.isnan(e.value) for e in found.values())


def test_unusable_says_why() -> None:
    """Empty, not finite and constant draws are named; draws that vary are none of these."""
    assert metrics.unusable(np.empty((1, 0, 1))) == ["empty"]
    assert metrics.unusable(BAD["one NaN"][..., None]) == ["not finite (1 of 1000 draws)"]
    assert metrics.unusable(BAD["a point"][..., None]) == ["constant"]
    assert metrics.unusable((1 + 1e-16 * REF)[..., None]) == ["constant"]
    assert metrics.unusable((1e-300 * REF)[..., None]) == [None]


def test_summaries_of_broken_draws_are_nan() -> None:
    """Mean and quantiles of draws that are not finite are unknown, not some number."""
    found = metrics.summaries(metrics.prepare(BAD["one infinite"], iid=True))
    assert set(found) == {"mean", "sd", "q5", "q50", "q95"}
    assert all(math.isnan(e.value) and math.isnan(e.mcse) for e in found.values())


def test_chains_too_short_for_an_error_have_none() -> None:
    """Three draws a chain have no effective size: the error is NaN, the comparison undecided."""
    q = metrics.prepare(np.random.default_rng(4).normal(size=(4, 3)), iid=False)
    found = metrics.compare_quantity(q, metrics.prepare(REF, iid=True))
    assert math.isnan(found["bias"].mcse)
    assert math.isnan(found["w1"].mcse)


def test_one_quantity_has_no_joint_metrics() -> None:
    """Two quantities have none either if one is constant in the reference."""
    one = REF[:, :, None]
    two = np.concatenate([one, np.ones_like(one)], axis=2)
    assert joint(one, one) == {}
    assert joint(two, two) == {}


def test_no_quantity_has_no_copies() -> None:
    """All quantities of a method's draws may be constant: nothing is left to compare."""
    assert metrics.copies(np.empty((1, 100, 0))) == {}


def test_too_few_draws_for_directions() -> None:
    """With fewer draws than quantities the worst direction is unknown."""
    x = np.random.default_rng(5).normal(size=(1, 20, 15))
    found = joint(x, x)
    assert math.isnan(found["worst_direction"].value)


def test_identities_of_the_program_are_no_directions() -> None:
    """A simplex sums to 1 in both samples, which is neither too narrow nor too wide."""
    rng = np.random.default_rng(6)
    q, ref = (rng.dirichlet([2.0, 3.0, 4.0], size=(1, n)) for n in (4000, 8000))
    found = joint(q, ref)
    worst = found["worst_direction"]
    assert abs(worst.value) < 5 * worst.mcse


@pytest.mark.parametrize("k", [0, 1])
def test_spread_of_one_seed_is_unknown(k: int) -> None:
    """An sd needs two values."""
    ref = metrics.prepare(REF, iid=True)
    assert math.isnan(metrics.seed_spread(np.zeros(k), np.zeros(k), ref).value)


def test_spread_with_a_runaway_is_infinite() -> None:
    """A seed whose mean is NaN moves infinitely far; an unknown error stays unknown."""
    ref = metrics.prepare(REF, iid=True)
    nan = np.array([0.0, math.nan])
    assert metrics.seed_spread(nan, np.zeros(2), ref).value == math.inf
    assert metrics.seed_spread(np.array([1e308, -1e308]), np.zeros(2), ref).value == math.inf
    assert math.isnan(metrics.seed_spread(np.array([0.0, 1.0]), nan, ref).mcse)


def test_spread_takes_off_the_draws_own_error() -> None:
    """Seeds that differ no more than their errors have no spread."""
    ref = metrics.prepare(REF, iid=True)
    found = metrics.seed_spread(np.array([0.0, 0.1]), np.array([0.2, 0.2]), ref)
    assert found.value == 0.0
    assert found.mcse > 0
