"""Starts, the optima they lead to, and how much mass the basins hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.deterministic.curvature import hessian
from harness.vi.deterministic.lbfgs import Metric, Steps, lbfgs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.deterministic.elbo import Objective
    from harness.vi.target import Target

SAME = 0.5
"""Optima nearer than this, in sds of q for means and as ln for sds, are one."""

VALLEY = 1.0
"""Nats by which log p must dip between two optima for them to be two modes."""

DIRECT_SDS = (1.0, 0.1, 0.3)
"""The sds of q at Stan's own starting points."""

NEAR = 0.5
"""Nats above a known optimum, near it, at which a run is taken to lead there."""

LONGEST = 2.0
"""Change of a log sd that an iteration tries at first."""

TRIES, ENOUGH_TRIES = 100, 3
"""As often as Stan, a starting point without a finite density is drawn again."""

PEAK_ITERATIONS, ITERATIONS = 150, 150


class StartError(RuntimeError):
    """There is no point to start from, or none from which an optimum is reached."""


@dataclass(frozen=True, slots=True, eq=False)
class Basin:
    """An optimum of the deterministic ELBO.

    Attributes
    ----------
    theta
        Means and log sds, shape ``(2 d,)``.
    elbo
        Nats.
    starts
        How many starts led here.
    converged
        Whether the optimiser settled.
    values
        The optimiser's path, negative ELBO, of the start that is kept.
    metric
        An approximate inverse Hessian of the negative ELBO here.
    informed
        Whether the metric is from the Hessian at a maximum of log p.
    separate
        Whether log p has a valley between this optimum and each better one that is separate.
    mass
        Estimated share of the posterior's mass: exp(ELBO) over the sum of the separate ones; 0
        for an optimum that is no mode of its own.
    """

    theta: FloatArray
    elbo: float
    starts: int
    converged: bool
    values: Steps
    metric: Metric
    informed: bool = False
    separate: bool = False
    mass: float = 1.0


def starting_points(target: Target, count: int, rng: np.random.Generator) -> FloatArray:
    """Return points as Stan draws them, uniform on (−2, 2), one in each of ``count`` strata.

    Raises
    ------
    StartError
        If no point has a finite density and gradient.
    """
    d = target.dimension
    strata = rng.permuted(np.tile(np.arange(count), (d, 1)), axis=1).T
    z = 4 * (strata + rng.random((count, d))) / count - 2
    good = _finite(target, z)
    for again in range(TRIES):
        bad = ~good
        # Some will do.
        if good.all() or (good.any() and again > ENOUGH_TRIES):
            break
        z[bad] = rng.uniform(-2, 2, size=(int(bad.sum()), d))
        good[bad] = _finite(target, z[bad])
    if not good.any():
        msg = (
            f"none of {TRIES * count} starting points in (-2, 2) has a finite density and "
            "gradient; give the parameters scales, or constraints where they need them"
        )
        raise StartError(msg)
    return np.asarray(z[good])


def _finite(target: Target, z: FloatArray) -> NDArray[np.bool_]:
    value, gradient = target.log_density_gradient(z)
    return np.asarray(np.isfinite(value) & np.isfinite(gradient).all(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class _Peak:
    """A maximum of log p, as far as it was followed."""

    z: FloatArray
    value: float
    precision: FloatArray | None
    scale: FloatArray


def _metric(covariance: FloatArray) -> Metric:
    """Return the inverse Hessian of a Gaussian's negative ELBO, given its covariance."""
    d = len(covariance)

    def apply(g: FloatArray) -> FloatArray:
        mean = covariance @ g[:d] if covariance.ndim == 2 else covariance * g[:d]  # noqa: PLR2004
        # At its optimum the ELBO's second derivative is 2 in every log sd.
        return np.concatenate([mean, 0.5 * g[d:]])

    return apply


def _peaks(
    target: Target, points: FloatArray, wanted: int, clock_check: Objective, dense_limit: int
) -> list[_Peak]:
    """Climb log p from each point; keep the different maxima."""

    def negative(z: FloatArray) -> tuple[float, FloatArray]:
        clock_check.clock.check()
        value, gradient = target.log_density_gradient(z[None])
        bad = not (math.isfinite(value[0]) and np.isfinite(gradient).all())
        return (math.inf if bad else -float(value[0])), -gradient[0]

    found: list[_Peak] = []
    for point in points:
        path = lbfgs(negative, point, tolerance=1e-3, iterations=PEAK_ITERATIONS)
        if not math.isfinite(path.value) or any(_at(p, path.x, -path.value) for p in found):
            continue
        found.append(_peak(target, path.x, -path.value, dense_limit))
        if len(found) >= wanted:
            break
    return found


def _peak(target: Target, z: FloatArray, value: float, dense_limit: int) -> _Peak:
    d = len(z)
    scale = np.full(d, 0.01)
    if d > dense_limit:
        return _Peak(z, value, None, np.full(d, 0.1))
    precision = -hessian(target, z, scale) / np.outer(scale, scale)
    diagonal = np.diag(precision)
    good = np.isfinite(precision).all() and (diagonal > 0).all()
    if not good:
        return _Peak(z, value, None, np.full(d, 0.1))
    # The sds of the best mean-field Gaussian where log p is quadratic.
    scale = 1 / np.sqrt(diagonal)
    definite = np.linalg.eigvalsh(precision * np.outer(scale, scale))[0] > 1e-6  # noqa: PLR2004
    return _Peak(z, value, precision if definite else None, scale)


def _at(peak: _Peak, z: FloatArray, value: float) -> bool:
    """Say whether a point is this maximum."""
    if peak.precision is None:
        return bool(np.all(np.abs(z - peak.z) < 0.01 * peak.scale))
    step = z - peak.z
    return abs(value - peak.value) < 0.1 and float(step @ peak.precision @ step) < 0.1  # noqa: PLR2004


def _runs(
    pilot: Objective, peaks: list[_Peak], points: FloatArray, direct: int
) -> list[tuple[FloatArray, Metric, bool]]:
    """Return starts of the ELBO's optimiser: q at the maxima, then q at Stan's points."""
    d = pilot.dimension
    runs: list[tuple[FloatArray, Metric, bool]] = []
    for peak in peaks:
        covariance = (
            peak.scale**2 if peak.precision is None else np.asarray(np.linalg.inv(peak.precision))
        )
        theta = np.concatenate([peak.z, np.log(peak.scale)])
        runs.append((theta, _metric(covariance), peak.precision is not None))
    known = [p for p in peaks if p.precision is not None]
    for i in range(min(direct, len(points))):
        sd = DIRECT_SDS[i % len(DIRECT_SDS)]
        # A maximum's scales are the best guess at the units of the parameters.
        units = known[0].scale ** 2 if known else np.full(d, sd**2)
        theta = np.concatenate([points[i], np.full(d, math.log(sd))])
        runs.append((theta, _metric(units), False))
    return runs


def settle(
    objective: Objective, theta: FloatArray, metric: Metric, known: Sequence[Basin]
) -> Basin | None:
    """Optimise from one start; a q too wide to be evaluated is narrowed first.

    A run that comes near a known optimum is at its end: it shows no other.
    """
    d = objective.dimension

    # Far from the optimum a quasi-Newton step in a log sd may overflow.
    longest = np.concatenate([np.full(d, np.inf), np.full(d, LONGEST)])

    def arrived(x: FloatArray, value: float) -> bool:
        return any(value < NEAR - b.elbo and same(x, b.theta) for b in known)

    for _ in range(12):
        path = lbfgs(
            objective,
            theta,
            metric=metric,
            tolerance=1e-3,
            iterations=ITERATIONS,
            arrived=arrived,
            longest=longest,
        )
        if math.isfinite(path.value):
            return Basin(path.x, -path.value, 1, path.converged, path.values, metric)
        theta = np.concatenate([theta[:d], theta[d:] - math.log(2)])
    return None


def merge(basins: Sequence[Basin]) -> list[Basin]:
    """Return the different optima, best first."""
    kept: list[Basin] = []
    for basin in sorted(basins, key=lambda b: -b.elbo):
        for i, other in enumerate(kept):
            if same(basin.theta, other.theta):
                # The metric of a maximum of log p knows correlations.
                metric = basin.metric if basin.informed else other.metric
                informed = basin.informed or other.informed
                kept[i] = replace(
                    other, starts=other.starts + basin.starts, metric=metric, informed=informed
                )
                break
        else:
            kept.append(basin)
    return kept


def same(one: FloatArray, two: FloatArray) -> bool:
    """Say whether two optima, means and log sds ``(2 d,)``, are one."""
    d = len(one) // 2
    sd = np.exp(np.minimum(one[d:], two[d:]))
    return bool(
        np.all(np.abs(one[:d] - two[:d]) < SAME * sd) and np.all(np.abs(one[d:] - two[d:]) < SAME)
    )


def find_basins(
    pilot: Objective,
    points: FloatArray,
    *,
    peaks: int,
    direct: int,
    dense_limit: int,
    extra: Sequence[FloatArray] = (),
) -> list[Basin]:
    """Return the optima that starts of all kinds lead to, different ones, best first.

    Parameters
    ----------
    pilot
        The objective on few base draws.
    points
        Stan's starting points, shape ``(point, d)``; from each log p is climbed.
    peaks
        How many different maxima of log p to start q from.
    direct
        How many points to start q from directly.
    dense_limit
        The dimension up to which a maximum's Hessian is computed.
    extra
        Starts of q besides these, each ``(2 d,)``.

    Raises
    ------
    StartError
        If no start leads anywhere.
    """
    maxima = _peaks(pilot.target, points, peaks, pilot, dense_limit)
    ended: list[Basin] = []
    runs = _runs(pilot, maxima, points, direct)
    d = pilot.dimension
    runs += [(theta, _metric(np.exp(2 * theta[d:])), False) for theta in extra]
    for theta, metric, informed in runs:
        basin = settle(pilot, theta, metric, ended)
        if basin is not None:
            ended.append(replace(basin, informed=informed))
    found = merge(ended)
    if not found:
        msg = (
            "from no start can the ELBO be evaluated: however narrow, q meets points without a "
            "finite density or gradient"
        )
        raise StartError(msg)
    # A run that was cut short beside a better one is no basin of its own.
    return [b for i, b in enumerate(found) if b.converged or i == 0]


def weigh(target: Target, basins: Sequence[Basin]) -> list[Basin]:
    """Say which optima are modes of their own, and estimate the masses of those; best first.

    An optimum is a mode of its own if log p has a valley between it and each better one that is.
    exp(ELBO) is a lower bound of a mode's mass, and proportional to it where q fits all modes
    equally well.
    """
    ordered = sorted(basins, key=lambda b: -b.elbo)
    modes: list[Basin] = []
    separate = []
    for basin in ordered:
        own = all(valley(target, mode, basin) for mode in modes)
        separate.append(own)
        if own:
            modes.append(basin)
    top = ordered[0].elbo
    # Where no ELBO is finite none weighs more than another.
    relative = np.array(
        [math.exp(max(b.elbo - top, -700.0)) if math.isfinite(top) else 1.0 for b in ordered]
    )
    total = float(relative[np.array(separate)].sum())
    return [
        replace(b, separate=s, mass=float(r) / total if s else 0.0)
        for b, s, r in zip(ordered, separate, relative, strict=True)
    ]


def valley(target: Target, one: Basin, two: Basin) -> bool:
    """Say whether log p dips on the line between two means."""
    d = len(one.theta) // 2
    share = np.linspace(0, 1, 17)[:, None]
    value = target.log_density((1 - share) * one.theta[:d] + share * two.theta[:d])
    lowest = np.min(np.where(np.isnan(value), -np.inf, value))
    return bool(lowest < min(value[0], value[-1]) - VALLEY)
