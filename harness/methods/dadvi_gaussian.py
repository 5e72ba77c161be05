"""Deterministic ADVI's Gaussians, and what keeps them from being believed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from harness.methods import free_checks
from harness.methods.bridged import (
    FitError,
    Problem,
    cheap,
    densities,
)
from harness.methods.dadvi import DadviOptions, FamilyOptions, ResponseOptions
from harness.methods.dadvi_improper import level_along, no_optimum, unbounded
from harness.records import Doubt, Estimate, FloatArray, Reason, Trace
from harness.records.names import stan_name
from harness.records.text import count, estimate, fixed, integer, listed, number, percent, setting
from harness.vi import deterministic
from harness.vi.deterministic import Basin, Optimum, Settings, Wanted
from harness.vi.deterministic.improper import flat_directions, level_of
from harness.vi.elbo import elbos
from harness.vi.gaussian import Factor, Gaussian, draws, log_normal
from harness.vi.target import Fitted

OTHER_MASS = 0.01
"""Estimated mass in other basins from which a Gaussian in one of them is not the posterior."""

LOWER = 0.1
"""Nats below mean field's ELBO from which linear response has made the fit worse."""

LOWER_ERROR = 0.03
"""Nats to which that has to be known."""

LOWER_S, FEW = 0.5, 512
"""Seconds that finding out may take; and the draws that do with many parameters."""

NAMED = 3
"""Other basins that a message names."""

SHOWN = 5
"""Parameters of each basin that are written out."""


class Fault(NamedTuple):
    """What keeps a run from being called converged, and a sentence that says it."""

    reason: Reason
    words: str
    doubt: Doubt | None = None  # the figure behind it, if there is one


UNSETTLED = Fault(Reason.NOT_SETTLED, "the optimiser of the ELBO has not converged")


def faults_of(problem: Problem[DadviOptions], optimum: Optimum) -> tuple[Fault, ...]:
    """Return what keeps an optimum from being believed."""
    faults = list(basin_faults(optimum.basins))
    limit = problem.options.error
    if not optimum.settled:
        faults.append(UNSETTLED)
    if not np.isfinite(optimum.errors.mean).all():
        why = no_optimum(problem, deterministic.StartError(deterministic.IMPROPER))
        words = f"the error of the optimum is unknown: {why}"
        faults.append(Fault(Reason.BASE_DRAWS, words))
    elif not optimum.error <= limit:
        faults.append(error_fault(optimum.error, limit, optimum.objective.draws))
    return tuple(faults)


def error_fault(error: float, limit: float, draws: int | None = None) -> Fault:
    """Return the fault of base draws that leave too large an error."""
    those = "the base draws" if draws is None else count(draws, "base draw")
    words = f"{those} leave an error of {number(error)} sd; allowed: {setting(limit)}"
    return Fault(Reason.BASE_DRAWS, words)


def basin_faults(basins: Sequence[Basin]) -> tuple[Fault, ...]:
    """Return the fault of a q that cannot hold the mass of other basins, if there is one."""
    modes = [b for b in basins if b.separate]
    others = modes[1:]
    if not others or 1 - modes[0].mass <= OTHER_MASS:
        return ()
    each = [f"{fixed(b.elbo, 2)} (about {percent(b.mass)} of the mass)" for b in others]
    which = "the other" if len(others) == 1 else "the others"
    words = (
        f"{count(len(others) + 1, 'basin')} found: a Gaussian can hold only one; the best has "
        f"ELBO {fixed(modes[0].elbo, 2)}, {which} {listed(each, NAMED)}"
    )
    return (Fault(Reason.OTHER_BASINS, words),)


def described(problem: Problem[DadviOptions], optimum: Optimum) -> list[str]:
    """Return a line for each basin, and one for steps that were taken back."""
    names = problem.model.unconstrained_names()
    d = len(names)
    lines = []
    if optimum.refused:
        steps = count(optimum.refused, "step")
        lines.append(f"{steps} led to points without a density and were taken back")
    for i, basin in enumerate(optimum.basins, start=1):
        places = zip(names[:SHOWN], basin.theta[:d], np.exp(basin.theta[d:]), strict=False)
        shown = ", ".join(f"{name} {estimate(mean, sd)}" for name, mean, sd in places)
        kind = f"{percent(basin.mass)} of the mass" if basin.separate else "not a mode of its own"
        lines.append(
            f"basin {i}: ELBO {fixed(basin.elbo, 4)}, reached from {count(basin.starts, 'start')}, "
            f"{kind}; mean ± sd, unconstrained: {shown}{', …' if d > SHOWN else ''}"
        )
    return lines


WIDER = 1.15
"""The factor by which linear response of a few directions may leave some direction too narrow: the
limit at which widths count as close."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A Gaussian to draw from, with its faults, and notes that are worth reading."""

    mean: FloatArray  # shape (d,)
    factor: Factor
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


def optimum_of(problem: Problem[DadviOptions], wanted: Wanted) -> Optimum:
    """Return the best mean-field optimum as the options say, or raise FitError."""
    if problem.target.dimension == 0:
        raise FitError("the program has no parameters")
    options = problem.options
    # A gradient in a batch visits all data once.
    settings = Settings(
        error=options.error,
        draws=options.base_draws,
        most_draws=options.most_base_draws,
        starts=options.starts,
        seconds=problem.expected.gradient,
    )
    try:
        optimum = deterministic.fit(problem.target, problem.rng, problem.clock, settings, wanted)
    except np.linalg.LinAlgError as error:
        raise no_optimum(problem, deterministic.StartError(deterministic.IMPROPER)) from error
    except deterministic.UnboundedError as error:
        raise unbounded(problem.model, error) from error
    except deterministic.StartError as error:
        raise no_optimum(problem, error) from error
    if level := level_of(problem.target, optimum):
        raise level_along(problem, level)
    if not np.isfinite(optimum.errors.mean).all():
        # Where a log scale grows without end, the Hessian is not finite: nothing was fitted.
        flat = flat_directions(problem.target, problem.rng.spawn(1)[0])
        if flat:
            raise level_along(problem, flat)
    return optimum


def fit_family(problem: Problem[FamilyOptions]) -> Fitted:
    """Fit the family that the option names; draws are independent."""
    if problem.options.family == "meanfield":
        optimum = optimum_of(problem, "meanfield")
        q = Judged(optimum.mean, optimum.sd, faults_of(problem, optimum))
        return _drawn(problem, optimum, q)
    optimum = optimum_of(problem, "response")
    start = np.diag(optimum.sd**2) if optimum.covariance is None else optimum.covariance
    try:
        full = deterministic.fit_fullrank(
            problem.target, optimum.mean, start, problem.rng, problem.clock
        )
    except np.linalg.LinAlgError as error:
        raise FitError(deterministic.IMPROPER) from error
    except ValueError as error:
        raise FitError(str(error)) from error
    faults = list(basin_faults(optimum.basins))
    limit = problem.options.error
    if full.error > limit:
        faults.append(error_fault(full.error, limit))
    if not full.settled:
        faults.append(UNSETTLED)
    q = Judged(full.mean, full.factor, tuple(faults))
    more = {
        "elbo": full.elbo,
        "elbo_error": full.elbo_error,
        "base_error": full.error,
        "iterations": float(len(full.values)),
    }
    return _drawn(problem, optimum, q, more, full.values)


def fit_response(problem: Problem[ResponseOptions]) -> Fitted:
    """Fit mean-field, correct the covariance by linear response; draws are independent."""
    optimum = optimum_of(problem, "response")
    q = response_of(problem, optimum)
    return _drawn(problem, optimum, _lower_elbo(problem, optimum, q))


def response_of(problem: Problem[ResponseOptions], optimum: Optimum) -> Judged:
    """Return linear response's Gaussian, or what comes nearest to it.

    Raises
    ------
    FitError
        If the Hessian at the optimum is not positive definite.
    """
    faults = faults_of(problem, optimum)
    if optimum.covariance is not None:
        try:
            factor = np.asarray(np.linalg.cholesky(optimum.covariance), dtype=np.float64)
        except np.linalg.LinAlgError as error:
            raise FitError(deterministic.IMPROPER) from error
        return Judged(optimum.mean, factor, faults)
    if optimum.root is not None:
        return Judged(optimum.mean, optimum.root, faults)
    if optimum.hessian is not None:
        if not (np.isfinite(optimum.hessian).all() and np.isfinite(optimum.errors.mean).all()):
            raise FitError(f"there is no linear response: {deterministic.IMPROPER}")
        raise FitError(_not_definite(float(np.linalg.eigvalsh(optimum.hessian)[0]), optimum))
    return _few_directions(problem, optimum, faults)


def _lower_elbo(problem: Problem[ResponseOptions], optimum: Optimum, q: Judged) -> Judged:
    """Add the fault of a linear response that is farther from the posterior than mean field."""
    rng = problem.rng.spawn(1)[0]
    if not isinstance(q.factor, np.ndarray):
        return _lower_than(problem, optimum, q, rng)
    both = [Gaussian(optimum.mean, optimum.sd), Gaussian(q.mean, q.factor)]
    most = int(np.clip(LOWER_S / max(optimum.seconds_per_point, 1e-9), 1024, 8192))
    _, found = elbos(
        problem.target, both, rng, problem.clock,
        error=LOWER_ERROR, share=0.2, size=64, most=most, level=False,
    )  # fmt: skip
    return _lower(q, found.below, never=found.lost > 0)


def _lower_than(
    problem: Problem[ResponseOptions], optimum: Optimum, q: Judged, rng: np.random.Generator
) -> Judged:
    """Do the same without common base draws: log p − log q hardly varies where q is right."""
    z = draws(FEW, q.mean, q.factor, rng)
    own = densities(problem, z) - log_normal(z, q.mean, q.factor)
    mcse = math.hypot(float(own.std(ddof=1)) / math.sqrt(FEW), optimum.errors.elbo)
    below = Estimate(optimum.elbo - float(own.mean()), mcse)
    return _lower(q, below, never=not np.isfinite(own).all())


def _lower(q: Judged, below: Estimate, *, never: bool) -> Judged:
    lost, error = below
    if not (never or lost > LOWER + 2 * error):
        return q
    size = "infinitely far" if never else f"{number(lost)} nats"
    words = f"linear response's Gaussian has an ELBO {size} below mean field's"
    return replace(q, faults=(*q.faults, Fault(Reason.LOWER_ELBO, words)))


def _few_directions(
    problem: Problem[ResponseOptions], optimum: Optimum, faults: tuple[Fault, ...]
) -> Judged:
    """Return linear response in the directions that Lanczos' method finds.

    Raises
    ------
    FitError
        If the Hessian is not positive definite in one of them.
    """
    rng = problem.rng.spawn(1)[0]
    found = deterministic.low_rank(
        optimum.objective,
        optimum.theta,
        max(optimum.seconds_per_point, 1e-9),
        problem.options.conjugate_s,
        rng,
    )
    if found.root is None:
        raise FitError(_not_definite(found.smallest, optimum))
    words = (
        f"{integer(len(optimum.mean))} parameters are too many for a Hessian: linear response in "
        f"{count(found.directions, 'direction')} by Lanczos' method; in some direction draws are "
        f"{number(found.wide)} times too narrow, in another {number(found.narrow)} times too wide, "
        "at least"
    )
    if max(found.wide, found.narrow) <= WIDER:
        return Judged(optimum.mean, found.root, faults, (words,))
    fault = Fault(Reason.APPROXIMATE_SDS, words)
    return Judged(optimum.mean, found.root, (*faults, fault))


def _not_definite(smallest: float, optimum: Optimum) -> str:
    return (
        "the Hessian of the ELBO is not positive definite where its optimiser stopped "
        f"(smallest eigenvalue {number(smallest)}), so that there is no linear response; "
        f"try more base draws (base_draws={4 * optimum.objective.draws}), or dadvi"
    )


def _drawn(
    problem: Problem[DadviOptions],
    optimum: Optimum,
    q: Judged,
    more: Mapping[str, float] | None = None,
    values: Sequence[tuple[float, float]] | None = None,
) -> Fitted:
    z = draws(problem.draws, q.mean, q.factor, problem.rng)
    log_q = log_normal(z, q.mean, q.factor)
    log_p: FloatArray | None = None
    if cheap(problem, len(z)):
        log_p = densities(problem, z)
        own = free_checks.reweighted(log_p, log_q)
        more = {**(more or {}), **own.diagnostics}
        q = replace(q, notes=(*q.notes, *own.notes))
        doubt = moved_by_weights(problem, z, own)
        if doubt is not None:
            fault = Fault(doubt.reason, free_checks.words(doubt), doubt)
            q = replace(q, faults=(*q.faults, fault))
    return replace(fitted(problem, optimum, q, z, log_q, more, values), log_p=log_p)


def moved_by_weights(
    problem: Problem[Any], z: FloatArray, own: free_checks.Reweighted
) -> Doubt | None:
    """Return in what a fit is wrong by its own weights; only draws that can be written count."""
    if own.weight is None:
        return None
    model = problem.model
    values, failures = model.constrain(z, transformed=True)
    if np.any(failures):
        return None
    names = [stan_name(n) for n in model.constrained_names(transformed=True)]
    return free_checks.moved(names, values, own.weight)


def fitted(
    problem: Problem[DadviOptions],
    optimum: Optimum,
    q: Judged,
    z: FloatArray,
    log_q: FloatArray | None,
    more: Mapping[str, float] | None = None,
    values: Sequence[tuple[float, float]] | None = None,
) -> Fitted:
    """Put together what a fit found, with its diagnostics, path and words.

    The path is the optimiser's: the ELBO on few base draws, at last on all of them.
    """
    begin = time.perf_counter() - problem.clock.elapsed_s
    path = np.asarray(optimum.values if values is None else values, dtype=np.float64)
    path = path.reshape(-1, 2)
    modes = [b for b in optimum.basins if b.separate]
    diagnostics = {
        "elbo": optimum.elbo,
        "elbo_error": optimum.errors.elbo,
        "basins": float(len(modes)),
        "optima": float(len(optimum.basins)),
        "base_draws": float(optimum.objective.draws),
        "base_error": optimum.error,
        "iterations": float(len(optimum.values)),
        "refused_steps": float(optimum.refused),
    }
    if len(modes) > 1:
        diagnostics["basin_gap"] = modes[0].elbo - modes[1].elbo
        diagnostics["other_mass"] = 1 - modes[0].mass
    return Fitted(
        z=z,
        log_q=log_q,
        status="not_converged" if q.faults else "ok",
        reason=q.faults[0].reason if q.faults else None,
        message="; ".join(fault.words for fault in q.faults),
        trace=Trace(np.arange(len(path), dtype=np.float64), path[:, 0] - begin, -path[:, 1]),
        diagnostics={**diagnostics, **(more or {})},
        words="\n".join([*q.notes, *described(problem, optimum)]),
        doubts=tuple(fault.doubt for fault in q.faults if fault.doubt is not None),
    )
