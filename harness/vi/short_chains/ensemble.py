"""The ensemble: starts, chains, and the figures that it is judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.vi.deterministic import StartError
from harness.vi.deterministic.basins import find_basins
from harness.vi.deterministic.basins import weigh as weigh_basins
from harness.vi.deterministic.starts import start_at
from harness.vi.short_chains import nested, regions, starts
from harness.vi.short_chains.checks import doubts
from harness.vi.short_chains.coordinates import Coordinates, Parts, located, refined
from harness.vi.short_chains.hmc import (
    PILOTS,
    Chains,
    Moved,
    adapted_step,
    chains_at,
    transition,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.deterministic import Basin, Optimum
    from harness.vi.target import Clock, Target

BURN = 10
"""Transitions that are thrown away."""

SUPERCHAINS = 16

FEWEST = 64
"""Chains without which there is no ensemble, and far ones without which there is no comparison."""

ON_THE_WAY = 60
"""Transitions in which far starts may arrive, with a step of their own each."""

LONGER, SHORTER, OFTEN = 1.15, 0.7, 0.6
"""Factors of a far chain's step where its last proposal's chance was above or below this."""

FAR_DRAWS = 10
"""Transitions of arrived chains with the common step that are thrown away, and that are kept."""

SWITCHED = 0.02
"""Share of chains that change regions from which each transition has the kernel of any region.

A kernel chosen by a chain's start leaves the posterior invariant only in a region that the chain
does not leave; one chosen at random leaves it so everywhere.
"""

BULK = 4.0
"""Root dimensions by which a squared distance may exceed its mean in a region's bulk: the valleys
between regions are looked for from there."""

HIGHER = 1.0
"""Nats above the density at a region's mean that are no longer its bulk either."""

SLOW, FAR_APART, THIN = frozenset({"nested_rhat", "memory", "ess"}), 1.1, 4
"""Checks that longer chains may pass, unless nested R-hat exceeds the second figure; they then go
on with as many transitions for each draw as the third figure."""

WIDTHS = (0.1, 1.0)
"""Sds of q, in those of the fit, from which it is fitted in a region that may be narrower."""

FEW = 20
"""Chains in a region that are enough for an acceptance of its own."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What an ensemble may cost."""

    chains: int = 512
    draws: int = 20  # of each chain, after ``BURN``
    far: int = 512
    proposals: int = 40  # for each chain


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """Draws of all chains, and what they say of themselves."""

    z: FloatArray  # shape (chain, draw, d)
    log_p: FloatArray  # nats, shape (chain, draw)
    chance: FloatArray  # of acceptance, shape (chain, draw)
    leapfrogs: FloatArray  # shape (chain, draw)
    energy: FloatArray  # nats, shape (chain, draw)
    step: float  # in sds
    shares: FloatArray  # of chains in each region, shape (region,)
    places: FloatArray  # the means of regions, shape (region, d)
    elsewhere: FloatArray  # one point of each region apart, shape (region, d)
    slowest: int | None  # the parameter along whose direction chains mix worst; None: log p
    figures: Mapping[str, float]  # by a check's id


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def run(
    target: Target,
    optimum: Optimum,
    rng: np.random.Generator,
    clock: Clock,
    sizes: Sizes | None = None,
) -> Ensemble:
    """Return an ensemble that starts from a deterministic fit.

    It takes about (chains × (10 + draws) + far × 40) × 4 gradients, in batches of all chains.

    Raises
    ------
    harness.vi.deterministic.StartError
        If too few draws of the fit have a density to start from.
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    sizes = Sizes() if sizes is None else sizes
    basins: Sequence[Basin] = optimum.basins
    home = _Home.of(target, optimum, basins, rng, clock, sizes)
    far = None
    if sizes.far:
        far = _arrive(target, home, sizes.far, rng, clock)
    more = _more_basins(target, home, far, optimum, basins)
    if more:
        home = _Home.of(target, optimum, more, rng, clock, sizes)
    made, roaming = _kept(target, home, home.starts, sizes.draws, rng, clock), False
    if len(home.maps) > 1:
        roaming = float(np.mean(home.parts.nearest(made.end.z) != made.start.part)) > SWITCHED
    if roaming:
        made = _kept(target, home, home.starts, sizes.draws, rng, clock, roam=True)
    looks: tuple[Look, ...] = ("whole", "regions") if roaming else ("starts",)
    frame, figures, slowest = _looked(home, made, looks)
    if any(_merely_slow(_own_figures(_Frame(home, look, made), made)[0]) for look in looks):
        end = Chains(made.end.z, made.end.value, made.end.slope, home.starts.part)
        made = _kept(target, home, end, sizes.draws, rng, clock, roam=roaming, thin=THIN)
        frame, figures, slowest = _looked(home, made, looks)
    elsewhere = np.empty((0, target.dimension))
    if far is not None:
        found, elsewhere = _far_figures(target, frame, made, far, sizes, rng, clock)
        figures |= found
    count = len(home.parts.each)
    return Ensemble(
        made.z,
        made.value,
        made.chance,
        made.leapfrogs,
        made.energy,
        home.step,
        np.bincount(home.starts.part, minlength=count) / len(made.z),
        np.stack([c.mean for c in home.parts.each]),
        elsewhere,
        slowest,
        figures,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Home:
    """The regions of a fit, and chains that start in them."""

    parts: Parts  # by which regions are told apart, and proposals drawn
    maps: tuple[Coordinates, ...]  # of each region, in which its chains move
    left: float  # mass by ELBO of basins that are left out
    weights: starts.Weighted
    starts: Chains
    step: float

    @classmethod
    def of(
        cls,
        target: Target,
        optimum: Optimum,
        basins: Sequence[Basin],
        rng: np.random.Generator,
        clock: Clock,
        sizes: Sizes,
    ) -> _Home:
        parts, left = starts.parts_of(target, optimum, basins, rng, clock)
        count = sizes.proposals * sizes.chains
        weights = starts.weigh(target, parts, count, rng, clock)
        if np.count_nonzero(weights.weight) < 2 * FEWEST:
            inside = np.count_nonzero(weights.weight)
            msg = f"of {count} draws of the fit only {inside} have a density"
            raise StartError(msg)
        chosen = starts.distinct(weights, sizes.chains, rng)
        begin = chains_at(target, weights.z[chosen], weights.part[chosen])
        if len(begin.z) < FEWEST:
            raise StartError(f"only {len(begin.z)} starts of chains have a density and gradient")
        pilots = starts.distinct(weights, PILOTS, rng)
        others = chains_at(target, weights.z[pilots], weights.part[pilots])
        maps = tuple(
            refined(own, weights.z[mine], weights.weight[mine])
            for k, own in enumerate(parts.each)
            for mine in [(weights.part == k) & (weights.weight > 0)]
        )
        step = adapted_step(target, maps, others, rng, clock)
        return cls(parts, maps, left, weights, begin, step)


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """What chains did: arrays ``(chain, draw, …)``, and ``moved``, ``start``, ``end`` by chain."""

    z: FloatArray
    value: FloatArray
    chance: FloatArray
    leapfrogs: FloatArray
    energy: FloatArray
    kernel: NDArray[np.intp]
    moved: NDArray[np.bool_]
    start: Chains
    end: Chains


def _kept(
    target: Target,
    home: _Home,
    begin: Chains,
    draws: int,
    rng: np.random.Generator,
    clock: Clock,
    *,
    burn: int = BURN,
    roam: bool = False,
    thin: int = 1,
) -> _Kept:
    """Run chains with the common step, each with its own kernel or, to ``roam``, with all.

    ``burn`` and ``draws`` are in units of ``thin`` transitions.
    """
    at, moved = begin, np.zeros(len(begin.z), dtype=bool)
    kept: list[tuple[Chains, Moved]] = []
    for i in range((burn + draws) * thin):
        if roam:
            at = Chains(at.z, at.value, at.slope, rng.integers(len(home.maps), size=len(at.z)))
        at, done = transition(target, home.maps, at, home.step, rng, clock)
        moved |= done.accepted
        if i >= burn * thin and (i + 1) % thin == 0:
            kept.append((at, done))
    return _Kept(
        np.stack([c.z for c, _ in kept], axis=1),
        np.stack([c.value for c, _ in kept], axis=1),
        np.stack([m.chance for _, m in kept], axis=1),
        np.stack([m.leapfrogs for _, m in kept], axis=1).astype(np.float64),
        np.stack([m.energy for _, m in kept], axis=1),
        np.stack([c.part for c, _ in kept], axis=1),
        moved,
        begin,
        at,
    )


def _more_basins(
    target: Target,
    home: _Home,
    far: Chains | None,
    optimum: Optimum,
    basins: Sequence[Basin],
) -> Sequence[Basin]:
    """Return all basins, if there are more than those of the fit, else none.

    Where far chains, or starts outside the bulk of their region, lie behind a valley, q is fitted
    from there: a basin then has starts by its weight.
    """
    own = home.starts
    u = located(home.parts.each, own.part, own.z)
    d = u.shape[1]
    inside = (u**2).sum(axis=1) <= d + BULK * math.sqrt(d)
    # A spike inside a region is no part of its bulk.
    top = target.log_density(np.stack([c.mean for c in home.parts.each]))
    inside &= ~(own.value > top[own.part] + HIGHER)
    others = own.take(~inside)
    if far is not None:
        others = others.and_(far)
    apart = regions.apart(target, home.parts, own.take(inside), others)[: starts.MOST_PARTS]
    if not len(apart):
        return ()
    begun = [
        start_at(np.concatenate([others.z[i], np.log(width * optimum.sd)]))
        for i in apart
        for width in WIDTHS
    ]
    found = weigh_basins(target, find_basins(optimum.objective, begun, basins))
    return found if sum(b.separate for b in found) > len(home.maps) else ()


def _arrive(
    target: Target, home: _Home, count: int, rng: np.random.Generator, clock: Clock
) -> Chains:
    """Let far starts come to where log p is as high as at home, each with a step of its own."""
    points = starts.far_points(target, home.maps[0], count, rng, clock)
    at = chains_at(target, points, np.zeros(len(points), dtype=np.intp))
    step = np.full(len(at.z), home.step)
    level = regions.level_of(home.starts.value)
    for _ in range(ON_THE_WAY):
        away = at.value < level
        if not away.any():
            break
        new, moved = transition(target, home.maps, at.take(away), step[away], rng, clock)
        at.put(away, new)
        factor = np.where(moved.chance > OFTEN, LONGER, SHORTER)
        step[away] = np.minimum(step[away] * factor, home.step)
    return at


Look = Literal["starts", "regions", "whole"]
"""Where a draw counts as: where its chain started, in the region where it is, or in one of all."""


class _Frame:
    """Coordinates in which draws are looked at: those of their regions, centred there.

    Where regions are told apart, their shares are the weights', not the chains', and everything
    must mix within a region. In the whole everything must mix, and shares are the chains'.
    """

    def __init__(self, home: _Home, look: Look, made: _Kept) -> None:
        """Take what chains did as the centre."""
        self.home, self.look = home, look
        x = self._located(made.z, made.value, made.start.part)
        region = self.regions(made.z, made.start.part)
        self.centres = np.zeros((len(home.maps), x.shape[2]))
        for k in np.unique(region):
            self.centres[k] = x[region == k].mean(axis=0)

    def regions(self, z: FloatArray, kernel: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the region of each draw, ``(chain, draw)``."""
        n, draws, d = z.shape
        if self.look == "regions":
            return self.home.parts.nearest(z.reshape(-1, d)).reshape(n, draws)
        own = np.zeros_like(kernel) if self.look == "whole" else kernel
        return np.repeat(own[:, None], draws, axis=1)

    def columns(self, z: FloatArray, value: FloatArray, kernel: NDArray[np.intp]) -> FloatArray:
        """Return centred coordinates and log p, ``(chain, draw, d + 1)``."""
        return self._located(z, value, kernel) - self.centres[self.regions(z, kernel)]

    def _located(self, z: FloatArray, value: FloatArray, kernel: NDArray[np.intp]) -> FloatArray:
        n, draws, d = z.shape
        u = located(self.home.maps, self.regions(z, kernel).ravel(), z.reshape(-1, d))
        return np.concatenate([u.reshape(n, draws, d), value[:, :, None]], axis=2)


def _looked(
    home: _Home, made: _Kept, looks: Sequence[Look]
) -> tuple[_Frame, dict[str, float], int | None]:
    """Return the frame in which least is doubted, with what chains say there."""
    found = []
    for look in looks:
        frame = _Frame(home, look, made)
        found.append((frame, *_own_figures(frame, made)))
    return min(found, key=lambda f: len(doubts(f[1])))


def _own_figures(frame: _Frame, made: _Kept) -> tuple[dict[str, float], int | None]:
    """Return what chains say of themselves, and the slowest parameter."""
    home, kernel = frame.home, made.start.part
    x = frame.columns(made.z, made.value, kernel)
    first = frame.columns(made.start.z[:, None], made.start.value[:, None], kernel)[:, 0]
    middle = np.median(x, axis=(0, 1))
    start = np.concatenate([first, np.abs(first - middle)], axis=1)
    scores = np.concatenate([nested.ranked(x), nested.ranked(np.abs(x - middle))], axis=2)
    memory = np.abs(nested.rank_correlation(start, scores[:, -1]))
    rhat = nested.nested_rhat(nested.superchains(scores, start, SUPERCHAINS))
    apart = frame.look != "whole"
    region = frame.regions(made.z, kernel)
    where = region if apart else home.parts.nearest(made.z.reshape(-1, made.z.shape[2]))
    fit_there = made.kernel == where.reshape(region.shape)
    acceptance = [
        float(made.chance[own].mean())
        for k in range(len(home.maps))
        for own in [fit_there & (made.kernel == k)]
        if np.count_nonzero(own) >= FEW * made.z.shape[1]
    ]
    figures = {
        "other_mass": home.left,
        "share_error": home.weights.share_error(len(home.maps)) if apart else 0.0,
        "balance": _balance(kernel, region[:, -1]) if apart else 0.0,
        "stuck": float(np.mean(~made.moved)),
        "acceptance": min(acceptance, default=math.nan),
        "nested_rhat": float(np.max(rhat)),
        "memory": float(np.max(memory)),
        "weight_share": home.weights.ess / len(home.weights.weight),
        # Not of log p, which keeps half of its deviation whatever the path: momenta bring the rest.
        "ess": float(np.min(np.delete(nested.effective(scores), [x.shape[2] - 1, -1]))),
    }
    return figures, _slowest(home, made, np.where(np.isnan(rhat), np.inf, rhat))


def _merely_slow(figures: Mapping[str, float]) -> bool:
    """Return whether chains are right but for their length, and a longer one may do."""
    doubted = {c.id for c in doubts(figures)}
    return bool(doubted) and doubted <= SLOW and figures["nested_rhat"] < FAR_APART


def _balance(start: NDArray[np.intp], end: NDArray[np.intp]) -> float:
    """Return by how many standard errors chains have left a region more often than come to it.

    If all regions have their shares at the start, as many come as go. Chains move independently,
    so that the difference has the variance of the sum.
    """
    most = 0.0
    for k in np.union1d(start, end):
        gone = int(np.count_nonzero((start == k) & (end != k)))
        come = int(np.count_nonzero((start != k) & (end == k)))
        most = max(most, abs(come - gone) / math.sqrt(come + gone or 1))
    return most


def _slowest(home: _Home, made: _Kept, rhat: FloatArray) -> int | None:
    """Return the parameter that the coordinate of the largest nested R-hat moves most, in sds."""
    d = made.z.shape[2]
    worst = int(np.argmax(rhat)) % (d + 1)
    if worst == d:
        return None
    unit = np.zeros((1, d))
    unit[0, worst] = 1.0
    sd = made.z.reshape(-1, d).std(axis=0)
    return int(np.argmax(np.abs(home.maps[0].push(unit)[0]) / np.maximum(sd, 1e-300)))


def _far_figures(
    target: Target,
    frame: _Frame,
    made: _Kept,
    far: Chains,
    sizes: Sizes,
    rng: np.random.Generator,
    clock: Clock,
) -> tuple[dict[str, float], FloatArray]:
    """Return what far starts say, and a point of each region apart that they found."""
    home = frame.home
    arrived = far.value >= regions.level_of(made.value)
    figures = {"arrived": float(np.count_nonzero(arrived)) / sizes.far, "far_rhat": math.nan}
    ends = far
    if np.count_nonzero(arrived) >= FEWEST:
        own = far.take(arrived)
        own.part = home.parts.nearest(own.z)
        size, roam = FAR_DRAWS, frame.look != "starts"
        ran = _kept(target, home, own, size, rng, clock, burn=size, roam=roam)
        ends = Chains(far.z, far.value, far.slope, far.part)
        ends.put(arrived, ran.end)
        figures["far_rhat"] = _agreement(frame, made, ran)
    other = regions.apart(target, home.parts, made.end, ends)
    figures["other_regions"] = float(len(other))
    return figures, ends.z[other]


def _agreement(frame: _Frame, made: _Kept, far: _Kept) -> float:
    """Return the largest nested R-hat of two superchains, the ensemble's and the far chains."""
    here = frame.columns(made.z[:, -FAR_DRAWS:], made.value[:, -FAR_DRAWS:], made.start.part)
    there = frame.columns(far.z, far.value, far.start.part)
    n = min(len(here), len(there))
    both = np.concatenate([here[:n], there[:n]])
    scores = np.concatenate([nested.ranked(both), nested.ranked(nested.folded(both))], axis=2)
    return float(np.max(nested.nested_rhat(scores.reshape(2, n, *scores.shape[1:]))))
