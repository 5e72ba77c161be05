"""Weighted draws of deterministic ADVI's Gaussians: of the best basin's, or of all basins'."""

from __future__ import annotations

import numpy as np

from harness.methods.bridged import Problem, densities
from harness.methods.dadvi import PsisOptions, WeightOptions
from harness.methods.dadvi_gaussian import Fault, Judged, faults_of, fitted, optimum_of, response_of
from harness.metrics.weights import khat, khat_limit
from harness.records import Reason
from harness.records.text import count, integer, number
from harness.vi import deterministic
from harness.vi.deterministic import Basin, Optimum, importance
from harness.vi.deterministic.fullrank import FULLRANK_LIMIT
from harness.vi.target import Fitted

FEWEST_PROPOSALS = 1000

MOST_BASINS = 8
"""The mixture is made of at most this many basins, those of the most mass."""

FLOOR = 0.1
"""Share of the proposals that all basins have in equal parts, whatever their ELBOs say."""


def fit_weighted(problem: Problem[PsisOptions]) -> Fitted:
    """Draw from linear response's Gaussian with heavier tails, weight, and resample."""
    optimum = optimum_of(problem, "response")
    q = response_of(problem, optimum)
    return _weighted(problem, optimum, q, importance.Defensive(q.mean, q.factor))


def fit_basins(problem: Problem[WeightOptions]) -> Fitted:
    """Draw from a mixture of Gaussians, one for each basin that was found, weight, resample.

    A Gaussian holds one mode; a mixture with ``w_k ∝ exp(ELBO_k)`` holds all that starts lead to,
    and the importance weights correct its shares and shapes. A mode that no start found stays out.
    """
    optimum = optimum_of(problem, "response")
    modes = [b for b in optimum.basins if b.separate][:MOST_BASINS]
    parts = [_part(problem, basin) for basin in modes]
    level = np.array([elbo for _, elbo in parts])
    share = np.exp(level - level.max())
    share = (1 - FLOOR) * share / share.sum() + FLOOR / len(share)
    proposal = importance.Mixture(tuple(p for p, _ in parts), tuple(float(s) for s in share))
    best = parts[int(np.argmax(level))][0]
    # That there are other basins is no fault of a q that holds them.
    faults = [f for f in faults_of(problem, optimum) if f.reason is not Reason.OTHER_BASINS]
    notes = [f"a mixture of {len(parts)} Gaussians, one for each basin that starts led to"]
    if len(modes) < sum(b.separate for b in optimum.basins):
        words = f"more basins were found than the {MOST_BASINS} of the mixture"
        faults.append(Fault(Reason.OTHER_BASINS, words))
    q = Judged(best.mean, best.factor, tuple(faults), tuple(notes))
    return _weighted(problem, optimum, q, proposal)


def _part(problem: Problem[WeightOptions], basin: Basin) -> tuple[importance.Defensive, float]:
    """Return a basin's Gaussian, full-rank where that can be fitted, and its ELBO."""
    d = len(basin.theta) // 2
    mean, sd = basin.theta[:d], np.exp(basin.theta[d:])
    if d <= FULLRANK_LIMIT:
        try:
            full = deterministic.fit_fullrank(
                problem.target, mean, np.diag(sd**2), problem.rng, problem.clock
            )
        except np.linalg.LinAlgError:
            pass
        else:
            if np.isfinite(full.elbo) and np.isfinite(full.factor).all():
                return importance.Defensive(full.mean, full.factor), full.elbo
    return importance.Defensive(mean, sd), basin.elbo


def _weighted(
    problem: Problem[WeightOptions], optimum: Optimum, q: Judged, proposal: importance.Proposal
) -> Fitted:
    """Weight draws of a proposal and resample them; ``q`` has the faults that go with them."""
    can = int(problem.options.weights_s / max(optimum.seconds_per_point, 1e-9))
    n = max(min(int(problem.draws * problem.options.proposals), can), FEWEST_PROPOSALS)
    z = proposal.draw(n, problem.rng)
    log_p = densities(problem, z, max(1, n // 20))
    weights = importance.smoothed_weights(
        log_p, proposal.log_density(z), lambda p, q: khat(p, q).value
    )
    delivered = importance.delivered(problem.draws, weights.ess)
    kept = z[importance.systematic(weights.weight, delivered, problem.rng)]
    faults, notes = list(q.faults), list(q.notes)
    limit = khat_limit(n)
    worth = f"{count(n, 'weighted draw')} have an effective sample size of {number(weights.ess, 3)}"
    if not weights.khat <= limit:
        words = f"k-hat {number(weights.khat)} is above {number(limit)}: {worth}, and weighting "
        faults.append(Fault(Reason.WEIGHTS, f"{words}cannot correct this Gaussian"))
    if weights.ess < importance.FEWEST * importance.PER_DRAW:
        faults.append(
            Fault(Reason.WEIGHTS, f"{worth}, too few for the {integer(delivered)} delivered")
        )
    if delivered < problem.draws:
        short = f"{integer(delivered)} of the {integer(problem.draws)} draws wanted"
        notes.append(f"{short}: {worth}, and fewer draws hardly repeat")
    if weights.outside:
        notes.append(f"{integer(weights.outside)} of {integer(n)} proposals have no density")
    tail = 3 * np.sqrt(n)  # k-hat is fitted to this many weights; its error is (1 + k) / √tail
    more = {
        "khat": weights.khat,
        "khat_error": (1 + max(weights.khat, 0.0)) / float(np.sqrt(tail)),
        "weight_ess": weights.ess,
        "proposals": float(n),
    }
    whole = Judged(q.mean, q.factor, tuple(faults), tuple(notes))
    return fitted(problem, optimum, whole, kept, None, more)
