"""A mixture of Gaussians, one for each basin: shares, shapes and doubts."""

from __future__ import annotations

import math
from typing import Any

import dadvi_problems
import numpy as np
import pytest
import targets

from harness.methods import dadvi_weighted
from harness.methods.bridged import Expected
from harness.methods.dadvi import DADVI_BASINS
from harness.methods.dadvi_weighted import fit_basins
from harness.metrics import Sample, khat, sample_of
from harness.metrics.block import Block
from harness.records import Draws, FloatArray, Reason
from harness.vi import deterministic
from harness.vi.deterministic.importance import (
    Defensive,
    Mixture,
    Weights,
    smoothed_weights,
    systematic,
)
from harness.vi.target import Target

K = 4.5
"""Standard errors allowed."""


def problem(target: Target, seed: int, **options: Any) -> Any:
    """Return the parts of a problem that a fit reads."""
    return dadvi_problems.problem(target, DADVI_BASINS, seed, 4000, **options)


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
    assert len(found.z) == 4000
    # The weights' own error comes on top of that of the resampled draws.
    worth = min(len(found.z), found.diagnostics["weight_ess"])
    for k, share in enumerate(shares):
        error = math.sqrt(share * (1 - share) * 2 / worth)
        assert abs(np.mean(nearest == k) - share) < K * error
    assert found.diagnostics["basins"] == 3


def _two_modes(dimension: int) -> targets.Mixture:
    means = np.zeros((2, dimension))
    means[:, 0] = -4.0, 4.0
    return targets.Mixture([0.3, 0.7], means, np.ones((2, dimension)))


@pytest.mark.parametrize(
    ("target", "between", "share"),
    [
        (targets.lecture_mixture(), 0.1, 0.2),
        (targets.Mixture([0.4, 0.6], [[0.0], [3.5]], [[0.3], [0.3]]), 1.75, 0.4),
        (_two_modes(20), 0.0, 0.3),
    ],
    ids=["lecture", "silent", "twenty dimensions"],
)
def test_errors_of_shares_are_what_the_weights_say(
    target: targets.Mixture, between: float, share: float
) -> None:
    """Over 20 seeds shares, in standard errors of the effective sample size, have an sd near 1."""
    scores = []
    for seed in range(20):
        found = fit_basins(problem(target, seed))
        assert found.status == "ok", found.message
        assert found.z is not None
        worth = min(len(found.z), found.diagnostics["weight_ess"])
        error = math.sqrt(share * (1 - share) / worth)
        scores.append((float(np.mean(found.z[:, 0] < between)) - share) / error)
    # An sd from 20 scores has an error of 1 / √40. Systematic resampling may make it smaller.
    assert 0.4 < np.std(scores) < 1 + K / math.sqrt(40)
    assert abs(np.mean(scores)) < K / math.sqrt(20)


@pytest.mark.parametrize("seed", range(3))
def test_bent_modes_in_twenty_dimensions_are_doubted(seed: int) -> None:
    """Gaussians overlap little with two modes of nine bent pairs: shares are not to be trusted."""
    plain = _two_modes(20)

    def bent(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        straight = z.copy()
        straight[:, 3::2] -= z[:, 2::2] ** 2
        value, slope = plain.log_density_gradient(straight)
        slope[:, 2::2] -= 2 * z[:, 2::2] * slope[:, 3::2]
        return value, slope

    found = fit_basins(problem(targets.Density(20, bent), seed))
    assert found.status == "not_converged"
    assert "weighting cannot correct" in found.message


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
    # Student's t with 2 degrees of freedom has 2.5e-5 of its mass beyond 200, and a share of .1.
    total = np.exp(mixture.log_density(grid)).sum() * (grid[1, 0] - grid[0, 0])
    assert total == pytest.approx(1.0, abs=4e-6)
    drawn = mixture.draw(20_000, np.random.default_rng(3))[:, 0]
    left = 1.0  # between the parts a few of either side cross over
    expected = np.exp(mixture.log_density(grid[grid[:, 0] < left])).sum() * 1e-3
    assert abs(np.mean(drawn < left) - expected) < K * math.sqrt(0.25 * 0.75 / 20_000)


@pytest.mark.parametrize("seed", range(3))
def test_a_wide_correlated_normal_is_no_harder_than_for_linear_response(seed: int) -> None:
    """With a hundred correlated parameters, over the full-rank limit, means and sds are right."""
    target = targets.any_normal(100, 7)
    found = fit_basins(problem(target, seed))
    assert found.status == "ok", found.message
    assert found.z is not None
    worth = min(len(found.z), found.diagnostics["weight_ess"])
    sd = np.sqrt(np.diag(target.covariance))
    error = math.sqrt(2 / worth)
    assert (np.abs(found.z.mean(axis=0) - target.mean) < K * sd * error).all()
    assert (np.abs(found.z.std(axis=0) / sd - 1) < K * error / math.sqrt(2)).all()


@pytest.mark.parametrize("seed", range(3))
def test_correlated_modes_over_the_full_rank_limit_have_their_shares(seed: int) -> None:
    """Two modes in sixty correlated parameters: the weights are trusted, and shares are right."""
    plain = _two_modes(60)
    mix = np.linalg.inv(np.linalg.cholesky(targets.any_covariance(60, np.random.default_rng(5)))).T

    def correlated(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        value, slope = plain.log_density_gradient(z @ mix)
        return value, slope @ mix.T

    found = fit_basins(problem(targets.Density(60, correlated), seed))
    assert found.status == "ok", found.message
    assert found.z is not None
    assert found.diagnostics["basins"] == 2
    worth = min(len(found.z), found.diagnostics["weight_ess"])
    share = float(np.mean((found.z @ mix)[:, 0] < 0))
    assert abs(share - 0.3) < K * math.sqrt(0.3 * 0.7 * 2 / worth)


def test_a_part_without_a_full_rank_fit_keeps_its_correlations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where that fit has no curvature, linear response's covariance takes its place: weights hold.

    With mean field's sds, in ten correlated parameters, they do not.
    """

    def failing(*_: object) -> None:
        raise np.linalg.LinAlgError

    target = targets.Normal(np.zeros(10), np.full((10, 10), 0.9) + 0.1 * np.eye(10))
    monkeypatch.setattr(deterministic, "fit_fullrank", failing)
    found = fit_basins(problem(target, 1))
    assert found.status == "ok", found.message
    assert found.diagnostics["weight_ess"] > 0.5 * found.diagnostics["proposals"]


@pytest.mark.parametrize(
    ("draws", "seconds", "proposals"),
    [
        (10_000, 0.0, 40_000),
        (1000, 0.0, 40_000),
        (30_000, 0.0, 120_000),
        (10_000, 2e-3, 5000),
        (30_000, 2e-3, 15_000),
    ],
)
def test_the_number_of_proposals_depends_on_a_densitys_seconds(
    draws: int, seconds: float, proposals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 40 000, halves as many where they take over 10 s, more where draws are wanted."""
    target = targets.Mixture([1.0], np.array([[1.0, -1.0]]), np.array([[0.5, 2.0]]))
    monkeypatch.setattr(dadvi_weighted, "ENOUGH", math.inf)
    given = problem(target, 1)
    given.draws, given.expected = draws, Expected(seconds, seconds)
    found = fit_basins(given)
    assert found.z is not None
    assert len(found.z) == draws
    assert found.diagnostics["proposals"] == proposals


def test_proposals_end_where_their_weights_are_worth_enough() -> None:
    """A normal needs few, a banana more, and a funnel whose weights degenerate is given up."""
    normal = targets.Mixture([1.0], np.array([[1.0, -1.0]]), np.array([[0.5, 2.0]]))
    few = fit_basins(problem(normal, 1)).diagnostics
    assert few["weight_ess"] >= 3000
    assert few["proposals"] < 5000
    bent = fit_basins(problem(targets.banana(), 1)).diagnostics  # type: ignore[arg-type]
    assert bent["proposals"] > few["proposals"]
    deep = fit_basins(problem(targets.funnel(60), 1))  # type: ignore[arg-type]
    assert deep.diagnostics["proposals"] <= 10_000
    assert deep.reason is Reason.WEIGHTS


def test_weights_that_one_proposal_carries_are_a_fault_whatever_k_hat_says() -> None:
    """What gates is the effective sample size, 5% of the proposals, and the largest weight, 1%."""
    even = Weights(np.full(1000, 1e-3), 3.15, 1000.0, 0)
    few = Weights(np.r_[np.full(40, 1 / 40), np.zeros(960)], 0.1, 40.0, 0)
    heavy = Weights(np.r_[0.02, np.full(999, 0.98 / 999)], 0.1, 720.0, 0)
    assert [w.trusted for w in (even, few, heavy)] == [True, False, False]


def test_errors_of_weighted_draws_are_those_of_their_weights() -> None:
    """Weighted draws of t(3): z-scores of mean and width have sd 1 within .1, of the sd i.i.d.'s.

    Over 200 repetitions the sd of z is known to 5%: two standard errors. t(3) has no fourth moment,
    so that the standard error of an sd is too small even for independent draws: their z has sd 1.5,
    over 1.1 by more than four standard errors.
    """
    rng = np.random.default_rng(20)
    proposal = Defensive(np.zeros(1), np.array([1.26]))
    width = 2 * 2.3533634  # 95% quantile of t(3)
    scores: dict[str, list[list[float]]] = {"weighted": [], "i.i.d.": []}
    for _ in range(200):
        z = proposal.draw(40_000, rng)
        log_p, log_q = -2 * np.log1p(z[:, 0] ** 2 / 3), proposal.log_density(z)
        weights = smoothed_weights(log_p, log_q, lambda p, q: khat(p, q).value)
        index = systematic(weights.weight, 10_000, rng)
        copies = np.bincount(index)[index].astype(np.float64)
        for kind, draws in (
            ("weighted", Draws(("x",), z[index][None], stats={"copies": copies[None]})),
            ("i.i.d.", Draws(("x",), rng.standard_t(3, (1, 10_000, 1)))),
        ):
            x = sample_of(draws, "x")
            scores[kind].append(
                [
                    x.mean / x.mean_mcse,
                    math.log(x.width / width) / x.log_width_mcse,
                    (x.sd - math.sqrt(3)) / x.sd_mcse,
                ]
            )
    spread = {kind: np.std(found, axis=0) for kind, found in scores.items()}
    assert np.all(np.abs(spread["weighted"][:2] - 1) < 0.1), spread
    assert spread["weighted"][2] < 1.2 * spread["i.i.d."][2], spread
    assert spread["i.i.d."][2] / (1 + 4 * 0.05) > 1.1, spread


@pytest.mark.parametrize("heavy", [0.0, 0.3])
def test_copies_count_as_one_proposal(heavy: float) -> None:
    """A normal weighted from one shifted by .8: z-scores of mean, correlation and shares have sd 1.

    Over 300 repetitions the sd of z is known to 4%; four standard errors.
    """
    rng = np.random.default_rng(21)
    found = []
    for _ in range(300):
        z = rng.standard_normal((5000, 2)) * (1 - heavy) + np.array([0.8, 0.0])
        log_q = -0.5 * (((z - [0.8, 0.0]) / (1 - heavy)) ** 2).sum(axis=1)
        weights = np.exp(-0.5 * (z**2).sum(axis=1) / (1 - heavy) ** 2 - log_q)
        index = systematic(weights / weights.sum(), 4000, rng)
        copies = np.bincount(index)[index].astype(np.float64)[None]
        x = Sample(z[index, 0][None], iid=True, copies=copies)
        block = Block(z[index].T[:, None, :], iid=True, copies=copies)
        product = block.flat[0] * block.flat[1]
        found.append(
            [
                x.mean / x.mean_mcse,
                product.mean() / (np.std(product) / math.sqrt(block.worth(product))),
            ]
        )
    assert np.all(np.abs(np.std(found, axis=0) - 1) < 4 * 0.041), np.std(found, axis=0)
