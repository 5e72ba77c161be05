"""The ensemble: starts, chains, and the figures that it is judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.deterministic import StartError
from harness.vi.deterministic.basins import find_basins
from harness.vi.deterministic.basins import weigh as weigh_basins
from harness.vi.deterministic.starts import start_at
from harness.vi.short_chains import nested, regions, starts
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
"""Share of chains that change basins from which basins are one region with one kernel.

A kernel chosen by a chain's start leaves the posterior invariant only in a basin that the chain
does not leave.
"""

FEW = 20
"""Chains of a basin that are enough for an acceptance of its own."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What an ensemble may cost."""

    chains: int = 512
    draws: int = 20  # of each chain, after ``BURN``
    far: int = 512
    proposals: int = 20_000


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
        other = regions.apart(target, home.parts, home.starts, far)
        if len(other):
            # What far chains found becomes a basin, which then has starts by its weight.
            sd = np.log(optimum.sd)
            begun = [start_at(np.concatenate([far.z[i], sd])) for i in other[: starts.MOST_PARTS]]
            basins = weigh_basins(target, find_basins(optimum.objective, begun, basins))
            home = _Home.of(target, optimum, basins, rng, clock, sizes)
    made = _kept(target, home.maps, home.starts, home.step, sizes.draws, rng, clock)
    group = home.starts.part
    if len(home.parts.each) > 1:
        ended = home.parts.nearest(made.z[:, -1])
        if float(np.mean(ended != group)) > SWITCHED:
            group = np.zeros_like(group)
            begin = Chains(home.starts.z, home.starts.value, home.starts.slope, group)
            made = _kept(target, home.maps, begin, home.step, sizes.draws, rng, clock)
    figures, slowest = _own_figures(home, made, group)
    elsewhere = np.empty((0, target.dimension))
    if far is not None:
        found, elsewhere = _far_figures(target, home, made, group, far, sizes, rng, clock)
        figures |= found
    count = len(home.parts.each)
    return Ensemble(
        made.z,
        made.value,
        made.chance,
        made.leapfrogs,
        made.energy,
        home.step,
        np.bincount(home.starts.part, minlength=count) / len(group),
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
        weights = starts.weigh(target, parts, sizes.proposals, rng, clock)
        if np.count_nonzero(weights.weight) < 2 * FEWEST:
            inside = np.count_nonzero(weights.weight)
            msg = f"of {sizes.proposals} draws of the fit only {inside} have a density"
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
    """What chains did: arrays ``(chain, draw, …)``, and ``moved`` and ``start`` by chain."""

    z: FloatArray
    value: FloatArray
    chance: FloatArray
    leapfrogs: FloatArray
    energy: FloatArray
    moved: NDArray[np.bool_]
    start: Chains
    end: Chains


def _kept(
    target: Target,
    parts: Sequence[object],
    begin: Chains,
    step: float,
    draws: int,
    rng: np.random.Generator,
    clock: Clock,
    burn: int = BURN,
) -> _Kept:
    """Run chains with the common step."""
    at, moved = begin, np.zeros(len(begin.z), dtype=bool)
    kept: list[tuple[Chains, Moved]] = []
    for i in range(burn + draws):
        at, done = transition(target, parts, at, step, rng, clock)  # type: ignore[arg-type]
        moved |= done.accepted
        if i >= burn:
            kept.append((at, done))
    return _Kept(
        np.stack([c.z for c, _ in kept], axis=1),
        np.stack([c.value for c, _ in kept], axis=1),
        np.stack([m.chance for _, m in kept], axis=1),
        np.stack([m.leapfrogs for _, m in kept], axis=1).astype(np.float64),
        np.stack([m.energy for _, m in kept], axis=1),
        moved,
        begin,
        at,
    )


def _arrive(
    target: Target, home: _Home, count: int, rng: np.random.Generator, clock: Clock
) -> Chains:
    """Let far starts come to where log p is as high as at home, each with a step of its own."""
    points = starts.far_points(target, home.maps[0], count, rng)
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


def _columns(
    home: _Home, z: FloatArray, value: FloatArray, group: NDArray[np.intp]
) -> FloatArray:
    """Return coordinates and log p as columns, ``(chain, draw, d + 1)``."""
    n, draws, d = z.shape
    u = located(home.maps, np.repeat(group, draws), z.reshape(-1, d)).reshape(n, draws, d)
    return np.concatenate([u, value[:, :, None]], axis=2)


def _own_figures(
    home: _Home, made: _Kept, group: NDArray[np.intp]
) -> tuple[dict[str, float], int | None]:
    """Return what chains say of themselves, and the slowest parameter."""
    x = _columns(home, made.z, made.value, group)
    first = _columns(home, made.start.z[:, None], made.start.value[:, None], group)
    for k in np.unique(group):
        centre = x[group == k].mean(axis=(0, 1))
        x[group == k] -= centre
        first[group == k] -= centre
    middle = np.median(x, axis=(0, 1))
    start = np.concatenate([first[:, 0], np.abs(first[:, 0] - middle)], axis=1)
    scores = np.concatenate([nested.ranked(x), nested.ranked(np.abs(x - middle))], axis=2)
    memory = np.abs(nested.rank_correlation(start, scores[:, -1]))
    rhat = nested.nested_rhat(nested.superchains(scores, start, SUPERCHAINS))
    acceptance = [
        float(made.chance[group == k].mean())
        for k in np.unique(group)
        if np.count_nonzero(group == k) >= FEW
    ]
    count = len(home.parts.each)
    figures = {
        "other_mass": home.left,
        "share_error": home.weights.share_error(count) if group.any() else 0.0,
        "stuck": float(np.mean(~made.moved)),
        "acceptance": min(acceptance),
        "nested_rhat": float(np.max(rhat)),
        "memory": float(np.max(memory)),
        "weight_share": home.weights.ess / len(home.weights.weight),
        # Not of log p, which keeps half of its deviation whatever the path: momenta bring the rest.
        "ess": float(np.min(np.delete(nested.effective(scores), [x.shape[2] - 1, -1]))),
    }
    return figures, _slowest(home, made, np.where(np.isnan(rhat), np.inf, rhat))


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
    home: _Home,
    made: _Kept,
    group: NDArray[np.intp],
    far: Chains,
    sizes: Sizes,
    rng: np.random.Generator,
    clock: Clock,
) -> tuple[dict[str, float], FloatArray]:
    """Return what far starts say, and a point of each region apart that they found."""
    arrived = far.value >= regions.level_of(made.value)
    figures = {"arrived": float(np.count_nonzero(arrived)) / sizes.far, "far_rhat": math.nan}
    ends = far
    if np.count_nonzero(arrived) >= FEWEST:
        own = far.take(arrived)
        own.part = home.parts.nearest(own.z) if group.any() else np.zeros_like(own.part)
        ran = _kept(
            target, home.maps, own, home.step, FAR_DRAWS, rng, clock, burn=FAR_DRAWS
        )
        ends = Chains(far.z, far.value, far.slope, far.part)
        ends.put(arrived, ran.end)
        figures["far_rhat"] = _agreement(home, made, group, ran)
    other = regions.apart(target, home.parts, made.end, ends)
    figures["other_regions"] = float(len(other))
    return figures, ends.z[other]


def _agreement(home: _Home, made: _Kept, group: NDArray[np.intp], far: _Kept) -> float:
    """Return the largest nested R-hat of two superchains, the ensemble's and the far chains."""
    here = _columns(home, made.z[:, -FAR_DRAWS:], made.value[:, -FAR_DRAWS:], group)
    there = _columns(home, far.z, far.value, far.start.part)
    for k in np.unique(group):
        centre = here[group == k].mean(axis=(0, 1))
        here[group == k] -= centre
        there[far.start.part == k] -= centre
    n = min(len(here), len(there))
    both = np.concatenate([here[:n], there[:n]])
    scores = np.concatenate([nested.ranked(both), nested.ranked(nested.folded(both))], axis=2)
    return float(np.max(nested.nested_rhat(scores.reshape(2, n, *scores.shape[1:]))))
