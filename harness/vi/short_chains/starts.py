"""Where chains start: the regions of a fit, distinct weighted draws of them, and far away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.vi import far
from harness.vi.short_chains.coordinates import (
    Coordinates,
    Parts,
    from_covariance,
    low_rank,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.deterministic import Basin, Optimum
    from harness.vi.target import Clock, Target

MOST_PARTS = 8
FLOOR = 0.1
"""Share of the proposals that all regions have in equal parts, whatever their ELBOs say."""

BOX = 2.0
"""Stan's own starts are uniform on (−2, 2)."""

TRIES = 4
"""Points of the box for each start that it gives, because some have no density."""

POINTS, POINTS_MANY, MANY = 16_384, 2048, 8
"""Wide points whose densities are looked at, and how many in more than ``MANY`` dimensions: there
they meet no mode that is narrower than the fit, however many they are, and lines must find it."""

LINES, MOST_LINES = 3, 256
"""Lines on which peaks are looked for: for each parameter, but at least as many as peaks may be
kept, and at most."""

WIDE_S = 0.1
"""Expected seconds of the wide points, and of those on lines. Far from the posterior a differential
equation takes a thousand times what it takes near it."""

ENOUGH, LARGEST = 0.025, 0.01
"""Effective weights, as a share of the most proposals, from which no others are drawn, if no weight
is larger than the second figure: that may stand for a spike of the density."""

SURE = 0.01
"""Error of a region's share by the weights above which a bridge tells the masses; the check on it
allows twice as much, but few weights may hide how few they are."""

AT_ONCE = 2048
"""Densities between looks at the clock."""


def parts_of(
    target: Target,
    optimum: Optimum,
    basins: Sequence[Basin],
    rng: np.random.Generator,
    clock: Clock,
) -> tuple[Parts, float]:
    """Return coordinates of each separate basin, and the mass by ELBO of those left out.

    Those of the optimum are linear response's; elsewhere the mean-field sds are corrected by the
    curvature, in as many directions as can be afforded.
    """
    modes = [b for b in basins if b.separate][:MOST_PARTS]
    each: list[Coordinates] = []
    levels = []
    for basin in modes:
        d = len(basin.theta) // 2
        mean, sd = basin.theta[:d], np.exp(basin.theta[d:])
        found: Coordinates | None = None
        if optimum.covariance is not None and np.array_equal(mean, optimum.mean):
            found = from_covariance(mean, optimum.covariance)
        each.append(found or low_rank(target, mean, sd, rng, clock))
        levels.append(basin.elbo)
    share = np.exp(np.array(levels) - max(levels))
    share = (1 - FLOOR) * share / share.sum() + FLOOR / len(share)
    left = 1 - sum(b.mass for b in modes)
    return Parts(tuple(each), share), max(left, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """Proposals with their densities, weights and regions."""

    z: FloatArray  # shape (proposal, d)
    log_p: FloatArray  # nats
    weight: FloatArray  # sum 1, truncated
    part: NDArray[np.intp]
    known: float | None = None
    """Standard error of the regions' shares where they do not come from these weights."""

    @property
    def ess(self) -> float:
        """The effective number of weights."""
        return float(1 / np.sum(self.weight**2))

    @property
    def share(self) -> float:
        """The effective share of the proposals."""
        return self.ess / len(self.weight)

    def certain(self, count: int) -> bool:
        """Whether many of the proposals have weight, for ``count`` chains, and none too much."""
        return self.ess >= count and float(self.weight.max()) <= LARGEST

    def share_error(self, count: int) -> float:
        """Return the largest standard error of a region's share of the mass.

        Weights are those of independent proposals; 0 with one region.
        """
        if count == 1:
            return 0.0
        if self.known is not None:
            return self.known
        return share_error(self.weight, self.part, count)

    def with_shares(self, shares: FloatArray, error: float) -> Weighted:
        """Return the same with the weights of each region in proportion to its share."""
        mass = np.bincount(self.part, self.weight, len(shares))
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where(mass > 0, shares / mass, 0.0)
        weight = self.weight * factor[self.part]
        return replace(self, weight=weight / weight.sum(), known=error)


def share_error(weight: FloatArray, part: NDArray[np.intp], count: int) -> float:
    """Return the largest standard error of a region's share, by weights that sum to 1."""
    shares = np.bincount(part, weight, count)
    own = part[:, None] == np.arange(count)
    return float(np.sqrt(((weight[:, None] * (own - shares)) ** 2).sum(axis=0)).max())


def inside(parts: Parts, z: FloatArray, k: int) -> NDArray[np.bool_]:
    """Return whether points, ``(point, d)``, belong to a region."""
    return np.asarray(parts.nearest(z) == k)


def weigh(
    target: Target,
    parts: Parts,
    count: int,
    rng: np.random.Generator,
    clock: Clock,
    begun: Weighted | None = None,
) -> Weighted:
    """Draw proposals and weight them; points without a density have weight 0.

    Weights are truncated at √n times their mean (Ionides 2008, *Truncated importance sampling*):
    chains repair what the truncation biases. Of ``count`` as many eighths are drawn as are enough.
    Those that are ``begun``, not yet ``count``, go on
    until regions' shares are known.
    """
    z, each, log_p = np.empty((0, target.dimension)), np.empty((0, len(parts.each))), np.empty(0)
    if begun is not None:
        z, each, log_p = begun.z, parts.log_densities(begun.z), begun.log_p
    for whole in (count * k // 8 for k in range(1, 9)):
        if whole <= len(z):
            continue
        more, densities = parts.draw(whole - len(z), rng)
        z, each = np.concatenate([z, more]), np.concatenate([each, densities])
        log_p = np.concatenate([log_p, values(target, more, clock)])
        weight = _truncated(log_p - np.logaddexp.reduce(each, axis=1))
        found = Weighted(z, log_p, weight, np.argmax(each, axis=1))
        if begun is None:
            few = not weight.any() or found.ess < ENOUGH * count
            enough = not few and weight.max() <= LARGEST
        else:
            enough = found.share_error(len(parts.each)) <= SURE
        if enough:
            break
    return found


def _truncated(log_w: FloatArray) -> FloatArray:
    """Return weights with sum 1 where any is finite, none too large a share of them."""
    log_w = np.where(np.isfinite(log_w), log_w, -np.inf)
    highest = float(log_w.max(initial=-math.inf))
    weight = np.exp(log_w - highest) if math.isfinite(highest) else np.zeros(len(log_w))
    if weight.any():
        weight = np.minimum(weight, weight.mean() * math.sqrt(len(weight)))
        weight /= weight.sum()
    return weight


def distinct(found: Weighted, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return indices of distinct proposals, drawn by their weights, in random order.

    Each region gets, in both halves, as many as its share of the weight, because chains will not
    change that. Within one, the chances of the largest weights are cut at 1, because chains do
    forget that.
    """
    regions = int(found.part.max()) + 1
    mass = np.bincount(found.part, found.weight, regions)
    edges = np.cumsum(mass) / mass.sum()
    where = np.searchsorted(edges, (np.arange(count) + rng.random()) / count, side="right")
    wanted = np.bincount(np.minimum(where, regions - 1), minlength=regions)
    halves: tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]] = ([], [])
    for k in range(regions):
        mine = rng.permutation(np.flatnonzero((found.part == k) & (found.weight > 0)))
        n = min(int(wanted[k]), len(mine))
        if n:
            drawn = rng.permutation(mine[_systematic(_chances(found.weight[mine], n), rng)])
            for half, own in zip(halves, (drawn[::2], drawn[1::2]), strict=True):
                half.append(own)
    return np.concatenate([rng.permutation(np.concatenate(half)) for half in halves])


def _chances(weight: FloatArray, count: int) -> FloatArray:
    """Return chances of being drawn, proportional to weights but at most 1, with sum ``count``."""
    sure = np.zeros(len(weight), dtype=bool)
    while True:
        rest = float(weight[~sure].sum())
        chance = np.where(sure, 1.0, weight * ((count - sure.sum()) / rest if rest > 0 else 0.0))
        over = (chance > 1) & ~sure
        if not over.any():
            return np.asarray(chance)
        sure |= over


def _systematic(chance: FloatArray, rng: np.random.Generator) -> NDArray[np.intp]:
    edges = np.cumsum(chance)
    picks = np.arange(round(float(edges[-1]))) + rng.random()
    found = np.searchsorted(edges, picks, side="right")
    return np.unique(np.minimum(found, len(chance) - 1))


def far_points(
    target: Target,
    home: Coordinates,
    count: int,
    rng: np.random.Generator,
    clock: Clock,
    *,
    seconds: float = 0.0,
) -> FloatArray:
    """Return far starts with a density: a quarter from Stan's box, the others wide or on lines.

    Wide ones are Student-t around the fit, in its coordinates, of several scales. A quarter of the
    starts are the densest of those that are about as far away, relative to the fit: a narrow mode
    draws few chains to it, and a density costs less than a path. Peaks on lines through the fit
    are up to another quarter. There are fewer starts where too few points have a density.
    ``seconds`` are those expected of a density: where it is dear, fewer points are looked at.
    """
    d, quarter = len(home.mean), count // 4
    box = rng.uniform(-BOX, BOX, (TRIES * quarter, d))
    box = box[np.isfinite(target.log_density(box))][:quarter]

    def density(u: FloatArray) -> FloatArray:
        return values(target, home.mean + home.push(u), clock)

    most = math.inf if seconds <= 0 else WIDE_S / seconds
    wide = int(min(POINTS if d <= MANY else POINTS_MANY, most))
    u = far.wide_points(d, max(wide, count), rng)
    value = density(u)
    good = np.isfinite(value)
    u, value = u[good], value[good]
    best = far.densest_in_shells(u, value, quarter)
    lines = min(max(LINES * d, quarter), MOST_LINES)
    lines = int(min(lines, max(most / far.POINTS, LINES)))
    peaks = far.peaks_on_lines(density, d, lines, rng)[:quarter]
    picked = u[rng.permutation(len(u))[: count - 2 * quarter - len(peaks)]]
    chosen = np.concatenate([picked, best, peaks])
    return np.concatenate([home.mean + home.push(chosen), box])


def values(target: Target, z: FloatArray, clock: Clock) -> FloatArray:
    """Return log p of points; −inf where it is no finite number."""
    value = np.empty(len(z))
    for i in range(0, len(z), AT_ONCE):
        clock.check()
        value[i : i + AT_ONCE] = target.log_density(z[i : i + AT_ONCE])
    return np.where(np.isfinite(value), value, -np.inf)
