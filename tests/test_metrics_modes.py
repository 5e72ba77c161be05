"""Modes: found where they are, and only there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness import metrics
from harness.metrics.chains import chain_modes
from harness.metrics.modes import find_basins, find_many

if TYPE_CHECKING:
    from harness.records import FloatArray

    Draw = Callable[[np.random.Generator, int], FloatArray]


def _mixture(rng: np.random.Generator, n: int) -> FloatArray:
    return np.where(rng.random(n) < 0.2, -0.3, 0.5) + 0.1 * rng.normal(size=n)


ONE: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "uniform": lambda rng, n: rng.random(n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "lognormal": lambda rng, n: np.exp(rng.normal(size=n)),
    "Student t, 3 df": lambda rng, n: rng.standard_t(3, size=n),
    "Cauchy": lambda rng, n: rng.standard_cauchy(n),
    "horseshoe": lambda rng, n: rng.normal(size=n) * rng.standard_cauchy(n),
    "counts": lambda rng, n: rng.poisson(10, n).astype(float),
    "shoulder": lambda rng, n: rng.choice([-1.2, 1.2], n) + rng.normal(size=n),
}
SEVERAL: dict[str, tuple[int, Draw]] = {
    "the lecture's mixture": (2, _mixture),
    "two far apart": (2, lambda rng, n: rng.choice([-4.0, 4.0], n) + rng.normal(size=n)),
    "5% a million away": (
        2,
        lambda rng, n: np.where(rng.random(n) < 0.05, 1e6, 0.0) + rng.normal(size=n),
    ),
    "two near and one far": (
        3,
        lambda rng, n: rng.choice([0.0, 1.0, 1000.0], n) + 0.1 * rng.normal(size=n),
    ),
}


@pytest.mark.parametrize("n", [400, 4000, 40_000])
@pytest.mark.parametrize("name", ONE)
def test_one_mode_is_one(name: str, n: int) -> None:
    """Noise, skew, heavy tails and lattices make no modes, in ten samples each."""
    rng = np.random.default_rng(n)
    for _ in range(10):
        sample = metrics.prepare(ONE[name](rng, n)[None], iid=True)
        assert sample.basins.count == 1


@pytest.mark.parametrize("n", [1000, 4000, 40_000])
@pytest.mark.parametrize("name", SEVERAL)
def test_separate_modes_are_found(name: str, n: int) -> None:
    """Modes apart by deep valleys are all found, in ten samples each."""
    rng = np.random.default_rng(n)
    count, draw = SEVERAL[name]
    for _ in range(10):
        assert metrics.prepare(draw(rng, n)[None], iid=True).basins.count == count


def test_a_mode_with_a_quarter_of_its_mass_is_held() -> None:
    """The left mode holds 0.2; a q with 0.1 there holds it, one with 0.02 misses it."""
    rng = np.random.default_rng(1)
    ref = metrics.prepare(_mixture(rng, 40_000)[None], iid=True)
    for share, missed in ((0.1, 0.0), (0.02, 0.2), (0.0, 0.2)):
        centre = np.where(rng.random((1, 10_000)) < share, -0.3, 0.5)
        q = metrics.prepare(centre + 0.1 * rng.normal(size=centre.shape), iid=True)
        found = metrics.compare_quantity(q, ref)["missed_mass"]
        assert abs(found.value - missed) <= 4 * found.mcse + 1e-9


def test_a_share_at_the_quarter_is_doubtful() -> None:
    """Where q holds about a quarter of a mode's mass, the error covers both answers."""
    rng = np.random.default_rng(2)
    ref = metrics.prepare(_mixture(rng, 40_000)[None], iid=True)
    centre = np.where(np.arange(1000) < 50, -0.3, 0.5)
    q = metrics.prepare((centre + 0.05 * rng.normal(size=1000))[None], iid=True)
    assert metrics.compare_quantity(q, ref)["missed_mass"].mcse > 0.05


@pytest.mark.parametrize("far", [0, 1, 7])
def test_equal_draws_have_one_mode_whatever_their_value(far: int) -> None:
    """Rounding leaves two of three constants an sd above 0, but no range to look for valleys in."""
    for value in np.random.default_rng(0).normal(size=30):
        x = np.full(10_000, value)
        x[x.size - far :] = np.nextafter(value, np.inf)
        assert find_basins(x, 10_000.0).count == 1


def test_far_away_is_in_no_mode() -> None:
    """A q beyond the reference's range holds none of its modes."""
    rng = np.random.default_rng(3)
    ref = metrics.prepare(rng.normal(size=(1, 4000)), iid=True)
    q = metrics.prepare(rng.normal(100, 1, size=(1, 1000)), iid=True)
    assert metrics.compare_quantity(q, ref)["missed_mass"].value == 1.0


def test_chains_in_different_modes_disagree() -> None:
    """Chains that never left their modes are wholly apart; chains that mix are not."""
    rng = np.random.default_rng(4)
    centre = np.array([-0.3, 0.5, 0.5, 0.5])[:, None]
    stuck = chain_modes(metrics.prepare(centre + 0.1 * rng.normal(size=(4, 1000)), iid=False))
    mixing = chain_modes(metrics.prepare(_mixture(rng, 4000).reshape(4, 1000), iid=False))
    assert stuck.value > 0.99
    assert mixing.value < 4 * mixing.mcse


def test_shares_by_chain_name_the_left_mode() -> None:
    """Chains with 6% and 72% of their draws on the left are reported as such."""
    rng = np.random.default_rng(5)
    left = np.stack([np.arange(1000) < 60, np.arange(1000) < 720])
    x = np.where(left, -0.3, 0.5) + 0.05 * rng.normal(size=(2, 1000))
    shares = metrics.chain_shares(metrics.prepare(x, iid=False))
    assert shares[:, 0] == pytest.approx([0.06, 0.72], abs=0.005)


@pytest.mark.parametrize("seed", range(20))
def test_short_chains_in_two_modes_show_both(seed: int) -> None:
    """512 chains of 20 draws in one mode each have two modes; chains of one mode have one."""
    x = np.random.default_rng([seed, 512]).normal(size=(512, 20))
    assert len(metrics.prepare(x, iid=False).basins.edges) == 2
    x[:150] -= 8
    assert len(metrics.prepare(x, iid=False).basins.edges) == 3


def test_samples_searched_together_have_the_modes_of_each_alone() -> None:
    """The modes of a sample are the same alone and beside others, a constant one included."""
    rng = np.random.default_rng(1)
    draws = [draw(rng, 4000) for draw in (*ONE.values(), *(d for _, d in SEVERAL.values()))]
    rows = np.sort([*draws, np.full(4000, 2.0)], axis=1)
    sizes = np.linspace(1000.0, 4000.0, len(rows))
    together = find_many(rows, sizes)
    alone = [find_basins(row, size) for row, size in zip(rows, sizes.tolist(), strict=True)]
    assert [b.count for b in together] == [1] * len(ONE) + [n for n, _ in SEVERAL.values()] + [1]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.edges, other.edges, rtol=1e-12)
