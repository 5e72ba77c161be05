"""The loop of batch and match: where it starts, how batches grow, and when q has settled.

Its updates are in :mod:`harness.vi.score_matching`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic

import numpy as np

from harness.records import FloatArray, Reason, Status, Trace
from harness.records.text import count, number, percent, setting
from harness.vi.deterministic.starts import starting_points, usual_starts
from harness.vi.gaussian import Gaussian
from harness.vi.low_rank import LowRank
from harness.vi.score_matching import (
    Q,
    UpdateError,
    change,
    conditional_sd,
    match,
    match_and_patch,
)
from harness.vi.target import Clock, Target, finite_rows

BOLD, CAREFUL = 10.0, 1.0
"""λ at which q travels, and at which it averages batches once it has arrived.

With a patch of fewer than d − 1 factors λ stays large. Where the posterior has another covariance
the patched fixed point depends on λ. A large one projects the solution of the scores, and the patch
keeps its variances; a small one matches (Σ⁻¹)ᵢᵢ to the variances of the scores, which without
factors is narrower than the best mean-field Gaussian.
"""

GROWTH = 4  # of the batch, where its noise is all that moves q
WINDOW = 10  # iterations whose median change shows whether q still approaches something
FALLS = 0.8  # ratio of two such medians above which it does not

CHECKED = 4  # the check's draws, in batches
LEAST_CHECKED = 1024
AGREE = 2  # checks in a row, each from where the last one ended: one alone may pass by luck
LOST = 0.01  # largest share of them without a finite density and gradient
CHECKS = 3  # times that the largest batch may end in a failed check or in noise
CHECK_PATCH = 100  # steps of a check's patch: it must not take slow ones for a fixed point

MOST_FIRST = 256  # draws of the first patched batches, where there are more parameters

POINTS = 4  # starting points, from which log p is climbed
START_DENSE = 300  # parameters up to which a start has the curvature's sds

MOST_BAD = 20  # steps in a row without an update after which the fit ends

WIDE = 1e8  # sds, in units of the start's, from which q is taken to widen without end


@dataclass(frozen=True, slots=True)
class Settings:
    """How batches grow, and when q has settled."""

    batch: int = 32  # draws of the first iterations
    most_batch: int = 4096  # of a check too
    iterations: int = 1000  # at most, over all batch sizes
    tolerance: float = 0.05  # largest change at a check, of means in sds and of log sds


@dataclass(slots=True, eq=False)
class Matched(Generic[Q]):
    """The result of a fit, and its path."""

    q: Q | None
    status: Status = "ok"
    message: str = ""
    reason: Reason | None = None
    change: float = float("nan")  # at the last check, of means in sds and of log sds
    batch: int = 0
    iterations: int = 0
    bad_steps: int = 0
    lost: int = 0  # draws of the last update without a finite density and gradient
    elbos: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def trace(self) -> Trace:
        """The ELBO of each iteration's q, estimated on its own batch, nats."""
        at = np.arange(1, len(self.elbos) + 1, dtype=np.float64)
        return Trace(at, np.asarray(self.seconds), np.asarray(self.elbos))


def start(target: Target, rng: np.random.Generator, clock: Clock) -> tuple[FloatArray, FloatArray]:
    """Return means and sds, shape ``(d,)``, at the maximum of log p with the largest mass.

    Its mass is approximated by its density and the curvature's sds. Without a maximum it is one of
    Stan's own starting points with sds of 1.

    Raises
    ------
    harness.vi.deterministic.StartError
        If no starting point has a finite density.
    """
    points = starting_points(target, POINTS, rng)
    found, _ = usual_starts(target, points, POINTS, 0, START_DENSE, clock)
    d = target.dimension
    theta = np.array([s.theta for s in found])
    mass = target.log_density(theta[:, :d]) + theta[:, d:].sum(axis=1)
    best = theta[int(np.argmax(np.where(np.isfinite(mass), mass, -np.inf)))]
    return best[:d], np.exp(best[d:])


def full_rank(
    target: Target, rng: np.random.Generator, clock: Clock, settings: Settings
) -> Matched[Gaussian]:
    """Fit a Gaussian with any covariance; the first batch has more draws than parameters.

    Raises
    ------
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    d = target.dimension
    mean, sd = start(target, rng, clock)
    q = Gaussian(mean, np.diag(sd))

    def step(q: Gaussian, z: FloatArray, g: FloatArray, rate: float, *, last: bool) -> Gaussian:
        del last
        return match(q, z, g, rate)

    # With fewer draws than parameters there are directions that no score has seen.
    first = max(settings.batch, d + 2)
    return _fit(target, q, step, rng, clock, settings, first, CAREFUL)


def low_rank(
    target: Target, rank: int, rng: np.random.Generator, clock: Clock, settings: Settings
) -> Matched[LowRank]:
    """Fit a Gaussian with ``rank`` factors beside the diagonal, d − 1 at most.

    Raises
    ------
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    d = target.dimension
    k = min(rank, d - 1)
    mean, sd = start(target, rng, clock)
    loadings = 0.1 * sd[:, None] * rng.standard_normal((d, k))
    q = LowRank(mean, sd**2, loadings)

    # With fewer draws than parameters the patch sees few directions.
    first = max(settings.batch, min(d + 2, MOST_FIRST))

    def step(q: LowRank, z: FloatArray, g: FloatArray, rate: float, *, last: bool) -> LowRank:
        return match_and_patch(q, z, g, rate, CHECK_PATCH if last else None)

    # With d − 1 factors it is any covariance, and its fixed point does not depend on λ.
    careful = CAREFUL if k == d - 1 else BOLD
    return _fit(target, q, step, rng, clock, settings, first, careful)


def _fit(
    target: Target,
    q: Q,
    step: Callable[..., Q],
    rng: np.random.Generator,
    clock: Clock,
    settings: Settings,
    first: int,
    careful: float,
) -> Matched[Q]:
    """Iterate until a check on fresh draws shows a fixed point.

    The batch grows where changes no longer fall. A check is one update on ``CHECKED`` times as many
    draws: it measures the distance that is left, noise included, whatever the steps before it were.
    """
    found: Matched[Q] = Matched(None, batch=first)
    scale, rate = q.sd, BOLD
    most = max(settings.most_batch // CHECKED, first)
    changes: list[float] = []
    bad = failed = 0
    while found.iterations < settings.iterations and failed < CHECKS:
        clock.check()
        new = _updated(target, q, step, rng, found, found.batch, rate)
        found.iterations += 1
        found.seconds.append(clock.elapsed_s)
        if new is None or not (new.sd < WIDE * scale).all():
            found.bad_steps, bad = found.bad_steps + 1, bad + 1
            rate /= 2
            if bad >= MOST_BAD:
                return _diverged(found, wide=new is not None)
            continue
        bad = 0
        moved, q = change(new, q), new
        changes.append(moved)
        settled = moved <= settings.tolerance
        if settled:
            size = max(CHECKED * found.batch, LEAST_CHECKED)
            passed = 0
            while passed < AGREE:
                new = _updated(target, q, step, rng, found, size, BOLD, last=True)
                found.change = float("inf") if new is None else change(new, q)
                q = q if new is None else new
                if not found.change <= settings.tolerance:
                    break
                passed += 1
            else:
                return _arrived(found, q, size)
        if settled or _noisy(changes):
            failed += found.batch == most
            changes = []
            rate = careful
            found.batch = min(GROWTH * found.batch, most)
    found.q, found.status, found.reason = q, "not_converged", Reason.NOT_SETTLED
    left = f"; the last check changed q by {number(found.change)}" if found.change >= 0 else ""
    found.message = (
        f"after {count(found.iterations, 'iteration')} with up to {found.batch} draws each, an "
        f"update still changes means by more than {setting(settings.tolerance)} sd, or sds by such "
        f"a share{left}"
    )
    return found


def _updated(
    target: Target,
    q: Q,
    step: Callable[..., Q],
    rng: np.random.Generator,
    found: Matched[Q],
    size: int,
    rate: float,
    *,
    last: bool = False,
) -> Q | None:
    """Return the q of one update, None if there is none; note the ELBO on its draws."""
    z = q.draw(size, rng)
    value, g = target.log_density_gradient(z)
    good = finite_rows(value, g)
    lost = found.lost = size - int(np.count_nonzero(good))
    if not last:
        elbo = float(np.mean(value - q.log_density(z))) if not lost else float("nan")
        found.elbos.append(elbo)
    if lost > size / 2:
        return None
    try:
        new = step(q, z[good], g[good], rate, last=last)
    except (np.linalg.LinAlgError, UpdateError):
        return None
    usable = np.isfinite(new.mean).all() and np.isfinite(new.sd).all() and (new.sd > 0).all()
    return new if usable and np.isfinite(conditional_sd(new)).all() else None


def _noisy(changes: list[float]) -> bool:
    """Return whether the changes of the last iterations are no smaller than those before."""
    if len(changes) < 2 * WINDOW:
        return False
    earlier, later = (
        float(np.median(c)) for c in (changes[-2 * WINDOW : -WINDOW], changes[-WINDOW:])
    )
    return later > FALLS * earlier


def _arrived(found: Matched[Q], q: Q, size: int) -> Matched[Q]:
    """Return a fit at its fixed point, unless that ignores draws without a density."""
    found.q = q
    if found.lost > LOST * size:
        found.status, found.reason = "not_converged", Reason.NO_FINITE_DRAWS
        found.message = (
            f"{percent(found.lost / size)} of q's draws have no finite density and gradient, and "
            "score matching leaves them out"
        )
    return found


def _diverged(found: Matched[Q], *, wide: bool) -> Matched[Q]:
    """Return a fit that ended without a q."""
    found.status, found.reason = "diverged", Reason.DIVERGING
    tries = count(MOST_BAD, "update")
    found.message = (
        f"{tries} in a row widen q without end: the posterior may be improper"
        if wide
        else f"{tries} in a row failed: over half of the draws of q have no finite density and "
        "gradient, or numbers overflow"
    )
    return found
