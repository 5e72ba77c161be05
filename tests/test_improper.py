"""Directions in which a log density does not fall, and edges that are not declared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from targets import Density, cut, standard, student

from harness.records import FloatArray
from harness.vi.deterministic.improper import flat_directions, hard_edges

Function = Callable[[FloatArray], FloatArray]


def density(function: Function, dimension: int = 2) -> Density:
    """Return a density whose gradient comes from differences."""

    def both(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        step = 1e-5 * np.eye(dimension)
        slope = [(function(z + e) - function(z - e)) / 2e-5 for e in step]
        return function(z), np.stack(slope, axis=1)

    return Density(dimension, both)


def test_a_parameter_without_a_prior_is_flat() -> None:
    """Both ways along the first parameter, and nothing along the second."""
    found = flat_directions(density(lambda z: -0.5 * z[:, 1] ** 2), np.random.default_rng(1))
    np.testing.assert_allclose(found, [[1, 0], [-1, 0]])


def test_a_difference_that_nothing_determines_is_flat() -> None:
    """Only the sum has a prior: the direction is that of the difference."""
    target = density(lambda z: -0.5 * (z[:, 0] + z[:, 1]) ** 2)
    (found,) = flat_directions(target, np.random.default_rng(1))
    np.testing.assert_allclose(np.abs(found), np.sqrt([0.5, 0.5]), rtol=1e-6)
    assert found[0] * found[1] < 0


@pytest.mark.parametrize("target", [standard(3), student(2)])
def test_proper_densities_have_no_flat_direction(target: Density) -> None:
    """A normal, and Student's t, whose log density falls slowly."""
    assert flat_directions(target, np.random.default_rng(1)) == []
    assert hard_edges(target, np.random.default_rng(1)) == []


def test_undeclared_bounds_are_found_with_their_values() -> None:
    """A lower bound of one parameter and an upper bound of the other."""
    inside = density(
        lambda z: np.where((z[:, 0] > 0) & (z[:, 1] < 0.5), -(z**2).sum(axis=1), -np.inf)
    )
    with np.errstate(invalid="ignore"):
        found = hard_edges(inside, np.random.default_rng(1))
    assert [tuple(e) for e in found] == [(0, "lower", 0.0), (1, "upper", 0.5)]


def test_an_edge_that_moves_is_no_bound_to_declare() -> None:
    """z₀ > z₁ is no bound of either; an edge in z₀ alone is."""
    moving = density(lambda z: np.where(z[:, 0] > z[:, 1], -(z**2).sum(axis=1), -np.inf))
    assert hard_edges(moving, np.random.default_rng(1)) == []
    ((which, _, at),) = hard_edges(cut(standard(2), -1.0), np.random.default_rng(1))
    assert (which, at) == (0, -1.0)
