"""A row of the table of causes, and the scenes in which causes are looked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from harness.records import NO_ESTIMATE, WITHOUT_DRAWS, Estimate, FamilyName
from harness.records.text import number, with_error

if TYPE_CHECKING:
    import numpy as np

    from harness.records import Gap, RunResult, Verdict
    from harness.vi.family_optimum import Best
    from harness.why.posterior import Posterior

COUNTS = 0.005
"""Nats from which a gap counts: the cost of a mean that is 0.1 sd off, the close limit."""

SHARE = 0.2
"""Share of a gap from which a part of it is a cause."""

NOTHING = 5e-4
"""Nats that are written as zero."""

Evidence = Mapping[str, Any]

Kind = Literal["family", "optimiser", "method", "none"]
"""As the gap of :class:`harness.records.Cause`."""


class Found(NamedTuple):
    """What a detector found: nats that it explains (NaN if unknown), and figures that show it."""

    nats: float
    evidence: Evidence
    place: int = 0
    """Causes of a smaller place are reported first; among equals, those with more nats."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scene:
    """A gap, and how much of it the causes found so far leave unexplained (nats)."""

    kind: ClassVar[Kind] = "none"
    gap: Estimate = NO_ESTIMATE
    rest: float = math.nan
    found: int = 0
    """How many causes have been found."""

    @property
    def counts(self) -> bool:
        """Whether the gap is larger than what counts, beyond two standard errors."""
        return self.gap.value - 2 * self.gap.mcse > COUNTS

    @property
    def asks(self) -> bool:
        """Whether causes are to be looked for at all."""
        return True

    @property
    def left(self) -> bool:
        """Whether what is left of the gap still needs a cause."""
        if math.isinf(self.rest):
            return True
        return self.rest > max(SHARE * self.gap.value, COUNTS + 2 * self.gap.mcse)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FamilyScene(Scene):
    """The gap between the best member of a family and the posterior."""

    kind = "family"
    family: FamilyName
    best: Best
    """q* of the family."""
    correlation: Estimate | None
    """How much closer full-rank's q* is than mean-field's, nats; None for full-rank."""
    fullrank_gap: Estimate | None
    """log Z − ELBO of full-rank's q*, where it is known."""
    posterior: Posterior | None
    """None where neither a reference nor weighted draws show it; causes may need it."""
    alone: bool = False
    """Whether no reference is trusted, so that causes of an unknown gap are named too."""
    switched: tuple[str, ...] = ()
    """Parameters whose entries change places between modes."""
    widened: tuple[str, float] | None = None
    """The parameter whose sd linear response widens most, and how many times; looked for where no
    full-rank Gaussian and no draws show correlation."""
    ridge: float | None = None
    """Nats by which log p falls on the way between the basins, where a ridge joins them all."""
    rng: np.random.Generator

    @property
    def asks(self) -> bool:
        """Whether the gap counts; modes are seen without log Z, so an unknown gap is asked too."""
        return math.isnan(self.gap.value) or (math.isfinite(self.gap.value) and self.counts)


class Looks(NamedTuple):
    """How far from its family's best a run's ELBO was, by the run's own estimates, nats."""

    earlier: float
    later: float
    shrinking: bool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OptimiserScene(Scene):
    """The gap between a run and the best member of its family; infinite where q has no density."""

    kind = "optimiser"
    run: RunResult
    best: float
    """ELBO(q*), nats."""
    basin: Estimate | None = None
    """ELBO(q*) − ELBO of the optimum to which climbing from q leads, if it is another one."""
    lost: float = 0.0
    """The share of q's draws without a density."""
    collapsed: bool = False
    """Whether q has no width in some direction."""
    looks: Looks | None = None
    """At the ELBO; None where there were too few."""
    edges: tuple[Evidence, ...] = ()
    """Bounds that the program's parameters have and are not declared with."""

    @property
    def asks(self) -> bool:
        """Whether the gap counts or is infinite."""
        return self.gap.value == math.inf or self.counts

    @property
    def iterations(self) -> float:
        """NaN where the run kept no record of its steps."""
        return self.run.diagnostics.get("iterations", math.nan)

    @property
    def still_shrinking(self) -> bool:
        """Whether the run was still approaching its best, and did not lose it again later."""
        # A run that was closer before it ended was not on its way there.
        return self.looks is not None and self.looks.shrinking and self.looks.later >= self.rest / 2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OtherScene(Scene):
    """A verdict on a method without a Gaussian q: particles, weights, chains, another family."""

    kind = "method"
    verdict: Verdict
    runs: Sequence[RunResult]
    gaps: Sequence[Gap]
    """Of the model's other methods."""
    chains: bool

    @property
    def with_draws(self) -> list[RunResult]:
        """The runs that have draws."""
        return [r for r in self.runs if r.status not in WITHOUT_DRAWS]


@dataclass(frozen=True, slots=True)
class CauseRow:
    """A row of the table of causes."""

    id: str
    """What results and baselines keep."""
    name: str
    """What people read."""
    gap: Kind
    scene: type[Scene]
    """The kind of scene that ``detect`` looks at."""
    detect: Callable[[Any], Found | None]
    """Returns what it found, or None. Rows are asked in the order of the table."""
    sentence: Callable[[Evidence], str]
    """Writes the evidence, without a capital or a full stop."""
    brief: Callable[[Evidence], str] | None = None
    """Writes what is read instead of the name where there is no room for a sentence."""


def cause(
    row_id: str,
    scene: type[Scene],
    detect: Callable[[Any], Found | None],
    sentence: Callable[[Evidence], str],
    *,
    name: str = "",
    gap: Kind | None = None,
    brief: Callable[[Evidence], str] | None = None,
) -> CauseRow:
    """Return a row that is called as its id, and is of its scene's kind, unless told otherwise."""
    return CauseRow(row_id, name or row_id, gap or scene.kind, scene, detect, sentence, brief)


def figure(nats: Sequence[float]) -> str:
    """Write an estimate, given as value and error; without the error where that is tiny."""
    value, error = nats
    if abs(value) + error < NOTHING:
        return "0"
    if not error > 1e-3 * abs(value):
        return number(value, 3)
    return with_error(Estimate(value, error))
