"""An optimum polished on all base draws, with the error that the base draws leave."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from harness.records import FloatArray
from harness.vi.deterministic.basins import NARROWED, Basin, narrower
from harness.vi.deterministic.curvature import (
    BENT,
    WIDE,
    Pattern,
    confirmed,
    dense,
    elbo_hessians,
    find_pattern,
    mean_hessian,
)
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.large import FAR, metric_around
from harness.vi.deterministic.lbfgs import Steps, lbfgs
from harness.vi.deterministic.newton import Errors, Polished, covariance_in_units, errors, newton
from harness.vi.deterministic.sizes import Settings
from harness.vi.deterministic.sparse import Large, find_sparsity
from harness.vi.deterministic.starts import UnboundedError, metric_of
from harness.vi.gaussian import Root
from harness.vi.sobol import base_blocks

Wanted = Literal["meanfield", "response"]
"""Whose error must be small: that of the mean-field sds, or of the linear-response sds."""

EVALUATIONS, FEWEST = 2, 8
"""A first Hessian costs as much as this many evaluations of the ELBO, unless this is fewer draws
of a block than the second number."""

MOST = 100_000
"""Gradients that a Hessian may cost."""

LEAST = 1e-3
"""The smallest curvature, in sds of q, of a metric."""

FOR_BENT, ITERATIONS = (4, 512), 50
"""Blocks and draws of each on which wide differences show whether log p bends at points only, and
the most iterations of the optimiser there. In small blocks too few draws are near 0."""

SURE = 256
"""Base draws from which an ELBO that rises without end is the posterior's, and not that of a few
draws."""


class Reached(NamedTuple):
    """A polished optimum."""

    objective: Objective
    theta: FloatArray
    value: float  # the negative ELBO on all base draws of the objective
    hessian: FloatArray | None  # in (mu / s, omega); None if unknown
    covariance: FloatArray | None  # in mu / s; None if unknown
    errors: Errors  # what base draws leave
    error: float  # the largest of these
    settled: bool
    values: Steps  # the optimiser's path
    refused: int  # the steps taken back on smaller sets of base draws
    root: Root | None = None  # of linear response's covariance where that is not formed


AnyPattern = Pattern | Large
"""Where the Hessian of log p is not zero, in few dimensions or in many."""


def hessian_pattern(
    objective: Objective, theta: FloatArray, dense_limit: int, rng: np.random.Generator
) -> AnyPattern:
    """Return the zeros of the Hessian of log p around q, if it pays to look for them."""
    d = objective.dimension
    if d <= min(8, dense_limit):
        return dense(d)
    find = find_pattern if d <= dense_limit else find_sparsity
    return find(objective.target, *_around(theta, rng))


def _around(theta: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return points around q, shape ``(10, d)``, and its sds."""
    d = len(theta) // 2
    sd = np.exp(theta[d:])
    return theta[:d] + sd * rng.standard_normal((10, d)), sd


def still_pattern(objective: Objective, theta: FloatArray, pattern: Pattern) -> Pattern:
    """Return a pattern that was found elsewhere if it holds around q, else the one that does."""
    d, rng = objective.dimension, np.random.default_rng(0)
    if pattern.colours == d or confirmed(objective.target, *_around(theta, rng), pattern):
        return pattern
    return find_pattern(objective.target, *_around(theta, rng))


def informed(objective: Objective, basin: Basin, pattern: AnyPattern) -> Basin:
    """Return a basin whose metric comes from the mean Hessian of log p around its q.

    At an optimum its diagonal is about 1. Where most of it is far from that, q is far from an
    optimum, and the basin stays as it is.
    """
    if not isinstance(pattern, Pattern):
        around = metric_around(objective, basin.theta, pattern)
        if around is None:
            return basin
        theta, metric = around
        return replace(basin, theta=theta, metric=metric, informed=True)
    H = mean_hessian(objective, basin.theta, pattern)
    if not (np.isfinite(H).all() and 1 / FAR < np.median(np.diag(H)) < FAR):
        return basin
    eigenvalues, vectors = np.linalg.eigh(H)
    sd = np.exp(basin.theta[objective.dimension :])
    inverse = (vectors / np.maximum(np.abs(eigenvalues), LEAST)) @ vectors.T
    return replace(basin, metric=metric_of(inverse * np.outer(sd, sd)), informed=True)


def polish(
    objective: Objective,
    best: Basin,
    pattern: Pattern,
    seconds: float,
    settings: Settings,
    wanted: Wanted,
    rng: np.random.Generator | None,
) -> Reached:
    """Polish an optimum by Newton's method on more and more draws until their error is small.

    The Hessian needs fewer draws than the optimum and begins with a part of them. Where it is not
    definite because log p bends at points only, its differences are wider. Without ``rng`` there
    are no new base draws.

    Raises
    ------
    harness.vi.deterministic.UnboundedError
        If the ELBO rises without end as q narrows.
    """
    reached = _reached(objective, best, pattern, seconds, settings, wanted, rng)
    if rng is None or reached.covariance is not None or pattern.step == WIDE:
        return reached
    bent = _bent(reached, best, rng)
    return reached if bent is None else _reached(*bent, seconds, settings, wanted, rng)


def _reached(
    objective: Objective,
    best: Basin,
    pattern: Pattern,
    seconds: float,
    settings: Settings,
    wanted: Wanted,
    rng: np.random.Generator | None,
) -> Reached:
    """Polish an optimum with a Hessian by one kind of differences."""
    refused, theta = 0, best.theta
    before: Polished | None = None
    used, given = _first_size(objective, pattern), len(objective.eps)
    while True:
        blocks, size, d = objective.eps.shape
        each = blocks * (pattern.colours + 1) * seconds
        curvature_s = settings.curvature_s
        while used > 4 and used * each > curvature_s:  # noqa: PLR2004
            used //= 2
        dear = 2 * used * blocks * (pattern.colours + 1) > MOST or 2 * used * each > curvature_s
        more = used < size and not dear
        polished = _polished(objective, theta, best, pattern, used, before, more=more)
        known = errors(objective, polished)
        error = largest(known, wanted)
        if error <= settings.error and (polished.sound or not more):
            break
        means = max(known.mean.max(), known.log_sd.max())
        if dear:
            break
        if used < size and not settings.error < means < math.inf:
            used *= 2
        elif means == math.inf and blocks > given:
            # Once more draws have not helped, there is no optimum that others would find.
            break
        elif rng is not None and 2 * objective.draws <= settings.most_draws:
            refused += objective.refused
            eps = np.concatenate([objective.eps, base_blocks(d, blocks, size, rng)])
            objective = Objective(objective.target, eps, objective.clock)
        elif more and not polished.sound:
            used *= 2
        else:
            break
        theta, before = polished.theta, polished
    covariance = None
    if polished.definite:
        # A matrix whose smallest eigenvalue is rounding may have no factor.
        with contextlib.suppress(np.linalg.LinAlgError):
            covariance = covariance_in_units(polished.hessian)
    value, _ = objective(polished.theta)
    return Reached(
        objective, polished.theta, value, polished.hessian, covariance, known, error,
        polished.settled, polished.values, refused,
    )  # fmt: skip


def _bent(
    reached: Reached, best: Basin, rng: np.random.Generator
) -> tuple[Objective, Basin, Pattern] | None:
    """Return from where to polish again where log p bends at points only; None where it does not.

    The pattern is that of wide differences.
    """
    objective, d = reached.objective, reached.objective.dimension
    assert reached.hessian is not None  # noqa: S101 - it is formed here
    narrow = np.diag(reached.hessian)[:d]
    if not np.any(np.abs(narrow - 1) > BENT):
        return None
    objective = Objective(objective.target, base_blocks(d, *FOR_BENT, rng), objective.clock)
    metric = metric_of(np.exp(2 * reached.theta[d:]))
    path = lbfgs(objective, reached.theta, metric=metric, iterations=ITERATIONS)
    pattern = replace(dense(d), step=WIDE)
    wide = np.diag(mean_hessian(objective, path.x, pattern))
    if not np.all(np.abs(wide - 1) < BENT):
        return None
    return objective, replace(best, theta=path.x, metric=metric), pattern


def response_covariance(objective: Objective, theta: FloatArray) -> FloatArray | None:
    """Return linear response's covariance at an optimum, ``(d, d)``; None if not definite.

    ``theta`` are means and log sds, shape ``(2 d,)``. The Hessian comes from a part of the base
    draws where there are many.
    """
    d = objective.dimension
    pattern = dense(d)
    size = _first_size(objective, pattern)
    H = elbo_hessians(objective, theta, pattern, size=size).mean(axis=0)
    if not np.isfinite(H).all():
        return None
    try:
        covariance = covariance_in_units(H)
    except np.linalg.LinAlgError:
        return None
    sd = np.exp(theta[d:])
    return np.asarray(covariance * np.outer(sd, sd))


def _first_size(objective: Objective, pattern: Pattern) -> int:
    """Return the draws of each block that a Hessian begins with."""
    size = whole = int(objective.eps.shape[1])
    while size > FEWEST and size * (pattern.colours + 1) > EVALUATIONS * whole:
        size //= 2
    return size


def _polished(
    objective: Objective,
    theta: FloatArray,
    best: Basin,
    pattern: Pattern,
    used: int,
    before: Polished | None,
    *,
    more: bool,
) -> Polished:
    """Return the optimum on all base draws, its Hessian from ``used`` draws of each block.

    ``more`` says that the Hessian may come from more of them. One of few draws is often not
    definite at an optimum, and more draws tell more than another search.
    """
    value, _ = objective(theta)
    if not math.isfinite(value):
        for _ in range(NARROWED):
            theta = narrower(theta)
            path = lbfgs(objective, theta, metric=best.metric)
            if math.isfinite(path.value):
                theta = path.x
                break
    polished = newton(objective, theta, pattern, used, best.metric, before)
    if polished.endless and objective.draws >= SURE:
        raise UnboundedError(best.theta, polished.theta)
    if not (more or polished.sound):
        path = lbfgs(objective, polished.theta, metric=best.metric, tolerance=1e-7, iterations=500)
        polished = newton(objective, path.x, pattern, used, best.metric)
    return polished


def largest(known: Errors, wanted: Wanted) -> float:
    """Return the largest error of a mean or of a wanted log sd; infinite if any is unknown."""
    widths = known.log_sd if wanted == "meanfield" else known.log_response
    worst = np.array([known.mean.max(), widths.max()])
    return float(worst.max()) if np.isfinite(worst).all() else math.inf
