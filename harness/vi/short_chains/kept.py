"""What chains do: transitions with the common step, thrown away and kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.vi.short_chains.hmc import Chains, Moved, careful, transition

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.short_chains.home import Home
    from harness.vi.target import Clock, Target

OF_DRAWS = ("z", "value", "chance", "leapfrogs", "energy", "kernel")
"""What a record has for each draw."""


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
        return replace(
            self._each(lambda name: np.concatenate([getattr(self, name), getattr(other, name)])),
            moved=np.concatenate([self.moved, other.moved]),
            start=self.start.and_(other.start),
            end=self.end.and_(other.end),
        )

    def thinned(self, every: int) -> Kept:
        """Return every ``every``-th draw, the last one included."""
        which = slice((self.z.shape[1] - 1) % every, None, every)
        return self._each(lambda name: getattr(self, name)[:, which])

    def then(self, later: Kept) -> Kept:
        """Return what these chains did, and went on to do."""
        both = self._each(lambda name: np.hstack([getattr(self, name), getattr(later, name)]))
        return replace(both, moved=self.moved | later.moved, end=later.end)

    def last(self, draws: int) -> Kept:
        """Return the last ``draws`` of each chain."""
        return self._each(lambda name: getattr(self, name)[:, -draws:])

    def _each(self, made: Callable[[str], Any]) -> Kept:
        """Return the same with what is made of each array of draws, by its name."""
        return replace(self, **{name: made(name) for name in OF_DRAWS})


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
        step = careful(home.step, len(at.z), rng) if home.necks else home.safer
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
