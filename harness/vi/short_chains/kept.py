"""What chains do: transitions with the common step, thrown away and kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.short_chains.hmc import Chains, Moved, careful, transition

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.short_chains.home import Home
    from harness.vi.target import Clock, Target

BURN, BURN_CERTAIN = 10, 5
"""Transitions that are thrown away, and where weights say that starts are nearly draws."""

BURN_NECKS = 20
"""Those where chains have to find their way into necks first."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
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

    def and_(self, other: Kept) -> Kept:
        """Return what these chains and others did."""
        return Kept(
            np.concatenate([self.z, other.z]),
            np.concatenate([self.value, other.value]),
            np.concatenate([self.chance, other.chance]),
            np.concatenate([self.leapfrogs, other.leapfrogs]),
            np.concatenate([self.energy, other.energy]),
            np.concatenate([self.kernel, other.kernel]),
            np.concatenate([self.moved, other.moved]),
            self.start.and_(other.start),
            self.end.and_(other.end),
        )

    def thinned(self, every: int) -> Kept:
        """Return every ``every``-th draw, the last one included."""
        which = slice((self.z.shape[1] - 1) % every, None, every)
        return replace(
            self,
            z=self.z[:, which],
            value=self.value[:, which],
            chance=self.chance[:, which],
            leapfrogs=self.leapfrogs[:, which],
            energy=self.energy[:, which],
            kernel=self.kernel[:, which],
        )

    def then(self, later: Kept) -> Kept:
        """Return what these chains did, and went on to do."""
        return Kept(
            np.concatenate([self.z, later.z], axis=1),
            np.concatenate([self.value, later.value], axis=1),
            np.concatenate([self.chance, later.chance], axis=1),
            np.concatenate([self.leapfrogs, later.leapfrogs], axis=1),
            np.concatenate([self.energy, later.energy], axis=1),
            np.concatenate([self.kernel, later.kernel], axis=1),
            self.moved | later.moved,
            self.start,
            later.end,
        )


def kept(
    target: Target,
    home: Home,
    begin: Chains,
    draws: int,
    rng: np.random.Generator,
    clock: Clock,
    *,
    burn: int,
    roam: bool = False,
    thin: int = 1,
) -> Kept:
    """Run chains with the common step, each with its own kernel or, to ``roam``, with all.

    ``burn`` and ``draws`` are in units of ``thin`` transitions.
    """
    at, moved = begin, np.zeros(len(begin.z), dtype=bool)
    kept: list[tuple[Chains, Moved]] = []
    for i in range((burn + draws) * thin):
        if roam:
            at = Chains(at.z, at.value, at.slope, rng.integers(len(home.maps), size=len(at.z)))
        step = careful(home.step, len(at.z), rng) if home.necks else home.step
        at, done = transition(target, home.maps, at, step, rng, clock)
        moved |= done.accepted
        if i >= burn * thin and (i + 1) % thin == 0:
            kept.append((at, done))
    return Kept(
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
