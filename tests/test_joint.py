"""Dependence is judged at every number of quantities, from all draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import metrics
from harness.judgement.rules import closeness, rules_for
from harness.metrics import measure
from harness.metrics.errors import critical_z
from harness.records import Cost, Draws, Estimate, FloatArray, Model, Reference, RunResult, RunSpec

RULES = rules_for()
MODEL = Model(name="m", title="m", stan_file=Path("m.stan"), data_file=None, source="")


def equicorrelated(rng: np.random.Generator, n: int, k: int) -> FloatArray:
    """Return normal draws in which every pair of quantities correlates at .5."""
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


def symmetric(rng: np.random.Generator, *, broken: bool = False) -> Draws:
    """Return draws of a covariance matrix, of two shares and of a count."""
    a, b, c = rng.normal(size=(3, 4000))
    below = rng.permutation(b) if broken else b
    share = rng.beta(2, 3, size=4000)
    columns = {"S[1,1]": a, "S[2,1]": below, "S[1,2]": b, "S[2,2]": c}
    columns |= {"p[1]": share, "p[2]": 1 - share, "n": rng.poisson(2, size=4000).astype(float)}
    return Draws(tuple(columns), np.stack(list(columns.values()), axis=-1)[None])


def test_one_number_under_two_names_counts_once() -> None:
    """The half of a symmetric matrix and the second share of two are left out, and said to be."""
    chosen = measure.select(MODEL, symmetric(np.random.default_rng(1)))
    assert chosen.names == ("S[1,1]", "S[2,1]", "S[2,2]", "p[1]", "n")
    assert chosen.copies == {"S[1,2]": "S[2,1]", "p[2]": "p[1]"}
    assert "the same as another quantity: S[1,2] (S[2,1]) and p[2] (p[1])" in chosen.notes[-1]


@pytest.mark.parametrize("broken", [False, True])
def test_a_method_that_breaks_an_identity_is_told_so(*, broken: bool) -> None:
    """A matrix that is symmetric in the reference only: the correlation of the two is wrong."""
    draws = symmetric(np.random.default_rng(1))
    chosen = measure.select(MODEL, draws)
    yardstick = measure.Yardstick(
        "m", Reference("exact", trusted=True, why="", draws=draws), chosen
    )
    own = symmetric(np.random.default_rng(2), broken=broken)
    run = RunResult(RunSpec("m", "q", {}, 1, 4000), "", "ok", "", own, None, {}, Cost(0.0), {})
    found = yardstick.run(run)
    (error,) = (m.value for m in found.measures if m.metric == "corr_error")
    assert (error > 0.9) == broken
    assert ("S[1,2]" in {m.quantity for m in found.measures}) == broken
    if broken:
        assert found.pair is not None
        assert {found.pair.first, found.pair.second} == {"S[1,2]", "S[2,1]"}
