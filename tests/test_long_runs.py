"""Answers of long runs: figures with errors, their files, and components in all orders."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import scripts

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    ANSWERS = scripts.load(BENCHMARKS / "answers.py")
    RUNS = scripts.load(BENCHMARKS / "long_runs.py")
finally:
    sys.path.remove(str(BENCHMARKS))

K = 4.5
"""Standard errors allowed."""


def test_errors_are_those_of_dependent_draws() -> None:
    """Chains of an autoregression of .8: a mean's error is three times that of free draws.

    From 40 stretches an error is known to 1 / √78 of itself.
    """
    rng, rho = np.random.default_rng(1), 0.8
    noise = rng.standard_normal((4, 5000, 50)) * np.sqrt(1 - rho**2)
    x = np.empty_like(noise)
    x[:, 0] = rng.standard_normal((4, 50))
    for t in range(1, 5000):
        x[:, t] = rho * x[:, t - 1] + noise[:, t]
    answer, error = ANSWERS.answer_with_error(x[:, :, None])
    true = np.sqrt((1 + rho) / (1 - rho) / 20_000)
    assert abs(np.median(error.mean) / true - 1) < K / np.sqrt(78 * 50) * np.sqrt(np.pi / 2) + 0.02
    for found, wrong, exact in (
        (answer.mean, error.mean, 0.0),
        (answer.sd, error.sd, 1.0),
        (answer.low, error.low, -1.644854),
        (answer.high, error.high, 1.644854),
    ):
        assert (np.abs(found - exact) < (K + 1) * wrong).all()


def test_copies_make_no_error_smaller() -> None:
    """Six copies of each draw have the figures and the errors of one."""
    chains = np.random.default_rng(2).standard_normal((4, 500, 1, 3))
    one, copies = (ANSWERS.answer_with_error(np.repeat(chains, n, axis=2)) for n in (1, 6))
    np.testing.assert_allclose(one[0].mean, copies[0].mean, atol=1e-12)
    np.testing.assert_allclose(one[1].mean, copies[1].mean, rtol=1e-9)


def test_answers_come_back_from_their_file(tmp_path: Path) -> None:
    """To six digits, with their errors."""
    chains = np.random.default_rng(3).standard_normal((4, 500, 1, 3))
    found = ANSWERS.answer_with_error(chains)
    ANSWERS.write(tmp_path / "a.json", *found, {"sampler": "exact"})
    for kept, given in zip(ANSWERS.read(tmp_path / "a.json"), found, strict=True):
        for name in ANSWERS.FIGURES:
            np.testing.assert_allclose(getattr(kept, name), getattr(given, name), rtol=1e-5)


@pytest.mark.parametrize("name", RUNS.NAMES)
def test_a_kept_answer_is_good_enough(name: str, tmp_path: Path) -> None:
    """It has a figure for each parameter, errors within the limit, and finite numbers only."""
    answer, error = ANSWERS.read(RUNS.ANSWERS / f"{name}.json")
    dimension = RUNS.opened(name, tmp_path).dimension
    for figure in ANSWERS.FIGURES:
        assert getattr(answer, figure).shape == (dimension,)
        assert np.isfinite(getattr(answer, figure)).all()
    for figure in ("mean", "low", "high"):
        assert (getattr(error, figure) / answer.sd <= RUNS.MOST_ERROR).all()


def test_components_in_all_orders_have_the_same_figures(tmp_path: Path) -> None:
    """Each order is a point of the same density; over all orders components have the same means."""
    model = RUNS.opened("mixture3d", tmp_path)
    z = np.random.default_rng(4).normal(size=(1, 5, model.dimension))
    turned = RUNS.orders(model, z)
    assert turned.shape == (1, 5, 6, model.dimension)
    value = model.log_density(turned.reshape(-1, model.dimension)).value.reshape(5, 6)
    at_first = model.log_density(z[0]).value
    np.testing.assert_allclose(value, np.repeat(at_first[:, None], 6, axis=1), rtol=1e-9)
    names = model.unconstrained_names()
    mu = [i for i, n in enumerate(names) if n.startswith("mu")]
    by_component = np.sort(turned.mean(axis=(0, 1, 2))[mu]).reshape(3, 3)
    np.testing.assert_allclose(by_component, by_component[:, :1].repeat(3, axis=1), atol=1e-9)
