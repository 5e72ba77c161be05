"""Deterministic ADVI on densities that bend at points only, as double_exponential does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dadvi_problems import fitted
from targets import Density

from harness.records import FloatArray

SD = math.sqrt(math.pi / 2)
"""That of the best Gaussian for exp(−|x|), and of its linear response, which is as wide."""


def laplace(turn: FloatArray) -> Density:
    """Return exp(−Σ|u|) for u = ``turn`` x."""

    def density(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        u = z @ turn.T
        return -np.abs(u).sum(axis=1), -np.sign(u) @ turn

    return Density(len(turn), density)


@pytest.mark.parametrize("dimension", [1, 5, 20])
@pytest.mark.parametrize("seed", range(2))
def test_independent_double_exponentials_have_a_linear_response(dimension: int, seed: int) -> None:
    """Sds of q to 2%, those of linear response to four times the error that is allowed."""
    found = fitted(laplace(np.eye(dimension)), seed)
    assert found.settled
    np.testing.assert_allclose(found.sd, SD, rtol=0.02)
    assert found.covariance is not None
    np.testing.assert_allclose(np.log(np.diag(found.covariance)) / 2, math.log(SD), atol=0.2)


def test_linear_response_sees_correlations_between_bends() -> None:
    """Its inverse is Σ 2 φ(0) / σᵢ tᵢ tᵢᵀ, σᵢ the sd of uᵢ under q and tᵢ the rows of the turn."""
    turn = np.array([[1.0, 0.8, 0.0], [0.0, 1.0, 0.8], [0.5, 0.0, 2.0]])
    found = fitted(laplace(turn))
    assert found.covariance is not None
    own = np.sqrt((turn**2) @ found.sd**2)
    exact = np.linalg.inv((turn.T * (math.sqrt(2 / math.pi) / own)) @ turn)
    scale = np.sqrt(np.diag(exact))
    np.testing.assert_allclose(
        found.covariance / np.outer(scale, scale), exact / np.outer(scale, scale), atol=0.2
    )


def test_bends_beside_a_normal() -> None:
    """A lasso's density: one parameter that data know, one that only its prior holds."""

    def density(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        off = z[:, 0] - 3
        value = -0.5 * off**2 - np.abs(z[:, 1])
        return value, np.stack([-off, -np.sign(z[:, 1])], axis=1)

    found = fitted(Density(2, density))
    assert found.covariance is not None
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), [1, SD], rtol=0.1)
