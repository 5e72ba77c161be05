"""Modes of a density: their boundaries, and the share of a sample in each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.records import FloatArray

LEAST_MASS = 0.02
"""A basin with a smaller share of the draws is no mode."""

VALLEY = 0.5
"""Two peaks are two modes if the density between them falls below this share of the lower one."""

SURE = 3.0
"""Standard errors by which the valley must lie below that share."""

GRID = 512
ROUGHNESS = 0.28209479177387814
"""Integral of the squared Gaussian kernel, which sets the noise of a density estimate."""

_EDGES = np.linspace(0.0, 1.0, GRID + 1)

FEWEST = 50
"""Fewer draws than this show no modes."""


@dataclass(frozen=True, slots=True, eq=False)
class Basins:
    """Intervals of the real line, one for each mode.

    ``edges`` ascend, shape ``(modes + 1,)``. The outer ones lie half the draws' range beyond the
    outermost draws: anything farther away is in no mode of this density.
    """

    edges: FloatArray

    @property
    def count(self) -> int:
        """How many modes there are."""
        return len(self.edges) - 1

    def shares(self, ordered: FloatArray, n: int) -> FloatArray:
        """Return each basin's share of ``n`` draws; ``ordered`` are the finite ones, ascending."""
        return np.diff(np.searchsorted(ordered, self.edges)) / max(n, 1)


def find_basins(ordered: FloatArray, ess: float) -> Basins:
    """Find the modes of a sample by the valleys of its kernel density estimate.

    A valley counts if its density is below half the lower of its two peaks by three standard
    errors, and if both sides hold at least 2% of the draws. Each part is searched again with its
    own bandwidth, so that a third mode far away does not hide the gap between two narrow ones.

    ``ordered`` are the draws, finite and ascending; their effective size ``ess`` sets the
    bandwidth and the noise.
    """
    if ordered.size == 0:
        return Basins(np.array([-np.inf, np.inf]))
    with np.errstate(over="ignore"):
        beyond = ordered[-1] / 2 - ordered[0] / 2
        outer = np.array([ordered[0] - beyond, np.nextafter(ordered[-1] + beyond, np.inf)])
    inner = _split(ordered, ess / ordered.size, ordered.size)
    return Basins(np.concatenate([outer[:1], inner, outer[1:]]))


def _split(x: FloatArray, worth: float, total: int) -> FloatArray:
    """Return the valleys within a part of the draws; ``worth`` is ESS per draw."""
    if x.size < max(FEWEST, 2 * LEAST_MASS * total):
        return np.empty(0)
    # A few draws far out in a tail would leave the grid no resolution for the rest.
    core = x[int(0.001 * x.size) : x.size - int(0.001 * x.size)]
    spread = _bandwidth_scale(core)
    reach = float(core[-1]) - float(core[0])
    # The sd of equal draws is not 0 but what rounding their mean leaves.
    if spread <= 0 or not 0 < reach < math.inf:
        return np.empty(0)
    ess = max(core.size * worth, 2.0)
    step = reach / GRID
    bandwidth = max(0.9 * spread * ess**-0.2, 1.5 * step, _lattice(core))
    grid, density = _density(core, bandwidth / reach)
    noise = ROUGHNESS / (ess * bandwidth / reach)
    cuts = _valleys(density, grid * reach + float(core[0]), noise, x, total)
    if cuts.size == 0:
        return cuts
    parts = np.split(x, np.searchsorted(x, cuts))
    deeper = [_split(part, worth, total) for part in parts]
    return np.sort(np.concatenate([cuts, *deeper]))


def _density(x: FloatArray, bandwidth: float) -> tuple[FloatArray, FloatArray]:
    """Return a grid over the range of ascending draws, and their Gaussian kernel density there.

    All in units of the range, shape ``(GRID,)``. Counts in cells are smoothed, and reflected at
    both ends: ArviZ's estimate, without its sorting and its checks.
    """
    edges = _EDGES
    # In the data's own unit, tiny numbers would be lost.
    unit = x - x[0]
    unit /= x[-1] - x[0]
    upto = np.zeros(GRID + 1)
    upto[1:-1] = np.searchsorted(unit, edges[1:-1])
    upto[-1] = x.size
    counts = upto[1:] - upto[:-1]
    width = bandwidth * GRID
    reach = math.ceil(4 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    pad = GRID // 5
    padded = np.concatenate([counts[pad - 1 :: -1], counts, counts[: -pad - 1 : -1]])
    # Beyond the reflected cells there is nothing.
    if reach > pad:
        padded = np.pad(padded, reach - pad)
    near = padded[max(pad - reach, 0) : padded.size - max(pad - reach, 0)]
    density = np.convolve(near, kernel, mode="valid")
    return (edges[1:] + edges[:-1]) / 2, density * (GRID / np.sum(density))


def _bandwidth_scale(x: FloatArray) -> float:
    """Return Silverman's robust scale: the smaller of sd and normal-consistent IQR."""
    low, high = x[int(0.25 * x.size)], x[int(0.75 * x.size)]
    with np.errstate(over="ignore", invalid="ignore"):
        sd = float(np.std(x))
        iqr = float(high - low) / 1.349
    return min(sd, iqr) if iqr > 0 else sd


def _lattice(x: FloatArray) -> float:
    """Return the usual step between the values of a discrete quantity: they are not modes."""
    changes = x[1:] != x[:-1]
    count = np.count_nonzero(changes)
    if count == 0 or count + 1 > x.size / 20:
        return 0.0
    return float(np.median(np.diff(x)[changes]))


def _valleys(
    density: FloatArray, grid: FloatArray, noise: float, x: FloatArray, total: int
) -> FloatArray:
    """Return the cuts between modes: the minima that separate two modes."""
    rises = density[1:] - density[:-1]
    # A flat stretch belongs to the slope before it, so that a wide gap is one minimum.
    turning = np.flatnonzero(np.abs(rises) >= 1e-12 * np.max(density))
    up = rises[turning] > 0
    minimum = up[1:] & ~up[:-1]
    turns = zip(turning[:-1][minimum].tolist(), turning[1:][minimum].tolist(), strict=True)
    # The middle of a flat stretch is the fairest cut through an empty gap.
    cuts = [(a + 1 + b) // 2 for a, b in turns]
    while cuts:
        bounds = [0, *cuts, len(density)]
        peaks = [float(np.max(density[i:j])) for i, j in pairwise(bounds)]
        shares = np.diff([0, *np.searchsorted(x, grid[cuts]), x.size]) / total
        floors = density[cuts]
        lower = np.minimum(peaks[:-1], peaks[1:])
        error = np.sqrt(noise * (VALLEY**2 * lower + floors))
        excess = floors + SURE * error - VALLEY * lower
        if np.max(excess) >= 0:
            # The least pronounced valley first: filling it may leave its neighbour standing.
            cuts.pop(int(np.argmax(floors / lower if np.all(lower > 0) else excess)))
            continue
        light = np.flatnonzero(shares < LEAST_MASS)
        if light.size == 0:
            break
        b = int(light[np.argmin(shares[light])])
        beside = [k for k in (b - 1, b) if 0 <= k < len(cuts)]
        cuts.pop(max(beside, key=lambda k: float(floors[k])))
    return grid[cuts]
