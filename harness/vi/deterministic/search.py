"""The search for optima of the ELBO on few base draws: near starts, then far ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from harness.records import FloatArray
from harness.vi.deterministic.basins import (
    COMPARED,
    HOPELESS,
    NOWHERE,
    Basin,
    find_basins,
    jagged,
    same,
    settle,
    valley,
)
from harness.vi.deterministic.beyond import beyond_valleys
from harness.vi.deterministic.climb import dips
from harness.vi.deterministic.curvature import Pattern
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.polish import AnyPattern, hessian_pattern, informed, still_pattern
from harness.vi.deterministic.sizes import DENSE_LIMIT, Looks, worth_looking
from harness.vi.deterministic.sparse import Full
from harness.vi.deterministic.starts import (
    Start,
    StartError,
    far_starts,
    start_at,
    start_at_maximum,
    usual_starts,
)
from harness.vi.far import densest_in_shells, peaks_on_lines, wide_points

ROUND, LONG_ROUND, CHEAP = 10, 25, 40
"""Iterations from the first start before its coordinates are whitened, where a Hessian of log p
costs at most ``CHEAP`` evaluations of the ELBO and where it costs more."""

FOLLOWED = 200  # the largest number of iterations from the first start after the first round
FEW_ROUNDS = 2  # the same in many dimensions where the Hessian has no zeros

FAR_STARTS = 8  # starts far from the best basin for each direct start
FAR_ITERATIONS = 75  # the largest number of iterations from them
PEAKS, SHELLS = 16, 16
"""Peaks on lines from which log p is climbed, at most, and points that are the densest of those
about as far away."""


AT_ONCE = 500
"""Densities between looks at the clock."""


class Begin(NamedTuple):
    """Where a search begins."""

    points: FloatArray  # of Stan's kind, shape (point, d): log p is climbed from them
    peaks: int  # the largest number of maxima of log p that q starts at
    direct: int  # the points at which q starts directly
    extra: Sequence[FloatArray]  # further starts, means and log sds (2 d,)
    looks: Looks  # densities far from the best basin
    seconds: float  # of a gradient


def search(
    scout: Objective, begin: Begin, dense_limit: int, rng: np.random.Generator
) -> tuple[list[Basin], AnyPattern | None]:
    """Return the optima found, best first, and the pattern of the Hessian of log p.

    The first optimum gives the coordinates in which the other starts are followed. Starts that
    climbs of log p show to lie in a known basin are not followed. The pattern is None where even
    looking for it takes too long.

    Raises
    ------
    StartError
        If no start leads to an optimum.
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    target, d, clock = scout.target, scout.dimension, scout.clock
    starts, left = usual_starts(target, begin.points, begin.peaks, begin.direct, dense_limit, clock)
    seen = [start.theta[:d] for start in starts if start.informed]
    starts += [start_at(theta) for theta in begin.extra]
    first, starts, pattern = _first(scout, starts, dense_limit, begin.seconds, rng)
    if first.informed:
        starts = [s if s.informed else s._replace(metric=first.metric) for s in starts]
    found = find_basins(scout, starts, [first])
    # Where all of Stan's points lead to one mode, only starts far away may lead to another.
    best = found[0]
    far = far_starts(best.theta, begin.direct * FAR_STARTS, rng.spawn(1)[0])
    far += [start_at(np.concatenate([z, best.theta[d:]])) for z in left]
    found, far = beyond_valleys(target, far, found, seen, clock)
    far = [start._replace(metric=best.metric) if best.informed else start for start in far]
    found = find_basins(scout, far, found, FAR_ITERATIONS, far=True)
    found = _from_afar(scout, found, begin.looks, seen, dense_limit, rng.spawn(1)[0])
    # Of rounding errors alone there is nothing to fit; the caller then says what it finds.
    found = [b for b in found if not jagged(scout, b)] or found
    if not same(found[0].theta, first.theta):
        pattern = pattern_at(scout, found[0], pattern, dense_limit, rng)
    if pattern is not None:
        found = [_own(scout, b, found[0], pattern) for b in found[:COMPARED]] + found[COMPARED:]
    return found, pattern


def pattern_at(
    scout: Objective,
    best: Basin,
    pattern: AnyPattern | None,
    dense_limit: int,
    rng: np.random.Generator,
) -> AnyPattern | None:
    """Return the pattern at the best optimum, where it may have fewer zeros than at the first."""
    if isinstance(pattern, Pattern):
        return still_pattern(scout, best.theta, pattern)
    if pattern is None or isinstance(pattern, Full):
        return pattern
    return hessian_pattern(scout, best.theta, dense_limit, rng.spawn(1)[0])


def _from_afar(
    scout: Objective,
    found: list[Basin],
    looks: Looks,
    seen: Sequence[FloatArray],
    dense_limit: int,
    rng: np.random.Generator,
) -> list[Basin]:
    """Return the optima with those that high densities far from the best lead to."""
    target, d = scout.target, scout.dimension
    mean, log_sd = found[0].theta[:d], found[0].theta[d:]
    sd = np.exp(log_sd)

    def density(u: FloatArray) -> FloatArray:
        value = np.empty(len(u))
        for i in range(0, len(u), AT_ONCE):
            scout.clock.check()
            value[i : i + AT_ONCE] = target.log_density(mean + sd * u[i : i + AT_ONCE])
        return np.where(np.isfinite(value), value, -np.inf)

    wide = wide_points(d, looks.wide, rng)
    high = [
        densest_in_shells(wide, density(wide), SHELLS),
        peaks_on_lines(density, d, looks.lines, rng)[:PEAKS],
    ]
    places = mean + sd * np.concatenate(high)
    begun = [start_at(np.concatenate([z, log_sd])) for z in places]
    found, left = beyond_valleys(target, begun, found, seen, scout.clock)
    starts: list[Start] = []
    for start in left:
        if all(dips(target, other.theta[:d], start.theta[:d]) for other in starts):
            starts.append(start)
    # A mode that other starts miss is narrow in many directions, so that the best sds are too wide.
    starts = [start_at_maximum(target, start, dense_limit) for start in starts]
    return find_basins(scout, starts, found, FAR_ITERATIONS, far=True)


def _own(scout: Objective, basin: Basin, best: Basin, pattern: AnyPattern) -> Basin:
    """Give a separate mode of some mass coordinates of its own."""
    known = basin.informed or not basin.converged or basin.elbo < best.elbo - HOPELESS
    if known or not valley(scout.target, best, basin):
        return basin
    return informed(scout, basin, pattern)


def _first(
    scout: Objective,
    starts: Sequence[Start],
    dense_limit: int,
    seconds: float,
    rng: np.random.Generator,
) -> tuple[Basin, list[Start], AnyPattern | None]:
    """Return the optimum of the first usable start, the starts after it, and the Hessian's pattern.

    The coordinates are whitened by the curvature around q once more after every few iterations.

    Raises
    ------
    StartError
        If no start leads to an optimum.
    """
    d = scout.dimension
    for i, start in enumerate(starts):
        length = ROUND if d <= dense_limit else LONG_ROUND
        basin = settle(scout, start.theta, start.metric, (), length)
        if basin is None:
            continue
        pattern = None
        if d <= dense_limit or worth_looking(d, seconds):
            pattern = hessian_pattern(scout, basin.theta, dense_limit, rng)
        if length == ROUND and not (isinstance(pattern, Pattern) and pattern.colours <= CHEAP):
            length = LONG_ROUND
            basin = basin if basin.converged else _further(scout, basin, length - ROUND)
        # A metric of many parameters without zeros is dear.
        turns = FEW_ROUNDS if isinstance(pattern, Full) else FOLLOWED
        if isinstance(pattern, Full) and d > DENSE_LIMIT:
            turns = 0
        for turn in range(FOLLOWED // length):
            begun = basin.theta
            if pattern is not None and turn < turns:
                basin = informed(scout, basin, pattern)
            if basin.converged and basin.theta is begun:
                break
            basin = _further(scout, basin, length)
        if isinstance(pattern, Pattern):
            pattern = still_pattern(scout, basin.theta, pattern)
        return basin, list(starts[i + 1 :]), pattern
    raise StartError(NOWHERE)


def _further(scout: Objective, basin: Basin, iterations: int) -> Basin:
    """Return where more iterations lead."""
    more = settle(scout, basin.theta, basin.metric, (), iterations)
    if more is None:
        return basin
    return replace(more, values=(*basin.values, *more.values[1:]), informed=basin.informed)
