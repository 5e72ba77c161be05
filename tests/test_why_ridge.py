"""Ridges between points: rings and bends have one, and modes behind a valley do not."""

from __future__ import annotations

import numpy as np
import pytest
from targets import Density, Mixture, banana, lecture_mixture, two_normals

from harness.records import FloatArray
from harness.vi.target import Clock, Target, TimeLimitError
from harness.why.ridge import ridge


def ring(dimension: int, radius: float, sd: float) -> Density:
    """Return a density whose distance from the origin is N(radius, sd), unnormalised."""

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        far = np.sqrt((z**2).sum(axis=1))
        slope = -(far - radius) / sd**2 / far
        return -0.5 * ((far - radius) / sd) ** 2, slope[:, None] * z

    return Density(dimension, function)


def fall(target: Target, one: list[float], two: list[float]) -> float | None:
    """Return how far log p falls between two points, whose distance gives the units."""
    ends = np.asarray(one, dtype=float), np.asarray(two, dtype=float)
    sd = np.abs(ends[1] - ends[0]) / 2 + 0.1
    return ridge(target, ends, sd, Clock())


@pytest.mark.parametrize("sd", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("dimension", [2, 5, 20])
def test_opposite_points_of_a_ring_are_joined(dimension: int, sd: float) -> None:
    """Around it log p is level, but on the straight line it falls by hundreds of nats."""
    end = np.eye(dimension)[0] * 3
    target = ring(dimension, 3, sd)
    found = ridge(target, (end, -end), np.full(dimension, 3 / dimension**0.5), Clock())
    assert found is not None
    # The points between those of the path lie inside a ring of sd 0.01 by a third of it.
    assert found < 0.1


def test_the_arms_of_a_banana_are_joined() -> None:
    """From (−2, 6) to (2, 6) by the way of its bend, where log p is larger."""
    assert fall(banana(2.0), [-2, 6], [2, 6]) == 0


@pytest.mark.parametrize(
    ("target", "one", "two"),
    [
        (two_normals(5, 0.5), [0], [5]),
        (lecture_mixture(), [-0.3], [0.5]),
        (Mixture([0.5, 0.5], [[0.0, 0.0], [6.0, 0.0]], np.ones((2, 2))), [0, 0], [6, 0]),
        (Mixture([0.4, 0.6], [[0.0] * 3, [20.0] * 3], np.ones((2, 3))), [0] * 3, [20] * 3),
    ],
)
def test_modes_behind_a_valley_are_not_joined(
    target: Target, one: list[float], two: list[float]
) -> None:
    """No way round leads from one normal to another one five sds away."""
    assert fall(target, one, two) is None


def test_a_shallow_saddle_is_no_valley() -> None:
    """Halves of equal weight at 0 and 3: log p falls by .44 nats, by hand."""
    middle = np.log(np.exp(-(1.5**2) / 2))
    end = np.log(0.5 * (1 + np.exp(-4.5)))
    assert fall(two_normals(3, 0.5), [0], [3]) == pytest.approx(end - middle, abs=1e-3)


def test_the_search_ends_with_the_time() -> None:
    """It has nothing to keep."""
    ends = np.array([3.0, 0.0]), np.array([-3.0, 0.0])
    with pytest.raises(TimeLimitError):
        ridge(ring(2, 3, 0.1), ends, np.ones(2), Clock(0.0))
