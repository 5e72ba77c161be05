"""log Z by bridge sampling from posterior draws and a Gaussian fitted to half of them.

Meng and Wong 1996, *Simulating ratios of normalizing constants via a simple identity*, with the
standard error of Frühwirth-Schnatter 2004, *Estimating marginal likelihoods for mixture and Markov
switching models using bridge sampling techniques*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from harness.records import FloatArray
from harness.records.text import number
from harness.vi.gaussian import log_normal
from harness.vi.target import Target

ITERATIONS = 1000
SETTLED = 1e-10  # change of log Z, in nats, at which the iteration has converged
STRETCHES = 16  # stretches of draws: the Gaussian is fitted to every other one, the rest is bridged
LARGE = 0.5  # the largest relative error of a usable Z


@dataclass(frozen=True, slots=True)
class Evidence:
    """log Z of a target in nats, with its standard error; ``words`` say why if that is infinite."""

    value: float
    error: float
    words: str = ""


def bridge_sampling(
    target: Target, draws: FloatArray, effective: float, rng: np.random.Generator
) -> Evidence:
    """Return log of the integral of a target's density.

    Posterior draws are unconstrained, shape ``(draw, d)``, in the order of sampling, one chain
    after the other; ``effective`` is their ESS divided by their number, in (0, 1]. The error is
    infinite if there are too few draws, or if the posterior is so far from Gaussian that the
    estimate would depend on a few draws.
    """
    n, d = draws.shape
    words = ""
    if n < 4 * (d + 2):
        words = f"{n} draws are too few for {d} parameters"
    elif not 0 < effective <= 1:
        words = f"ESS per draw is {number(effective)}; allowed: over 0, up to 1"
    if words:
        return Evidence(math.nan, math.inf, words)
    # Neighbours in a chain are alike, so alternating single draws would test the Gaussian on what
    # it was fitted to. With stretches both halves see all chains.
    parts = np.array_split(draws, STRETCHES)
    fitted, kept = np.concatenate(parts[::2]), np.concatenate(parts[1::2])
    mean = fitted.mean(axis=0)
    try:
        factor = np.linalg.cholesky(np.atleast_2d(np.cov(fitted, rowvar=False)))
    except np.linalg.LinAlgError:
        return Evidence(math.nan, math.inf, "the covariance of the draws is singular")
    proposed = mean + rng.standard_normal((len(kept), d)) @ factor.T
    at_kept = target.log_density(kept) - log_normal(kept, mean, factor)
    at_proposed = target.log_density(proposed) - log_normal(proposed, mean, factor)
    at_proposed = np.where(np.isnan(at_proposed), -np.inf, at_proposed)
    if not np.isfinite(at_kept).all():
        return Evidence(
            math.nan, math.inf, "the target has no finite density at some of its own draws"
        )
    return bridged(at_kept, at_proposed, effective)


def bridged(
    at_kept: FloatArray,
    at_proposed: FloatArray,
    effective: float,
    chain: NDArray[np.intp] | None = None,
) -> Evidence:
    """Return the log of the integral of p from log p − log q at draws of p and of q.

    Densities are in nats, q normalised; −inf where p is 0. ``effective`` is the ESS of p's draws
    divided by their number, in (0, 1]. Where it is a guess, the independent ``chain`` of each of
    p's draws gives their error.
    """
    worth = len(at_kept) * effective
    share = worth / (worth + len(at_proposed))
    value = _solve(at_kept, at_proposed, share)
    if not math.isfinite(value):
        return Evidence(math.nan, math.inf, "the bridge iteration did not converge")
    own, other = math.log(share), math.log1p(-share)
    # p / (s p + (1 − s) q) under q, and q / (s p + (1 − s) q) under p, p normalised.
    over_q = np.exp(at_proposed - value - np.logaddexp(own + at_proposed - value, other))
    over_p = np.exp(-np.logaddexp(own + at_kept - value, other))
    from_q = float(np.var(over_q) / np.mean(over_q) ** 2) / len(at_proposed)
    if chain is None:
        from_p = float(np.var(over_p) / np.mean(over_p) ** 2) / worth
    else:
        sums = np.bincount(chain, over_p - over_p.mean())
        from_p = float(sums @ sums) / float(over_p.sum()) ** 2
    relative = math.sqrt(from_q + from_p)
    if not relative <= LARGE:
        words = "the posterior is too far from Gaussian for bridge sampling"
        return Evidence(value, math.inf, words)
    return Evidence(value, relative)


def _solve(at_kept: FloatArray, at_proposed: FloatArray, share: float) -> float:
    """Solve Meng and Wong's identity with their optimal bridge for log Z."""
    value = float(np.median(at_kept))
    with np.errstate(divide="ignore"):
        own, other = math.log(share), math.log1p(-share)
    for _ in range(ITERATIONS):
        # Weights relative to the current Z cannot overflow.
        upper = logsumexp(at_proposed - np.logaddexp(own + at_proposed, other + value)) - math.log(
            len(at_proposed)
        )
        lower = logsumexp(-np.logaddexp(own + at_kept, other + value)) - math.log(len(at_kept))
        new = float(upper - lower)
        if not math.isfinite(new):
            return math.nan
        if abs(new - value) < SETTLED:
            return new
        value = new
    return math.nan
