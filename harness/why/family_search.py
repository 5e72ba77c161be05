"""The best member of each family, and the ELBOs of all fits beside its own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.records import FamilyName
from harness.records.text import number, percent, seconds
from harness.vi.deterministic.fullrank import FULLRANK_LIMIT
from harness.vi.elbo import BLOCKS, Elbo, elbos
from harness.vi.family_optimum import Best, best_fullrank, best_meanfield
from harness.vi.gaussian import Gaussian
from harness.vi.target import Clock, Target, TimeLimitError
from harness.why.causes.row import COUNTS
from harness.why.fits import Fit

if TYPE_CHECKING:
    from harness.why.posterior import Posterior

ERROR = 0.001
"""Standard error of an ELBO, nats, at which no more base draws are taken."""

WANTED = 0.01
"""The largest standard error of a gap that is not reported."""

SLOW_S = 3e-4
"""Seconds of a density from which a standard error of ``WANTED`` is enough."""

FIRST_S = 0.02
"""Seconds of the first base draws of a Gaussian: fast programs get larger blocks, which contain
rare draws."""

BUDGET_S = 3.0
"""Seconds of densities for each Gaussian whose ELBO is estimated."""


class Family(NamedTuple):
    """One family: its best member, that member's ELBO, and the fits with theirs."""

    best: Best
    level: Elbo
    fits: tuple[tuple[Fit, Elbo | None], ...]


@dataclasses.dataclass(slots=True, eq=False)
class Search:
    """A search: its target, random numbers, clock, and expected seconds of a gradient.

    ``notes``, ``complete`` and ``unsought`` belong to the explanation.
    """

    target: Target
    rng: np.random.Generator
    clock: Clock
    seconds: float
    notes: list[str] = dataclasses.field(default_factory=list)
    complete: bool = True
    unsought: str = ""

    def families(
        self, fits: Sequence[Fit], posterior: Posterior | None
    ) -> dict[FamilyName, Family]:
        """Find q* of each family that is needed, and the ELBOs with common random numbers."""
        d = self.target.dimension
        moments = [] if posterior is None else posterior.gaussians
        by_family: dict[FamilyName, list[Fit]] = {"meanfield": [], "fullrank": []}
        for fit in fits:
            by_family[fit.family].append(fit)
        # A fit of any family may lie in a better basin.
        known = [*moments, *(f.q for f in fits if f.q is not None)]
        starts = [Gaussian(q.mean, q.sd) for q in known]
        meanfield = best_meanfield(
            self.target, self.rng, self.clock, starts=starts, seconds=self.seconds
        )
        found: dict[FamilyName, Family] = {}
        if d == 1:
            # In one dimension the families are the same.
            found["meanfield"] = self._levels(meanfield, fits)
        else:
            found["meanfield"] = self._levels(meanfield, by_family["meanfield"])
            if by_family["fullrank"] or d <= FULLRANK_LIMIT:
                self._full_rank(found, by_family["fullrank"], moments)
        for words in dict.fromkeys(f.best.words for f in found.values()):
            if words:
                self.notes.append(words)
        return found

    def _full_rank(
        self, found: dict[FamilyName, Family], fits: Sequence[Fit], moments: Sequence[Gaussian]
    ) -> None:
        """Add the full-rank family; without it the rest still stands."""
        starts = [*moments, *(f.q for f in fits if f.q is not None)]
        meanfield = found["meanfield"].best
        try:
            best = best_fullrank(self.target, self.rng, self.clock, meanfield, starts=starts)
            found["fullrank"] = self._levels(best, fits)
        except TimeLimitError:
            limit = seconds(self.clock.limit_s)
            self.notes.append(f"the best full-rank Gaussian was not found within {limit}")
            self.complete = False

    def _levels(self, best: Best, fits: Sequence[Fit]) -> Family:
        """Estimate ELBOs; a fit that beats q* beyond its standard error takes its place."""
        usable = [f for f in fits if f.q is not None]
        gaussians = [f.q for f in usable if f.q is not None]
        level, *others = self.elbos([best.q, *gaussians])
        better = [
            (e.below.value, f)
            for e, f in zip(others, usable, strict=True)
            if e.below.value + 4 * e.below.mcse < -COUNTS
        ]
        if better:
            value, fit = min(better, key=lambda b: b[0])
            assert fit.q is not None  # noqa: S101 - those without were left out
            words = (
                f"the search ended {number(-value)} nats below seed {fit.run.spec.seed} of "
                f"{fit.run.spec.method}, which is taken as the best of its family"
            )
            best = dataclasses.replace(best, q=fit.q, words=words)
            level, *others = self.elbos([best.q, *gaussians])
        if not math.isfinite(level.value.value):
            self.notes.append(
                "the ELBO of the best Gaussian found is unknown: "
                f"{percent(level.lost)} of its draws have no density"
            )
        by_run = {id(f): e for f, e in zip(usable, others, strict=True)}
        return Family(best, level, tuple((f, by_run.get(id(f))) for f in fits))

    def elbos(self, gaussians: Sequence[Gaussian]) -> tuple[Elbo, ...]:
        """Estimate ELBOs with common random numbers, more precisely for fast programs."""
        error = WANTED if self.seconds > SLOW_S else ERROR
        size = 2 ** int(np.clip(np.log2(FIRST_S / (BLOCKS * self.seconds)), 4, 10))
        most = int(min(1 << 16, max(256, BUDGET_S / self.seconds)))
        return elbos(
            self.target, gaussians, self.rng, self.clock, error=error, size=size, most=most
        )
