"""Dependence is judged at every number of quantities, from all draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness import metrics
from harness.judge.rules import closeness, critical_z, rules_for
from harness.records import Estimate, FloatArray

RULES = rules_for()


def equicorrelated(rng: np.random.Generator, n: int, k: int) -> FloatArray:
    """Return normal draws of which any two quantities correlate at .5."""
    return np.asarray(np.sqrt(0.5) * (rng.normal(size=(n, 1)) + rng.normal(size=(n, k))))


def autoregressive(rng: np.random.Generator, n: int, k: int) -> FloatArray:
    """Return normal draws whose neighbouring quantities correlate at .86."""
    x = rng.normal(size=(n, k))
    for i in range(1, k):
        x[:, i] = 0.86 * x[:, i - 1] + np.sqrt(1 - 0.86**2) * x[:, i]
    return x


def in_blocks(rng: np.random.Generator, n: int, k: int) -> FloatArray:
    """Return normal draws that correlate at .5 within blocks of five."""
    common = np.repeat(rng.normal(size=(n, -(-k // 5))), 5, axis=1)[:, :k]
    return np.asarray(np.sqrt(0.5) * (common + rng.normal(size=(n, k))))


KINDS = [equicorrelated, autoregressive, in_blocks]


def compared(q: FloatArray, ref: FloatArray) -> dict[str, Estimate]:
    """Compare independent draws, shape ``(draw, quantity)``, of one vector."""
    vector = [np.arange(ref.shape[1])]
    prepared = metrics.JointReference(ref[None], iid=True, seed=1, vectors=vector)
    return metrics.compare_joint(metrics.Joint(q[None], prepared, iid=True))


def levels(found: dict[str, Estimate], k: int) -> dict[str, str]:
    """Return how close each joint figure is."""
    return {m: closeness(e, RULES[m], critical_z(k)) for m, e in found.items()}


@pytest.mark.parametrize("draw", KINDS)
@pytest.mark.parametrize("k", [300, 301, 1000])
def test_draws_without_correlation_are_wrong_at_any_size(
    draw: Callable[[np.random.Generator, int, int], FloatArray], k: int
) -> None:
    """The right marginals without their dependence have wrong pairs and too narrow directions."""
    rng = np.random.default_rng(k)
    found = levels(compared(rng.normal(size=(4000, k)), draw(rng, 2000, k)), k)
    assert found["corr_error"] == "wrong"
    assert found["worst_direction"] in {"off", "wrong"}


@pytest.mark.parametrize("draw", KINDS)
@pytest.mark.parametrize("k", [301, 1000])
def test_the_right_correlations_are_never_off(
    draw: Callable[[np.random.Generator, int, int], FloatArray], k: int
) -> None:
    """Equal distributions are neither off nor wrong in any joint figure."""
    rng = np.random.default_rng(k + 7)
    found = levels(compared(draw(rng, 4000, k), draw(rng, 2000, k)), k)
    assert set(found.values()) <= {"close", "unsure"}, found


def test_the_worst_of_many_is_measured_without_bias() -> None:
    """In 40 repetitions at 400 quantities, the mean of each figure is within 4 errors of zero.

    A figure whose pair or direction is chosen by the draws that measure it would be far above.
    """
    rng = np.random.default_rng(4)
    found = [compared(rng.normal(size=(500, 400)), rng.normal(size=(500, 400))) for _ in range(40)]
    # A signless correlation error has the mean of |N(0, 1)| errors, .8.
    error = np.array([f["corr_error"].value / f["corr_error"].mcse for f in found])
    assert abs(np.mean(error) - 0.8) < 4 * 0.6 / np.sqrt(40)
    worst = np.array([f["worst_direction"].value / f["worst_direction"].mcse for f in found])
    assert abs(np.mean(worst)) < 4 * np.std(worst) / np.sqrt(40)
    assert np.std(worst) < 2


def test_every_draw_of_the_reference_counts() -> None:
    """11 832 draws bring a smaller error than every second one of them."""
    rng = np.random.default_rng(3)
    q, ref = rng.normal(size=(10_000, 3)), rng.normal(size=(11_832, 3))
    whole, half = (compared(q, r)["corr_error"].mcse for r in (ref, ref[::2]))
    assert whole < 0.9 * half


def test_a_reference_is_prepared_once_for_many_runs() -> None:
    """Figures do not depend on which runs were compared before."""
    rng = np.random.default_rng(9)
    ref, q = rng.normal(size=(1, 2000, 4)), rng.normal(size=(2, 1, 1000, 4))
    shared = metrics.JointReference(ref, iid=True, seed=1)
    for own in (*q, *q):
        alone = metrics.JointReference(ref, iid=True, seed=1)
        assert metrics.compare_joint(metrics.Joint(own, shared, iid=True)) == metrics.compare_joint(
            metrics.Joint(own, alone, iid=True)
        )
