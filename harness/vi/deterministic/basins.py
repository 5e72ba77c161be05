"""The optima that starts lead to, and how much mass their basins hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.records import FloatArray
from harness.vi.deterministic.climb import dips
from harness.vi.deterministic.elbo import Objective
from harness.vi.deterministic.lbfgs import Metric, Steps, lbfgs
from harness.vi.deterministic.starts import Start, StartError
from harness.vi.target import Target

SAME = 0.5  # optima closer than this, in sds of q for means and in log sds, count as one
NEAR = 0.5  # nats above a known optimum at which a run close to it is taken to lead there
LONGEST = 2.0  # the largest first step of an iteration in a log sd
ITERATIONS = 150  # the largest number of iterations from a start
LEAST_STEPS = 3  # iterations before a metric that comes from elsewhere is believed to be small
NARROWED = 12  # how often a q too wide to be evaluated is halved
LEAST_MASS = 0.01  # share of the mass from which a mode counts, as in the limit on missed mass
COMPARED = 4  # optima that are compared after optimising them on all base draws
HOPELESS = 20.0  # nats below the best, on some of the base draws, from which an optimum has no mass
LOOK = 5  # iterations from one look at a run to the next
QUICKER = 3.0  # how much faster than in the last iterations a run may come down
BESIDE = 1e-6  # sds of q that a draw is moved to see whether log p is smooth
JUMP = 1.0  # nats by which it then differs on average where it is made of rounding errors

NOWHERE = (
    "the ELBO cannot be evaluated from any start: however narrow, q reaches points without a "
    "finite density or gradient"
)


@dataclass(frozen=True, slots=True, eq=False)
class Basin:
    """An optimum of the deterministic ELBO."""

    theta: FloatArray  # means and log sds, shape (2 d,)
    elbo: float  # nats
    starts: int  # the number of starts that led here
    converged: bool
    values: Steps  # the optimiser's path, negative ELBO, from the best start
    metric: Metric  # an approximate inverse Hessian of the negative ELBO here
    informed: bool = False  # whether the metric comes from the Hessian at a maximum of log p
    separate: bool = False  # whether log p has a valley to every better separate optimum
    mass: float = 1.0
    """Estimated share of the posterior's mass: exp(ELBO) over the sum of the separate ones; 0 for
    an optimum that is not a separate mode."""


def narrower(theta: FloatArray) -> FloatArray:
    """Return q with half the sds, because too wide a q reaches points without a density."""
    d = len(theta) // 2
    return np.concatenate([theta[:d], theta[d:] - math.log(2)])


def settle(
    objective: Objective,
    theta: FloatArray,
    metric: Metric,
    known: Sequence[Basin],
    iterations: int = ITERATIONS,
    *,
    far: bool = False,
    patient: bool = False,
) -> Basin | None:
    """Optimise from one start, narrowing a q that is too wide; return None if none works.

    A run that comes close to a known optimum ends there. So does a ``far`` one once no valley is
    left between it and a known optimum. Unless ``patient``, a run is given up if at its pace it
    would end hopelessly below the best.
    """
    d = objective.dimension
    run = _Run(objective.target, known, iterations, far=far, patient=patient)

    # Far from the optimum a quasi-Newton step in a log sd may overflow.
    longest = np.concatenate([np.full(d, np.inf), np.full(d, LONGEST)])

    def arrived(x: FloatArray, value: float) -> bool:
        near = any(value < NEAR - b.elbo and same(x, b.theta) for b in known)
        return near or run.over(x, value)

    for _ in range(NARROWED):
        path = lbfgs(
            objective,
            theta,
            metric=metric,
            tolerance=1e-3,
            iterations=iterations,
            least=LEAST_STEPS,
            arrived=arrived,
            longest=longest,
        )
        if run.hopeless:
            return None
        if run.joined is not None:
            return replace(run.joined, starts=1)
        if math.isfinite(path.value):
            return Basin(path.x, -path.value, 1, path.converged, path.values, metric)
        theta = narrower(theta)
    return None


class _Run:
    """Looks every few iterations whether a run still may lead elsewhere."""

    def __init__(
        self, target: Target, known: Sequence[Basin], iterations: int, *, far: bool, patient: bool
    ) -> None:
        self._far, self._patient = far, patient
        self._target, self._known, self._left = target, known, iterations
        self._last = math.inf
        self.joined: Basin | None = None
        self.hopeless = False

    def over(self, x: FloatArray, value: float) -> bool:
        """Return whether it is hopeless or, from a far start, joined a known basin."""
        self._left -= 1
        if not self._known or self._left % LOOK:
            return False
        # Runs quicken as they learn the curvature.
        fall = QUICKER * (self._last - value) * self._left / LOOK
        best = max(b.elbo for b in self._known)
        self.hopeless = value - fall > HOPELESS - best and not self._patient
        self._last = value
        if self._far and not self.hopeless:
            d = len(x) // 2
            same_mode = (b for b in self._known if not dips(self._target, b.theta[:d], x[:d]))
            self.joined = next(same_mode, None)
        return self.hopeless or self.joined is not None


def find_basins(
    scout: Objective,
    starts: Sequence[Start],
    known: Sequence[Basin] = (),
    iterations: int = ITERATIONS,
    *,
    far: bool = False,
) -> list[Basin]:
    """Return the known optima, and those that starts lead to on few base draws, best first.

    See :func:`settle` for the meaning of ``far``.

    Raises
    ------
    StartError
        If no start leads to an optimum.
    """
    ended = list(known)
    for start in starts:
        basin = settle(scout, start.theta, start.metric, ended, iterations, far=far)
        if basin is None:
            continue
        at = next((i for i, b in enumerate(ended) if b.theta is basin.theta), None)
        if at is None:
            ended.append(replace(basin, informed=basin.informed or start.informed))
        else:
            ended[at] = replace(ended[at], starts=ended[at].starts + 1)
    found = merge(ended)
    if not found:
        raise StartError(NOWHERE)
    # A run that was cut short is not an optimum unless it is the best there is.
    return [b for i, b in enumerate(found) if b.converged or i == 0]


def jagged(scout: Objective, basin: Basin) -> bool:
    """Tell whether an optimum is made of rounding errors.

    Sums of large terms of both signs, as of ``lgamma`` of 1e19, lose all their digits: log p is
    then millions of nats too high at single points, and an optimiser finds them. A density that has
    steps does not have them this close to its base draws.
    """
    d = scout.dimension
    mean, sd = basin.theta[:d], np.exp(basin.theta[d:])
    z = mean + sd * scout.eps.reshape(-1, d)
    change = np.abs(scout.target.log_density(z + BESIDE * sd) - scout.target.log_density(z))
    known = change[np.isfinite(change)]
    return len(known) > 0 and float(known.mean()) > JUMP


def compared(objective: Objective, found: list[Basin], *, cheap: bool) -> list[Basin]:
    """Return the basins in order of their ELBO on all base draws.

    If evaluations are cheap the best few are optimised on all base draws, else only those of them
    that are separate modes; the others are only evaluated. Each is optimised on a part of the base
    draws first. ELBOs from few base draws are biased upwards and are not compared with these.
    """
    part = Objective(objective.target, objective.eps[:1], objective.clock)
    found = weigh(
        objective.target, _optimised(part, weigh(objective.target, found), cheap=cheap, few=True)
    )
    return _optimised(objective, found, cheap=cheap)


def _optimised(
    objective: Objective, found: list[Basin], *, cheap: bool, few: bool = False
) -> list[Basin]:
    """Optimise the best few basins further, evaluate the others, and merge them."""
    chosen = [b for b in found if cheap or b.separate][:COMPARED]
    chosen = [b for b in chosen if b.elbo > found[0].elbo - HOPELESS]
    # Polishing optimises one that has no rival.
    chosen = chosen if few or len(chosen) > 1 else []
    again: list[Basin] = []

    def arrived(x: FloatArray, value: float) -> bool:
        return any(value < NEAR - b.elbo and same(x, b.theta) for b in again)

    for basin in found:
        iterations = 50 if any(basin is b for b in chosen) else 0
        theta = basin.theta
        for _ in range(NARROWED if iterations else 1):
            path = lbfgs(
                objective,
                theta,
                metric=basin.metric,
                # Whoever is best is polished; the others are only compared.
                tolerance=1e-4 if few else 1e-3,
                iterations=iterations,
                arrived=arrived,
            )
            if math.isfinite(path.value):
                elbo, values = -path.value, (*basin.values, *path.values[1:])
                again.append(replace(basin, theta=path.x, elbo=elbo, values=values))
                break
            theta = narrower(theta)
    return merge(again) if again else found


def merge(basins: Sequence[Basin]) -> list[Basin]:
    """Return the different optima, best first."""
    kept: list[Basin] = []
    for basin in sorted(basins, key=lambda b: -b.elbo):
        for i, other in enumerate(kept):
            if same(basin.theta, other.theta):
                # The metric of a maximum of log p includes correlations.
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
    """Return whether two optima, means and log sds ``(2 d,)``, count as one."""
    d = len(one) // 2
    sd = np.exp(np.minimum(one[d:], two[d:]))
    return bool(
        np.all(np.abs(one[:d] - two[:d]) < SAME * sd) and np.all(np.abs(one[d:] - two[d:]) < SAME)
    )


def modes_of(basins: Sequence[Basin]) -> list[Basin]:
    """Return the separate modes that hold more than ``LEAST_MASS``."""
    return [b for b in basins if b.separate and b.mass > LEAST_MASS]


def weigh(target: Target, basins: Sequence[Basin]) -> list[Basin]:
    """Return the optima, best first, with ``separate`` and ``mass``.

    An optimum is separate if log p has a valley between it and every better separate one.
    exp(ELBO) is a lower bound on a mode's mass, and proportional to it if q fits all modes
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
    # If no ELBO is finite, all weigh the same.
    relative = np.array(
        [math.exp(max(b.elbo - top, -700.0)) if math.isfinite(top) else 1.0 for b in ordered]
    )
    total = float(relative[np.array(separate)].sum())
    return [
        replace(b, separate=s, mass=float(r) / total if s else 0.0)
        for b, s, r in zip(ordered, separate, relative, strict=True)
    ]


def valley(target: Target, one: Basin, two: Basin) -> bool:
    """Return whether log p dips on the line between two means."""
    d = len(one.theta) // 2
    return dips(target, one.theta[:d], two.theta[:d])
