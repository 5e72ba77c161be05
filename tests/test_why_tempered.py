"""A rough sample from a density alone: good enough to name a funnel and a banana, and no more."""

from __future__ import annotations

import math

import numpy as np
import pytest
from targets import any_normal, banana, funnel, standard

from harness.records import Estimate
from harness.vi import deterministic
from harness.vi.deterministic.importance import Defensive
from harness.vi.family_optimum import Best
from harness.vi.gaussian import Gaussian
from harness.vi.target import Clock, Target
from harness.why.causes import causes_of
from harness.why.causes.row import FamilyScene
from harness.why.posterior import Posterior
from harness.why.tempered import EFFECTIVE, PARTICLES, tempered


def named(target: Target, seed: int) -> list[str]:
    """Return the causes of an unknown gap, from the best mean-field Gaussian alone."""
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        settings = deterministic.Settings(seconds=1e-6)
        optimum = deterministic.fit(target, rng, Clock(), settings, "meanfield")
        z = tempered(target, Defensive(optimum.mean, optimum.sd), rng, Clock())
    assert z is not None
    scene = FamilyScene(
        gap=Estimate(math.nan, math.nan),
        rest=math.nan,
        family="meanfield",
        best=Best(Gaussian(optimum.mean, optimum.sd), optimum, 0.0),
        correlation=None,
        fullrank_gap=None,
        posterior=Posterior(z, EFFECTIVE, tuple(f"z{i}" for i in range(target.dimension))),
        rng=rng,
        alone=True,
    )
    return [c.name for c in causes_of(scene)]


@pytest.mark.parametrize("seed", range(6))
def test_a_funnel_and_a_banana_are_named_from_the_density(seed: int) -> None:
    """Without log Z and without a reference; a normal has no shape to name."""
    assert named(funnel(10), seed) == ["funnel"]
    assert named(banana(1.0, 0.0, 0.3), seed) == ["curved"]
    assert named(any_normal(10, 1), seed) == []
    assert named(standard(3), seed) == []


@pytest.mark.parametrize("seed", range(6))
def test_particles_arrive_at_a_normal(seed: int) -> None:
    """Mean and sds, from a proposal five sds off, within five errors of ``EFFECTIVE`` draws."""
    target = any_normal(5, 2)
    rng = np.random.default_rng(seed)
    found = tempered(target, Defensive(target.mean + 5.0, np.ones(5)), rng, Clock())
    assert found is not None
    assert found.shape == (PARTICLES, 5)
    sd = np.sqrt(np.diag(target.covariance))
    error = sd / math.sqrt(EFFECTIVE)
    assert np.all(np.abs(found.mean(axis=0) - target.mean) < 5 * error)
    assert np.all(np.abs(found.std(axis=0) - sd) < 5 * error)
