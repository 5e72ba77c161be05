"""Whether a Gaussian is at an optimum of its ELBO, whatever its optimiser suggests."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from targets import Density, Normal

from harness.vi import loop
from harness.vi.callbacks import CheckParametersConvergence
from harness.vi.families import MeanField
from harness.vi.loop import Info
from harness.vi.optimisers import Adam
from harness.vi.stationarity import LIMIT, restlessness

Array = NDArray[np.float64]


TARGET = Normal([3000.0, -1.0], np.linalg.inv([[1e-6, 6e-4], [6e-4, 1.0]]))
BEST = 1 / np.sqrt(np.diag(TARGET.precision))


@pytest.mark.parametrize("seed", range(20))
def test_the_best_gaussian_is_at_rest(seed: int) -> None:
    """The best mean-field and full-rank Gaussians raise no false alarm in twenty seeds each."""
    rng = np.random.default_rng(seed)
    assert restlessness(TARGET, TARGET.mean, BEST, rng).words == ""
    factor = np.linalg.cholesky(np.linalg.inv(TARGET.precision))
    assert restlessness(TARGET, TARGET.mean, factor, rng).words == ""


@pytest.mark.parametrize("seed", range(5))
def test_a_shift_or_a_wrong_width_is_seen_with_its_size(seed: int) -> None:
    """A shift of half an sd, a width a third too small and a far q are detected."""
    rng = np.random.default_rng(seed)
    shifted = restlessness(TARGET, TARGET.mean + np.array([0.5, 0]) * BEST, BEST, rng)
    assert 0.25 < shifted.way <= 0.5
    assert "sds of q" in shifted.words
    narrow = restlessness(TARGET, TARGET.mean, BEST * np.array([1.0, 0.6]), rng)
    assert narrow.way > LIMIT
    assert "log of a scale" in narrow.words
    far = restlessness(TARGET, np.zeros(2), np.ones(2), rng)
    assert far.words != ""


def test_what_has_no_gradient_is_not_at_rest() -> None:
    """NaN does not count as an optimum."""
    broken = Density(1, lambda z: (np.full(len(z), np.nan), np.full_like(z, np.nan)))
    found = restlessness(broken, np.zeros(1), np.ones(1), np.random.default_rng(1))
    assert np.isinf(found.way)
    assert "no finite gradient" in found.words


def test_a_rate_that_falls_to_zero_does_not_hide_the_way_left() -> None:
    """Adam with a cosine stops 3000 units short: its ELBO is level, but its gradient is large."""
    family = MeanField(2)
    optimiser = Adam(0.05, decay_steps=500)
    start = loop.start(optimiser, family.start(np.zeros(2)), np.random.default_rng(1))
    found = loop.fit(TARGET, family, optimiser, start, 500)
    assert found.status == "ok"
    q = family.mean(found.phi), family.sd(found.phi)
    assert restlessness(TARGET, *q, np.random.default_rng(2)).words != ""


def test_parameters_that_stand_still_for_bad_steps_have_not_converged() -> None:
    """A comparison over skipped steps does not count; the next one does."""
    rule = CheckParametersConvergence(every=2, tolerance=1e-3, diff="absolute", stop=False)
    phi = np.zeros(1)
    for iteration in range(1, 9):
        rule(phi, Info(iteration, 0.0, 1.0, iteration in {3, 4}, 0.0))
    assert sorted(rule.norms) == [2, 6, 8]
    assert rule.fired_at == 2
