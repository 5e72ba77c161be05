"""k-hat of Pareto-smoothed importance sampling: how heavy the tail of p / q is."""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.distance import INFINITE
from harness.metrics.metric import Metric, Scene
from harness.records import NO_ESTIMATE, Estimate, FloatArray, Rule, RunResult

FEWEST = 25
"""With fewer draws the tail has fewer than the five points a Pareto fit needs."""

WIDEST_TAIL = 300.0
"""Range of the tail's log weights, in nats, above which k-hat counts as infinite.

A tail of 300 weights spans about k ln 300 nats, so this is k > 50. From 700 nats on, weights
underflow to zero and the fit returns 0.0251, its smallest k-hat.
"""

EQUAL_TAIL = 1e-9
"""Range of the tail's log weights, per nat of log p's range, that is rounding."""


def khat_limit(n: int) -> float:
    """Return the largest k-hat at which n draws give reliable weights.

    ``min(1 − 1 / log10 n, 0.7)``, by Vehtari, Simpson, Gelman, Yao and Gabry (2024),
    *Pareto smoothed importance sampling*, JMLR 25.
    """
    return min(1 - 1 / math.log10(n), 0.7) if n > 1 else -math.inf


def khat(log_p: FloatArray, log_q: FloatArray, *, tails: int = 1) -> Estimate:
    """Return the Pareto shape of the importance weights p / q.

    Log densities are those of q's draws under the posterior and under q, shape
    ``(chain, draw)``, unconstrained scale, nats; either may lack a constant. Infinity where a
    density is not finite, where weights would underflow, or where the densities do not vary at
    all (a column that was not filled in); 0 where both densities agree to rounding. The error is
    that of a generalised Pareto shape, (1 + k) / sqrt(tail size). The tail are the ``3 √n`` largest
    weights, ``tails`` times as many.
    """
    p, q = np.ravel(log_p), np.ravel(log_q)
    if p.size < FEWEST or p.size != q.size:
        return NO_ESTIMATE
    with np.errstate(over="ignore", invalid="ignore"):
        log_w = p - q
        log_w = log_w - np.max(log_w)
    if not np.all(np.isfinite(log_w)) or np.max(p) == np.min(p) or np.max(q) == np.min(q):
        return INFINITE
    n = log_w.size
    tail = int(min(3 * tails * math.sqrt(n), n / 5))  # ArviZ's own rule
    ordered = np.sort(log_w)
    width = ordered[-1] - ordered[-tail - 1]
    if width > WIDEST_TAIL:
        return INFINITE
    # Rounding grows with the densities, but only those in the tail count: a log p that falls
    # without end elsewhere must not make real weights look like rounding.
    heaviest = p[np.argpartition(log_w, -tail - 1)[-tail - 1 :]]
    if width <= EQUAL_TAIL * max(1.0, float(np.ptp(heaviest))):
        # All the largest weights are the same, as where p and q agree to rounding.
        return Estimate(0.0, 0.0)
    from arviz_stats.base import array_stats

    # ArviZ expects log likelihoods, one over the weights, and negates its input.
    with np.errstate(all="ignore"):
        smoothed, shape = array_stats.psislw(-log_w, r_eff=tails**-2)
    if smoothed[np.argmin(log_w)] > smoothed[np.argmax(log_w)]:
        msg = "arviz_stats.psislw no longer negates its input: k-hat would be that of q / p"
        raise RuntimeError(msg)
    k = float(shape)
    return Estimate(k, (1 + max(k, 0.0)) / math.sqrt(tail)) if math.isfinite(k) else INFINITE


def divergence(log_p: FloatArray, log_q: FloatArray) -> Estimate:
    """Return KL(q ‖ p) in nats, by the importance weights of q's own draws.

    It is ``log mean w − mean log w`` with ``w = p / q``: log Z by weights less the ELBO. Either
    density may lack a constant. Mass that q never draws is not in it, and where k-hat is large,
    neither is all of the rest. No estimate where a weight is not finite.
    """
    log_w = np.ravel(log_p) - np.ravel(log_q)
    if log_w.size < FEWEST or not np.all(np.isfinite(log_w)):
        return NO_ESTIMATE
    log_w = log_w - np.max(log_w)
    w = np.exp(log_w)
    mean = float(np.mean(w))
    error = np.std(w / mean - log_w, ddof=1) / math.sqrt(log_w.size)
    # By Jensen's inequality, which also holds for a sample, only rounding is below 0.
    return Estimate(max(math.log(mean) - float(np.mean(log_w)), 0.0), float(error))


def _of_run(result: RunResult) -> Estimate | None:
    """Return k-hat of a run's draws, or that of the weights which a method has used up."""
    draws = result.draws
    if draws is not None and draws.log_p is not None and draws.log_q is not None:
        return khat(draws.log_p, draws.log_q)
    if "khat" not in result.diagnostics:
        return None
    return Estimate(result.diagnostics["khat"], result.diagnostics.get("khat_error", math.nan))


def _limit(result: RunResult) -> float:
    """Return the limit for the run's draws; resampled draws come from more proposals."""
    size = 0 if result.draws is None else result.draws.values[..., 0].size
    return khat_limit(int(result.diagnostics.get("proposals", size)))


def _clause(s: Scene, size: str) -> str:
    if math.isinf(s.value):
        return "k-hat is infinite: a few draws carry all the weight, or densities are not finite"
    return f"k-hat is {size}"


KHAT = Metric(
    id="khat",
    noun="k-hat",
    scope="run",
    measure=_of_run,
    rule=Rule(
        0.7,
        1.0,
        "above",
        "the weights p/q then have a heavy tail; their effective sample size, not k-hat, decides "
        "whether weighting corrects q; a small k-hat does not certify q, because it only sees "
        "regions that q samples",
        alarm=True,
    ),
    stricter=_limit,
    telling=17,
    clause=_clause,
)
