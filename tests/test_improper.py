"""Directions in which a log density does not fall, and edges that are not declared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from targets import Density, Normal, any_normal, banana, cut, funnel, standard, student

from harness.records import FloatArray
from harness.vi.deterministic.improper import flat_directions, hard_edges, level_directions
from harness.vi.target import Target

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
    np.testing.assert_allclose(found / found[0], [1, -1], rtol=1e-9)


def test_a_direction_has_few_parameters_and_its_own_units() -> None:
    """One joins a mean to its group's levels, one two parameters of other sizes."""
    rows = np.zeros((4, 6))
    rows[:3, 0] = rows[[0, 1, 2], [1, 2, 3]] = 1
    rows[3, 4:] = 100, 0.01
    target = Density(6, lambda z: (-0.5 * ((z @ rows.T) ** 2).sum(axis=1), -z @ rows.T @ rows))
    rng, scale = np.random.default_rng(1), np.array([1, 1, 1, 1, 0.01, 100])
    found = level_directions(target, rng.normal(size=(20, 6)) * scale, scale)
    found = sorted(found, key=lambda v: v[0] == 0)
    np.testing.assert_allclose(found[0] / found[0][0], [1, -1, -1, -1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found[1] / found[1][5], [0, 0, 0, 0, -1e-4, 1], atol=1e-6)


@pytest.mark.parametrize("target", [standard(2), student(2), banana(), funnel(3), any_normal(5, 1)])
def test_what_falls_somewhere_is_not_level(target: Target) -> None:
    """Proper densities, two with tails; a difference a thousand times as wide as the sum, too."""
    rng = np.random.default_rng(1)
    d = target.dimension
    assert level_directions(target, rng.normal(size=(2 * d + 8, d)), np.ones(d)) == []
    wide = Normal(np.zeros(2), 1e6 * np.array([[1, -1], [-1, 1]]) + np.eye(2))
    assert level_directions(wide, rng.normal(size=(12, 2)), np.ones(2)) == []


@pytest.mark.parametrize("target", [standard(3), student(2)])
def test_proper_densities_have_no_flat_direction(target: Density) -> None:
    """A normal, and Student's t, whose log density falls slowly."""
    assert flat_directions(target, np.random.default_rng(1)) == []
    assert hard_edges(target, np.random.default_rng(1)) == []


def test_a_prior_a_million_wide_is_not_flat() -> None:
    """Log p falls by a nat at 1.4 million sds of the other parameter, and so it is proper."""
    wide = Normal(np.zeros(2), np.diag([1e12, 1e-12]))
    assert flat_directions(wide, np.random.default_rng(1)) == []
    points = np.random.default_rng(1).normal(size=(12, 2)) * [1e6, 1e-6]
    assert level_directions(wide, points, np.ones(2)) == []


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
