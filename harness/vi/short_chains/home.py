"""Where an ensemble is at home: the regions of a fit, chains that start there, and far ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.deterministic import Objective, StartError
from harness.vi.deterministic.basins import find_basins, settle, valley
from harness.vi.deterministic.basins import weigh as weigh_basins
from harness.vi.deterministic.sizes import SCOUTS
from harness.vi.deterministic.starts import Start, start_at
from harness.vi.short_chains import regions, starts
from harness.vi.short_chains.coordinates import (
    Coordinates,
    Parts,
    located,
    ratio_of_stretches,
    refined,
    slender,
)
from harness.vi.short_chains.hmc import (
    HOPELESS,
    MANY_HOPELESS,
    ONE_STEP,
    PILOTS,
    Chains,
    Step,
    adapted_step,
    chains_at,
    gradients_of,
    transition,
)
from harness.vi.short_chains.masses import bridged_masses
from harness.vi.sobol import base_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.deterministic import Basin, Optimum
    from harness.vi.target import Clock, Target

FEWEST = 64
"""Chains without which there is no ensemble, and far ones without which there is no comparison."""

TRIED = 8
"""Regions apart that are looked at closer."""

MOST_NUMBERS, FEWEST_PROPOSALS = 20_000_000, 4
"""Coordinates of all proposals together, because of memory, but at least as many for each chain."""

ON_THE_WAY = 20
"""Transitions in which far starts may arrive, with a step of their own each: of those that are
still on their way then, few arrive in as many again."""

LONGER, SHORTER, OFTEN = 1.15, 0.7, 0.6
"""Factors of a far chain's step where its last proposal's chance was above or below this."""

BULK = 4.0
"""Root dimensions by which a squared distance may exceed its mean in a region's bulk: the valleys
between regions are looked for from there."""

HIGHER = 1.0
"""Nats above the density at a region's mean that are no longer its bulk either."""

WIDTHS = (0.1, 1.0)
"""Sds of q, in those of the fit, from which it is fitted in a region that may be narrower."""

MISSHAPEN, PER_DIRECTION = 3.0, 2
"""A factor between the sds of two directions in the coordinates from which chains start again in
coordinates by their own draws, and the effective draws for each direction that these need: with
fewer, such a factor may be noise."""

SCOUTED, FITTED = 300, 128
"""Iterations in which q may come home from a region on few base draws, and the base draws of a fit
in a region of its own: weights correct it."""


BURN, BURN_CERTAIN, BURN_NECKS = 10, 5, 20
"""Transitions that are thrown away, as many where starts are nearly draws, and where chains have to
find their way into necks first."""


WORTH = 43_000
"""Gradients for which all chains draw more than the fewest: where paths are short, draws cost
little beside the fit and the starts, which are needed for any number of them."""

SAFER = 0.8
"""Factor of the adapted step in chains whose paths have several: they are then accepted about 9
times in 10, and on seven programs that gave up to a sixth more effective draws a gradient. Where
there are necks, half of all steps are shorter anyway."""

MOST = 40
"""Draws of a chain; more transitions are thinned, because each look ranks all draws."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What an ensemble costs at least: in doubt chains are longer or twice as many."""

    chains: int = 256
    draws: int = 20  # of each chain at least, after those that are thrown away
    far: int = 256
    proposals: int = 80  # for each chain, or an eighth of that where the first are worth much


@dataclass(frozen=True, slots=True, eq=False)
class Home:
    """The regions of a fit, and chains that start in them."""

    parts: Parts  # by which regions are told apart, and proposals drawn
    maps: tuple[Coordinates, ...]  # of each region, in which its chains move
    left: float  # mass by ELBO of basins that are left out
    weights: starts.Weighted
    share: float  # effective, of the weights or draws that starts are taken from
    starts: Chains  # twice as many as chains; the first half has the shares of regions, too
    step: float  # adapted
    necks: bool  # whether some of a chain's steps have to be shorter
    scout: Objective  # on few base draws
    basins: Sequence[Basin]
    sizes: Sizes
    certain: bool  # whether starts are nearly draws

    @classmethod
    def of(
        cls,
        target: Target,
        optimum: Optimum,
        basins: Sequence[Basin],
        rng: np.random.Generator,
        clock: Clock,
        sizes: Sizes,
    ) -> Home:
        """Draw and weigh proposals, choose starts by the weights, and adapt the step.

        Raises
        ------
        harness.vi.deterministic.StartError
            If too few proposals have a density and gradient.
        """
        parts, left = starts.parts_of(target, optimum, basins, rng, clock)
        count = most_proposals(target.dimension, sizes)
        weights = starts.weigh(target, parts, count, rng, clock)
        if np.count_nonzero(weights.weight) < 2 * FEWEST:
            inside = np.count_nonzero(weights.weight)
            msg = f"of {count} draws of the fit only {inside} have a density"
            raise StartError(msg)
        begin = starts_by(target, weights, sizes, rng)
        maps, step = kernel(target, parts, weights, rng, clock)
        scout = Objective(target, base_blocks(target.dimension, 1, SCOUTS, rng), clock)
        share, certain = weights.share, weights.certain(2 * sizes.chains)
        return cls(parts, maps, left, weights, share, begin, *step, scout, basins, sizes, certain)

    @property
    def burn(self) -> int:
        """How many transitions are thrown away."""
        if self.necks:
            return BURN_NECKS
        return BURN_CERTAIN if self.certain else BURN

    @property
    def safer(self) -> float:
        """The step of chains that start here; far ones go their way in the adapted one."""
        return self.step if self.necks or self.step >= ONE_STEP else SAFER * self.step

    @property
    def draws(self) -> int:
        """How many draws each chain makes at first."""
        wanted = WORTH / gradients_of(self.safer) / self.sizes.chains
        fewest = self.sizes.draws
        return fewest if self.necks else max(fewest, min(int(wanted), MOST))

    def wary(self, chance: FloatArray) -> Home:
        """Return the same, with shorter steps to come where too many paths were hopeless.

        The chances of acceptance are those of all chains, which find their way to a neck and tell
        more of it than a few pilots.
        """
        necks = self.necks or float(np.mean(chance < HOPELESS)) >= MANY_HOPELESS
        return replace(self, necks=necks)

    def with_shares(self, target: Target, rng: np.random.Generator, clock: Clock) -> Home:
        """Return the same with known shares of regions, and starts in them by these.

        More proposals tell them, and where these do not suffice, a bridge.

        Raises
        ------
        harness.vi.deterministic.StartError
            If too few proposals have a density and gradient.
        """
        if self.weights.share_error(len(self.maps)) <= starts.SURE:
            return self
        weights, count = self.weights, most_proposals(target.dimension, self.sizes)
        if len(weights.weight) < count:
            weights = starts.weigh(target, self.parts, count, rng, clock, weights)
        error = weights.share_error(len(self.maps))
        if error > starts.SURE:
            masses = bridged_masses(target, self.parts, self.maps, weights, self.step, rng, clock)
            if masses.error < error:
                weights = weights.with_shares(masses.shares, masses.error)
        begin = starts_by(target, weights, self.sizes, rng)
        certain = weights.certain(2 * self.sizes.chains)
        return replace(self, weights=weights, share=weights.share, starts=begin, certain=certain)

    def reshaped(
        self,
        target: Target,
        drawn: FloatArray,
        end: Chains,
        ess: float,
        rng: np.random.Generator,
        clock: Clock,
    ) -> Home | None:
        """Return the same in coordinates by chains' draws, None where those of here are as good.

        What is ``drawn``, ``(chain, draw, d)``, is worth ``ess`` draws. Chains start again at its
        ``end``, and twice as many, if they must be, also where they were first.
        """
        z = drawn.reshape(-1, target.dimension)
        if len(self.maps) > 1 or not ess >= PER_DIRECTION * target.dimension:
            return None
        own = refined(self.maps[0], z, np.ones(len(z)))
        if ratio_of_stretches(self.maps[0], own) < MISSHAPEN:
            return None
        maps = (slender(own),)
        others = rng.integers(len(z), size=PILOTS)
        pilots = chains_at(target, z[others], end.part[others // drawn.shape[1]])
        step = adapted_step(target, maps, pilots, rng, clock)
        parts = Parts((own,), np.ones(1))
        begin = end.and_(chains_at(target, drawn[:, 0], end.part))
        new = replace(self, parts=parts, maps=maps, step=step.size, necks=step.necks)
        return replace(new, starts=begin, share=ess / len(z), certain=True)

    def apart(self, target: Target, own: Chains, others: Chains) -> NDArray[np.intp]:
        """Return one of the other chains for each region apart from these.

        A valley on all straight lines is not enough: on a ridge that bends, lines to chains that
        are on their way dip, too, and log p can be highest where there is least room. There q comes
        home as the ELBO rises, narrow or not; in a region of its own it stays.
        """
        found = regions.apart(target, self.parts, own, others)[:TRIED]
        found = np.union1d(found, self._spike(own, others))
        return np.array([i for i in found if not self._leads_home(others.z[i])], dtype=np.intp)

    @staticmethod
    def _spike(own: Chains, others: Chains) -> NDArray[np.intp]:
        """Return the densest of the others if it is denser than all of these, else none.

        A spike in the midst of a region is near to it, and log p need not dip on the way there.
        """
        if not len(own.z) or not len(others.z):
            return np.empty(0, dtype=np.intp)
        top = int(np.argmax(others.value))
        higher = others.value[top] > own.value.max()
        return np.array([top] if higher else [], dtype=np.intp)

    def _leads_home(self, z: FloatArray) -> bool:
        for start in self.starts_at(z):
            end = settle(
                self.scout,
                start.theta,
                start.metric,
                self.basins,
                SCOUTED,
                far=True,
                patient=True,
            )
            if end is None or all(valley(self.scout.target, b, end) for b in self.basins):
                return False
        return True

    def starts_at(self, z: FloatArray) -> list[Start]:
        """Return starts of q, narrow and wide, at a point."""
        sd = np.exp(self.basins[0].theta[len(z) :])
        return [start_at(np.concatenate([z, np.log(width * sd)])) for width in WIDTHS]


def most_proposals(d: int, sizes: Sizes) -> int:
    """Return how many proposals there may be in ``d`` dimensions."""
    most = max(MOST_NUMBERS // d, FEWEST_PROPOSALS * sizes.chains)
    return min(sizes.proposals * sizes.chains, most)


def starts_by(
    target: Target, weights: starts.Weighted, sizes: Sizes, rng: np.random.Generator
) -> Chains:
    """Return chains that start from distinct proposals, drawn by their weights.

    Raises
    ------
    harness.vi.deterministic.StartError
        If too few of them have a gradient.
    """
    chosen = starts.distinct(weights, 2 * sizes.chains, rng)
    begin = chains_at(target, weights.z[chosen], weights.part[chosen])
    if len(begin.z) < FEWEST:
        raise StartError(f"only {len(begin.z)} starts of chains have a density and gradient")
    return begin


def kernel(
    target: Target,
    parts: Parts,
    weights: starts.Weighted,
    rng: np.random.Generator,
    clock: Clock,
) -> tuple[tuple[Coordinates, ...], Step]:
    """Return the coordinates in which chains of each region move, and their common step."""
    pilots = starts.distinct(weights, PILOTS, rng)
    others = chains_at(target, weights.z[pilots], weights.part[pilots])
    maps = tuple(
        slender(refined(own, weights.z[mine], weights.weight[mine]))
        for k, own in enumerate(parts.each)
        for mine in [(weights.part == k) & (weights.weight > 0)]
    )
    return maps, adapted_step(target, maps, others, rng, clock)


def more_basins(
    target: Target,
    home: Home,
    far: Chains | None,
    basins: Sequence[Basin],
    rng: np.random.Generator,
    clock: Clock,
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
    apart = home.apart(target, own.take(inside), others)
    if not len(apart):
        return ()
    begun = [start for i in apart for start in home.starts_at(others.z[i])]
    eps = base_blocks(target.dimension, 1, FITTED, rng)
    found = weigh_basins(target, find_basins(Objective(target, eps, clock), begun, basins))
    return found if sum(b.separate for b in found) > len(home.maps) else ()


def first_half(starts: Chains) -> Chains:
    """Return the chains that are enough where nothing is in doubt."""
    return starts.take(np.arange((len(starts.z) + 1) // 2))


def arrive(
    target: Target,
    home: Home,
    count: int,
    rng: np.random.Generator,
    clock: Clock,
    seconds: float,
) -> Chains:
    """Let far starts come to where log p is as high as at home.

    ``seconds`` are those expected of a density.
    """
    points = starts.far_points(target, home.maps[0], count, rng, clock, seconds=seconds)
    at = chains_at(target, points, np.zeros(len(points), dtype=np.intp))
    return travel(target, home, at, rng, clock, until=regions.level_of(home.starts.value))


def travel(
    target: Target,
    home: Home,
    at: Chains,
    rng: np.random.Generator,
    clock: Clock,
    until: float = math.inf,
) -> Chains:
    """Move chains with a step of their own each, until log p has a value."""
    step = np.full(len(at.z), home.step)
    for _ in range(ON_THE_WAY):
        away = at.value < until
        if not away.any():
            break
        new, moved = transition(target, home.maps, at.take(away), step[away], rng, clock)
        at = at.put(away, new)
        factor = np.where(moved.chance > OFTEN, LONGER, SHORTER)
        step[away] = np.minimum(step[away] * factor, home.step)
    return at
