"""A mixture of Gaussians, one for each basin: shares, shapes and doubts."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import targets

from harness.methods import METHODS
from harness.methods.dadvi_weighted import fit_basins
from harness.vi.deterministic.importance import Defensive, Mixture
from harness.vi.target import Clock

K = 4.5
"""Standard errors allowed."""


def problem(target: targets.Mixture, seed: int, **options: Any) -> Any:
    """Return the parts of a problem that a fit reads."""
    names = [f"x.{i}" for i in range(1, target.dimension + 1)]
    return SimpleNamespace(
        target=target,
        model=SimpleNamespace(unconstrained_names=lambda: names),
        data={},
        draws=4000,
        rng=np.random.default_rng(seed),
        clock=Clock(60),
        options=SimpleNamespace(**{**METHODS["dadvi_basins"].defaults, **options}),
    )


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_modes_are_right(seed: int) -> None:
    """Three modes of different widths in two dimensions: each has its share of the draws."""
    shares = [0.2, 0.5, 0.3]
    means = np.array([[-1.5, -1.5], [0.0, 1.5], [1.5, -0.5]])
    target = targets.Mixture(shares, means, np.array([[0.1, 0.2], [0.2, 0.1], [0.1, 0.1]]))
    found = fit_basins(problem(target, seed))
    assert found.status == "ok", found.message
    assert found.z is not None
    nearest = np.argmin(((found.z[:, None] - means) ** 2).sum(axis=2), axis=1)
    # The weights' own error comes on top of that of the resampled draws.
    worth = min(len(found.z), found.diagnostics["weight_ess"])
    for k, share in enumerate(shares):
        error = math.sqrt(share * (1 - share) * 2 / worth)
        assert abs(np.mean(nearest == k) - share) < K * error
    assert found.diagnostics["basins"] == 3


def test_one_mode_is_one_gaussian() -> None:
    """With one basin the fit is a weighted Gaussian, and the diagnostics say so."""
    target = targets.Mixture([1.0], np.array([[1.0, -1.0]]), np.array([[0.5, 2.0]]))
    found = fit_basins(problem(target, 1))
    assert found.status == "ok"
    assert found.z is not None
    assert "a mixture of 1 Gaussians" in found.words
    error = np.array([0.5, 2.0]) / math.sqrt(min(len(found.z), found.diagnostics["weight_ess"]))
    assert (np.abs(found.z.mean(axis=0) - [1.0, -1.0]) < K * error * math.sqrt(2)).all()


def test_a_mixture_is_normalised() -> None:
    """Its density integrates to one, and its draws have the parts' shares."""
    mixture = Mixture(
        (
            Defensive(np.array([-2.0]), np.array([0.5])),
            Defensive(np.array([3.0]), np.array([[1.0]])),
        ),
        (0.25, 0.75),
    )
    grid = np.linspace(-200, 200, 400_001)[:, None]
    # Student's t with 4 degrees of freedom has 2e-8 of its mass beyond 200.
    total = np.exp(mixture.log_density(grid)).sum() * (grid[1, 0] - grid[0, 0])
    assert total == pytest.approx(1.0, abs=1e-6)
    drawn = mixture.draw(20_000, np.random.default_rng(3))[:, 0]
    left = 1.0  # between the parts a few of either side cross over
    expected = np.exp(mixture.log_density(grid[grid[:, 0] < left])).sum() * 1e-3
    assert abs(np.mean(drawn < left) - expected) < K * math.sqrt(0.25 * 0.75 / 20_000)


def test_beyond_what_a_full_rank_fit_takes_it_still_fits() -> None:
    """With sixty parameters only sds are fitted, and the weights judge the result."""
    means = np.stack([np.full(60, -1.0), np.full(60, 1.0)])
    found = fit_basins(problem(targets.Mixture([0.3, 0.7], means, np.full((2, 60), 0.1)), 2))
    assert found.z is not None
    share = float(np.mean(found.z[:, 0] < 0))
    worth = min(len(found.z), found.diagnostics["weight_ess"])
    if found.status == "ok":
        assert abs(share - 0.3) < K * math.sqrt(0.3 * 0.7 * 2 / worth)
    else:
        assert "k-hat" in found.message
