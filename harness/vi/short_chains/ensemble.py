"""The ensemble: a fit, chains that start from it and far away, and the figures that judge it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.short_chains import nested
from harness.vi.short_chains.checks import doubts
from harness.vi.short_chains.coordinates import PER_DIMENSION
from harness.vi.short_chains.figures import (
    Look,
    View,
    far_figures,
    looked,
)
from harness.vi.short_chains.hmc import Chains
from harness.vi.short_chains.home import BURN, Home, Sizes, arrive, first_half, more_basins
from harness.vi.short_chains.kept import Kept, kept
from harness.vi.short_chains.length import longer, merely_few, merely_misshapen, merely_slow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records import FloatArray
    from harness.vi.deterministic import Basin, Optimum
    from harness.vi.target import Clock, Target

EARLY = 6
"""Draws of each chain from which it is first looked whether coordinates are bad."""

SWITCHED = 0.02
"""Share of chains that change regions from which each transition has the kernel of any region.

A kernel chosen by a chain's start leaves the posterior invariant only in a region that the chain
does not leave; one chosen at random leaves it so everywhere.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """Draws of all chains, and what they say of themselves."""

    z: FloatArray  # shape (chain, draw, d)
    log_p: FloatArray  # nats, shape (chain, draw)
    chance: FloatArray  # of acceptance, shape (chain, draw)
    leapfrogs: FloatArray  # shape (chain, draw)
    energy: FloatArray  # nats, shape (chain, draw)
    step: float  # in sds
    necks: bool  # whether half of the steps are shorter, because of narrow places
    shares: FloatArray  # of chains in each region, shape (region,)
    places: FloatArray  # the means of regions, shape (region, d)
    elsewhere: FloatArray  # one point of each region apart, shape (region, d)
    far: int  # how many far starts there were to be
    proposals: int  # that starts were drawn from
    weight_ess: float  # how many of them their weights are worth
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

    It takes about (chains × (5 + draws) + far × 20) × 4 gradients, in batches of all chains, and
    up to ten times as many where chains are slow. Where their own draws show that coordinates were
    bad, chains go on in those of the draws, and all before is thrown away. Nothing is added where a
    doubt is none that more chains or longer ones could lift.

    Raises
    ------
    harness.vi.deterministic.StartError
        If too few draws of the fit have a density to start from.
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    sizes = Sizes() if sizes is None else sizes
    basins: Sequence[Basin] = optimum.basins
    home = Home.of(target, optimum, basins, rng, clock, sizes)
    started = sizes.far if home.certain else 2 * sizes.far
    seconds = optimum.seconds_per_point
    far = arrive(target, home, started, rng, clock, seconds) if started else None
    others = more_basins(target, home, far, basins, rng, clock)
    if others:
        home = Home.of(target, optimum, others, rng, clock, sizes)
    home = home.with_shares(target, rng, clock)
    home, made, roaming = *_first(target, home, rng, clock), False
    burn = home.burn
    if len(home.maps) > 1:
        roaming = float(np.mean(home.parts.nearest(made.end.z) != made.start.part)) > SWITCHED
    if roaming:
        burn = max(burn, BURN)
        made = kept(target, home, home.starts, home.draws, rng, clock, burn=burn, roam=True)
    looks: tuple[Look, ...] = ("whole", "regions") if roaming else ("starts",)
    home, found = _looked(home, made, looks)
    if merely_misshapen(figures := found[0].figures):
        again = home.reshaped(target, made.z, made.end, figures["ess"], rng, clock)
        if again is not None:
            home, burn, begin = again, again.burn, first_half(again.starts)
            made = kept(target, home, begin, home.draws, rng, clock, burn=burn)
            home, found = _looked(home, made, looks)
    if len(made.z) < len(home.starts.z) and merely_few(_best(found).figures, len(home.maps)):
        rest = home.starts.take(np.arange(len(made.z), len(home.starts.z)))
        made = made.and_(kept(target, home, rest, made.z.shape[1], rng, clock, burn=burn))
        home, found = _looked(home, made, looks)
    spent, thin, part = burn + made.z.shape[1], 1, made.start.part
    while merely_slow((view := _best(found)).figures):
        go_on = longer(view.figures, len(made.z), made.z.shape[1], thin, spent)
        if go_on is None:
            break
        end = Chains(made.end.z, made.end.value, made.end.slope, part)
        thin = go_on.thin
        more = kept(target, home, end, go_on.draws, rng, clock, burn=0, roam=roaming, thin=thin)
        made = made.thinned(go_on.every).then(more) if go_on.every else more
        spent += go_on.draws * thin
        home, found = _looked(home, made, looks)
    figures = dict(view.figures)
    elsewhere = np.empty((0, target.dimension))
    if far is not None:
        refused = bool(doubts(figures))
        of_far, elsewhere = far_figures(
            target, view.frame, made, far, started, rng, clock, thin=thin, refused=refused
        )
        figures |= of_far
    count = len(home.parts.each)
    return Ensemble(
        made.z,
        made.value,
        made.chance,
        made.leapfrogs,
        made.energy,
        home.safer,
        home.necks,
        np.bincount(part, minlength=count) / len(made.z),
        np.stack([c.mean for c in home.parts.each]),
        elsewhere,
        started,
        len(home.weights.weight),
        home.weights.ess,
        view.slowest,
        figures,
    )


def _first(target: Target, home: Home, rng: np.random.Generator, clock: Clock) -> tuple[Home, Kept]:
    """Make the first draws, and again where a few of them show that coordinates are bad.

    Chains are independent, so that their draws are worth at least as many.
    """
    enough = math.ceil(PER_DIMENSION * target.dimension / home.sizes.chains)
    few, burn = min(max(EARLY, enough), home.draws), min(home.burn, BURN)
    made = kept(target, home, first_half(home.starts), few, rng, clock, burn=burn)
    worth = max(len(made.z), float(np.min(nested.effective(made.z))))
    again = home.reshaped(target, made.z, made.end, worth, rng, clock)
    if again is not None:
        begin = first_half(again.starts)
        return again, kept(target, again, begin, again.draws, rng, clock, burn=again.burn)
    left = home.burn - burn + home.draws - few
    if left:
        made = made.then(kept(target, home, made.end, left, rng, clock, burn=0)).last(home.draws)
    return home, made


def _looked(home: Home, made: Kept, looks: Sequence[Look]) -> tuple[Home, list[View]]:
    """Return a home that knows of the necks that chains met, and what these say in each frame."""
    home = home.wary(made.chance)
    return home, looked(home, made, looks)


def _best(found: Sequence[View]) -> View:
    """Return the view with the fewest doubts."""
    return min(found, key=lambda view: len(doubts(view.figures)))
