"""log Z of a program: a formula, bridge sampling from the reference, or weighted draws of q."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness import metrics
from harness.metrics.influence import LEAST_EFFECTIVE
from harness.models.exact_evidence import LOG_EVIDENCE
from harness.records import NO_ESTIMATE, Estimate, Model
from harness.records.text import count, number
from harness.vi.bridge_sampling import Evidence, bridge_sampling
from harness.vi.deterministic.importance import (
    PER_DRAW,
    Proposal,
    delivered,
    smoothed_weights,
    systematic,
)
from harness.why.posterior import REFERENCE_DRAWS, Posterior

if TYPE_CHECKING:
    from harness.vi.target import Target


@dataclass(frozen=True, slots=True)
class LogZ:
    """log Z, nats, its origin, and why it is unknown if it is."""

    value: Estimate
    source: str
    words: str = ""
    by: Literal["formula", "bridge", "weights", "none"] = "none"
    """``bridge`` is from the reference's draws, ``weights`` from those of q."""
    posterior: Posterior | None = None
    """What the weighted draws show, if they were taken and are worth enough."""


def log_evidence(
    model: Model,
    data: Mapping[str, Any],
    target: Target,
    posterior: Posterior | None,
    proposal: Proposal,
    rng: np.random.Generator,
    *,
    proposals: int = 20_000,
) -> LogZ:
    """Return log Z by the best method that applies.

    ``posterior`` has the draws of a trusted reference for bridge sampling. The last resort are
    weighted draws of ``proposal``, close to the posterior and with heavy tails; they show its
    shape too.
    """
    known = LOG_EVIDENCE.get(str(model.reference))
    if known is not None:
        try:
            return LogZ(known(data), "the model's own formula", by="formula")
        except (KeyError, ValueError) as error:
            words = f"the formula of log Z does not fit these data: {error}"
            return LogZ(NO_ESTIMATE, "none", words)
    why = "there are no draws of a trusted reference"
    if posterior is not None:
        z, share = posterior.z, posterior.effective / len(posterior.z)
        try:
            found = bridge_sampling(target, z, share if not share > 1 else 1.0, rng)
        except (ValueError, np.linalg.LinAlgError) as error:
            found = Evidence(math.nan, math.inf, str(error))
        if math.isfinite(found.error):
            source = f"bridge sampling from {count(len(z), 'reference draw')}"
            return LogZ(Estimate(found.value, found.error), source, by="bridge")
        why = found.words
    z = proposal.draw(proposals, rng)
    log_p, log_q = target.log_density(z), proposal.log_density(z)
    weights = smoothed_weights(log_p, log_q, lambda p, q: metrics.khat(p[None], q[None]).value)
    size = delivered(REFERENCE_DRAWS, weights.ess)
    shown = None
    if weights.ess >= PER_DRAW * LEAST_EFFECTIVE:
        shown = Posterior(z[systematic(weights.weight, size, rng)], float(size), ())
    k, limit = weights.khat, metrics.khat_limit(proposals)
    if not k <= limit:
        khat = f"k-hat {number(k)}, limit {number(limit)}"
        words = f"{why}, and weighted draws of q cannot estimate it ({khat})"
        return LogZ(NO_ESTIMATE, "none", words, posterior=shown)
    log_w = log_p - log_q
    top = float(np.max(log_w))
    weight = np.exp(log_w - top)
    relative = float(np.std(weight, ddof=1) / np.mean(weight)) / math.sqrt(proposals)
    value = Estimate(top + math.log(float(np.mean(weight))), relative)
    draws = count(proposals, "weighted draw")
    return LogZ(value, f"{draws} of q (k-hat {number(k)}): {why}", by="weights", posterior=shown)
