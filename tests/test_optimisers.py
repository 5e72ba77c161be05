"""Optimisers on sequences computed by hand, and the contract that all fulfil."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

from harness.records import FloatArray
from harness.vi.optimisers import OPTIMISERS, AdagradWindow, Adam, Optimiser, Sgd


def updates(optimiser: Optimiser, gradients: list[float]) -> list[float]:
    """Return the updates of one parameter under a sequence of gradients."""
    state = optimiser.init(1)
    found = []
    for gradient in gradients:
        state, update = optimiser.step(state, np.array([gradient]))
        found.append(float(update[0]))
    return found


def equal(a: Any, b: Any) -> bool:
    """Return whether two states are equal bit for bit."""
    return pickle.dumps(a) == pickle.dumps(b)


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_a_step_changes_neither_its_state_nor_the_gradient(name: str) -> None:
    """The same step twice gives the same bits, also after other steps in between."""
    optimiser = OPTIMISERS[name](0.01, 100)
    rng = np.random.default_rng(1)
    state = optimiser.init(3)
    for _ in range(12):
        state, _ = optimiser.step(state, rng.normal(size=3))
    kept, gradient = copy.deepcopy(state), rng.normal(size=3)
    given = gradient.copy()
    first, update = optimiser.step(state, gradient)
    optimiser.step(first, -gradient)
    second, again = optimiser.step(state, gradient)
    assert equal(state, kept)
    assert equal(first, second)
    np.testing.assert_array_equal(update, again)
    np.testing.assert_array_equal(gradient, given)
    assert not np.shares_memory(update, gradient)


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_every_optimiser_climbs(name: str) -> None:
    """On −½ Σ (x − 1)² from 0 the distance to the maximum at least halves in 2000 steps."""
    optimiser = OPTIMISERS[name](0.01, 2000)
    x: FloatArray = np.zeros(2)
    state = optimiser.init(2)
    for _ in range(2000):
        state, update = optimiser.step(state, 1 - x)
        x = x + update
    assert np.all(abs(x - 1) < 0.5)


def test_adams_first_steps_are_those_of_the_paper() -> None:
    """By hand, algorithm 1 of Kingma and Ba for the gradients 1, 3: the first step is the rate."""
    found = updates(Adam(0.1), [1.0, 3.0])
    first = (0.9 * 0.1 + 0.1 * 3) / (1 - 0.9**2)
    second = (0.999 * 0.001 + 0.001 * 9) / (1 - 0.999**2)
    expected = [0.1 / (1 + 1e-8), 0.1 * first / (math.sqrt(second) + 1e-8)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_adams_cosine_ends_at_zero_and_stays_there() -> None:
    """The rate is full at the start, half in the middle, and 0 from the end on."""
    optimiser = Adam(0.1, decay_steps=100)
    rates = [optimiser.rate(n) for n in (0, 50, 100, 150)]
    np.testing.assert_allclose(rates, [0.1, 0.05, 0, 0], atol=1e-15)
    assert Adam(0.1).rate(10**6) == 0.1


def test_adagrad_forgets_what_left_its_window() -> None:
    """By hand with a window of 2: each update divides by the root of the last two squares."""
    found = updates(AdagradWindow(0.5, epsilon=0.1, window=2), [3.0, 4.0, -1.0])
    expected = [
        0.5 * 3 / math.sqrt(9 + 0.1),
        0.5 * 4 / math.sqrt(9 + 16 + 0.1),
        -0.5 / math.sqrt(16 + 1 + 0.1),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_adagrads_defaults_are_pymcs() -> None:
    """Rate .001, epsilon .1, window 10: so a constant gradient moves rate / √10 a step."""
    found = updates(AdagradWindow(), [1e3] * 30)
    assert found[0] == pytest.approx(1e-3, rel=1e-6)
    np.testing.assert_allclose(found[9:], 1e-3 / math.sqrt(10), rtol=1e-6)


def test_sgd_decays_as_in_the_lecture() -> None:
    """Step k, from 0, has the rate 5e-4 · (1 − 5e-5)ᵏ."""
    found = updates(Sgd(), [2.0] * 1000)
    expected = 2 * 5e-4 * (1 - 5e-5) ** np.arange(1000)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_sgd_can_go_without_decay() -> None:
    """With a decay of 0 the rate stays."""
    np.testing.assert_array_equal(updates(Sgd(0.1, decay=0), [1.0] * 5), [0.1] * 5)
