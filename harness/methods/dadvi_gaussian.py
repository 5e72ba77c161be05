"""From the options of a run to what :mod:`harness.vi.deterministic` finds, and its words."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.methods.bridged import SECONDS_A_NUMBER, FitError, Problem
from harness.records import Reason, Trace
from harness.records.text import number, setting
from harness.vi import deterministic
from harness.vi.deterministic import Basin, Optimum, Settings
from harness.vi.gaussian import Gaussian
from harness.vi.target import Fitted

if TYPE_CHECKING:
    from harness.methods.dadvi_options import DadviOptions, FamilyOptions, ResponseOptions
    from harness.records import FloatArray
    from harness.vi.deterministic import Wanted

OTHER_MASS = 0.01
"""Estimated mass in other basins from which a Gaussian in one of them is not the posterior."""

PRODUCTS = 60
"""Gradients at all base draws that a solution by conjugate gradients is taken to need."""

FEWEST_CHOSEN, MOST_CHOSEN = 20, 1000
"""Parameters that get linear response's sd where there is no Hessian, at least and at most."""

SHOWN = 5
"""Parameters of each basin that are written out."""


class Fault(NamedTuple):
    """What keeps a run from being called converged, and a sentence that says it."""

    reason: Reason
    words: str


@dataclass(frozen=True, slots=True, eq=False)
class Judged(Gaussian):
    """A Gaussian to draw from, with its faults, and notes that are worth reading."""

    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


def optimum_of(problem: Problem[DadviOptions], wanted: Wanted) -> Optimum:
    """Return the best mean-field optimum as the options say.

    Raises
    ------
    FitError
        If there is none.
    """
    if problem.target.dimension == 0:
        msg = "the program has no parameters"
        raise FitError(msg)
    settings = settings_of(problem.options, expected_seconds(problem))
    try:
        return deterministic.fit(problem.target, problem.rng, problem.clock, settings, wanted)
    except np.linalg.LinAlgError as error:
        raise FitError(deterministic.IMPROPER) from error
    except deterministic.StartError as error:
        raise FitError(str(error)) from error


def expected_seconds(problem: Problem[DadviOptions]) -> float:
    """Return what a gradient in a batch takes, roughly: it visits all data once, 2 ns a number."""
    numbers = sum(value.size for value in problem.data.values())
    return 1e-6 * (1 + problem.target.dimension / 10) + SECONDS_A_NUMBER * numbers


def settings_of(options: DadviOptions, seconds: float = 0.0) -> Settings:
    """Return the settings that all four methods share; ``seconds`` are those of a gradient."""
    return Settings(
        error=options.error,
        draws=options.base_draws,
        most_draws=options.most_base_draws,
        starts=options.starts,
        seconds=seconds,
    )


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
        faults.append(_error_fault(full.error, limit))
    if not full.settled:
        faults.append(
            Fault(Reason.NOT_SETTLED, "the optimiser of the full-rank ELBO has not converged")
        )
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
    return _drawn(problem, optimum, response_of(problem, optimum))


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
    if optimum.hessian is not None:
        if not (np.isfinite(optimum.hessian).all() and np.isfinite(optimum.errors.mean).all()):
            msg = f"there is no linear response: {deterministic.IMPROPER}"
            raise FitError(msg)
        smallest = float(np.linalg.eigvalsh(optimum.hessian)[0])
        msg = (
            "the Hessian of the ELBO is not positive definite where its optimiser stopped "
            f"(smallest eigenvalue {smallest:.2g}), so that there is no linear response; "
            f"try more base draws (base_draws={4 * optimum.objective.draws}), or dadvi"
        )
        raise FitError(msg)
    return _chosen_response(problem, optimum, faults)


def _chosen_response(
    problem: Problem[ResponseOptions], optimum: Optimum, faults: tuple[Fault, ...]
) -> Judged:
    """Widen mean field's sds to linear response's, one parameter after another, by CG.

    Which parameters: in the program's order, as many as the seconds allow. Correlations stay
    zero: they would need the whole Hessian.
    """
    d = len(optimum.mean)
    sd = optimum.sd.copy()
    each = PRODUCTS * optimum.objective.draws * max(optimum.seconds_per_point, 1e-9)
    allowed = max(FEWEST_CHOSEN, int(problem.options.conjugate_s / each))
    done, bent = 0, False
    for j in range(min(d, MOST_CHOSEN, allowed)):
        problem.clock.check()
        variance, ended = deterministic.response_variances(
            optimum.objective, optimum.theta, np.array([j])
        )
        bent = bent or ended == "curvature"
        if ended == "solved":
            sd[j] *= np.sqrt(variance[0])
            done += 1
    if done == d:
        words = (
            f"{d} parameters are too many for a Hessian: the sds are linear response's, by "
            "conjugate gradients, and draws are uncorrelated"
        )
        return Judged(optimum.mean, sd, faults, (words,))
    words = (
        f"{d} parameters are too many for a Hessian: the sds of {done} are linear response's, "
        "by conjugate gradients, the others mean field's, and draws are uncorrelated"
    )
    if bent:
        words += "; conjugate gradients met directions without positive curvature"
    return Judged(optimum.mean, sd, (*faults, Fault(Reason.APPROXIMATE_SDS, words)))


def _drawn(
    problem: Problem[DadviOptions],
    optimum: Optimum,
    q: Judged,
    more: Mapping[str, float] | None = None,
    values: Sequence[tuple[float, float]] | None = None,
) -> Fitted:
    z = q.draw(problem.draws, problem.rng)
    return fitted(problem, optimum, q, z, q.log_density(z), more, values)


def fitted(
    problem: Problem[DadviOptions],
    optimum: Optimum,
    q: Judged,
    z: FloatArray,
    log_q: FloatArray | None,
    more: Mapping[str, float] | None = None,
    values: Sequence[tuple[float, float]] | None = None,
) -> Fitted:
    """Put together what a fit found, with its diagnostics, path and words."""
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
        trace=_trace(problem, optimum.values if values is None else values),
        diagnostics={**diagnostics, **(more or {})},
        words="\n".join([*q.notes, *_refused(optimum), *_listed(problem, optimum.basins)]),
    )


def faults_of(problem: Problem[DadviOptions], optimum: Optimum) -> tuple[Fault, ...]:
    """Return what keeps an optimum from being believed."""
    faults = list(basin_faults(optimum.basins))
    limit = problem.options.error
    if not optimum.settled:
        faults.append(Fault(Reason.NOT_SETTLED, "the optimiser of the ELBO has not converged"))
    if not np.isfinite(optimum.errors.mean).all():
        words = f"the error of the optimum is unknown: {deterministic.IMPROPER}"
        faults.append(Fault(Reason.BASE_DRAWS, words))
    elif not optimum.error <= limit:
        faults.append(_error_fault(optimum.error, limit, optimum.objective.draws))
    return tuple(faults)


def _error_fault(error: float, limit: float, draws: int | None = None) -> Fault:
    those = "the base draws" if draws is None else f"{draws} base draws"
    words = f"{those} leave an error of {number(error)} sd, more than {setting(limit)}"
    return Fault(Reason.BASE_DRAWS, words)


def basin_faults(basins: Sequence[Basin]) -> tuple[Fault, ...]:
    """Return the fault of a q that cannot hold the mass of other basins, if there is one."""
    modes = [b for b in basins if b.separate]
    if len(modes) < 2 or 1 - modes[0].mass <= OTHER_MASS:  # noqa: PLR2004
        return ()
    others = modes[1:]
    listed = " and ".join(
        f"{b.elbo:.2f} (about {_percent(b.mass)} of the mass)" for b in others[:3]
    )
    more = f", and {len(others) - 3} more" if len(others) > 3 else ""  # noqa: PLR2004
    which = "the other" if len(others) == 1 else "the others"
    words = (
        f"{len(modes)} basins found: a Gaussian can hold only one; the best has ELBO "
        f"{modes[0].elbo:.2f}, {which} {listed}{more}"
    )
    return (Fault(Reason.OTHER_BASINS, words),)


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share < 0.1 else f"{100 * share:.0f}%"  # noqa: PLR2004


def _refused(optimum: Optimum) -> list[str]:
    if not optimum.refused:
        return []
    return [f"{optimum.refused} steps led to points without a density and were taken back"]


def _listed(problem: Problem[DadviOptions], basins: Sequence[Basin]) -> list[str]:
    names = problem.model.unconstrained_names()
    lines = []
    for i, basin in enumerate(basins, start=1):
        d = len(names)
        shown = ", ".join(
            f"{name} {m:.4g} ± {s:.2g}"
            for name, m, s in zip(
                names[:SHOWN], basin.theta[:d], np.exp(basin.theta[d:]), strict=False
            )
        )
        kind = f"{_percent(basin.mass)} of the mass" if basin.separate else "no mode of its own"
        rest = ", …" if d > SHOWN else ""
        lines.append(
            f"basin {i}: ELBO {basin.elbo:.4f}, reached by {basin.starts} starts, {kind}; "
            f"unconstrained: {shown}{rest}"
        )
    return lines


def _trace(problem: Problem[DadviOptions], values: Sequence[tuple[float, float]]) -> Trace:
    """Return the optimiser's path: the ELBO on few base draws, at last on all of them."""
    begin = time.perf_counter() - problem.clock.elapsed_s
    path = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    return Trace(np.arange(len(path), dtype=np.float64), path[:, 0] - begin, -path[:, 1])
