"""Climbs of log p from far starts: which of them lead to a basin that is not known yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.records import FloatArray
from harness.vi.deterministic.basins import HOPELESS, Basin
from harness.vi.deterministic.climb import climb, dips
from harness.vi.deterministic.starts import Start
from harness.vi.target import Clock, Target

WIDER = 10.0
"""Nats for each parameter that log p at the end of a climb may lie below the best basin's: a mode
of as much mass would be e¹⁰ times as wide in each."""

BULK, MARGIN = 0.5, 10.0
"""Log p of nearly all draws of a Gaussian is within ``BULK`` nats for each parameter and
``MARGIN`` of its maximum."""

CLIMB = 60  # the largest number of iterations of a climb of log p from a far start


def beyond_valleys(
    target: Target,
    starts: Sequence[Start],
    known: Sequence[Basin],
    seen: Sequence[FloatArray],
    clock: Clock,
) -> tuple[list[Basin], list[Start]]:
    """Climb log p from starts; return the known basins and the starts that lead elsewhere.

    A climb costs one gradient a step where an optimisation of the ELBO costs many. If no valley
    lies between its end and a known basin, it counts as one of that basin's starts, and if none
    lies between it and one of the points ``seen``, q has started there already. Otherwise q starts
    at its end; where there is no density, no q does.
    """
    if not starts:
        return list(known), []
    d, means = target.dimension, np.stack([b.theta[: target.dimension] for b in known])
    widths = np.exp(2 * known[0].theta[d:])
    level = target.log_density(means)
    lead = np.full(len(starts), -1)  # the basin that a climb has arrived in

    def arrived(rows: NDArray[np.intp], points: FloatArray, value: FloatArray) -> NDArray[np.bool_]:
        """Say which climbs are in the bulk of the nearest basin, without a valley on the way."""
        square = np.stack([((points - m) ** 2 / widths).sum(axis=1) for m in means])
        nearest = square.argmin(axis=0)
        for i in np.flatnonzero(value > level[nearest] - BULK * d - MARGIN).tolist():
            if not dips(target, means[nearest[i]], points[i]):
                lead[rows[i]] = nearest[i]
        return lead[rows] >= 0

    points = np.stack([start.theta[:d] for start in starts])
    # A density without a maximum is climbed little higher than the maximum of a Gaussian.
    top = float(level.max()) + BULK * d + MARGIN
    ends = climb(
        target, points, clock, covariance=widths, tolerance=0.1, iterations=CLIMB, enough=top,
        arrived=arrived,
    )  # fmt: skip
    floor = np.nan_to_num(level[0], nan=-np.inf) - HOPELESS - WIDER * d
    counted, left = list(known), []
    for start, z, value, basin in zip(starts, ends.z, ends.value, lead.tolist(), strict=True):
        # Without a density no q starts there, and with hardly any in vain.
        if not floor < value < math.inf:
            continue
        home = basin if basin >= 0 else _home(target, means, z)
        if home is not None:
            counted[home] = replace(counted[home], starts=counted[home].starts + 1)
        elif all(dips(target, point, z) for point in seen):
            left.append(start._replace(theta=np.concatenate([z, start.theta[d:]])))
    return counted, left


def _home(target: Target, means: FloatArray, z: FloatArray) -> int | None:
    """Return the first mean to which log p has no valley from a point, if there is one."""
    return next((i for i, mean in enumerate(means) if not dips(target, mean, z)), None)
