"""Starts of the ELBO's optimiser: Gaussians at maxima of log p and at Stan's starting points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.records import FloatArray
from harness.vi.deterministic.climb import climb, dips
from harness.vi.deterministic.curvature import hessian
from harness.vi.deterministic.lbfgs import Metric
from harness.vi.target import Clock, Target, finite_rows

DIRECT_SDS = (1.0, 0.1, 0.3)
"""The sds of q at Stan's own starting points."""

FAR_SDS, FAR_FREEDOM = (4.0, 12.0, 36.0, 108.0), 3
"""Scales of far starts, sds of a fit, and their degrees of freedom."""

TRIES, ENOUGH_TRIES = 100, 3
"""Attempts at a starting point with a finite density, as many as in Stan; and the attempts after
which some good points are enough."""

ITERATIONS = 150  # the largest number of iterations of a climb of log p
LOOKS = (4, 8)
"""The looks at climbs of log p that tell which follow others: before, all go on by themselves."""

UNKNOWN_SCALE = 0.1  # the sd of q at a maximum of log p without a usable Hessian


class StartError(RuntimeError):
    """There is no usable start, or no start leads to an optimum."""


UNBOUNDED = "the posterior is improper: its density is infinite and the ELBO rises without end"
"""The ELBO is a lower bound of log Z, which is then infinite as well."""

DRIFTS = 3.0
"""Movement of an unconstrained mean, as of the log of a scale, that shows where the point is."""


class UnboundedError(StartError):
    """The ELBO has no upper bound, because the density is infinite at a point.

    Parameters
    ----------
    begun, ended
        Means and log sds of q, shape ``(2 d,)``, before and after it narrowed.

    Attributes
    ----------
    which
        The parameters whose means drift, as the log of a scale does; where there are none, those
        whose sds have become smaller.
    mean
        The means, shape ``(d,)``.
    """

    def __init__(self, begun: FloatArray, ended: FloatArray) -> None:
        super().__init__(UNBOUNDED)
        d = len(ended) // 2
        self.mean = ended[:d]
        drift = np.flatnonzero(np.abs(ended[:d] - begun[:d]) > DRIFTS)
        self.which = drift if len(drift) else np.flatnonzero(begun[d:] - ended[d:] > DRIFTS)


class Start(NamedTuple):
    """A start of q."""

    theta: FloatArray  # means and log sds, shape (2 d,)
    metric: Metric  # an approximate inverse Hessian there
    informed: bool  # whether it comes from the Hessian at a maximum of log p


def starting_points(target: Target, count: int, rng: np.random.Generator) -> FloatArray:
    """Return points like Stan's, uniform on (−2, 2), one in each of ``count`` strata.

    Raises
    ------
    StartError
        If no point has a finite density and gradient.
    """
    d = target.dimension
    strata = rng.permuted(np.tile(np.arange(count), (d, 1)), axis=1).T
    z = 4 * (strata + rng.random((count, d))) / count - 2
    good = finite_rows(*target.log_density_gradient(z))
    for again in range(TRIES):
        bad = ~good
        if good.all() or (good.any() and again > ENOUGH_TRIES):
            break
        z[bad] = rng.uniform(-2, 2, size=(int(bad.sum()), d))
        good[bad] = finite_rows(*target.log_density_gradient(z[bad]))
    if not good.any():
        raise StartError(
            f"none of {TRIES * count} starting points in (-2, 2) has a finite density and "
            "gradient; give the parameters scales, or constraints where they need them"
        )
    return np.asarray(z[good])


def start_at(theta: FloatArray) -> Start:
    """Return a start at given means and log sds, shape ``(2 d,)``."""
    return Start(theta, metric_of(np.exp(2 * theta[len(theta) // 2 :])), informed=False)


def far_starts(theta: FloatArray, count: int, rng: np.random.Generator) -> list[Start]:
    """Return starts of a q as narrow as a fit, in opposite pairs from a wide Student-t around it.

    The t-distribution has ``FAR_FREEDOM`` degrees of freedom, its scales are ``FAR_SDS`` of the
    fit's sds in turn.
    """
    d = len(theta) // 2
    found = []
    for i in range(count // 2):
        radius = FAR_SDS[i % len(FAR_SDS)] / np.sqrt(rng.chisquare(FAR_FREEDOM) / FAR_FREEDOM)
        step = radius * np.exp(theta[d:]) * rng.standard_normal(d)
        found += [start_at(np.concatenate([theta[:d] + s * step, theta[d:]])) for s in (1, -1)]
    return found


def usual_starts(
    target: Target, points: FloatArray, peaks: int, direct: int, dense_limit: int, clock: Clock
) -> tuple[list[Start], FloatArray]:
    """Return starts at up to ``peaks`` maxima of log p, then at Stan's points; and points left.

    log p is climbed from each of the points, and q starts at the first ``direct`` of them, at one
    at least where no climb found a maximum. The Hessian of a maximum is computed in up to
    ``dense_limit`` dimensions. The points left are those from which climbs found none.

    Raises
    ------
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    follows = _Followers(target, len(points))
    ends = climb(
        target, points, clock, tolerance=1e-3, iterations=ITERATIONS, arrived=follows.among
    )
    found: list[_Peak] = []
    open_ = ~ends.converged[follows.leader]
    for i in np.flatnonzero(ends.converged).tolist():
        z = ends.z[i]
        if len(found) < peaks and all(dips(target, p.z, z) for p in found):
            peak = _peak(target, z, dense_limit)
            # Without curvature it may be no maximum: a density may also rise without end.
            open_[i] = peak.precision is None and target.dimension <= dense_limit
            if not open_[i]:
                found.append(peak)
    starts = [_start_of(peak) for peak in found]
    # A maximum's scales are the best guess of the units of the parameters.
    units = next((p.scale**2 for p in found if p.precision is not None), None)
    for i in range(min(direct if found else max(direct, 1), len(points))):
        sd = DIRECT_SDS[i % len(DIRECT_SDS)]
        widths = np.full(target.dimension, sd**2) if units is None else units
        theta = np.concatenate([points[i], np.full(target.dimension, math.log(sd))])
        starts.append(Start(theta, metric_of(widths), informed=False))
    return starts, points[open_]


class _Followers:
    """Which climbs have ended because a higher one, their leader, leads where they would.

    No valley lies between the two. Far from a maximum that says little, so that all climb a while.
    """

    def __init__(self, target: Target, count: int) -> None:
        """Begin with every climb its own leader."""
        self.target = target
        self.looks = 0
        self.leader = np.arange(count)

    def among(
        self, rows: NDArray[np.intp], points: FloatArray, value: FloatArray
    ) -> NDArray[np.bool_]:
        """Say which of the climbs that go on follow another that does."""
        self.looks += 1
        over = np.zeros(len(rows), dtype=bool)
        if self.looks not in LOOKS:
            return over
        leads: list[int] = []
        for i in np.argsort(-value, kind="stable").tolist():
            first = next((j for j in leads if not dips(self.target, points[j], points[i])), None)
            if first is None:
                leads.append(i)
            else:
                over[i] = True
                self.leader[self.leader == rows[i]] = rows[first]
        return over


def start_at_maximum(target: Target, start: Start, dense_limit: int) -> Start:
    """Return a start with the curvature of log p where it is, or the same without one."""
    d = len(start.theta) // 2
    peak = _peak(target, start.theta[:d], dense_limit)
    return start if peak.precision is None else _start_of(peak)


@dataclass(frozen=True, slots=True, eq=False)
class _Peak:
    """A maximum of log p: its precision, if positive definite, and the sds of a Gaussian there."""

    z: FloatArray
    precision: FloatArray | None
    scale: FloatArray


def _start_of(peak: _Peak) -> Start:
    known = peak.precision
    covariance = peak.scale**2 if known is None else np.asarray(np.linalg.inv(known))
    theta = np.concatenate([peak.z, np.log(peak.scale)])
    return Start(theta, metric_of(covariance), known is not None)


def metric_of(covariance: FloatArray) -> Metric:
    """Return the inverse Hessian of a Gaussian's negative ELBO, given covariance or variances."""
    d = len(covariance)

    def apply(g: FloatArray) -> FloatArray:
        mean = covariance @ g[:d] if covariance.ndim == 2 else covariance * g[:d]  # noqa: PLR2004
        # At its optimum the ELBO has second derivative 2 in every log sd.
        return np.concatenate([mean, 0.5 * g[d:]])

    return apply


def _peak(target: Target, z: FloatArray, dense_limit: int) -> _Peak:
    d = len(z)
    unknown = _Peak(z, None, np.full(d, UNKNOWN_SCALE))
    if d > dense_limit:
        return unknown
    scale = np.full(d, 0.01)
    precision = -hessian(target, z, scale) / np.outer(scale, scale)
    diagonal = np.diag(precision)
    if not (np.isfinite(precision).all() and (diagonal > 0).all()):
        return unknown
    # The sds of the best mean-field Gaussian if log p is quadratic.
    scale = 1 / np.sqrt(diagonal)
    definite = np.linalg.eigvalsh(precision * np.outer(scale, scale))[0] > 1e-6  # noqa: PLR2004
    return _Peak(z, precision if definite else None, scale)
