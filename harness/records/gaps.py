"""Why a fit is not the posterior: family and optimiser gaps, causes, trials of remedies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.records.numbers import Estimate
from harness.records.runs import FamilyName
from harness.records.verdicts import Level


@dataclass(frozen=True, slots=True)
class Cause:
    """A named reason why a run is not the posterior, with its evidence.

    Attributes
    ----------
    gap
        ``family``: no member of the family is the posterior; ``optimiser``: a better member
        was not found; ``method``: neither is defined for it (particles, chains, weights).
    name
        ``correlation``, ``several modes``, ``skew``, ``heavy tails``, ``light tails``,
        ``funnel``, ``other shape``; ``runaway``, ``stopped early``, ``iteration limit``,
        ``dropped evaluations``, ``other basin``, ``noisy steps``; or a method's own.
    nats
        What it accounts for; NaN where that is not known.
    evidence
        One sentence with the figures that show it.
    """

    gap: Literal["family", "optimiser", "method"]
    name: str
    nats: float
    evidence: str


@dataclass(frozen=True, slots=True)
class Gap:
    """The divergence of one run's q from the posterior, in two parts (nats).

    ``KL(q ‖ p) = [log Z − ELBO(q*)] + [ELBO(q*) − ELBO(q)]``, q* the best member of q's family.

    Attributes
    ----------
    family_gap, optimiser_gap
        The two parts with their standard errors; NaN where they could not be had, infinite
        where q puts draws at which the posterior has no density.
    causes
        Of this run, the largest first; empty where no gap counts.
    exact
        Whether q itself was known; otherwise it is the Gaussian of its draws' moments.
    words
        What keeps a figure from being known or exact; empty where nothing does.
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
        log Z of the Stan program's density, nats, with its error; ``source`` says where from.
    gaps
        One for each run of a Gaussian family that has draws, in the order of the runs.
    notes
        Sentences on what could not be had, and on figures that are not as sharp as wanted.
    """

    log_evidence: Estimate
    source: str
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...] = ()
    complete: bool = True
    """False where it was cut short by what may be otherwise next time: time, memory, a library."""

    def of(self, method: str) -> tuple[Gap, ...]:
        """Return the gaps of one method, a seed each."""
        return tuple(g for g in self.gaps if g.method == method)


@dataclass(frozen=True, slots=True)
class Trial:
    """A remedy that was tried on a method that fails or warns, and what it brought.

    Attributes
    ----------
    method
        Whose verdict it is to mend.
    remedy
        Its key: ``smaller step``, ``more gradient samples``, ``tighter tolerance``,
        ``tuned settings``, ``full-rank``, ``best of the family``, ``dadvi_lr``, ``dadvi_psis``,
        ``all basins``,
        ``reweighted``, ``reparameterise``, ``nuts from q``.
    what
        What was done, with its settings, in a few words.
    level_before, level_after
        Verdicts on the same seeds, for ``nuts from q`` those of NUTS itself; ``level_after`` is
        None for a hint that cannot be tried.
    metric, quantity
        The figure that tells most of the fault; ``quantity`` is None for joint metrics.
    before, after
        That figure, of the typical (median) seed.
    seconds, seconds_before
        Of one run.
    helps
        Whether the level is better, or for NUTS the same trust is had in less time.
    words
        One sentence: what it brought, or why it was not tried.
    """

    method: str
    remedy: str
    what: str
    level_before: Level
    level_after: Level | None
    metric: str
    quantity: str | None
    before: Estimate
    after: Estimate
    seconds: float
    seconds_before: float
    helps: bool
    words: str
    luck: bool = False
    """Whether as few seeds of the unchanged method would often do as well."""
