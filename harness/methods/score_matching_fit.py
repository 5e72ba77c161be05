"""How ``lowrank`` and ``bam`` fit, and what their own draws say against them."""

from __future__ import annotations

from dataclasses import asdict

from harness.methods import free_checks
from harness.methods.bridged import FitError, Problem, cheap, densities
from harness.methods.dadvi_gaussian import moved_by_weights
from harness.methods.score_matching import LowRankOptions, MatchOptions
from harness.records.text import integer
from harness.vi import batch_and_match
from harness.vi.batch_and_match import Matched, Settings
from harness.vi.deterministic import StartError
from harness.vi.gaussian import Gaussian
from harness.vi.low_rank import LowRank
from harness.vi.target import Fitted

MOST_FULL = 300
"""Parameters up to which an update of the full covariance takes under a tenth of a second."""


def fit_low_rank(problem: Problem[LowRankOptions]) -> Fitted:
    """Fit a Gaussian whose covariance is low-rank plus diagonal."""
    _refuse_no_parameters(problem)
    try:
        found = batch_and_match.low_rank(
            problem.target,
            problem.options.rank,
            problem.rng,
            problem.clock,
            _settings(problem.options),
        )
    except StartError as error:
        raise FitError(str(error)) from error
    return _fitted(problem, found)


def fit_full_rank(problem: Problem[MatchOptions]) -> Fitted:
    """Fit a Gaussian with any covariance; refuse too many parameters."""
    _refuse_no_parameters(problem)
    d = problem.target.dimension
    if d > MOST_FULL:
        raise FitError(
            f"{integer(d)} parameters are too many for a full covariance (allowed: {MOST_FULL}); "
            "try lowrank"
        )
    try:
        found = batch_and_match.full_rank(
            problem.target, problem.rng, problem.clock, _settings(problem.options)
        )
    except StartError as error:
        raise FitError(str(error)) from error
    return _fitted(problem, found)


def _refuse_no_parameters(problem: Problem[MatchOptions]) -> None:
    if problem.target.dimension == 0:
        raise FitError("the program has no parameters")


def _settings(options: MatchOptions) -> Settings:
    plain = options.plain()
    return Settings(**{name: plain[name] for name in asdict(Settings())})


def _fitted(problem: Problem[MatchOptions], found: Matched[Gaussian] | Matched[LowRank]) -> Fitted:
    """Draw, and hold the draws against their own weights p/q, as deterministic ADVI does."""
    diagnostics = {
        "iterations": float(found.iterations),
        "bad_steps": float(found.bad_steps),
        "batch": float(found.batch),
        "change": found.change,
    }
    if found.q is None:
        return Fitted(
            None, None, found.status, found.message, found.trace, diagnostics, reason=found.reason
        )
    z = found.q.draw(problem.draws, problem.rng)
    log_q = found.q.log_density(z)
    status, reason, messages, doubts = found.status, found.reason, [found.message], []
    log_p, words = None, ""
    if cheap(problem, len(z)):
        log_p = densities(problem, z)
        own = free_checks.reweighted(log_p, log_q)
        diagnostics |= own.diagnostics
        words = "\n".join(own.notes)
        doubt = moved_by_weights(problem, z, own)
        if doubt is not None:
            status, reason = "not_converged", reason or doubt.reason
            messages.append(free_checks.words(doubt))
            doubts.append(doubt)
    return Fitted(
        z=z,
        log_q=log_q,
        status=status,
        message="; ".join(m for m in messages if m),
        trace=found.trace,
        diagnostics=diagnostics,
        words=words,
        reason=reason,
        log_p=log_p,
        doubts=tuple(doubts),
    )
