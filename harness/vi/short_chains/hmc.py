"""Hamiltonian Monte Carlo on many chains at once, in whitened coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.vi.target import Clock, Target, finite_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.short_chains.coordinates import Coordinates

ONE_STEP, LENGTH, SHORTEST = 1.9, 2.3, 0.65
"""Length of a path in sds where steps are at least so long, and elsewhere, and the least part of it
that a path has.

The first lie around a quarter of a standard normal's period, π / 2: over such paths cos t and
cos² t, the autocorrelations of a coordinate and of its square, have means of about 0. Where steps
must be shorter, the slowest directions are longer than their sd, and so are the paths that serve
them best: on thirteen programs the fewest effective draws of coordinates were a third more at 2.3
than at 1.9, for a seventh more gradients, and those of squares about as many. Paths of one common
length could resonate.
"""

LARGEST = 2.2
"""The largest step, in sds; from 2.6 on steps are unstable."""

JITTER = 0.2
"""Relative range of steps: a common step could be a direction's own period."""

OUTER = 0.21178
"""Share of a step in its first and its last kick. A step drifts twice and takes two gradients; with
this share its error of energy is smallest up to the steps used here, some 80 times less on a normal
than that of two leapfrogs, whose share is 1/4 (Blanes, Casas and Sanz-Serna 2014, *Numerical
integrators for the hybrid Monte Carlo method*, SIAM Journal on Scientific Computing 36)."""

LONGEST = 6
"""Steps of a path. Where they must be so small that they do not suffice, chains are slow, and the
checks say so."""

WANTED = 0.85
"""Acceptance that the step is adapted to."""

ROUNDS, PILOTS = 25, 32
"""Transitions and chains on which the step is adapted."""

HOPELESS, MANY_HOPELESS = 1e-4, 0.01
"""A chance of acceptance of a path that went where the density is too narrow for its steps, and a
share of such paths that tells of a neck: a common step leaves it to the chains that start there."""

SMALLER, SMALLEST = 0.5, 0.05
"""The share of transitions whose steps are shorter where there are necks, and the least factor of
these: chains enter what NUTS would diverge at."""


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """Where chains are, with log p and its gradient there."""

    z: FloatArray  # shape (chain, d)
    value: FloatArray  # nats, shape (chain,)
    slope: FloatArray  # shape (chain, d)
    part: NDArray[np.intp]  # whose coordinates a chain moves in, shape (chain,)

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Chains:
        """Return some of the chains."""
        return Chains(self.z[which], self.value[which], self.slope[which], self.part[which])

    def and_(self, other: Chains) -> Chains:
        """Return these chains and others."""
        return Chains(
            np.concatenate([self.z, other.z]),
            np.concatenate([self.value, other.value]),
            np.concatenate([self.slope, other.slope]),
            np.concatenate([self.part, other.part]),
        )

    def put(self, which: NDArray[np.bool_] | NDArray[np.intp], other: Chains) -> Chains:
        """Return these chains, some of them where others are."""
        found = [self.z.copy(), self.value.copy(), self.slope.copy(), self.part.copy()]
        for own, new in zip(found, (other.z, other.value, other.slope, other.part), strict=True):
            own[which] = new
        return Chains(*found)  # type: ignore[arg-type]


def chains_at(target: Target, z: FloatArray, part: NDArray[np.intp]) -> Chains:
    """Return chains that start at points; those without a density or gradient are left out."""
    value, slope = target.log_density_gradient(z)
    good = finite_rows(value, slope)
    return Chains(z[good], value[good], slope[good], part[good])


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """What a transition did to each chain, shape ``(chain,)``."""

    chance: FloatArray  # of acceptance
    accepted: NDArray[np.bool_]
    leapfrogs: NDArray[np.intp]
    energy: FloatArray  # at the start, nats


def transition(
    target: Target,
    parts: Sequence[Coordinates],
    at: Chains,
    step: FloatArray | float,
    rng: np.random.Generator,
    clock: Clock,
) -> tuple[Chains, Moved]:
    """Move every chain once; ``step`` is common or one for each chain, in whitened units.

    Each chain moves in the coordinates of its part, which does not change, so that all leave the
    posterior invariant. A path that meets a point without a density is rejected.

    Velocities v = L p stand for momenta p of the whitened coordinates, because a gradient then
    takes one product with L Lᵀ. Where G is the sum of the kicks by gradients, v gains L Lᵀ G, and
    the kinetic energy at the end is (|p|² + v₀ · G + v · G) / 2.
    """
    n, d = at.z.shape
    length = _longest(step) * rng.uniform(SHORTEST, 1, n)
    size = step * rng.uniform(1 - JITTER, 1 + JITTER, n)
    count = _steps(length, size)
    size = np.minimum(size, length / count)[:, None]
    momentum = rng.standard_normal((n, d))
    square = (momentum**2).sum(axis=1)
    before = at.value - 0.5 * square
    begun = _by_part(parts, at.part, momentum, "push")
    # Chains with the most steps come first, so that those on their way are the first rows.
    order = np.argsort(-count, kind="stable")
    part, size, begun, last = at.part[order], size[order], begun[order], count[order]
    z, value, slope = at.z[order], at.value[order], at.slope[order]
    kicks = OUTER * size * slope
    speed = begun + OUTER * size * _by_part(parts, part, slope, "spread")
    alive = np.ones(n, dtype=bool)
    for i in range(2 * int(last[0])):
        clock.check()
        now: slice | NDArray[np.intp] = slice(int(np.count_nonzero(2 * last > i)))
        if not alive[now].all():
            now = np.flatnonzero(alive[now])
            if not len(now):
                break
        moved = 0.5 * size[now] * speed[now]
        moved += z[now]
        found, gradient = target.log_density_gradient(moved)
        good = finite_rows(found, gradient)
        if not good.all():
            now = np.arange(n)[now]
            alive[now[~good]] = False
            now, moved, found, gradient = now[good], moved[good], found[good], gradient[good]
        z[now], value[now], slope[now] = moved, found, gradient
        # The kicks at the end of a step and the start of the next are one.
        share = 1 - 2 * OUTER if i % 2 == 0 else OUTER * np.where(2 * last[now, None] > i + 1, 2, 1)
        kick = share * size[now]
        speed[now] += kick * _by_part(parts, part[now], gradient, "spread")
        kicks[now] += kick * gradient
    with np.errstate(over="ignore", invalid="ignore"):
        gained = 0.5 * ((begun + speed) * kicks).sum(axis=1)
        rise = value - 0.5 * square[order] - gained - before[order]
        chance = np.where(alive, np.exp(np.minimum(rise, 0)), 0.0)
    back = np.argsort(order, kind="stable")
    z, value, slope, chance = z[back], value[back], slope[back], chance[back]
    chance = np.where(np.isfinite(chance), chance, 0.0)
    yes = rng.random(n) < chance
    new = Chains(
        np.where(yes[:, None], z, at.z),
        np.where(yes, value, at.value),
        np.where(yes[:, None], slope, at.slope),
        at.part,
    )
    return new, Moved(chance, yes, 2 * count, -before)


def _longest(step: FloatArray | float) -> FloatArray:
    return np.where(np.asarray(step) >= ONE_STEP, ONE_STEP, LENGTH)


def _steps(length: FloatArray, size: FloatArray | float) -> NDArray[np.intp]:
    return np.clip(np.ceil(length / size), 1, LONGEST).astype(np.intp)


def gradients_of(step: float) -> float:
    """Return about how many gradients a transition takes with a common step."""
    return 2 * float(_steps(_longest(step) * np.linspace(SHORTEST, 1, 100), step).mean())


def _by_part(
    parts: Sequence[Coordinates], which: NDArray[np.intp], x: FloatArray, name: str
) -> FloatArray:
    """Return each chain's vector in or from the coordinates of its part."""
    if len(parts) == 1:
        return np.asarray(getattr(parts[0], name)(x))
    out = np.empty_like(x)
    for k, own in enumerate(parts):
        mine = which == k
        if mine.any():
            out[mine] = getattr(own, name)(x[mine])
    return out


def careful(step: float, count: int, rng: np.random.Generator) -> FloatArray:
    """Return steps of ``count`` chains; some are shorter, so that these enter a neck."""
    factor = SMALLEST ** rng.random(count)
    return step * np.where(rng.random(count) < SMALLER, factor, 1.0)


class Step(NamedTuple):
    """A common step in sds, and whether some of a chain's steps have to be shorter."""

    size: float
    necks: bool


def adapted_step(
    target: Target,
    parts: Sequence[Coordinates],
    at: Chains,
    rng: np.random.Generator,
    clock: Clock,
) -> Step:
    """Return the step at which these chains accept ``WANTED`` of their proposals.

    The chains are used for nothing else, so that a step does not depend on the draws it makes.
    """
    log_step, kept = math.log(min(1.0, 1.5 * at.z.shape[1] ** -0.25)), []
    hopeless: list[float] = []
    for i in range(ROUNDS):
        at, moved = transition(target, parts, at, math.exp(log_step), rng, clock)
        log_step += (float(moved.chance.mean()) - WANTED) * 3 / (1 + i) ** 0.6
        log_step = min(log_step, math.log(LARGEST))
        kept.append(log_step)
        hopeless.append(float(np.mean(moved.chance < HOPELESS)))
    half = ROUNDS // 2
    size = math.exp(float(np.mean(kept[half:])))
    return Step(size, float(np.mean(hopeless[half:])) >= MANY_HOPELESS)
