"""q*: the best Gaussian of a family for a target, searched from all known starts.

The mean-field search is :func:`harness.vi.deterministic.fit`. The full-rank search maximises the
deterministic ELBO up to ``FULLRANK_LIMIT`` parameters, and above that takes averaged stochastic
steps. The ELBO of q* is a lower bound on the family's best. Fits of other methods serve as starts
and as candidates, so none of them can have a larger ELBO than q*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.records import Estimate, FloatArray
from harness.records.text import number
from harness.vi import deterministic, loop
from harness.vi.deterministic import Optimum
from harness.vi.deterministic.basins import Basin, modes_of, same, settle
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.fullrank import FULLRANK_LIMIT
from harness.vi.elbo import elbos
from harness.vi.families import FullRank
from harness.vi.gaussian import Gaussian, pulled_back
from harness.vi.optimisers import Adam
from harness.vi.sobol import base_blocks
from harness.vi.target import Clock, Target, TimeLimitError

SHORTFALL = 0.005  # nats below the family's best at which more base draws are taken
MOST_DRAWS = 8192

SEVERAL = 8  # the largest number of other methods' fits to start from
SLOW_S = 3e-4  # seconds of a gradient above which candidates are compared on few base draws
STOCHASTIC_S = 10.0  # seconds of stochastic steps, used with more than FULLRANK_LIMIT parameters
CLIMB_BLOCKS, CLIMB_DRAWS = 8, 64  # base draws of a climb

ARRIVED = 1.5  # the largest log ratio of a fit's sd to the sd of an optimum whose basin it is in
NEAR = 0.2  # distance in sds, and log ratio of sds, below which two starts count as the same
STEPS, LEAST_STEPS = 4000, 200
RATE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The best Gaussian found."""

    q: Gaussian  # on the unconstrained scale
    optimum: Optimum  # the mean-field optimum that the search started from, with its basins
    shortfall: float  # approximate nats by which it may lie below the family's best
    words: str = ""  # why it may not be the best; empty if there is no doubt

    @property
    def modes(self) -> list[Basin]:
        """The separate modes that count."""
        return modes_of(self.optimum.basins)


def best_meanfield(
    target: Target,
    rng: np.random.Generator,
    clock: Clock,
    *,
    starts: Sequence[Gaussian] = (),
    seconds: float = 0.0,
) -> Best:
    """Return the best mean-field Gaussian.

    The search also starts from ``starts``, the posterior's moments first, then fits. ``seconds``
    are those expected of a gradient; see :class:`harness.vi.deterministic.Settings`.

    Raises
    ------
    harness.vi.deterministic.StartError, harness.vi.target.TimeLimitError
        See :func:`harness.vi.deterministic.fit`.
    """
    d = target.dimension
    # An error e in each of d means (curvature 1) and d log sds (curvature 2) costs 3/2 d e² nats.
    wanted = min(0.05, math.sqrt(SHORTFALL / (1.5 * d)))
    settings = deterministic.Settings(error=wanted, most_draws=MOST_DRAWS, seconds=seconds)
    extra = [q.theta for q in different(starts)]
    optimum = deterministic.fit(target, rng, clock, settings, "meanfield", extra)
    errors = optimum.errors
    shortfall = float(0.5 * np.sum(errors.mean**2) + np.sum(errors.log_sd**2))
    if not math.isfinite(shortfall):
        # An ELBO without a top has no best member.
        raise deterministic.StartError(deterministic.IMPROPER)
    words = ""
    if not optimum.settled:
        words = "the search for the best mean-field Gaussian has not converged"
    elif not shortfall <= 2 * SHORTFALL:
        words = f"the best mean-field Gaussian may be {number(shortfall)} nats better than q*"
    return Best(Gaussian(optimum.mean, optimum.sd), optimum, shortfall, words)


def best_fullrank(
    target: Target,
    rng: np.random.Generator,
    clock: Clock,
    meanfield: Best,
    *,
    starts: Sequence[Gaussian] = (),
) -> Best:
    """Return the best full-rank Gaussian, searched from the best mean-field one and ``starts``.

    Raises
    ------
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    d = target.dimension
    optimum = meanfield.optimum
    seconds = optimum.seconds_per_point
    candidates = [*_responses(optimum), *different(starts), meanfield.q]
    if d == 1:
        return meanfield
    if d > FULLRANK_LIMIT:
        found = _stochastic(target, rng, clock, candidates, seconds)
        words = (
            f"with {d} parameters the best full-rank Gaussian comes from averaged stochastic "
            "steps; a better one may exist"
        )
        return Best(found, optimum, math.nan, words)
    ranked = _ranked(target, rng, clock, candidates, seconds)
    fits = []
    # The first two may lie in different basins; further ones are seldom better.
    for q in ranked[:2]:
        try:
            fits.append(_fit(target, q, rng, clock))
        except np.linalg.LinAlgError:
            continue
    if not fits:
        return Best(ranked[0], optimum, math.nan, "no full-rank Gaussian could be fitted")
    gaussians = [Gaussian(f.mean, f.factor) for f in fits]
    levels = _levels(target, rng, clock, [*gaussians, *candidates], seconds)
    first = int(np.argmax(levels[: len(fits)]))
    known, best = fits[first], gaussians[first]
    if max(levels) > levels[first] + SHORTFALL:
        best = [*gaussians, *candidates][int(np.argmax(levels))]
        words = "a start has a larger ELBO than the result of the full-rank search"
        return Best(best, optimum, math.nan, words)
    words = ""
    if not known.shortfall <= 2 * SHORTFALL:
        words = f"the best full-rank Gaussian may be {number(known.shortfall)} nats better"
    return Best(best, optimum, known.shortfall, words)


def climb(
    target: Target, best: Best, q: Gaussian, rng: np.random.Generator, clock: Clock
) -> Estimate | None:
    """Climb the mean-field ELBO from a fit q; return how far below q* it ends, nats.

    None if it ends at q* or fails to converge. The ELBO may have several optima even where log p
    has one mode, and an optimiser may end in any of them. A full-rank fit contributes its mean
    and sds.
    """
    first = _ascent(target, best, q, rng, clock)
    if first is None:
        return None
    again = _ascent(target, best, q, rng, clock)
    # An optimum on one set of base draws need not be an optimum of the ELBO.
    return first[1] if again is not None and same(first[0], again[0]) else None


def _ascent(
    target: Target, best: Best, q: Gaussian, rng: np.random.Generator, clock: Clock
) -> tuple[FloatArray, Estimate] | None:
    """Climb once; return an optimum other than q* and how far below q* it lies, or None."""
    d = target.dimension
    top = best.optimum.theta
    eps = base_blocks(d, CLIMB_BLOCKS, CLIMB_DRAWS, rng)
    objective = Objective(target, eps, clock)

    def by_variance(gradient: FloatArray) -> FloatArray:
        return np.concatenate([best.q.sd**2 * gradient[:d], 0.5 * gradient[d:]])

    end = settle(objective, q.theta, by_variance, ())
    if end is None or not end.converged or same(end.theta, top):
        return None
    if np.max(q.theta[d:] - end.theta[d:]) > ARRIVED:
        # A q far wider than the basin does not lie in it, wherever the climb leads.
        return None
    at_end, _ = objective.by_block(end.theta)
    at_top, _ = objective.by_block(top)
    below = at_end - at_top
    if not np.isfinite(below).all():
        return None
    error = float(np.std(below, ddof=1)) / math.sqrt(len(below))
    return end.theta, Estimate(float(np.mean(below)), error)


def different(gaussians: Sequence[Gaussian]) -> list[Gaussian]:
    """Return the first ``SEVERAL`` usable Gaussians, without those close to an earlier one."""
    kept: list[Gaussian] = []
    for q in gaussians:
        if q.usable and not any(_near(q, other) for other in kept):
            kept.append(q)
    return kept[:SEVERAL]


def _near(one: Gaussian, two: Gaussian) -> bool:
    sd = np.minimum(one.sd, two.sd)
    return bool(
        np.all(np.abs(one.mean - two.mean) < NEAR * sd)
        and np.all(np.abs(np.log(one.sd / two.sd)) < NEAR)
    )


def _responses(optimum: Optimum) -> list[Gaussian]:
    """Return the Gaussian of linear response, if its covariance has a factor."""
    if optimum.covariance is None:
        return []
    try:
        return [Gaussian(optimum.mean, np.asarray(np.linalg.cholesky(optimum.covariance)))]
    except np.linalg.LinAlgError:
        return []


def _ranked(
    target: Target,
    rng: np.random.Generator,
    clock: Clock,
    candidates: Sequence[Gaussian],
    seconds: float,
) -> list[Gaussian]:
    """Return Gaussians in order of their ELBOs on common base draws, best first."""
    levels = _levels(target, rng, clock, candidates, seconds)
    return [candidates[int(i)] for i in np.argsort([-v for v in levels], kind="stable")]


def _levels(
    target: Target,
    rng: np.random.Generator,
    clock: Clock,
    candidates: Sequence[Gaussian],
    seconds: float,
) -> list[float]:
    """Return ELBOs on common base draws, nats; −∞ if not finite. ``seconds`` are a gradient's."""
    size, most = (16, 0) if seconds > SLOW_S else (64, 1 << 14)
    found = elbos(target, candidates, rng, clock, error=0.002, share=0.05, size=size, most=most)
    return [e.value.value if math.isfinite(e.value.value) else -math.inf for e in found]


def _fit(
    target: Target, start: Gaussian, rng: np.random.Generator, clock: Clock
) -> deterministic.FullRank:
    """Fit with base draws quadrupled until the shortfall is at most ``SHORTFALL``."""
    found = deterministic.fit_fullrank(target, start.mean, start.covariance, rng, clock)
    size = 2 ** math.ceil(math.log2(max(128, 16 * target.dimension)))
    while found.shortfall > SHORTFALL and 4 * size <= MOST_DRAWS and math.isfinite(found.shortfall):
        size *= 4
        covariance = found.factor @ found.factor.T
        try:
            found = deterministic.fit_fullrank(target, found.mean, covariance, rng, clock, size)
        except TimeLimitError:
            break
    return found


def _stochastic(
    target: Target,
    rng: np.random.Generator,
    clock: Clock,
    candidates: Sequence[Gaussian],
    seconds: float,
) -> Gaussian:
    """Return the best candidate, or the result of stochastic steps from it if that is better."""
    best = _ranked(target, rng, clock, candidates, seconds)[0]
    steps = int(min(STEPS, STOCHASTIC_S / max(seconds, 1e-9)))
    if steps < LEAST_STEPS:
        return best
    family = FullRank(target.dimension)
    optimiser = Adam(RATE / math.sqrt(target.dimension))
    found = loop.fit(
        _Scaled(target, best),
        family,
        optimiser,
        loop.start(optimiser, family.start(np.zeros(target.dimension)), rng.spawn(1)[0]),
        steps,
        clock=clock,
        average_from=steps // 2,
    )
    unit = Gaussian(family.mean(found.phi), family.factor(found.phi))
    whole = best.factor if best.factor.ndim > 1 else np.diag(best.factor)
    moved = Gaussian(best.mean + whole @ unit.mean, whole @ unit.factor)
    return _ranked(target, rng, clock, [best, moved], seconds)[0]


class _Scaled:
    """A target in the units of an approximately correct Gaussian."""

    def __init__(self, target: Target, q: Gaussian) -> None:
        self.target, self.q = target, q
        self.dimension = target.dimension

    def log_density(self, z: FloatArray) -> FloatArray:
        return self.target.log_density(self.q.transform(z))

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        value, slope = self.target.log_density_gradient(self.q.transform(z))
        return value, pulled_back(slope, self.q.factor)
