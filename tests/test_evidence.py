"""log Z by bridge sampling against closed forms, with a calibrated error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import t as student
from targets import Density, standard

from harness.vi.bridge_sampling import bridge_sampling

Array = NDArray[np.float64]


def test_a_normal_has_its_constant_to_a_hundredth() -> None:
    """The proposal is nearly the target, so the error is small and the value right."""
    rng = np.random.default_rng(1)
    found = bridge_sampling(standard(4, log_z=7), rng.standard_normal((4000, 4)), 1.0, rng)
    assert found.words == ""
    assert found.error < 0.005
    assert abs(found.value - 7) < 4 * found.error + 1e-4


def test_the_error_is_that_of_repetitions() -> None:
    """Student's t with 4 degrees of freedom in three dimensions: 60 repetitions, z about 1."""
    target = Density(3, lambda z: (student.logpdf(z, 4).sum(axis=1) - 3, z))
    scores = []
    for seed in range(60):
        rng = np.random.default_rng(100 + seed)
        draws = rng.standard_t(4, size=(2000, 3))
        found = bridge_sampling(target, draws, 1.0, rng)
        scores.append((found.value + 3) / found.error)
    # The rms of 60 standard normals lies in 1 ± 4 / sqrt(120); the fitted half adds a little.
    assert 1 - 4 / math.sqrt(120) < math.sqrt(np.mean(np.square(scores))) < 1.5


def test_draws_of_a_chain_have_the_larger_error() -> None:
    """With autocorrelation 0.9, `effective` gives the larger error; the value stays right."""
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((8000, 2)) * math.sqrt(1 - 0.81)
    chain = lfilter([1], [1, -0.9], noise, axis=0)
    worth = 0.1 / 1.9
    known = bridge_sampling(standard(2, log_z=7), chain, worth, np.random.default_rng(4))
    naive = bridge_sampling(standard(2, log_z=7), chain, 1.0, np.random.default_rng(4))
    assert known.error > naive.error
    assert abs(known.value - 7) < 4 * known.error + 1e-3


@pytest.mark.parametrize(
    ("draws", "effective", "says"),
    [
        (np.zeros((10, 4)), 1.0, "too few"),
        (np.zeros((100, 2)), 1.0, "singular"),
        (np.eye(100, 2), 0.0, "ESS per draw"),
        (np.eye(100, 2), math.nan, "ESS per draw"),
    ],
)
def test_what_cannot_be_estimated_has_no_error_that_passes(
    draws: Array, effective: float, says: str
) -> None:
    """The error is infinite, with the reason."""
    target = standard(draws.shape[1])
    found = bridge_sampling(target, draws, effective, np.random.default_rng(5))
    assert math.isinf(found.error)
    assert says in found.words


def test_a_target_without_density_at_its_draws_is_not_believed() -> None:
    """The draws are those of another posterior."""
    rng = np.random.default_rng(6)
    nowhere = Density(1, lambda z: (np.where(z[:, 0] > 0, -z[:, 0], -np.inf), z))
    found = bridge_sampling(nowhere, rng.normal(size=(500, 1)), 1.0, rng)
    assert math.isinf(found.error)
    assert "no finite density" in found.words
