"""Draws moved by short chains: what they move by, they were wrong by at least.

Chains that start from a fit's draws, with a kernel that leaves the posterior invariant, only come
nearer to it. A transition is reversible, so that the error of an eigenfunction is multiplied by an
eigenvalue λ in [−1, 1]; after an even number of transitions by λ² ≥ 0, and never by more than 1.
The part 1 − λ² that a figure has moved by is therefore a lower bound of its error. One transition
may overshoot: λ < 0 in directions in which the fit is some 2.5 times too wide. A quantity that
combines directions of different speeds has errors that may cancel at the start and not later: all
directions that it depends on must be forgotten, which :attr:`Movement.memory` tells, and have their
width, which :attr:`Movement.growth` tells. In a funnel chains forget at once where they were in its
mouth, and its mean moves with it; they widen for a hundred transitions, and it comes back.

The idea is that of Wang, Kasprzak and Huggins (2023), *A targeted accuracy diagnostic for
variational approximations*, arXiv 2302.12419.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.records import Reason, Rule
from harness.vi.short_chains import nested
from harness.vi.short_chains.checks import CHECKS, Check
from harness.vi.short_chains.hmc import PILOTS, Chains, adapted_step, transition
from harness.vi.target import finite_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.short_chains.coordinates import Coordinates
    from harness.vi.target import Clock, Target

KEPT = (8, 10, 12)
"""Transitions after which positions are kept: even numbers."""

EARLY = 4
"""The transition after which directions that mix have their width."""

FEWEST = 100
"""Chains below which no error of a quantile is known."""

OUTSIDE = Check(
    "outside",
    "share of draws without a density or a gradient",
    Rule(0.002, 0.002, "above", "chains cannot start there, and what is left is not the fit"),
    Reason.NO_FINITE_DRAWS,
    "percent",
)

LIMITS = (OUTSIDE, *(c for c in CHECKS if c.id in {"stuck", "acceptance"}))
"""What chains must show before anything is said of the draws that they started from."""

FORGOTTEN = next(c for c in CHECKS if c.id == "memory")
"""The largest memory of a direction that a quantity may depend on."""

SETTLED = Check(
    "growth",
    f"logarithm of the factor by which chains widen after transition {EARLY}",
    Rule(
        math.log(1.15),
        math.log(1.15),
        "both",
        "a mean moves with chains that still widen, and back when they have",
    ),
    Reason.NOT_MIXED,
)
"""The largest growth of a direction that a quantity whose centre is judged may depend on: the
judge's limit of a width."""

NEAREST = 1e-12
"""Squared distances below this one have no logarithm of their own."""

SURE = 3
"""Standard errors by which a slope must exceed a limit."""

LOADS = 0.2
"""Rank correlation from which a quantity depends on a direction: below it, that direction has at
most 4% of its variance."""


@dataclass(frozen=True, slots=True, eq=False)
class Movement:
    """Where chains from a fit's draws went."""

    start: NDArray[np.intp]  # the draw that each chain started from, shape (chain,)
    z: FloatArray  # at the transitions of ``KEPT``, shape (chain, kept, d)
    before: FloatArray  # directions at the starts, shape (chain, d + 1)
    after: FloatArray  # directions at the ends, shape (chain, d + 1)
    memory: FloatArray  # of each direction, shape (d + 1,)
    growth: FloatArray  # of each direction's width since ``EARLY``, a logarithm, shape (d + 1,)
    figures: Mapping[str, float]  # by a check's id

    @property
    def doubts(self) -> tuple[Check, ...]:
        """The limits that the chains do not keep; NaN keeps none."""
        return tuple(c for c in LIMITS if not c.fine(self.figures[c.id]))


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def move(
    target: Target, z: FloatArray, own: Coordinates, rng: np.random.Generator, clock: Clock
) -> Movement | None:
    """Move draws of a fit; some only adapt the step.

    Parameters
    ----------
    target
        The posterior.
    z
        Draws of the fit in random order, unconstrained scale, shape ``(n, d)``.
    own
        Coordinates in which the posterior is about a standard normal. They decide how far chains
        come, not whether what they show is true.

    Returns
    -------
    Movement or None
        None where fewer than ``FEWEST`` draws have a density to start from.

    Raises
    ------
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    value, slope = target.log_density_gradient(z)
    good = np.flatnonzero(finite_rows(value, slope))
    pilots, start = good[:PILOTS], good[PILOTS:]
    if len(start) < FEWEST:
        return None

    def chains(which: NDArray[np.intp]) -> Chains:
        part = np.zeros(len(which), dtype=np.intp)
        return Chains(z[which], value[which], slope[which], part)

    step = adapted_step(target, [own], chains(pilots), rng, clock).size
    at, moved = chains(start), np.zeros(len(start), dtype=bool)
    early, kept, chance = at, [], []
    for i in range(1, KEPT[-1] + 1):
        at, done = transition(target, [own], at, step, rng, clock)
        moved |= done.accepted
        chance.append(float(done.chance.mean()))
        early = at if i == EARLY else early
        if i in KEPT:
            kept.append(at.z)
    centre = np.median(own.whiten(at.z), axis=0)
    before, then, *late = (_directions(own, x, centre) for x in (z[start], early.z, *kept))
    after = late[-1]
    figures = {
        "outside": 1 - len(good) / len(z),
        "stuck": float(np.mean(~moved)),
        "acceptance": float(np.mean(chance)),
    }
    growth = np.log(_width(np.concatenate(late)) / _width(then))
    memory = _memory(before, after)
    return Movement(start, np.stack(kept, axis=1), before, after, memory, growth, figures)


def _directions(own: Coordinates, z: FloatArray, centre: FloatArray) -> FloatArray:
    """Return whitened coordinates and the logarithm of the squared distance from a centre in them.

    Chains may forget each coordinate and remember how far out they are.
    """
    u = own.whiten(z)
    square = ((u - centre) ** 2).sum(axis=1)
    return np.column_stack([u, np.log(np.maximum(square, NEAREST))])


def _width(x: FloatArray) -> FloatArray:
    """Return the width from the 5% to the 95% quantile of each column."""
    low, high = np.quantile(x, [0.05, 0.95], axis=0)
    return np.asarray(high - low)


def _memory(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return how well starts are remembered, the largest of three figures for each column.

    The rank correlations of starts and ends and of their distances from the centre; and what is
    surely the slope of ends on starts, because chains that spread without end lose the correlation
    and keep the errors.
    """
    centre = np.median(after, axis=0)
    plain = nested.rank_correlation(before, after)
    folded = nested.rank_correlation(np.abs(before - centre), np.abs(after - centre))
    x, y = before - before.mean(axis=0), after - after.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where a column does not vary
        slope = (x * y).sum(axis=0) / (x**2).sum(axis=0)
        error = np.sqrt(((y - slope * x) ** 2).sum(axis=0) / (x**2).sum(axis=0) / len(x))
    surely = np.maximum(np.abs(slope) - SURE * error, 0.0)
    return np.asarray(np.maximum(np.maximum(np.abs(plain), np.abs(folded)), surely))


def memory_of(movement: Movement, before: FloatArray, after: FloatArray) -> FloatArray:
    """Return the largest memory that each quantity has, or a direction that it depends on.

    ``before`` and ``after`` are a quantity's values at the starts and at the ends, shape
    ``(chain, quantity)``; NaN where it does not vary.
    """
    return np.maximum(_memory(before, after), _largest(movement, after, movement.memory))


def growth_of(movement: Movement, after: FloatArray) -> FloatArray:
    """Return the largest growth, or shrinkage, of a direction that each quantity depends on.

    ``after`` are the quantities' values at the ends, shape ``(chain, quantity)``.
    """
    return _largest(movement, after, np.abs(movement.growth))


def _largest(movement: Movement, after: FloatArray, figure: FloatArray) -> FloatArray:
    """Return the largest figure of a direction that each quantity depends on; NaN is the largest.

    It depends on one with which it, or its distance from its median, correlates.
    """
    quantities, directions = (
        (x, np.abs(x - np.median(x, axis=0))) for x in (after, movement.after)
    )
    loads = np.max([_correlations(q, u) for q in quantities for u in directions], axis=0)
    figure = np.where(np.isnan(figure), np.inf, figure)
    return np.asarray(np.where(loads <= LOADS, 0.0, figure).max(axis=1))


def _correlations(one: FloatArray, two: FloatArray) -> FloatArray:
    """Return absolute rank correlations, ``(column of one, column of two)``; NaN of constants."""
    a, b = (nested.ranked(x[:, None])[:, 0] for x in (one, two))
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (x / np.sqrt((x**2).sum(axis=0)) for x in (a, b))
    return np.asarray(np.abs(a.T @ b))
