"""Estimators of the ELBO's gradient are unbiased and differ in variance."""

from __future__ import annotations

import numpy as np
import pytest
from targets import Normal

from harness.records import FloatArray
from harness.vi import loop
from harness.vi.families import MeanField
from harness.vi.gradients import (
    ESTIMATORS,
    ScoreObjective,
    score_control,
    total_variance,
    variances,
)
from harness.vi.optimisers import Adam
from harness.vi.target import Counted

CENTRE = np.array([1.0, -2.0, 0.5])
PRECISION = np.array([[4.0, 1.5, 0.0], [1.5, 2.0, -0.5], [0.0, -0.5, 1.0]])

FAMILY = MeanField(3)
PHI = FAMILY.start(np.array([0.6, -1.5, 0.0]), np.log([0.4, 0.9, 1.2]))


TARGET = Normal(CENTRE, np.linalg.inv(PRECISION), log_z=-40.0)
"""With a large constant, which control variates must remove."""


def closed_form(phi: FloatArray) -> FloatArray:
    """Return the ELBO's gradient: −Λ (mu − centre), and 1 − sigma² Λᵢᵢ."""
    slope = -PRECISION @ (phi[:3] - CENTRE)
    return np.concatenate([slope, 1 - np.exp(2 * phi[3:]) * np.diag(PRECISION)])


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_the_mean_is_the_closed_form(name: str) -> None:
    """Each of the six parameters within 4 standard errors, with 20 000 draws."""
    spread = variances(TARGET, FAMILY, PHI, np.random.default_rng(1), 20_000)[name]
    gap = np.abs(spread.mean - closed_form(PHI)) / np.sqrt(spread.variance / 20_000)
    assert np.max(gap) < 4


def test_a_coefficient_from_the_same_few_draws_leaves_no_bias() -> None:
    """With ten draws a call, the mean over 4000 calls is the closed form within 4 errors."""
    rng = np.random.default_rng(2)
    means = np.array([
        score_control(FAMILY, PHI, rng.standard_normal((10, 3)), TARGET)[1].mean(axis=0)
        for _ in range(4000)
    ])  # fmt: skip
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    assert np.max(np.abs(means.mean(axis=0) - closed_form(PHI)) / error) < 4


def test_control_variates_remove_most_of_the_score_functions_noise() -> None:
    """Variances: reparameterised < control variates < plain, far beyond their errors."""
    spread = variances(TARGET, FAMILY, PHI, np.random.default_rng(3), 20_000)
    total = {name: total_variance(one, FAMILY.sd(PHI)) for name, one in spread.items()}
    for quiet, noisy, factor in (
        ("reparameterised", "score_control", 1),
        ("reparameterised", "score_both", 1),
        ("score_control", "score", 20),
        ("score_both", "score_rao_blackwell", 20),
    ):
        (a, a_error), (b, b_error) = total[quiet], total[noisy]
        assert (a + 4 * a_error) * factor < b - 4 * b_error, (quiet, noisy)
    ratio = spread["score_rao_blackwell"].variance / spread["score"].variance
    # Beside a log p of −40 it hardly matters which part of log q is left out.
    assert np.max(np.abs(np.log(ratio))) < 0.3


def test_the_variance_and_its_error_are_those_of_single_draws() -> None:
    """The mu-gradient of a Gaussian target has the variance Σⱼ (Λᵢⱼ sigmaⱼ)²."""
    spread = variances(TARGET, FAMILY, PHI, np.random.default_rng(4), 20_000)
    one = spread["reparameterised"]
    exact = ((PRECISION * np.exp(PHI[3:])) ** 2).sum(axis=1)
    assert np.max(np.abs(one.variance[:3] - exact) / one.variance_error[:3]) < 4
    # Normal: the error of a variance is √(2/n) of it.
    np.testing.assert_allclose(one.variance_error[:3], exact * np.sqrt(2 / 20_000), rtol=0.1)


def test_where_q_is_the_posterior_a_controlled_score_has_no_noise() -> None:
    """It is score · constant there, which the control variate removes."""
    phi = MeanField(1).start(np.array([2.0]), np.log(0.5))

    target = Normal([2.0], [[0.25]], log_z=7.0)
    spread = variances(target, MeanField(1), phi, np.random.default_rng(5), 1000)
    assert np.max(spread["score_control"].variance) < 1e-20
    assert np.min(spread["score"].variance) > 1
    assert np.min(spread["reparameterised"].variance) > 1


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if n != "reparameterised"])
def test_score_functions_ask_for_no_gradient(name: str) -> None:
    """They need log p only, once per draw."""
    target = Counted(TARGET)
    ScoreObjective(name, 50)(FAMILY, PHI, target, np.random.default_rng(6))
    assert (target.values, target.gradients) == (50, 0)


def test_too_few_draws_for_a_coefficient_are_an_error() -> None:
    """Its denominator is a variance, which a few draws cannot estimate."""
    with pytest.raises(ValueError, match=r"9 draws.*10 or more"):
        score_control(FAMILY, PHI, np.zeros((9, 3)), TARGET)


def test_the_loop_climbs_to_the_mean_field_optimum() -> None:
    """Means of the target, sds 1/√Λᵢᵢ: within 0.05 sds and 5%, without any gradient."""
    optimiser = Adam(0.05, beta2=0.99, decay_steps=3000)
    state = loop.start(optimiser, FAMILY.start(np.zeros(3)), np.random.default_rng(7))
    found = loop.fit(
        TARGET, FAMILY, optimiser, state, 3000, objective=ScoreObjective(), average_from=1500
    )
    sd = 1 / np.sqrt(np.diag(PRECISION))
    assert np.max(np.abs(FAMILY.mean(found.phi) - CENTRE) / sd) < 0.05
    assert np.max(np.abs(np.log(FAMILY.sd(found.phi) / sd))) < 0.05
    exact = TARGET.constant - 1.5 + FAMILY.entropy(FAMILY.start(CENTRE, np.log(sd)))
    late = found.elbo[-500:]
    assert abs(late.mean() - exact) < 4 * late.std() / np.sqrt(len(late)) + 0.01
