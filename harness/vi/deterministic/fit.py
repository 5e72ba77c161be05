"""Deterministic ADVI: from a target to the best optimum, its error and its basins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.records import FloatArray
from harness.vi.deterministic import sizes
from harness.vi.deterministic.basins import (
    ITERATIONS,
    Basin,
    compared,
    same,
    weigh,
)
from harness.vi.deterministic.curvature import Pattern
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.lbfgs import Steps
from harness.vi.deterministic.newton import Errors
from harness.vi.deterministic.polish import (
    Reached,
    Wanted,
    polish,
)
from harness.vi.deterministic.polish_large import polish_large
from harness.vi.deterministic.search import Begin, pattern_at, search
from harness.vi.deterministic.sizes import Settings
from harness.vi.deterministic.sparse import Full
from harness.vi.deterministic.starts import (
    StartError,
    starting_points,
)
from harness.vi.gaussian import Root
from harness.vi.sobol import base_blocks
from harness.vi.target import Clock, Target

TURNS = 3  # how often an optimum is polished, each time because another had a larger ELBO
WIDEST = 1e150
"""Sds from here on have no finite variance."""

IMPROPER = (
    "the posterior is flat or improper in some direction, or has a hard edge: give the "
    "parameters priors, and declare <lower=…, upper=…> where they end"
)
"""The message if there is no optimum, or no curvature at it."""

DIRECT_S = 5.0
"""Predicted seconds of a run from one of Stan's points above which q does not start there: far
from a maximum of log p, q needs many iterations. Only log p is then climbed from these points."""

FEW_EXTRA = 2  # the caller's starts that are used with such a target


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """The best mean-field Gaussian, and what is known about it."""

    mean: FloatArray  # of q, shape (d,)
    sd: FloatArray  # of q, shape (d,)
    covariance: FloatArray | None  # of linear response, (d, d); None without a definite Hessian
    root: Root | None  # of linear response where the covariance is not formed
    hessian: FloatArray | None  # of the negative ELBO in (mu / s, omega); None if not formed
    elbo: float  # nats
    errors: Errors  # what base draws leave
    error: float  # the largest of those that matter
    basins: tuple[Basin, ...]  # all optima found, best first
    values: Steps  # the optimiser's path, negative ELBO: on few base draws first, then on all
    settled: bool
    objective: Objective  # on all base draws
    refused: int  # the number of steps taken back from points without a density
    seconds_per_point: float  # expected seconds of one gradient, by which sizes were chosen

    @property
    def theta(self) -> FloatArray:
        """Means and log sds, shape ``(2 d,)``."""
        return np.concatenate([self.mean, np.log(self.sd)])


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def fit(
    target: Target,
    rng: np.random.Generator,
    clock: Clock,
    settings: Settings | None = None,
    wanted: Wanted = "response",
    extra: Sequence[FloatArray] = (),
) -> Optimum:
    """Return the best optimum of the deterministic ELBO.

    Several kinds of starts are followed on few base draws. The different optima are compared, and
    the best is polished by Newton's method on all base draws, whose number is doubled until their
    error is small, or ``most_draws`` or the time for Hessians is reached. ``extra`` are additional
    starts of q, means and log sds ``(2 d,)``, such as fits of other methods.

    Raises
    ------
    harness.vi.deterministic.StartError
        If no start leads to an optimum, q becomes infinitely wide, or the ELBO has no upper bound.
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    settings = Settings() if settings is None else settings
    d = target.dimension
    points = starting_points(target, 12, rng)
    seconds = settings.seconds or sizes.least_seconds(d)
    blocks, size = sizes.layout(d, settings.draws, seconds)
    climbs, peaks, direct = sizes.starts(settings.starts, seconds)
    if climbs > len(points):
        points = np.concatenate([points, starting_points(target, climbs - len(points), rng)])
    objective = Objective(target, base_blocks(d, blocks, size, rng), clock)
    few = base_blocks(d, 1, sizes.SCOUTS, rng) if size > sizes.SCOUTS else objective.eps[:1]
    scout = Objective(target, few, clock)
    if ITERATIONS * few.shape[1] * seconds > DIRECT_S:
        direct, extra = 0, extra[:FEW_EXTRA]
    begin = Begin(points[:climbs], peaks, direct, extra, sizes.looks(d, seconds), seconds)
    found, pattern = search(scout, begin, settings.dense_limit, rng)
    of_pattern = found[0]
    refused = scout.refused
    found = _compared(objective, found, seconds)
    for turn in range(TURNS):
        begun = objective
        if not same(found[0].theta, of_pattern.theta):
            # More base draws put another basin first.
            of_pattern = found[0]
            pattern = pattern_at(scout, of_pattern, pattern, settings.dense_limit, rng)
        if isinstance(pattern, Pattern) and pattern.colours == d > sizes.LARGEST_MATCHED // 2:
            # Its Hessian from fewer base draws than parameters may not be definite.
            pattern = Full(d)
        # In the last turn all ELBOs stay on the same base draws.
        more = rng if turn < TURNS - 1 else None
        if isinstance(pattern, Pattern):
            reached = polish(objective, found[0], pattern, seconds, settings, wanted, more)
        else:
            reached = polish_large(objective, found[0], pattern, seconds, settings, wanted, more)
        objective = reached.objective
        refused += reached.refused
        top, others = _polished_basin(found[0], reached), found[1:]
        if others and objective is not begun:
            others = _compared(objective, others, seconds)
        if not others or max(b.elbo for b in others) <= top.elbo:
            break
        found = sorted([top, *others], key=lambda b: -b.elbo)
    return _optimum(top, others, reached, seconds, refused)


def _compared(objective: Objective, found: list[Basin], seconds: float) -> list[Basin]:
    return compared(objective, found, cheap=objective.draws * seconds < sizes.CHEAP_S)


def _polished_basin(best: Basin, reached: Reached) -> Basin:
    elbo = -math.inf if math.isnan(reached.value) else -reached.value
    return replace(best, theta=reached.theta, elbo=elbo)


def _optimum(
    top: Basin, others: list[Basin], reached: Reached, seconds: float, refused: int
) -> Optimum:
    """Put the result together; raise :class:`StartError` if q or its variances are not finite."""
    d = len(top.theta) // 2
    with np.errstate(over="ignore"):
        sd = np.exp(top.theta[d:])
    if not (np.isfinite(top.theta).all() and np.all(sd < WIDEST) and math.isfinite(top.elbo)):
        raise StartError(IMPROPER)
    covariance = reached.covariance
    return Optimum(
        mean=top.theta[:d],
        sd=sd,
        covariance=None if covariance is None else covariance * np.outer(sd, sd),
        root=reached.root,
        hessian=reached.hessian,
        elbo=top.elbo,
        errors=reached.errors,
        error=reached.error,
        basins=tuple(weigh(reached.objective.target, [top, *others])),
        values=(*top.values, *reached.values[1:]),
        settled=reached.settled,
        objective=reached.objective,
        refused=refused + reached.objective.refused,
        seconds_per_point=seconds,
    )
