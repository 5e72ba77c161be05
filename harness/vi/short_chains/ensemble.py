"""The ensemble: a fit, chains that start from it and far away, and the figures that judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.short_chains.figures import (
    Frame,
    Look,
    far_figures,
    looked,
    merely_slow,
    own_figures,
)
from harness.vi.short_chains.hmc import Chains
from harness.vi.short_chains.home import Home, Sizes, arrive, more_basins
from harness.vi.short_chains.kept import kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records import FloatArray
    from harness.vi.deterministic import Basin, Optimum
    from harness.vi.target import Clock, Target

THIN = 4
"""Transitions for each draw of chains that go on because they were merely slow."""

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
    shares: FloatArray  # of chains in each region, shape (region,)
    places: FloatArray  # the means of regions, shape (region, d)
    elsewhere: FloatArray  # one point of each region apart, shape (region, d)
    far: int  # how many far starts were asked for
    proposals: int  # that starts were drawn from
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
    home = Home.of(target, optimum, basins, rng, clock, sizes)
    far = None
    if sizes.far:
        far = arrive(target, home, sizes.far, rng, clock)
    more = more_basins(target, home, far, optimum, basins)
    if more:
        home = Home.of(target, optimum, more, rng, clock, sizes)
    made, roaming = kept(target, home, home.starts, sizes.draws, rng, clock), False
    if len(home.maps) > 1:
        roaming = float(np.mean(home.parts.nearest(made.end.z) != made.start.part)) > SWITCHED
    if roaming:
        made = kept(target, home, home.starts, sizes.draws, rng, clock, roam=True)
    looks: tuple[Look, ...] = ("whole", "regions") if roaming else ("starts",)
    frame, figures, slowest = looked(home, made, looks)
    if any(merely_slow(own_figures(Frame(home, look, made), made)[0]) for look in looks):
        end = Chains(made.end.z, made.end.value, made.end.slope, home.starts.part)
        made = kept(target, home, end, sizes.draws, rng, clock, roam=roaming, thin=THIN)
        frame, figures, slowest = looked(home, made, looks)
    elsewhere = np.empty((0, target.dimension))
    if far is not None:
        found, elsewhere = far_figures(target, frame, made, far, sizes.far, rng, clock)
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
        sizes.far,
        len(home.weights.weight),
        slowest,
        figures,
    )
