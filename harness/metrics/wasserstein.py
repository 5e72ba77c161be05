"""The 1-Wasserstein distance over σ, of one quantity and of random projections.

Less its expected value for equal distributions: it scatters around 0 where the distributions
agree, so it may be negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from harness.metrics.block import Block, centre_and_scale, parts_of
from harness.metrics.distance import INFINITE, distances, finite
from harness.metrics.effective import SQUARED, pieces
from harness.metrics.joint import Joint, JointReference, jointly
from harness.metrics.metric import Column, Metric, unless_infinite
from harness.metrics.sample import Sample
from harness.ranks import ascending
from harness.records import NO_ESTIMATE, Estimate, FloatArray, Rule

CHANCE = 2 / math.sqrt(math.pi)
"""The factor a for which |Z| − a exp(−Z²/2) has mean zero, Z standard normal."""


@distances
def _w1(own: Sequence[Sample], refs: Sequence[Sample]) -> list[Estimate]:
    r"""Return the distances over σ, less their expected values for two equal distributions.

    A distance is ∫ \|F − G\| dx. At a point where F = G the difference of the empirical
    functions is about normal with sd s = sqrt(H (1 − H) (1/n + 1/m)), H the pooled function,
    and its absolute value has mean s sqrt(2/π). So ∫ \|F − G\| − a s exp(−(F − G)² / 2s²) dx
    with a = 2/sqrt(π) has mean zero where the distributions agree, and is the distance itself
    where they clearly differ.

    The squared standard error is that of the influence function h with h' = −sign(F − G):
    var h(X) / n + var h(Y) / m. Where F = G it is conservative.
    """
    total = own[0].n + refs[0].n
    parts = pieces(len(own), 8 * total)
    # One place for all: new arrays for every step would leave the processor's cache.
    room = np.empty((4, parts[0].stop, total))
    return [e for p in parts for e in _of_piece(own[p], refs[p], room[:, : p.stop - p.start])]


def _of_piece(own: Sequence[Sample], refs: Sequence[Sample], room: FloatArray) -> list[Estimate]:
    x, both, gap, difference = room
    n, m = own[0].n, refs[0].n
    for row, q, ref in zip(both, own, refs, strict=True):
        row[:n], row[n:] = q.sorted, ref.sorted
    # Both runs are sorted, so the stable (merging) sort is the quick one.
    order = np.argsort(both, axis=1, kind="stable")
    from_q = order < n
    for row, at, merged in zip(both, order, x, strict=True):
        row.take(at, out=merged, mode="clip")
    gap, difference, by_chance = gap[:, 1:], difference[:, 1:], both[:, 1:]
    np.subtract(x[:, 1:], x[:, :-1], out=gap)
    # n m (F − G) in whole numbers, which are zero exactly where the two are equal: a draw of q
    # adds m, one of the reference takes n away.
    apart = np.multiply(from_q[:, :-1], n + m, out=order[:, :-1])
    apart -= n
    np.cumsum(apart, axis=1, out=apart)
    np.divide(apart, n * m, out=difference)
    noise = np.array(
        [1 / q.ess_overall + 1 / ref.ess_overall for q, ref in zip(own, refs, strict=True)]
    )
    root, over = _pooled(n, m)
    np.square(difference, out=by_chance)
    by_chance *= over
    by_chance /= noise[:, None]
    np.exp(by_chance, out=by_chance)
    by_chance *= root
    value = -CHANCE * np.sqrt(noise) * np.einsum("ij,ij->i", by_chance, gap)
    signed = np.sign(difference, out=by_chance)
    signed *= gap
    value += np.einsum("ij,ij->i", difference, signed)
    h = x
    h[:, 0] = 0.0
    np.cumsum(signed, axis=1, out=h[:, 1:])
    span = np.max(h, axis=1) - np.min(h, axis=1)
    share, away = room[2:]
    share[...] = from_q
    ours = _spreads(own, h, span, share, away)
    np.subtract(1.0, share, out=share)
    theirs = _spreads(refs, h, span, share, away)
    found = []
    for q, ref, distance, one, two in zip(own, refs, value.tolist(), ours, theirs, strict=True):
        error = math.hypot(one / math.sqrt(q.ess_least), two / math.sqrt(ref.ess_least))
        known = not (math.isnan(q.ess_least) or math.isnan(ref.ess_least))
        found.append(finite(distance / ref.unit, error / ref.unit) if known else NO_ESTIMATE)
    return found


@lru_cache(maxsize=4)
def _pooled(n: int, m: int) -> tuple[FloatArray, FloatArray]:
    """Return √(H (1 − H)) of the pooled function H at all draws but the last, and −1/(2 H (1 − H)).

    They depend on the numbers n of q and m of the reference only.
    """
    total = np.arange(1, n + m)
    variance = total / (n + m) * (1 - total / (n + m))
    return np.sqrt(variance), -0.5 / variance


def _spreads(
    samples: Sequence[Sample], h: FloatArray, span: FloatArray, share: FloatArray, room: FloatArray
) -> list[float]:
    """Return the sds of influence functions at samples' draws; see :meth:`Sample.bounded`.

    ``h`` are their values at all draws, ``span`` how far these lie apart, and ``share`` is 1 at the
    draws that count and 0 at the others. ``room`` is written over.
    """
    n = samples[0].n
    np.subtract(h, (np.einsum("ij,ij->i", h, share) / n)[:, None], out=room)
    room *= room
    sds = np.sqrt(np.einsum("ij,ij->i", room, share) / n)
    reach = np.array([min(s.reach, SQUARED) for s in samples])
    # Elsewhere something is bounded, or overflows.
    usual = (span > 1 / SQUARED) & (span <= reach)
    return [
        float(sds[i]) if usual[i] else _bounded_spread(s, h[i][share[i] > 0], float(span[i]))
        for i, s in enumerate(samples)
    ]


def _bounded_spread(sample: Sample, h: FloatArray, span: float) -> float:
    largest = float(np.max(np.abs(h)))
    if span == 0 or largest == 0:
        return 0.0
    if not math.isfinite(largest):
        return math.nan
    return float(np.std(sample.bounded(h, float(h[h.size // 2])) / largest)) * largest


W1 = Metric(
    id="w1",
    noun="Wasserstein distance",
    unit="sd",
    scope="quantity",
    kinds=("continuous",),
    measure=_w1,
    many=True,
    rule=Rule(0.1, 0.5, "above", "the average draw would have to move that far"),
    telling=12,
    clause=unless_infinite(
        lambda s, size: f"{s.method}'s draws are on average {size} sd from where they should be"
    ),
    brief=lambda s, size: f"draws of {s.quantity} {size} sd off on average",
    column=Column("W1", "1-Wasserstein distance in reference sds, less what chance shows"),
)


DIRECTIONS = 50
LEVELS = 500
"""How many random directions, and at how many quantiles each is compared."""

SPREAD_DRAWS = 2000
"""Draws from which the sd of an influence function is taken: its own error is then about 2%."""

HEAVY = 3.0
"""A column whose sd is more than this many robust sds counts as heavy-tailed, …"""

REACH = 10.0
"""… and its draws count as at most this many robust sds from the median."""


class _Lines(NamedTuple):
    """Draws projected on directions, shape ``(direction, draw)``."""

    ordered: FloatArray
    some: FloatArray
    """Evenly spaced ones, ``SPREAD_DRAWS`` at most, in the order of the draws."""


class _Yardstick(NamedTuple):
    """What all comparisons with one reference share."""

    directions: FloatArray
    reach: FloatArray | None
    """Where draws are clipped, shape ``(column, 1)``; None where no column has heavy tails."""
    lines: _Lines
    deviation: FloatArray
    """A scale of each projection, shape ``(direction, 1)``."""


_YARDSTICKS: WeakKeyDictionary[JointReference, _Yardstick] = WeakKeyDictionary()


def _sliced(joint: Joint, q: Block, ref: Block) -> Estimate:
    """Return the mean Wasserstein distance over random directions, by quantiles.

    Quantile functions are compared at the midpoints of 500 levels; the error is that of the
    influence function averaged over directions, which share their draws.
    """
    yardstick = _YARDSTICKS.get(joint.reference)
    if yardstick is None:
        yardstick = _YARDSTICKS[joint.reference] = _yardstick(joint.reference.seed, ref)
    n, m = q.least_worth, ref.least_worth
    if math.isnan(n) or math.isnan(m):
        return NO_ESTIMATE
    levels = (np.arange(LEVELS) + 0.5) / LEVELS
    both = (_lines(_bounded(q, yardstick.directions, yardstick.reach)), yardstick.lines)
    deviation = yardstick.deviation
    own, theirs = (_at_levels(lines.ordered, levels) / deviation for lines in both)
    difference = own - theirs
    # The noise of a quantile is sqrt(u (1 − u) (1/n + 1/m)) times the slope of the function.
    slope = np.gradient((own + theirs) / 2, levels, axis=1)
    s = np.sqrt(levels * (1 - levels) * (1 / n + 1 / m)) * slope
    s = np.maximum(s, np.finfo(float).tiny)
    excess = np.abs(difference) - CHANCE * s * np.exp(-0.5 * (difference / s) ** 2)
    error = math.hypot(
        *(
            _sliced_sd(lines, deviation, grid, np.sign(difference)) / math.sqrt(size)
            for lines, grid, size in zip(both, (own, theirs), (n, m), strict=True)
        )
    )
    value = float(np.mean(np.mean(excess, axis=1)))
    if not (math.isfinite(value) and math.isfinite(error)):
        # Only squares or sums that overflow get here: effective sizes are checked above.
        return INFINITE
    return Estimate(value, error)


def _yardstick(seed: int, ref: Block) -> _Yardstick:
    directions = np.random.default_rng(seed).normal(size=(DIRECTIONS, len(ref.z)))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    # Where tails are so heavy that a column's mean is unknown.
    sds = [np.std(ref.flat[part], axis=1) for part in parts_of(len(ref.z))]
    heavy = np.concatenate(sds) > HEAVY
    reach = np.where(heavy, REACH, np.inf)[:, None] if np.any(heavy) else None
    projected = _bounded(ref, directions, reach)
    _, unit = centre_and_scale(projected)
    deviation = np.minimum(unit, np.std(projected, axis=1))[:, None]
    return _Yardstick(directions, reach, _lines(projected), deviation)


def _bounded(block: Block, directions: FloatArray, reach: FloatArray | None) -> FloatArray:
    """Return draws along directions, ``(direction, draw)``, clipped where columns are heavy."""

    def clipped(part: slice) -> FloatArray:
        x = block.flat[part]
        if reach is None:
            return x
        limit = reach[part].astype(x.dtype)
        return np.clip(x, -limit, limit)

    return block.projected(directions, clipped).astype(np.float64)


def _lines(projected: FloatArray) -> _Lines:
    step = -(-projected.shape[1] // SPREAD_DRAWS)
    return _Lines(ascending(projected), projected[:, ::step].copy())


def _at_levels(ordered: FloatArray, levels: FloatArray) -> FloatArray:
    return ordered[:, (levels * ordered.shape[1]).astype(np.int64)]


def _sliced_sd(lines: _Lines, deviation: FloatArray, grid: FloatArray, sign: FloatArray) -> float:
    """Return the sd of h averaged over directions, h' = sign(Q_q − Q) at each projection."""
    step = np.diff(grid, axis=1) * (sign[:, 1:] + sign[:, :-1]) / 2
    h = np.concatenate([np.zeros((len(grid), 1)), np.cumsum(step, axis=1)], axis=1)
    total = np.zeros(lines.some.shape[1])
    for x, at, height in zip(lines.some / deviation, grid, h, strict=True):
        total += np.interp(x, at, height)
    return float(np.std(total / len(grid)))


SLICED_W1 = Metric(
    id="sliced_w1",
    noun="mean Wasserstein distance of random linear combinations",
    unit="sd",
    scope="joint",
    measure=jointly(_sliced),
    rule=Rule(0.1, 0.5, "above", "random linear combinations of the quantities are that far off"),
    telling=15,
    clause=unless_infinite(
        lambda s, size: (
            f"random linear combinations of {s.method}'s draws are on average "
            f"{size} sd from where they should be"
        )
    ),
    brief=lambda _, size: f"random combinations {size} sd off on average",
)
