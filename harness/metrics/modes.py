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

MIDDLES = (np.arange(GRID) + 0.5) / GRID
"""The middles of the cells of a density, in units of the range."""

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
    return find_many(ordered[None], np.array([ess]))[0]


def find_many(ordered: FloatArray, ess: FloatArray) -> list[Basins]:
    """Find the modes of samples as :func:`find_basins` does.

    ``ordered`` has shape ``(row, draw)``, and ``ess`` are their effective sizes, ``(row,)``.
    """
    n = ordered.shape[1]
    if n == 0:
        return [Basins(np.array([-np.inf, np.inf])) for _ in ordered]
    low, high = ordered[:, 0], ordered[:, -1]
    with np.errstate(over="ignore"):
        beyond = high / 2 - low / 2
        first, last = low - beyond, np.nextafter(high + beyond, np.inf)
    cuts = _split(ordered, ess / n, n)
    return [
        Basins(np.concatenate([[start], inner, [end]]))
        for start, inner, end in zip(first, cuts, last, strict=True)
    ]


def _split(x: FloatArray, worth: FloatArray, total: int) -> list[FloatArray]:
    """Return the valleys within parts of the draws; ``worth`` is ESS per draw of each."""
    found = [np.empty(0) for _ in x]
    n = x.shape[1]
    if n < max(FEWEST, 2 * LEAST_MASS * total):
        return found
    # A few draws far out in a tail would leave the grid no resolution for the rest.
    core = x[:, int(0.001 * n) : n - int(0.001 * n)]
    spread = _bandwidth_scale(core)
    with np.errstate(over="ignore"):
        reach = core[:, -1] - core[:, 0]
    # The sd of equal draws is not 0 but what rounding their mean leaves.
    good = np.flatnonzero((spread > 0) & (reach > 0) & (reach < math.inf))
    if good.size < len(x):
        core, spread, reach = core[good], spread[good], reach[good]
    ess = np.maximum(core.shape[1] * worth[good], 2.0)
    smooth = np.maximum(0.9 * spread * ess**-0.2, 1.5 * (reach / GRID))
    bandwidth = np.maximum(smooth, _lattice(core)) / reach
    noise = ROUGHNESS / (ess * bandwidth)
    for i, counts in enumerate(_counts(core, reach)):
        row = x[good[i]]
        grid = MIDDLES * reach[i] + core[i, 0]
        cuts = _valleys(_smoothed(counts, bandwidth[i]), grid, noise[i], row, total)
        if cuts.size:
            parts = np.split(row, np.searchsorted(row, cuts))
            deeper = [_split(part[None], worth[good[i : i + 1]], total)[0] for part in parts]
            cuts = np.sort(np.concatenate([cuts, *deeper]))
        found[good[i]] = cuts
    return found


def _counts(x: FloatArray, reach: FloatArray) -> FloatArray:
    """Return how many of ascending draws ``(row, draw)`` are in each cell of their range."""
    # In the data's own unit, tiny numbers would be lost.
    unit = x - x[:, :1]
    unit /= reach[:, None]
    unit *= GRID
    cell = np.minimum(unit.astype(np.intp), GRID - 1)
    cell += (np.arange(len(x)) * GRID)[:, None]
    counts = np.bincount(cell.ravel(), minlength=len(x) * GRID)
    return counts.reshape(len(x), GRID).astype(np.float64)


def _smoothed(counts: FloatArray, bandwidth: float) -> FloatArray:
    """Return the Gaussian kernel density of counts in cells, in units of the range: ``(GRID,)``.

    The cells are reflected at both ends: ArviZ's estimate, without its sorting and its checks.
    """
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
    return np.asarray(density * (GRID / np.sum(density)))


def _bandwidth_scale(x: FloatArray) -> FloatArray:
    """Return Silverman's robust scale: the smaller of sd and normal-consistent IQR."""
    n = x.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        sd = np.std(x, axis=1)
        iqr = (x[:, int(0.75 * n)] - x[:, int(0.25 * n)]) / 1.349
    return np.asarray(np.where(iqr > 0, np.where(iqr < sd, iqr, sd), sd))


def _lattice(x: FloatArray) -> FloatArray:
    """Return the usual step between the values of discrete quantities: they are not modes."""
    changes = x[:, 1:] != x[:, :-1]
    count = np.count_nonzero(changes, axis=1)
    found = np.zeros(len(x))
    for i in np.flatnonzero((count > 0) & (count + 1 <= x.shape[1] / 20)):
        found[i] = np.median(np.diff(x[i])[changes[i]])
    return found


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
