"""Proposals of weighted draws: their densities, and when they become a funnel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import dadvi_problems
import numpy as np
import pytest
import targets

from harness.methods.dadvi import DADVI_PSIS
from harness.methods.dadvi_weighted import _mixed, fit_weighted
from harness.vi.deterministic.funnel import Funnel, funnel_of
from harness.vi.deterministic.importance import (
    BROAD,
    SHARE,
    Defensive,
    Weights,
    copies_of,
    smoothed_weights,
)
from harness.vi.gaussian import log_normal
from harness.vi.target import Target

if TYPE_CHECKING:
    from harness.records import FloatArray

K = 4.5
"""Standard errors allowed."""

SD, D = 0.35, 31
"""Of the funnels: x_i has the variance exp(SD² / 2) around zero."""


def problem(target: Target, seed: int, **options: Any) -> Any:
    """Return the parts of a problem that a fit reads."""
    return dadvi_problems.problem(target, DADVI_PSIS, seed, 4000, **options)


def around(d: int, seed: int = 1) -> Defensive:
    """Return proposals with some mean and correlations."""
    rng = np.random.default_rng(seed)
    factor = np.linalg.cholesky(targets.any_covariance(d, rng))
    return Defensive(rng.standard_normal(d), np.asarray(factor), BROAD)


def weighed(proposal: Defensive, target: Target, n: int, seed: int) -> tuple[FloatArray, Weights]:
    """Return proposals and their weights."""
    z, log_q = proposal.drawn(n, np.random.default_rng(seed))
    return z, smoothed_weights(target.log_density(z), log_q, lambda _p, _q: 0.0)


def near_one(ratio: FloatArray) -> bool:
    """Tell whether the mean is 1 within its error."""
    return bool(abs(ratio.mean() - 1) < K * ratio.std() / math.sqrt(len(ratio)))


@pytest.mark.parametrize("d", [1, 3, 40])
def test_proposals_with_a_broad_part_have_a_density(d: int) -> None:
    """It integrates to 1 under draws from it, is that of the draws, and bounds the Gaussian's."""
    proposal = around(d)
    z, log_q = proposal.drawn(20_000, np.random.default_rng(2))
    np.testing.assert_allclose(log_q, proposal.log_density(z), rtol=1e-9, atol=1e-9)
    normal = log_normal(z, proposal.mean, proposal.factor)
    assert (normal - log_q).max() <= -math.log1p(-SHARE - BROAD) + 1e-9
    assert near_one(np.exp(normal - log_q))
    # A part that the draws lacked would make this too small.
    plain = Defensive(proposal.mean, proposal.factor)
    assert near_one(np.exp(plain.log_density(z) - log_q))


def test_a_funnels_draws_have_its_density() -> None:
    """Both densities are those of the draws, and one over the other integrates to 1."""
    proposal = around(6)
    funnel = Funnel(proposal, 2, -0.1, 0.15)
    z, (first, own) = funnel.drawn(50_000, np.random.default_rng(3))
    np.testing.assert_allclose(own, funnel.log_density(z), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(first, proposal.log_density(z), rtol=1e-9, atol=1e-9)
    assert near_one(np.exp(first - own))
    assert own.std() > 0.1
    assert np.abs(first - own).max() > 0.3


@pytest.mark.parametrize("seed", range(3))
def test_a_funnel_is_found_and_covers_more(seed: int) -> None:
    """Its coordinate and slope are v and 1/2 a unit of v; its weights are worth more."""
    target = targets.funnel(D, SD)
    scale = np.full(D, math.exp(SD**2 / 4))
    scale[0] = SD
    proposal = Defensive(np.zeros(D), np.diag(scale), BROAD)
    z, first = weighed(proposal, target, 4000, seed)
    funnel = funnel_of(proposal, z, first)
    assert funnel is not None
    assert funnel.which == 0
    assert abs(funnel.slope - SD / 2) < 0.05
    z, (_, log_q) = funnel.drawn(4000, np.random.default_rng(seed + 10))
    later = smoothed_weights(target.log_density(z), log_q, lambda _p, _q: 0.0)
    assert later.ess > 1.8 * first.ess


def test_no_funnel_is_made_of_little() -> None:
    """Not of a Gaussian, few weights, one heavy weight, one dimension or a factor not formed."""
    proposal = Defensive(np.zeros(D), np.eye(D), BROAD)
    z, even = weighed(proposal, targets.standard(D), 2000, 1)
    assert funnel_of(proposal, z, even) is None
    scale = np.r_[SD, np.ones(D - 1)]
    proposal = Defensive(np.zeros(D), np.diag(scale), BROAD)
    z, good = weighed(proposal, targets.funnel(D, SD), 2000, 1)
    assert funnel_of(proposal, z, good) is not None
    few = Weights(good.weight, good.khat, 99.0, 0)
    assert funnel_of(proposal, z, few) is None
    heavy = good.weight * 0.9
    heavy[0] += 0.1
    assert funnel_of(proposal, z, Weights(heavy, good.khat, good.ess, 0)) is None
    assert funnel_of(proposal, z, Weights(good.weight, good.khat, math.nan, 0)) is None
    one = Defensive(np.zeros(1), np.eye(1), BROAD)
    assert funnel_of(one, z[:, :1], good) is None

    class Unformed:
        inputs = D

    root = Defensive(np.zeros(D), Unformed(), BROAD)  # type: ignore[arg-type]
    assert funnel_of(root, z, good) is None


def test_parts_of_two_proposals_are_weighted_as_a_mixture() -> None:
    """Under draws of 2000 and 6000, the mixture's density integrates each proposal's to 1."""
    proposal = around(5)
    funnel = Funnel(proposal, 0, 0.1, 0.3)
    rng = np.random.default_rng(4)
    z, first = proposal.drawn(2000, rng)
    _, second = funnel.drawn(6000, rng)
    each = [np.stack([first, funnel.log_density(z)]), second]
    log_q = _mixed(each)
    both = np.concatenate(each, axis=1)
    assert near_one(np.exp(both[0] - log_q))
    assert near_one(np.exp(both[1] - log_q))
    np.testing.assert_array_equal(_mixed(each[:1]), first)


@pytest.mark.parametrize("seed", range(3))
def test_weighted_draws_of_a_funnel_are_right(seed: int) -> None:
    """Means, sds, and the sd of x where v is small, which no Gaussian has, within their errors."""
    found = fit_weighted(problem(targets.funnel(D, SD), seed))
    assert found.status == "ok", found.message
    assert found.z is not None
    assert found.proposal is not None
    v, x = found.z[:, 0], found.z[:, 1:]
    error = math.sqrt(2 / min(len(v), found.diagnostics["weight_ess"]))
    assert abs(v.mean()) < K * SD * error
    assert abs(v.std() / SD - 1) < K * error
    sd = math.exp(SD**2 / 4)
    assert (np.abs(x.mean(axis=0)) < K * sd * error).all()
    small = v < 0
    inner = math.exp(SD**2 / 4) * math.sqrt(2 * _below(-SD))
    # Thirty coordinates share the error of v.
    assert abs(math.sqrt(np.mean(x[small] ** 2)) / inner - 1) < K * error


def _below(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def test_copies_are_counted() -> None:
    """Each draw knows how many are its proposal; where all are distinct there is nothing."""
    assert copies_of(np.array([3, 1, 2])) is None
    assert copies_of(np.array([], dtype=np.intp)) is None
    found = copies_of(np.array([3, 1, 3]))
    assert found is not None
    assert found.tolist() == [2, 1, 2]
