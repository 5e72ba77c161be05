"""Deterministic ADVI: from a target to the best optimum, its error and its basins."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from harness.vi.deterministic.base_draws import base_blocks
from harness.vi.deterministic.basins import (
    ITERATIONS,
    Basin,
    StartError,
    find_basins,
    merge,
    starting_points,
    weigh,
)
from harness.vi.deterministic.conjugate_gradients import hessian_product, solve
from harness.vi.deterministic.curvature import Pattern, dense, find_pattern
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.lbfgs import Steps, lbfgs
from harness.vi.deterministic.newton import Errors, Polished, covariance_in_units, errors, newton

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records import FloatArray
    from harness.vi.target import Clock, Target

Wanted = Literal["meanfield", "response"]
"""Whose error must be small: that of the mean-field sds, or of linear response's."""

SLOWER = 20.0
"""Times the expected seconds of a gradient from which those measured count."""

REPEATS, ENOUGH_S = 5, 0.05
"""How often a batch of gradients is timed, and the seconds after which it is not once more."""

SCOUT_S = 0.002
"""Seconds of an evaluation of the ELBO while starts are tried: few base draws are enough."""

COMPARED = 4
"""Optima that are compared after optimising them on all base draws."""

NARROWED = 12
"""How often a q too wide to be evaluated on all base draws is halved."""

TURNS = 3
"""How often an optimum may be polished because the one before turned out to be lower."""

IMPROPER = (
    "the posterior is flat or improper in some direction, or has a hard edge: give the "
    "parameters priors, and declare <lower=…, upper=…> where they end"
)
"""What is said where there is no optimum, or no curvature at it."""

DIRECT_S = 5.0
"""Seconds of all iterations of one start of q at Stan's own point beyond which there is none:
far from a maximum of log p, q needs many; such targets are only climbed from there."""

FEW_EXTRA = 2
"""Starts of the caller's that are taken on such a target."""

SPARSE_FROM_S = 0.5
"""Seconds of a dense Hessian of the ELBO from which it pays to look for zeros in it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a fit may spend.

    Attributes
    ----------
    error
        The largest error that base draws may leave: of means in posterior sds, of ln sd.
    draws
        Base draws to begin with, in blocks that are scrambles of their own; 0 means by the
        seconds an evaluation takes.
    most_draws
        Where doubling ends.
    starts
        Points from which log p is climbed; 0 means by the seconds an evaluation takes.
    dense_limit
        The dimension up to which Hessians are formed.
    curvature_s
        Seconds that the Hessian of the ELBO may take by prediction; where all base draws would
        take longer, it is that of fewer.
    seconds
        Of one gradient in a batch, as its sizes let expect; 0: measured. What is expected is the
        same on a busy machine, and so is then what is fitted.
    """

    error: float = 0.05
    draws: int = 0
    most_draws: int = 8192
    starts: int = 0
    dense_limit: int = 300
    curvature_s: float = 20.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """The best mean-field Gaussian, and what is known about it.

    Attributes
    ----------
    mean, sd
        Of q, shape ``(d,)``.
    covariance
        Of linear response, ``(d, d)``; None where the Hessian is not positive definite or was
        not formed.
    hessian
        Of the negative ELBO in ``(mu / s, omega)``; None where it was not formed.
    elbo
        Nats.
    errors
        That base draws leave.
    error
        The largest of those that count.
    basins
        All that were found, the best first.
    values
        The optimiser's path, negative ELBO: on few base draws first, then on all.
    settled
        Whether the optimum was reached.
    objective
        On all base draws.
    """

    mean: FloatArray
    sd: FloatArray
    covariance: FloatArray | None
    hessian: FloatArray | None
    elbo: float
    errors: Errors
    error: float
    basins: tuple[Basin, ...]
    values: Steps
    settled: bool
    objective: Objective
    refused: int
    seconds_per_point: float

    @property
    def theta(self) -> FloatArray:
        """Means and log sds, shape ``(2 d,)``."""
        return np.concatenate([self.mean, np.log(self.sd)])


def seconds_per_point(target: Target, z: FloatArray) -> float:
    """Return the seconds of one gradient in a batch of points ``z``.

    The quickest of several, where they are quick: what is decided by it should not hang on what
    else the machine was doing.
    """
    found, spent = [], 0.0
    for _ in range(REPEATS):
        begin = time.perf_counter()
        target.log_density_gradient(z)
        found.append(time.perf_counter() - begin)
        spent += found[-1]
        if spent > ENOUGH_S:
            break
    return min(found) / len(z)


def _seconds(target: Target, z: FloatArray, expected: float) -> float:
    """Return the seconds of a gradient by which sizes are chosen.

    Only where the target is far slower than expected (it solves differential equations, say) is
    it what was measured, and then in powers of ten, so that two runs seldom differ.
    """
    found = seconds_per_point(target, z)
    if not expected:
        return found
    return expected if found <= SLOWER * expected else 10.0 ** math.ceil(math.log10(found))


def _layout(d: int, draws: int, seconds: float) -> tuple[int, int]:
    """Return how many blocks of how many base draws to begin with."""
    if draws:
        blocks = 8 if draws >= 128 else 4  # noqa: PLR2004
        return blocks, max(4, 2 ** int(math.log2(max(draws // blocks, 4))))
    # Twice as many pairs as dimensions match the second moment, if they can be had.
    size = max(32, 2 ** math.ceil(math.log2(4 * d)))
    while size > 16 and size * seconds > 0.15:  # noqa: PLR2004
        size //= 2
    size = min(size, 512)
    return (8 if 8 * size * seconds < 0.05 and size <= 64 else 4), size  # noqa: PLR2004


def _starts(wanted: int, seconds: float) -> tuple[int, int, int]:
    """Return points to climb from, maxima to use, and points to start q from directly."""
    steps = ((5e-5, (12, 6, 2)), (1e-4, (8, 4, 2)), (4e-3, (4, 3, 1)))
    found = next((n for limit, n in steps if seconds < limit), (2, 2, 1))
    return (wanted, max(found[1], min(wanted, 6)), found[2]) if wanted else found


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

    Starts of several kinds are run on few base draws; the different optima are compared, and
    the best is polished by Newton's method on all of them. Their number is doubled until the
    error they leave is small, or ``most_draws`` or the time for Hessians is reached.

    Parameters
    ----------
    extra
        Further starts of q, ``(2 d,)`` means and log sds: other people's fits, say. Where the
        target is slow only the first ``FEW_EXTRA`` are taken.

    Raises
    ------
    harness.vi.deterministic.basins.StartError
        If no start leads anywhere, or q becomes infinitely wide.
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    settings = Settings() if settings is None else settings
    d = target.dimension
    points = starting_points(target, 12, rng)
    seconds = _seconds(target, points, settings.seconds)
    blocks, size = _layout(d, settings.draws, seconds)
    climb, peaks, direct = _starts(settings.starts, seconds)
    if climb > len(points):
        points = np.concatenate([points, starting_points(target, climb - len(points), rng)])
    objective = Objective(target, base_blocks(d, blocks, size, rng), clock)
    scout = objective.first(1)
    scouts = 2 ** int(math.log2(min(max(SCOUT_S / seconds, 8), size)))
    if scouts < size:
        scout = Objective(target, base_blocks(d, 1, scouts, rng), clock)
    if ITERATIONS * scouts * seconds > DIRECT_S:
        direct, extra = 0, extra[:FEW_EXTRA]
    found = find_basins(
        scout,
        points[:climb],
        peaks=peaks,
        direct=direct,
        dense_limit=settings.dense_limit,
        extra=extra,
    )
    found = _compared(objective, found, seconds)
    if d > settings.dense_limit:
        return _large(objective, found, seconds, scout.refused)
    pattern = _pattern(target, found[0].theta, seconds, objective, rng)
    refused = scout.refused
    for turn in range(TURNS):
        begun = objective
        # In the last turn all ELBOs stay on the same base draws.
        more = rng if turn < TURNS - 1 else None
        reached = _reached(objective, found[0], pattern, seconds, settings, wanted, more)
        objective, polished = reached.objective, reached.polished
        refused += reached.refused
        value, _ = objective(polished.theta)
        top = replace(found[0], theta=polished.theta, elbo=_elbo(value))
        others = found[1:]
        if others and objective is not begun:
            others = _compared(objective, others, seconds)
        if not others or max(b.elbo for b in others) <= top.elbo:
            break
        found = sorted([top, *others], key=lambda b: -b.elbo)
    sd = np.exp(polished.theta[d:])
    _proper(top)
    covariance = None
    if polished.definite:
        # A matrix whose smallest eigenvalue is rounding may have no factor.
        with contextlib.suppress(np.linalg.LinAlgError):
            covariance = covariance_in_units(polished.hessian) * np.outer(sd, sd)
    return Optimum(
        mean=polished.theta[:d],
        sd=sd,
        covariance=covariance,
        hessian=polished.hessian,
        elbo=top.elbo,
        errors=reached.errors,
        error=reached.error,
        basins=tuple(weigh(target, [top, *others])),
        values=(*top.values, *polished.values[1:]),
        settled=polished.settled,
        objective=objective,
        refused=refused + objective.refused,
        seconds_per_point=seconds,
    )


class _Reached(NamedTuple):
    """A polished optimum, on as many base draws as its error asked for.

    ``refused`` counts the steps taken back on the smaller sets.
    """

    objective: Objective
    polished: Polished
    errors: Errors
    error: float
    refused: int


def _reached(
    objective: Objective,
    best: Basin,
    pattern: Pattern,
    seconds: float,
    settings: Settings,
    wanted: Wanted,
    rng: np.random.Generator | None,
) -> _Reached:
    """Polish an optimum; double the base draws while they leave too much, unless rng is None."""
    refused = 0
    while True:
        polished, used = _polished(objective, best, pattern, seconds, settings)
        cost = objective.draws * (pattern.colours + 1) * seconds
        known = errors(objective, polished, pattern, used, shifted=cost < 1.0)
        error = _largest(known, wanted)
        enough = error <= settings.error or 2 * objective.draws > settings.most_draws
        if rng is None or enough or 2 * cost > settings.curvature_s:
            return _Reached(objective, polished, known, error, refused)
        refused += objective.refused
        best = replace(best, theta=polished.theta)
        blocks, size, d = objective.eps.shape
        extra = base_blocks(d, blocks, size, rng)
        eps = np.concatenate([objective.eps, extra])
        objective = Objective(objective.target, eps, objective.clock)


def _compared(objective: Objective, found: list[Basin], seconds: float) -> list[Basin]:
    """Return the basins in the order of their ELBO on all base draws.

    Where an evaluation is cheap the first few are optimised there, else those of them that are
    modes of their own; the others are only evaluated. What a few base draws gave is biased
    upwards and is never kept beside them.
    """
    cheap = objective.draws * seconds < 0.05  # noqa: PLR2004
    found = weigh(objective.target, found)
    chosen = (found if cheap else [b for b in found if b.separate])[:COMPARED]
    again = []
    for basin in found:
        iterations = 50 if any(basin is b for b in chosen) else 0
        theta = basin.theta
        for _ in range(NARROWED if iterations else 1):
            path = lbfgs(
                objective, theta, metric=basin.metric, tolerance=1e-4, iterations=iterations
            )
            if math.isfinite(path.value):
                elbo, values = -path.value, (*basin.values, *path.values[1:])
                again.append(replace(basin, theta=path.x, elbo=elbo, values=values))
                break
            theta = _narrower(theta)
    return merge(again) if again else found


def _narrower(theta: FloatArray) -> FloatArray:
    """Return q with half the sds: what a pilot's few draws allowed, all of them may not."""
    d = len(theta) // 2
    return np.concatenate([theta[:d], theta[d:] - math.log(2)])


def _elbo(value: float) -> float:
    """Return the ELBO of a negative one, minus infinity where that is no number."""
    return -math.inf if math.isnan(value) else -value


def _proper(best: Basin) -> None:
    """Raise :class:`StartError` where q has left for infinity."""
    d = len(best.theta) // 2
    with np.errstate(over="ignore"):
        finite = bool(np.isfinite(best.theta).all() and np.isfinite(np.exp(best.theta[d:])).all())
    if not (finite and math.isfinite(best.elbo)):
        raise StartError(IMPROPER)


def _pattern(
    target: Target,
    theta: FloatArray,
    seconds: float,
    objective: Objective,
    rng: np.random.Generator,
) -> Pattern:
    d = target.dimension
    if d <= 8 or objective.draws * d * seconds < SPARSE_FROM_S:  # noqa: PLR2004
        return dense(d)
    sd = np.exp(theta[d:])
    return find_pattern(target, theta[:d] + sd * rng.standard_normal((10, d)), sd)


def _polished(
    objective: Objective, best: Basin, pattern: Pattern, seconds: float, settings: Settings
) -> tuple[Polished, int]:
    """Return the optimum on all base draws, and how many of each block its Hessian used."""
    blocks, size, _ = objective.eps.shape
    used = size
    while used > 4 and blocks * used * (pattern.colours + 1) * seconds > settings.curvature_s:  # noqa: PLR2004
        used //= 2
    value, _ = objective(best.theta)
    theta = best.theta
    if not math.isfinite(value):
        for _ in range(NARROWED):
            theta = _narrower(theta)
            path = lbfgs(objective, theta, metric=best.metric)
            if math.isfinite(path.value):
                theta = path.x
                break
    polished = newton(objective, theta, pattern, used)
    if not (polished.settled and polished.definite):
        path = lbfgs(objective, polished.theta, metric=best.metric, tolerance=1e-7, iterations=500)
        polished = newton(objective, path.x, pattern, used)
    return polished, used


def _largest(known: Errors, wanted: Wanted) -> float:
    widths = known.log_sd if wanted == "meanfield" else known.log_response
    worst = np.array([known.mean.max(), widths.max()])
    return float(worst.max()) if np.isfinite(worst).all() else math.inf


def _large(objective: Objective, found: list[Basin], seconds: float, refused: int) -> Optimum:
    """Return the optimum where no Hessian is formed: polished by truncated Newton steps."""
    d = objective.dimension
    best = found[0]
    path = lbfgs(objective, best.theta, metric=best.metric, tolerance=1e-5, iterations=500)
    theta, units = path.x, np.ones(2 * d)
    units[:d] = np.exp(theta[d:])
    product = hessian_product(objective, theta)
    value, gradient = objective.by_block(theta)
    common, ended = solve(product, gradient.mean(axis=0) * units)
    solved = ended == "solved"
    theta_new = theta - common * units
    trial, _ = objective(theta_new)
    if solved and trial <= float(value.mean()):
        theta = theta_new
    blocks = len(value)
    steps = np.stack([solve(product, g * units)[0] - common for g in gradient])
    spread = np.sqrt((steps**2).sum(axis=0) / (blocks - 1) / blocks)
    if ended == "curvature" and not path.converged:
        # No optimum: what the blocks agree on says nothing of its error.
        spread[:] = np.inf
    known = Errors(
        spread[:d], spread[d:], np.full(d, np.nan), float(value.std(ddof=1)) / math.sqrt(blocks)
    )
    elbo = -min(trial, float(value.mean())) if solved else -float(value.mean())
    top = replace(best, theta=theta, elbo=_elbo(-elbo))
    if any(b.elbo > top.elbo for b in found[1:]):
        # Polishing only raises an ELBO: the next one is then the best.
        again = sorted([top, *found[1:]], key=lambda b: -b.elbo)
        return _large(objective, again, seconds, refused)
    _proper(top)
    return Optimum(
        mean=theta[:d],
        sd=np.exp(theta[d:]),
        covariance=None,
        hessian=None,
        elbo=elbo,
        errors=known,
        error=_largest(known, "meanfield"),
        basins=tuple(weigh(objective.target, [top, *found[1:]])),
        values=(*best.values, *path.values[1:]),
        settled=path.converged,
        objective=objective,
        refused=refused + objective.refused,
        seconds_per_point=seconds,
    )
