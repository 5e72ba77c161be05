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
    """A reason why a run is not the posterior, with its evidence."""

    gap: Literal["family", "optimiser", "method", "none"]
    """``family``: no member of the family is the posterior; ``optimiser``: a better member exists
    that the optimiser did not find; ``method``: neither gap is defined (particles, chains,
    weights); ``none``: no cause is known, and the evidence says what was looked at."""
    name: str
    """The id of a row of :data:`harness.why.causes.CAUSES`."""
    nats: float
    """How much of the gap it explains; NaN where that is not known."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Plain data from which the row writes a sentence; old results have theirs as ``said``."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The divergence of one run's q from the posterior, in two parts (nats).

    ``KL(q ‖ p) = [log Z − ELBO(q*)] + [ELBO(q*) − ELBO(q)]``, q* the best member of q's family.
    The parts are NaN where they are unknown, infinite where q puts draws at which the posterior
    has no density.
    """

    method: str
    seed: int
    family: FamilyName
    family_gap: Estimate
    optimiser_gap: Estimate
    causes: tuple[Cause, ...] = ()
    """The largest first; empty where no gap counts."""
    exact: bool = True
    """Whether q itself was known; otherwise it is the Gaussian with its draws' moments."""
    words: str = ""
    """Why a figure is unknown or inexact; empty where none is."""

    @property
    def kl(self) -> Estimate:
        """KL(q ‖ p), nats."""
        parts = (self.family_gap, self.optimiser_gap)
        return Estimate(sum(p.value for p in parts), math.hypot(*(p.mcse for p in parts)))


@dataclass(frozen=True, slots=True)
class Refuted:
    """What proves a reference wrong.

    ``mode``: a separate mode of more than 1% of the mass has none of its draws; ``elbo``: a
    Gaussian's ELBO lies above the log evidence that its draws give.
    """

    reason: Literal["mode", "elbo"]
    elbo: float
    """Of the mode's best mean-field Gaussian, or of the Gaussian that disproves it, nats."""
    mass: float = math.nan
    """The mode's share, estimated from the ELBOs of all modes."""
    at: tuple[tuple[str, float], ...] = ()
    """Where the mode is: the quantities in which it is farthest from the draws, constrained."""
    log_evidence: float = math.nan
    """From the reference's draws, nats."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the fits of one model are not its posterior."""

    log_evidence: Estimate
    """log Z of the Stan program's density, nats; ``source`` names its origin."""
    source: str
    gaps: tuple[Gap, ...]
    """One for each run of a Gaussian family that has draws, in the order of the runs."""
    notes: tuple[str, ...] = ()
    """What could not be computed, and figures that are less precise than wanted."""
    complete: bool = True
    """False where time, memory or a missing library cut it short: next time may be different."""
    refuted: Refuted | None = None
    """What proves the reference wrong; None where nothing does."""
    unsought: str = ""
    """Why a trusted reference was not searched for a mode that it misses; empty where it was."""

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
    """A remedy for the verdict of ``method``, which fails or warns, and its effect.

    ``level_before`` and ``level_after`` are verdicts on the same seeds, for ``nuts from q`` those
    of NUTS itself. ``before`` and ``after`` are the typical (median) seed's values of the figure
    that shows most of the fault. Seconds are those of one run.
    """

    method: str
    remedy: str
    """The id of a row of :data:`harness.why.remedies.REMEDIES`."""
    ran: str
    """The method that was run; ``options`` are those that the remedy changed."""
    options: Mapping[str, Any]
    level_before: Level
    level_after: Level | None
    """None for what was not tried."""
    metric: str
    quantity: str | None
    """None for joint metrics."""
    before: Estimate
    after: Estimate
    seconds: float
    seconds_before: float
    outcome: Outcome
    """It helps if the level is better, or if NUTS earns the same trust in less time."""
    reason: TrialReason = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Plain data for the sentence; trials of old results have ``what`` and ``words``."""
    luck: bool = False
    """Whether as few seeds of the unchanged method would often do as well."""

    @property
    def helps(self) -> bool:
        """Whether it helped."""
        return self.outcome == "helps"


@dataclass(frozen=True, slots=True)
class VerdictCause:
    """A cause behind a verdict: in which seeds, and what it costs each of them, nats.

    Both are empty, and ``shown`` is None, where the cause does not depend on seeds.
    """

    cause: Cause
    """With the evidence of the middle seed by nats, which is ``shown``."""
    seeds: tuple[int, ...] = ()
    nats: tuple[float, ...] = ()
    shown: int | None = None
    of: int = 0
    """How many seeds were looked at."""
    whole: Estimate = NO_ESTIMATE
    """The gap that it is a part of, for a family's causes; ``family`` is that family."""
    family: FamilyName | None = None


@dataclass(frozen=True, slots=True)
class Better:
    """Another method that does better in the same comparison."""

    method: str
    level: Level
    seeds: int
    seconds: float
    """Of one run."""
