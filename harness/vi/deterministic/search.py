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
    beyond_valleys,
    find_basins,
    settle,
    valley,
)
from harness.vi.deterministic.curvature import Pattern
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.polish import hessian_pattern, informed
from harness.vi.deterministic.starts import Start, StartError, far_starts, start_at, usual_starts

ROUND, ROUNDS = 25, 8
"""Iterations from the first start before its coordinates are whitened, and how often that is."""

FAR_STARTS = 8  # starts far from the best basin for each direct start
FAR_ITERATIONS = 75  # the largest number of iterations from them


class Begin(NamedTuple):
    """Where a search begins."""

    points: FloatArray  # of Stan's kind, shape (point, d): log p is climbed from them
    peaks: int  # the largest number of maxima of log p that q starts at
    direct: int  # the points at which q starts directly
    extra: Sequence[FloatArray]  # further starts, means and log sds (2 d,)


def search(
    scout: Objective, begin: Begin, dense_limit: int, rng: np.random.Generator
) -> tuple[list[Basin], Pattern | None]:
    """Return the optima found, best first, and the pattern of the Hessian of log p.

    The first optimum gives the coordinates in which the other starts are followed. Starts that
    climbs of log p show to lie in a known basin are not followed. The pattern is None in more than
    ``dense_limit`` dimensions.

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
    first, starts, pattern = _first(scout, starts, dense_limit, rng)
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
    if pattern is not None:
        found = [_own(scout, b, found[0], pattern) for b in found[:COMPARED]] + found[COMPARED:]
    return found, pattern


def _own(scout: Objective, basin: Basin, best: Basin, pattern: Pattern) -> Basin:
    """Give a separate mode of some mass coordinates of its own."""
    known = basin.informed or not basin.converged or basin.elbo < best.elbo - HOPELESS
    if known or not valley(scout.target, best, basin):
        return basin
    return informed(scout, basin, pattern)


def _first(
    scout: Objective, starts: Sequence[Start], dense_limit: int, rng: np.random.Generator
) -> tuple[Basin, list[Start], Pattern | None]:
    """Return the optimum of the first usable start, the starts after it, and the Hessian's pattern.

    The coordinates are whitened by the curvature around q once more after every few iterations.

    Raises
    ------
    StartError
        If no start leads to an optimum.
    """
    for i, start in enumerate(starts):
        basin = settle(scout, start.theta, start.metric, (), ROUND)
        if basin is None:
            continue
        pattern = None
        if scout.dimension <= dense_limit:
            pattern = hessian_pattern(scout, basin.theta, rng)
        for _ in range(ROUNDS):
            if pattern is not None:
                basin = informed(scout, basin, pattern)
            if basin.converged:
                break
            more = settle(scout, basin.theta, basin.metric, (), ROUND)
            if more is not None:
                basin = replace(
                    more, values=(*basin.values, *more.values[1:]), informed=basin.informed
                )
        return basin, list(starts[i + 1 :]), pattern
    raise StartError(NOWHERE)
