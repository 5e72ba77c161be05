"""Why a fit is not the posterior: family and optimiser gaps, causes, trials of remedies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.records.levels import Level
from harness.records.numbers import NO_ESTIMATE, Estimate
from harness.records.runs import FamilyName


def plain(value: Any) -> Any:
    """Return facts as JSON would give them back: lists for tuples and estimates."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason why a run is not the posterior, with its evidence.

    Attributes
    ----------
    gap
        ``family``: no member of the family is the posterior; ``optimiser``: a better member
        exists that the optimiser did not find; ``method``: neither gap is defined (particles,
        chains, weights); ``none``: no cause is known, and the evidence says what was looked at.
    name
        The id of a row of :data:`harness.why.causes.CAUSES`.
    nats
        How much of the gap it explains; NaN where that is not known.
    evidence
        Figures and names that show it, plain data: the row writes a sentence from them. The
        causes of old results have their sentence as ``said``.
    """

    gap: Literal["family", "optimiser", "method", "none"]
    name: str
    nats: float
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """The divergence of one run's q from the posterior, in two parts (nats).

    ``KL(q ‖ p) = [log Z − ELBO(q*)] + [ELBO(q*) − ELBO(q)]``, q* the best member of q's family.

    Attributes
    ----------
    family_gap, optimiser_gap
        The two parts with their standard errors; NaN where they are unknown, infinite where q
        puts draws at which the posterior has no density.
    causes
        Of this run, the largest first; empty where no gap counts.
    exact
        Whether q itself was known; otherwise it is the Gaussian with its draws' moments.
    words
        Why a figure is unknown or inexact; empty where none is.
    """

    method: str
    seed: int
    family: FamilyName
    family_gap: Estimate
    optimiser_gap: Estimate
    causes: tuple[Cause, ...] = ()
    exact: bool = True
    words: str = ""

    @property
    def kl(self) -> Estimate:
        """KL(q ‖ p), nats."""
        parts = (self.family_gap, self.optimiser_gap)
        return Estimate(sum(p.value for p in parts), math.hypot(*(p.mcse for p in parts)))


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the fits of one model are not its posterior.

    Attributes
    ----------
    log_evidence
        log Z of the Stan program's density, nats, with its error; ``source`` names its origin.
    gaps
        One for each run of a Gaussian family that has draws, in the order of the runs.
    notes
        What could not be computed, and figures that are less precise than wanted.
    """

    log_evidence: Estimate
    source: str
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...] = ()
    complete: bool = True
    """False where time, memory or a missing library cut it short: next time may be different."""

    def of(self, method: str) -> tuple[Gap, ...]:
        """Return the gaps of one method, a seed each."""
        return tuple(g for g in self.gaps if g.method == method)


Outcome = Literal["helps", "no help", "not tried"]
"""What a trial showed."""

TrialReason = Literal[
    "", "left out", "too slow", "no start", "changes the program", "runs missing", "no draws",
    "no weights", "error",
]  # fmt: skip
"""Why a remedy was not tried, or why there was nothing to judge; empty where it was judged."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A remedy for a method that fails or warns, and its effect.

    Attributes
    ----------
    method
        Whose verdict the remedy is for.
    remedy
        The id of a row of :data:`harness.why.remedies.REMEDIES`.
    ran, options
        The method that was run, and the options that the remedy changed.
    level_before, level_after
        Verdicts on the same seeds, for ``nuts from q`` those of NUTS itself; ``level_after`` is
        None for what was not tried.
    metric, quantity
        The figure that shows most of the fault; ``quantity`` is None for joint metrics.
    before, after
        That figure, of the typical (median) seed.
    seconds, seconds_before
        Of one run.
    outcome
        It helps if the level is better, or if NUTS earns the same trust in less time.
    reason
        Why it was not tried, or why there was nothing to judge.
    facts
        Further figures and names for the sentence, plain data. Trials of old results have their
        words as ``what`` and ``words``.
    """

    method: str
    remedy: str
    ran: str
    options: Mapping[str, Any]
    level_before: Level
    level_after: Level | None
    metric: str
    quantity: str | None
    before: Estimate
    after: Estimate
    seconds: float
    seconds_before: float
    outcome: Outcome
    reason: TrialReason = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    luck: bool = False
    """Whether as few seeds of the unchanged method would often do as well."""

    @property
    def helps(self) -> bool:
        """Whether it helped."""
        return self.outcome == "helps"


@dataclass(frozen=True, slots=True)
class VerdictCause:
    """A cause behind a verdict: in which seeds, and what it costs them.

    Attributes
    ----------
    cause
        With the evidence of the middle seed by nats.
    seeds, nats
        The seeds that have it and what it costs each; empty where it does not depend on seeds.
    shown
        The seed whose evidence it is; None where it does not depend on seeds.
    of
        How many seeds were looked at.
    whole
        The gap that it is a part of, for a family's causes; ``family`` is that family.
    """

    cause: Cause
    seeds: tuple[int, ...] = ()
    nats: tuple[float, ...] = ()
    shown: int | None = None
    of: int = 0
    whole: Estimate = NO_ESTIMATE
    family: FamilyName | None = None


@dataclass(frozen=True, slots=True)
class Better:
    """Another method that does better in the same comparison."""

    method: str
    level: Level
    seeds: int
    seconds: float
    """Of one run."""
