"""Metrics against closed forms, and their errors against repetitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import norm

from harness import metrics

if TYPE_CHECKING:
    from harness.records import Estimate, FloatArray

SHIFT, SCALE = 0.4, 0.7
PAIRS = 500
JOINT_PAIRS = 200
Z05 = 1.6448536269514722


def _normals(rng: np.random.Generator, n: int) -> FloatArray:
    return rng.normal(size=(1, n))


def _chains(rng: np.random.Generator, draws: int = 400) -> FloatArray:
    """Four AR(1) chains with coefficient 0.6 and standard normal margins."""
    noise = rng.normal(size=(4, draws + 50)) * math.sqrt(1 - 0.6**2)
    return np.asarray(lfilter([1], [1, -0.6], noise, axis=1)[:, 50:])


def _folded_mean(mean: float, sd: float) -> float:
    """E |N(mean, sd)|, the Wasserstein distance of normals that differ by that."""
    return float(mean * (1 - 2 * norm.cdf(-mean / sd)) + 2 * sd * norm.pdf(mean / sd))


SCALAR_TRUTH = {
    "bias": SHIFT,
    "log_width_ratio": math.log(SCALE),
    "log_sd_ratio": math.log(SCALE),
    "w1": _folded_mean(SHIFT, 1 - SCALE),
    "tail": SHIFT + Z05 * (1 - SCALE),
}
SUMMARY_TRUTH = {
    "mean": SHIFT,
    "sd": SCALE,
    "q5": SHIFT - Z05 * SCALE,
    "q50": SHIFT,
    "q95": SHIFT + Z05 * SCALE,
}


def _scalar_estimates(rng: np.random.Generator, *, iid: bool) -> dict[str, Estimate]:
    q, ref = (_normals(rng, 2000), _normals(rng, 4000)) if iid else (_chains(rng), _chains(rng))
    own, theirs = (metrics.prepare(x, iid=iid) for x in (SHIFT + SCALE * q, ref))
    return metrics.compare_quantity(own, theirs) | metrics.summaries(own)


def _coverage(
    truth: dict[str, float], draw: Callable[[], dict[str, Estimate]], pairs: int = PAIRS
) -> dict[str, float]:
    inside = dict.fromkeys(truth, 0)
    for _ in range(pairs):
        found = draw()
        for key, true in truth.items():
            inside[key] += abs(found[key].value - true) <= 2 * found[key].mcse
    return {key: count / pairs for key, count in inside.items()}


@pytest.mark.parametrize("iid", [True, False], ids=["independent", "chains"])
def test_two_standard_errors_hold_the_truth(iid: bool) -> None:
    """Between 90% and 99% of 500 pairs of samples lie within 2 mcse of the closed form."""
    rng = np.random.default_rng(11)
    found = _coverage(SCALAR_TRUTH | SUMMARY_TRUTH, lambda: _scalar_estimates(rng, iid=iid))
    assert all(0.9 <= share <= 0.99 for share in found.values()), found


def test_two_standard_errors_hold_the_joint_truth() -> None:
    """The same for correlation, worst direction and random projections."""
    rng = np.random.default_rng(12)
    corr = np.array([[1.0, 0.5], [0.5, 1.0]])
    directions = np.random.default_rng(5).normal(size=(50, 2))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    sds = np.sqrt(np.einsum("ij,jk,ik->i", directions, corr, directions))
    sliced = [
        _folded_mean(abs(d[0] * SHIFT) / s, abs(1 - SCALE / s))
        for d, s in zip(directions, sds, strict=True)
    ]
    truth = {
        "corr_error": 0.5,
        # Independent N(0, 0.49) is narrowest where the reference is widest, var 1.5.
        "worst_direction": math.log(SCALE / math.sqrt(1.5)),
        "sliced_w1": float(np.mean(sliced)),
    }

    def draw() -> dict[str, Estimate]:
        ref = rng.multivariate_normal([0, 0], corr, size=(1, 2000))
        q = rng.normal(size=(1, 1000, 2)) * SCALE + [SHIFT, 0.0]
        prepared = metrics.JointReference(ref, iid=True, seed=5)
        return metrics.compare_joint(metrics.Joint(q, prepared, iid=True))

    found = _coverage(truth, draw, JOINT_PAIRS)
    assert all(0.9 <= share <= 0.99 for share in found.values()), found


def test_two_standard_errors_hold_mass_and_spread() -> None:
    """The same for a missed mode's mass and for the spread of 40 seeds."""
    rng = np.random.default_rng(13)
    ref = metrics.prepare(_normals(rng, 4000), iid=True)

    def draw() -> dict[str, Estimate]:
        centre = np.where(rng.random((1, 2000)) < 0.2, -0.3, 0.5)
        mixture = metrics.prepare(centre + 0.1 * rng.normal(size=(1, 2000)), iid=True)
        one = metrics.prepare(rng.normal(0.5, 0.1, size=(1, 1000)), iid=True)
        means = rng.normal(0, math.hypot(0.3, 0.02), size=40)
        return {
            "missed_mass": metrics.compare_quantity(one, mixture)["missed_mass"],
            "seed_spread": metrics.seed_spread(means, np.full(40, 0.02), ref),
        }

    found = _coverage({"missed_mass": 0.2, "seed_spread": 0.3}, draw)
    assert all(0.9 <= share <= 0.99 for share in found.values()), found


def test_w1_of_equal_distributions_is_zero_on_average() -> None:
    """The mean of 200 null distances is within 4 standard errors of 0."""
    rng = np.random.default_rng(14)
    found = []
    for _ in range(200):
        q, ref = (metrics.prepare(rng.gamma(2.0, size=(1, n)), iid=True) for n in (1000, 2000))
        found.append(metrics.compare_quantity(q, ref)["w1"].value)
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(200)


def test_w1_of_a_shift_is_the_shift() -> None:
    """Nothing is taken off where the distributions differ clearly: exact draws, shifted by σ."""
    x = np.random.default_rng(15).normal(size=(1, 5000))
    ref = metrics.prepare(x, iid=True)
    shifted = metrics.prepare(x + ref.sd, iid=True)
    # Only in the empty tails of the reference, 1e-4 of it, is the difference in doubt.
    assert metrics.compare_quantity(shifted, ref)["w1"].value == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.7, 0.9])
def test_khat_of_exponentials_is_known(k: float) -> None:
    """Weights exp(k x) of exponential draws are Pareto with shape k: within 3 errors.

    The fit's prior pulls towards 0.5 with the weight of 10 of 300 draws.
    """
    x = np.random.default_rng(16).exponential(size=(1, 10_000))
    found = metrics.khat(-x * (1 - k), -x)
    expected = (300 * k + 10 * 0.5) / 310
    assert abs(found.value - expected) < 3 * found.mcse


def test_khat_has_the_right_sign() -> None:
    """A q narrower than p is the dangerous way round; a wider one is safe."""
    rng = np.random.default_rng(17)
    x = rng.normal(size=(1, 10_000))

    def khat_of(sd: float) -> float:
        q = sd * x
        return metrics.khat(-(q**2) / 2, -(q**2) / (2 * sd**2)).value

    assert khat_of(0.4) > khat_of(1.5) + 0.2


@pytest.mark.parametrize(
    ("what", "log_p"),
    [
        ("not a number", np.where(np.arange(1000) == 3, np.nan, -np.arange(1000.0))),
        ("outside the support", np.where(np.arange(1000) == 3, -np.inf, -np.arange(1000.0))),
        ("underflowing", 10.0 * np.arange(1000)),
        ("overflowing", 1e308 * (-1.0) ** np.arange(1000)),
        ("never filled in", np.zeros(1000)),
    ],
)
def test_khat_of_degenerate_weights_is_infinite(what: str, log_p: FloatArray) -> None:
    """Weights that are no weights give infinity, not a small number."""
    log_q = -np.random.default_rng(18).exponential(size=1000)
    assert metrics.khat(log_p[None], log_q[None]).value == math.inf, what


def test_khat_where_q_is_p() -> None:
    """Densities that differ by a constant and rounding have weights without a tail."""
    log_p = -np.random.default_rng(19).exponential(size=(1, 1000))
    assert metrics.khat(log_p, log_p + 3.0) == (0.0, 0.0)
    assert math.isnan(metrics.khat(log_p[:, :10], log_p[:, :10]).value)


def test_khat_of_a_heavy_tail_is_seen_beside_densities_without_bound() -> None:
    """A few draws where log p falls by 10¹² nats do not turn the tail's weights into rounding."""
    rng = np.random.default_rng(7)
    log_w = rng.exponential(size=4000) * 0.8
    log_q = rng.normal(size=4000)
    log_p = log_w + log_q
    plain = metrics.khat(log_p[None], log_q[None]).value
    log_p[:3] -= 1e12
    assert metrics.khat(log_p[None], log_q[None]).value == pytest.approx(plain, abs=0.02)
    assert plain == pytest.approx(0.8, abs=4 * 1.8 / math.sqrt(3 * math.sqrt(4000)))


def test_khat_limit_is_that_of_vehtari_and_others() -> None:
    """0.7 from 2155 draws on, less below, none at all for one draw."""
    assert metrics.khat_limit(10_000) == 0.7
    assert metrics.khat_limit(100) == pytest.approx(0.5)
    assert metrics.khat_limit(1) == -math.inf


def test_errors_of_chains_are_larger() -> None:
    """AR(1) chains with coefficient 0.6 are worth a quarter of their draws: error doubled."""
    chains = _chains(np.random.default_rng(20), draws=5000)
    aware = metrics.summaries(metrics.prepare(chains, iid=False))["mean"].mcse
    naive = metrics.summaries(metrics.prepare(chains, iid=True))["mean"].mcse
    assert aware / naive == pytest.approx(2.0, rel=0.15)


def test_units_do_not_matter() -> None:
    """Metrics of draws in metres and in attometres are the same."""
    rng = np.random.default_rng(21)
    q, ref = _chains(rng), _chains(rng)
    one, tiny = (
        metrics.compare_quantity(
            metrics.prepare(u * q, iid=False), metrics.prepare(u * ref, iid=False)
        )
        for u in (1.0, 1e-18)
    )
    for metric, estimate in one.items():
        assert tiny[metric] == pytest.approx(estimate, rel=1e-6, abs=1e-9), metric
