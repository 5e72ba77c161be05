"""An optimum of many parameters polished on all base draws: see :mod:`.polish` for few."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.records import FloatArray
from harness.vi.deterministic.conjugate_gradients import hessian_product, solve
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.large import Curvature, curvature_of
from harness.vi.deterministic.lbfgs import Metric, Path, Steps, lbfgs
from harness.vi.deterministic.newton import NEAR, SETTLED, Errors, jackknifed, shrunk
from harness.vi.deterministic.polish import Reached, Wanted, largest
from harness.vi.deterministic.sizes import MOST_NUMBERS_OF_DRAWS, Settings, affordable
from harness.vi.deterministic.sparse import Large, Parts, hessian_parts
from harness.vi.roots import NotPositiveError
from harness.vi.sobol import base_blocks

if TYPE_CHECKING:
    from harness.vi.deterministic.basins import Basin

TURNS = 3  # how often the Hessian is formed where it turns out that the optimum is elsewhere
ITERATIONS = 500

SOLVED = 0.1
"""The residual, over the right-hand side, to which the errors of base draws are solved for."""

MOST_CHECKED = 1000
"""Sds of linear response whose error from base draws is looked at."""


def polish_large(
    objective: Objective,
    best: Basin,
    pattern: Large | None,
    seconds: float,
    settings: Settings,
    wanted: Wanted,
    rng: np.random.Generator | None,
) -> Reached:
    """Polish an optimum in more dimensions than Newton's method of :func:`.polish` takes.

    The Hessian is formed where that is affordable, see :func:`.sizes.affordable`: else base draws
    are not doubled, and there is no linear response. Without ``rng`` there are no new base draws.
    """
    d, clock = objective.dimension, objective.clock
    blocks, size = objective.eps.shape[:2]
    most_s = settings.curvature_s
    if pattern is None or (pattern.colours == d and wanted == "meanfield"):
        return _without(objective, best, wanted)
    used = affordable(d, blocks, size, pattern.colours, seconds, most_s)
    if not used:
        return _without(objective, best, wanted)
    theta, metric, refused = best.theta, best.metric, 0
    values: Steps = ()
    while True:
        found = _settled(objective, theta, metric, pattern, used)
        if found is None:
            return _without(objective, best, wanted)
        theta, values = found.path.x, (*values, *found.path.values)
        known = _errors(objective, found, wanted)
        error = largest(known, wanted)
        more = 2 * objective.draws
        again = (
            more <= settings.most_draws
            and more * d <= MOST_NUMBERS_OF_DRAWS
            and pattern.colours < d
        )
        if error <= settings.error or rng is None or not again:
            break
        metric = _metric(found)
        refused += objective.refused
        new = base_blocks(d, len(objective.eps), size, rng)
        objective = Objective(objective.target, np.concatenate([objective.eps, new]), clock)
        blocks = len(objective.eps)
        used = affordable(d, blocks, size, pattern.colours, seconds, most_s) or used
    value, _ = objective(theta)
    change = found.scale / np.exp(theta[d:])
    covariance = found.whole.covariance
    return Reached(
        objective, theta, value, None,
        None if covariance is None else covariance * change * change[:, None],
        known, error, found.path.converged, values, refused, found.whole.root(found.scale),
    )  # fmt: skip


class _Found(NamedTuple):
    """An optimum, and the Hessian near it."""

    path: Path  # that led there
    scale: FloatArray  # s of the Hessian's units, shape (d,)
    parts: list[Parts]  # of each block
    whole: Curvature  # their mean


def _settled(
    objective: Objective, theta: FloatArray, metric: Metric, pattern: Large, used: int
) -> _Found | None:
    """Return the optimum; None if the Hessian from ``used`` draws a block is not definite there."""
    d = objective.dimension
    values: Steps = ()
    for _ in range(TURNS):
        path = lbfgs(objective, theta, metric=metric, tolerance=SETTLED, iterations=ITERATIONS)
        blocks = range(len(objective.eps))
        parts = [hessian_parts(objective, path.x, pattern, b, used) for b in blocks]
        try:
            whole = curvature_of(_mean(parts))
        except NotPositiveError:
            return None
        found = _Found(path, np.exp(path.x[d:]), parts, whole)
        metric = _metric(found)
        # With the inverse Hessian as metric an optimum is an optimum in all directions.
        end = lbfgs(objective, path.x, metric=metric, tolerance=SETTLED, iterations=ITERATIONS)
        values = (*values, *path.values, *end.values[1:])
        found = found._replace(path=replace(end, values=values))
        if path.value - end.value < NEAR * d:
            break
        theta = end.x
    return found


def _metric(found: _Found) -> Metric:
    """Return the inverse Hessian in (mu, omega)."""
    units = np.concatenate([found.scale, np.ones_like(found.scale)])
    return lambda g: np.asarray(units * found.whole.solve((units * g)[None])[0])


def _mean(parts: list[Parts]) -> Parts:
    own, across, corner = (sum(p[1:], p[0]) / len(parts) for p in zip(*parts, strict=True))
    return own, across, corner


def _errors(objective: Objective, found: _Found, wanted: Wanted) -> Errors:
    """Return what base draws leave, as :func:`.newton.errors` does for few parameters.

    Blocks' Hessians are taken at the common optimum, and linear response's errors at
    ``MOST_CHECKED`` parameters; the others have the largest of theirs.
    """
    d, blocks = objective.dimension, len(found.parts)
    values, gradient = objective.by_block(found.path.x)
    g = gradient.copy()
    g[:, :d] *= found.scale
    steps = found.whole.solve(g - g.mean(axis=0))
    spread = np.sqrt(shrunk(steps, d) / blocks)
    elbo = float(values.std(ddof=1)) / math.sqrt(blocks)
    variances = found.whole.variances(np.arange(d))
    response = np.full(d, np.nan)
    if wanted == "response":
        chosen = np.unique(np.linspace(0, d - 1, MOST_CHECKED).astype(int))
        without = np.full((blocks, len(chosen)), np.nan)
        for b in range(blocks):
            others = [p for i, p in enumerate(found.parts) if i != b]
            # A curvature that depends on one block is unknown: NaN makes the error infinite.
            with contextlib.suppress(NotPositiveError):
                without[b] = 0.5 * np.log(curvature_of(_mean(others)).variances(chosen))
        errors = jackknifed(without, 0.5 * np.log(variances[chosen]))
        response[:] = errors.max()
        response[chosen] = errors
    return Errors(spread[:d] / np.sqrt(variances), spread[d:], response, elbo)


def _without(objective: Objective, best: Basin, wanted: Wanted) -> Reached:
    """Polish by L-BFGS and a truncated Newton step, without forming a Hessian.

    The errors are those of a mean-field Gaussian. Where linear response is wanted only those of
    means count: whoever computes it checks its sds.
    """
    d = objective.dimension
    path = lbfgs(
        objective, best.theta, metric=best.metric, tolerance=SETTLED, iterations=ITERATIONS
    )
    theta, units = path.x, np.ones(2 * d)
    units[:d] = np.exp(theta[d:])
    product = hessian_product(objective, theta)
    values, gradient = objective.by_block(theta)
    value = float(values.mean())
    common, ended = solve(product, gradient.mean(axis=0) * units, tolerance=SOLVED)
    trial, _ = objective(theta - common * units)
    steps = np.stack([solve(product, g * units, tolerance=SOLVED)[0] - common for g in gradient])
    blocks = len(values)
    spread = np.sqrt((steps**2).sum(axis=0) / (blocks - 1) / blocks)
    if ended == "curvature" and not path.converged:
        # This is no optimum, and agreement between blocks does not show its error.
        spread[:] = np.inf
    elbo_error = float(values.std(ddof=1)) / math.sqrt(blocks)
    known = Errors(spread[:d], spread[d:], np.full(d, np.nan), elbo_error)
    if ended == "solved" and trial <= value:
        theta, value = theta - common * units, trial
    error = float(known.mean.max()) if wanted == "response" else largest(known, "meanfield")
    return Reached(
        objective, theta, value, None, None, known, error, path.converged, path.values, 0, None
    )
