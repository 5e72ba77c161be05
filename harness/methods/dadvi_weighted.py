"""Weighted draws of deterministic ADVI's Gaussians: of the best basin's, or of all basins'."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from harness.methods.bridged import Problem, densities
from harness.methods.dadvi import PsisOptions, WeightOptions
from harness.methods.dadvi_gaussian import Fault, Judged, faults_of, fitted, optimum_of, response_of
from harness.methods.weighting import weighed
from harness.records import FloatArray, Reason
from harness.records.text import number, setting
from harness.vi import deterministic
from harness.vi.deterministic import Basin, Optimum, importance
from harness.vi.deterministic.fullrank import FULLRANK_LIMIT
from harness.vi.deterministic.funnel import Funnel, funnel_of
from harness.vi.gaussian import Factor
from harness.vi.short_chains import CHECKS
from harness.vi.short_chains.coordinates import Parts, coordinates_of
from harness.vi.short_chains.home import kernel
from harness.vi.short_chains.masses import bridged_masses
from harness.vi.short_chains.starts import Weighted
from harness.vi.target import Fitted

FEWEST_PROPOSALS, USUAL_DRAWS = 1000, 10_000

ENOUGH = 0.3
"""Effective sample size of the weights, relative to the draws wanted, at which proposals end: 3000
of 10 000, about what NUTS has of 4000."""

UNLUCKY = 0.5
"""Part of ``importance.LEAST_SHARE`` below which the first proposals are already hopeless.

To halve the effective share by bad luck takes a weight of a tenth of the sum of 2000; it would be
two hundredths of that of 10 000, more than ``importance.LARGEST``.
"""

MARGIN = 1.1
"""Proposals beyond those that the first ones say are needed."""

GROWTH = (2.0, 1.5)
"""How much larger the number of proposals may get until the second look, and until later ones."""

MOST_NUMBERS = 50_000_000
"""Coordinates of all proposals together, because of memory."""

MOST_BASINS = 8
"""The mixture is made of at most this many basins, those of the most mass."""

FLOOR = 0.1
"""Share of the proposals that all basins have in equal parts, whatever their ELBOs say."""


SHARES = next(check for check in CHECKS if check.id == "share_error")
"""What the ensemble of short chains asks of shares, too."""

SURE = SHARES.rule.close / 2
"""Error of a share by the weights above which a bridge tells the masses."""


def fit_weighted(problem: Problem[PsisOptions]) -> Fitted:
    """Draw from linear response's Gaussian with heavier tails, weight, and resample."""
    optimum = optimum_of(problem, "response")
    q = response_of(problem, optimum)
    return _weighted(problem, optimum, q, _around(q.mean, q.factor))


def fit_basins(problem: Problem[WeightOptions]) -> Fitted:
    """Draw from a mixture of Gaussians, one for each basin that was found, weight, resample.

    A Gaussian holds one mode; a mixture with ``w_k ∝ exp(ELBO_k)`` holds all that starts lead to,
    and the importance weights correct its shares and shapes. A mode that no start found stays out.
    """
    optimum = optimum_of(problem, "response")
    modes = [b for b in optimum.basins if b.separate][:MOST_BASINS]
    parts = [_part(problem, optimum, basin) for basin in modes]
    level = np.array([elbo for _, elbo in parts])
    share = np.exp(level - level.max())
    share = (1 - FLOOR) * share / share.sum() + FLOOR / len(share)
    proposal = importance.Mixture(tuple(p for p, _ in parts), tuple(float(s) for s in share))
    regions = None
    if len(parts) > 1:
        regions = Parts(
            tuple(coordinates_of(p.mean, np.asarray(p.factor)) for p, _ in parts), share
        )
    best = parts[int(np.argmax(level))][0]
    # That there are other basins is no fault of a q that holds them.
    faults = [f for f in faults_of(problem, optimum) if f.reason is not Reason.OTHER_BASINS]
    notes = [f"a mixture of {len(parts)} Gaussians, one for each basin that starts led to"]
    if len(modes) < sum(b.separate for b in optimum.basins):
        words = f"more basins were found than the {MOST_BASINS} of the mixture"
        faults.append(Fault(Reason.OTHER_BASINS, words))
    q = Judged(best.mean, best.factor, tuple(faults), tuple(notes))
    return _weighted(problem, optimum, q, proposal, regions)


def _part(
    problem: Problem[WeightOptions], optimum: Optimum, basin: Basin
) -> tuple[importance.Defensive, float]:
    """Return a basin's Gaussian and about the log of its mass, nats.

    The Gaussian is full-rank where that can be fitted, else linear response's. If no Hessian can
    be formed, it is mean field's.
    """
    d = len(basin.theta) // 2
    mean, sd = basin.theta[:d], np.exp(basin.theta[d:])
    if d <= FULLRANK_LIMIT:
        with contextlib.suppress(np.linalg.LinAlgError):
            full = deterministic.fit_fullrank(
                problem.target, mean, np.diag(sd**2), problem.rng, problem.clock
            )
            if np.isfinite(full.elbo) and np.isfinite(full.factor).all():
                return _around(full.mean, full.factor), full.elbo
    if optimum.hessian is not None:
        covariance = optimum.covariance
        if covariance is None or not np.array_equal(mean, optimum.mean):
            covariance = deterministic.response_covariance(optimum.objective, basin.theta)
        if covariance is not None:
            # Mean field's ELBO lacks this entropy; where the basin is Gaussian nothing else.
            factor = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
            gained = float(np.log(np.diag(factor)).sum() - basin.theta[d:].sum())
            return _around(mean, factor), basin.elbo + gained
    return _around(mean, sd), basin.elbo


def _around(mean: FloatArray, factor: Factor) -> importance.Defensive:
    return importance.Defensive(mean, factor, importance.BROAD)


def _weighted(
    problem: Problem[WeightOptions],
    optimum: Optimum,
    q: Judged,
    proposal: importance.Defensive | importance.Mixture,
    regions: Parts | None = None,
) -> Fitted:
    """Weight draws of a proposal and resample them; ``q`` has the faults that go with them."""
    z, log_p, log_q = _proposed(problem, proposal)
    faults, notes, diagnostics = list(q.faults), list(q.notes), {}
    if regions is not None:
        log_q, error = _with_masses(problem, regions, z, log_p, log_q)
        diagnostics["share_error"] = error
        faults += share_faults(error)
    found = weighed(log_p, log_q, problem.draws, problem.rng, "this Gaussian")
    notes += found.notes
    if found.doubt:
        faults.append(Fault(Reason.WEIGHTS, found.doubt))
    whole = Judged(q.mean, q.factor, tuple(faults), tuple(notes))
    diagnostics |= found.diagnostics
    fit = fitted(problem, optimum, whole, z[found.chosen], None, diagnostics)
    return dataclasses.replace(fit, proposal=found.chosen, log_p=log_p[found.chosen])


def share_faults(error: float) -> tuple[Fault, ...]:
    """Return the fault of basins whose shares have too large a standard error, if they have."""
    limit = SHARES.rule.close
    if error <= limit:
        return ()
    words = f"{SHARES.noun}: {number(error)} (allowed: at most {setting(limit)})"
    return (Fault(Reason.WEIGHTS, words),)


def _with_masses(
    problem: Problem[WeightOptions],
    regions: Parts,
    z: FloatArray,
    log_p: FloatArray,
    log_q: FloatArray,
) -> tuple[FloatArray, float]:
    """Return log q that gives each region its mass, and the largest standard error of a share.

    Weights tell the masses well enough, or a bridge in each region does. Without a finite error
    their shares are unknown.
    """
    log_w = np.where(np.isfinite(log_p), log_p - log_q, -np.inf)
    if not np.isfinite(log_w.max()):
        return log_q, math.inf
    weight = np.exp(log_w - log_w.max())
    found = Weighted(z, log_p, weight / weight.sum(), regions.nearest(z))
    count = len(regions.each)
    error = found.share_error(count)
    if error <= SURE:
        return log_q, error
    target, rng, clock = problem.target, problem.rng, problem.clock
    maps, step = kernel(target, regions, found, rng, clock)
    masses = bridged_masses(target, regions, maps, found, step.size, rng, clock)
    if not masses.error < error:
        return log_q, error
    mass = np.bincount(found.part, found.weight, count)
    with np.errstate(divide="ignore"):
        gained = np.log(masses.shares) - np.log(mass)
    # A region without weight has no proposal that could carry its share.
    return log_q - np.where(mass > 0, gained, 0.0)[found.part], masses.error


def _proposed(
    problem: Problem[WeightOptions], proposal: importance.Defensive | importance.Mixture
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return proposals ``(n, d)`` with log p and log q.

    A first part says how many are needed for weights that are worth enough draws, and whether a
    funnel is the better proposal for the others. Where the weights are not to be trusted, more of
    them would not be either.
    """
    wanted, most = max(problem.draws, USUAL_DRAWS), _most_proposals(problem)
    parts: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    funnel: Funnel | None = None
    n, more = 0, min(wanted // 5, most)
    while True:
        z, each = (proposal if funnel is None else funnel).drawn(more, problem.rng)
        parts.append((z, densities(problem, z, max(1, more // 20)), np.atleast_2d(each)))
        n += more
        log_p = np.concatenate([part[1] for part in parts])
        log_q = _mixed([part[2] for part in parts])
        # Smoothed as they will be: one heavy weight says little of how many draws they are worth.
        found = importance.smoothed_weights(log_p, log_q, lambda _p, _q: 0.0)
        enough = found.ess >= ENOUGH * wanted and found.largest <= importance.LARGEST
        # With the most proposals the largest weight would still be too large a share.
        heavy = found.largest * n > importance.LARGEST * most
        least = importance.LEAST_SHARE * (UNLUCKY if len(parts) == 1 else 1.0)
        if n >= most or enough or heavy or not found.ess > least * n:
            return np.concatenate([part[0] for part in parts]), log_p, log_q
        if len(parts) == 1 and isinstance(proposal, importance.Defensive):
            funnel = funnel_of(proposal, z, found)
            if funnel is not None:
                parts = [(z, log_p, np.stack([log_q, funnel.log_density(z)]))]
        # A part may miss what makes weights uneven, or be unlucky: look again soon.
        needed = min(MARGIN * ENOUGH * wanted * n / max(found.ess, 1.0), GROWTH[len(parts) > 1] * n)
        more = int(np.clip(needed - n, n // 8, most - n))


def _mixed(each: Sequence[FloatArray]) -> FloatArray:
    """Return log q of all parts' draws as those of one mixture (Veach and Guibas 1995, SIGGRAPH).

    ``each`` has a part's log densities by the first proposal and, if there is one, by the funnel
    that all other parts come from, shape ``(proposal, draw)``.
    """
    log_q = np.concatenate(each, axis=1)
    first = each[0].shape[1] / log_q.shape[1]
    if len(log_q) == 1 or first == 1:
        return np.asarray(log_q[0])
    return np.asarray(np.logaddexp(math.log(first) + log_q[0], math.log1p(-first) + log_q[1]))


def _most_proposals(problem: Problem[WeightOptions]) -> int:
    """Return the largest number of proposals.

    It is halved while those of ``USUAL_DRAWS`` are expected to take longer than allowed. Where
    more draws are wanted, there may always be more proposals.
    """
    options = problem.options
    took = problem.expected.gradient * USUAL_DRAWS * options.proposals
    halvings = math.ceil(math.log2(max(took / max(options.weights_s, 1e-9), 1.0)))
    n = int(max(problem.draws, USUAL_DRAWS) * options.proposals * 0.5**halvings)
    return max(min(n, MOST_NUMBERS // problem.target.dimension), FEWEST_PROPOSALS)
