"""log Z of a program: a formula, bridge sampling from the reference, or weighted draws of q."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import metrics
from harness.models.exact_evidence import LOG_EVIDENCE
from harness.records import Estimate, Model
from harness.records.text import count, number
from harness.vi.bridge_sampling import Evidence, bridge_sampling
from harness.vi.deterministic.importance import Defensive

if TYPE_CHECKING:
    from harness.records import FloatArray
    from harness.vi.gaussian import Gaussian
    from harness.vi.target import Target

PROPOSALS = 20_000
"""Draws of a Gaussian that are weighted where there is no reference for bridge sampling."""


@dataclass(frozen=True, slots=True)
class LogZ:
    """log Z, nats, its origin, and why it is unknown if it is."""

    value: Estimate
    source: str
    words: str = ""
    known: bool = False
    """Whether it comes from a formula and needs no draws."""


UNKNOWN = Estimate(math.nan, math.nan)


def log_evidence(
    model: Model,
    data: Mapping[str, Any],
    target: Target,
    reference: tuple[FloatArray, float] | None,
    q: Gaussian,
    rng: np.random.Generator,
    *,
    proposals: int = PROPOSALS,
) -> LogZ:
    """Return log Z by the best method that applies.

    ``reference`` are draws of a trusted one, unconstrained ``(n, d)``, and their effective sample
    size. The weighted draws of ``q``, a Gaussian close to the posterior, are the last resort.
    """
    known = LOG_EVIDENCE.get(str(model.reference))
    if known is not None:
        try:
            return LogZ(known(data), "the model's own formula", known=True)
        except (KeyError, ValueError) as error:
            words = f"the formula of log Z does not fit these data: {error}"
            return LogZ(UNKNOWN, "none", words)
    why = "there are no draws of a trusted reference"
    if reference is not None:
        z, effective = reference
        share = effective / len(z)
        try:
            found = bridge_sampling(target, z, share if not share > 1 else 1.0, rng)
        except (ValueError, np.linalg.LinAlgError) as error:
            found = Evidence(math.nan, math.inf, str(error))
        if math.isfinite(found.error):
            return LogZ(
                Estimate(found.value, found.error),
                f"bridge sampling from {count(len(z), 'reference draw')}",
            )
        why = found.words
    return _weighted(target, q, rng, why, proposals)


def _weighted(
    target: Target, q: Gaussian, rng: np.random.Generator, why: str, proposals: int
) -> LogZ:
    """Estimate Z as the mean of p / q over draws of q with a heavy-tailed part."""
    proposal = Defensive(q.mean, q.factor)
    z = proposal.draw(proposals, rng)
    log_p, log_q = target.log_density(z), proposal.log_density(z)
    k = metrics.khat(log_p[None], log_q[None]).value
    limit = metrics.khat_limit(proposals)
    if not k <= limit:
        khat = f"k-hat {number(k)}, limit {number(limit)}"
        words = f"{why}, and weighted draws of q cannot estimate it ({khat})"
        return LogZ(UNKNOWN, "none", words)
    log_w = log_p - log_q
    top = float(np.max(log_w))
    weight = np.exp(log_w - top)
    error = float(np.std(weight, ddof=1) / np.mean(weight)) / math.sqrt(proposals)
    value = Estimate(top + math.log(float(np.mean(weight))), error)
    draws = count(proposals, "weighted draw")
    return LogZ(value, f"{draws} of q (k-hat {number(k)}): {why}")
