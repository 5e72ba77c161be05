"""Programs that need the solvers of SUNDIALS link and are right."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from harness.stan import CmdStan
from harness.stan.bridge import BridgeModel, Status, library

pytestmark = pytest.mark.stan

DECAY = """
functions {
  vector decay(real t, vector y, real rate) {
    if (rate > 20) reject("find this in the right-hand side");
    return -rate * y;
  }
}
data {
  int T;
  array[T] real t;
  vector[T] y;
  int stiff;
}
parameters {
  real<lower=0> rate;
  real start;
}
model {
  array[T] vector[1] path = stiff
    ? ode_bdf_tol(decay, [start]', 0, t, 1e-10, 1e-10, 100000, rate)
    : ode_rk45_tol(decay, [start]', 0, t, 1e-10, 1e-10, 100000, rate);
  for (n in 1:T) y[n] ~ normal(path[n, 1], 1);
}
"""
"""Exponential decay, by Runge–Kutta and by the backward differentiation of CVODES."""


@pytest.fixture(scope="module")
def decay(cmdstan: CmdStan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the program, and SUNDIALS for libraries if no program has needed it yet."""
    file = tmp_path_factory.mktemp("programs") / "decay.stan"
    file.write_text(DECAY, encoding="utf-8")
    return library(file, cmdstan)


@pytest.mark.parametrize("stiff", [0, 1])
def test_a_solvers_density_and_gradient_have_the_closed_form(decay: Path, stiff: int) -> None:
    """Density and gradient of y ~ normal(start · exp(−rate · t), 1) are right to the tolerance."""
    t, y = np.array([0.5, 1.0, 2.0]), np.array([1.5, 1.2, 0.4])
    model = BridgeModel(decay, {"T": 3, "t": t, "y": y, "stiff": stiff})
    for z in np.random.default_rng(1).normal(size=(5, 2)):
        rate, start = math.exp(z[0]), z[1]
        path = start * np.exp(-rate * t)
        left = y - path
        value = -0.5 * float(left @ left) - 1.5 * math.log(2 * math.pi) + z[0]
        slope = [float(left @ (-rate * t * path)) + 1, float(left @ np.exp(-rate * t))]
        found, gradient = model.value_and_gradient(z)
        assert found == pytest.approx(value, abs=1e-7)
        np.testing.assert_allclose(gradient, slope, atol=1e-6)


@pytest.mark.parametrize("stiff", [0, 1])
def test_what_a_right_hand_side_throws_gets_through_the_solver(decay: Path, stiff: int) -> None:
    """An exception crosses the frames of the C solvers and leaves the model usable."""
    data = {"T": 1, "t": np.ones(1), "y": np.ones(1), "stiff": stiff}
    model = BridgeModel(decay, data)
    before = model.value_and_gradient([0.1, 1.0])
    for _ in range(3):
        found = model.log_density_gradient([[4.0, 1.0]])
        assert found.status.tolist() == [Status.REJECT]
        assert "find this in the right-hand side" in found.message
    after = model.value_and_gradient([0.1, 1.0])
    assert after[0] == before[0]
    np.testing.assert_array_equal(after[1], before[1])
