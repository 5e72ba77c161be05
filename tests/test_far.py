"""High densities far from a Gaussian: peaks on lines, and the densest points of shells."""

from __future__ import annotations

import numpy as np
import pytest
import targets

from harness.vi.deterministic import sizes
from harness.vi.far import NEAR, POINTS, densest_in_shells, peaks_on_lines, wide_points
from harness.vi.short_chains.coordinates import from_covariance
from harness.vi.short_chains.starts import far_points
from harness.vi.target import Clock, Counted


def narrow_beside_wide(d: int, sd: float) -> targets.Mixture:
    """Return .7 of a standard normal, and .3 eight sds off along the first of ``d`` parameters."""
    place = np.outer([0.0, -8.0], np.eye(d)[0])
    return targets.Mixture([0.7, 0.3], place, np.array([[1.0] * d, [1.0] + [sd] * (d - 1)]))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sd", [0.5, 0.2])
def test_a_mode_narrow_in_many_directions_peaks_on_a_line(sd: float, seed: int) -> None:
    """Four lines a parameter see it, however narrow, and no other direction has a peak."""
    target, rng = narrow_beside_wide(20, sd), np.random.default_rng(seed)
    found = peaks_on_lines(target.log_density, 20, 80, rng)
    assert len(found)
    assert (np.abs(found[:, 0] + 8) < 2).all()


def test_a_normal_has_no_peak_away_from_itself() -> None:
    """On lines through a standard normal none lies beyond ``NEAR``, nor through no line at all."""
    target, rng = targets.standard(20), np.random.default_rng(1)
    assert not len(peaks_on_lines(target.log_density, 20, 200, rng))
    assert peaks_on_lines(target.log_density, 20, 0, rng).shape == (0, 20)


def test_the_highest_peak_of_each_side_comes_first() -> None:
    """Three modes, on both sides of one axis and on another: one peak of each leads the rest."""
    place = np.array([[0.0, 0.0], [-8.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    target = targets.Mixture([0.4, 0.55, 0.04, 0.01], place, np.ones((4, 2)))
    found = peaks_on_lines(target.log_density, 2, 40, np.random.default_rng(1))
    nearest = np.argmin(((found[:, None] - place) ** 2).sum(axis=2), axis=1)
    assert len(found) > 6
    assert nearest[:3].tolist() == [1, 2, 3]
    value = target.log_density(found)
    assert (np.diff(value[3:]) <= 0).all()
    assert (np.abs(found).max(axis=1) > NEAR).all()


def test_points_without_a_density_are_no_peaks() -> None:
    """Beside an edge the density is nothing, and nothing is no peak."""

    def density(u: np.ndarray) -> np.ndarray:
        return np.where(np.abs(u[:, 0]) < 5, -0.5 * (u**2).sum(axis=1), -np.inf)

    assert not len(peaks_on_lines(density, 2, 40, np.random.default_rng(1)))


def test_a_far_mode_is_the_densest_of_its_shell() -> None:
    """On a diagonal of three dimensions, off all axes; a normal's shells favour no distance."""
    place = np.array([[0.0] * 3, [5.0] * 3])
    target = targets.Mixture([0.6, 0.4], place, np.array([[1.0] * 3, [0.3] * 3]))
    u = wide_points(3, 10_000, np.random.default_rng(1))
    found = densest_in_shells(u, target.log_density(u), 16)
    assert len(found) == 16
    assert np.linalg.norm(found - 5.0, axis=1).min() < 2
    few = densest_in_shells(u[:5], target.log_density(u[:5]), 16)
    np.testing.assert_array_equal(np.sort(few, axis=0), np.sort(u[:5], axis=0))


@pytest.mark.parametrize(
    ("d", "seconds", "lines", "wide"),
    [
        (1, 2e-6, 4, 1250),
        (20, 2e-6, 80, 1250),
        (600, 2e-6, 5_000_000 // 600 // POINTS, 5_000_000 // 600 // 8),
        (20, 1e-5, 80, 625),
        (20, 5e-5, 1000 // POINTS, 300),
        (20, 0.1, 300 // POINTS, 300),
        (5_000_001, 2e-6, 0, 0),
    ],
)
def test_looks_follow_what_densities_cost(d: int, seconds: float, lines: int, wide: int) -> None:
    """Lines take .05 s, wide points an eighth; few where densities are slow, in bounded memory."""
    assert sizes.looks(d, seconds) == (lines, wide)


@pytest.mark.parametrize(("seconds", "fewest", "most"), [(0.0, 16_384, 60_000), (1e-3, 64, 1500)])
def test_where_a_density_is_dear_fewer_far_points_are_looked_at(
    seconds: float, fewest: int, most: int
) -> None:
    """There still are as many far starts."""
    counted = Counted(targets.standard(2))
    home = from_covariance(np.zeros(2), np.eye(2))
    assert home is not None
    rng = np.random.default_rng(1)
    found = far_points(counted, home, 64, rng, Clock(), seconds=seconds)
    assert fewest <= counted.values <= most
    assert 48 <= len(found) <= 64
