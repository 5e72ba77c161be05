"""A row of the table of remedies, and what planning and judging one need."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.judgement import JudgeContext
from harness.records import Model, ModelComparison, RunResult, RunSpec, Trial, TrialReason, Verdict

if TYPE_CHECKING:
    from harness.metrics.measure import Yardstick

Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """A method to run, and the options that are changed.

    ``options`` replace those of the present run where ``same`` is True, else the method's own.
    """

    method: str
    options: Options = field(default_factory=dict)
    same: bool = True


@dataclass(frozen=True, slots=True)
class Proposal:
    """A remedy to try on a method.

    Fields without words are as in :class:`~harness.records.Trial`; ``reason`` says why it is not
    to be tried.
    """

    method: str
    remedy: str
    ran: str
    options: Options
    spec: tuple[RunSpec, ...] | None
    """The runs it needs; some may exist. None where it needs none (``reweighted``) or is not
    tried."""
    reason: TrialReason = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    """The seeds of the method's own runs with which it is compared."""
    seconds: float = math.nan
    """The expected seconds of one run; 0 for runs that exist, NaN where unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class Planning:
    """What planning a method's trials needs."""

    model: Model
    method: str
    runs: Sequence[RunResult]
    """All of the comparison's."""
    seeds: tuple[int, ...]
    """Those to try."""
    options: Mapping[str, Options]
    """By method, that the user set for this comparison."""
    limit_s: float
    """Expected seconds of one run beyond which a remedy is not tried."""
    gradient_s: float
    """Expected seconds of a gradient, from the program and its data: no clock decides what runs."""
    start: Options | str | None = None
    """With which options NUTS would start from q, or why it cannot."""
    causes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By id, of the method's own gaps, with their evidence."""

    def of(self, method: str) -> list[RunResult]:
        """Return the comparison's runs of a method."""
        return [r for r in self.runs if r.spec.method == method]

    def proposal(
        self,
        remedy: str,
        change: Change,
        spec: tuple[RunSpec, ...] | None,
        reason: TrialReason = "",
        facts: Mapping[str, Any] | None = None,
        seconds: float = math.nan,
    ) -> Proposal:
        """Return a proposal for this method."""
        return Proposal(
            self.method, remedy, change.method, change.options, spec, reason, facts or {},
            self.seeds, seconds,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Judging:
    """What judging one trial needs: the comparison, the verdict to improve, the remedy."""

    comparison: ModelComparison
    """Its measures have the reference's summaries; its runs may lack arrays."""
    verdict: Verdict
    proposal: Proposal
    results: Sequence[RunResult]
    """The proposal's runs, with arrays; for ``reweighted`` the method's own runs with the
    proposal's seeds; empty for what is not tried. A run that the comparison has already (the same
    spec and key) keeps its figures."""
    yardstick: Yardstick
    context: JudgeContext
    """The comparison's own, for the number of quantities and for sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """A row of the table of remedies."""

    id: str
    """What results keep."""
    name: str
    """What people read in a list."""
    causes: tuple[str, ...] = ()
    """The ids of the causes that it is for."""
    always: bool = False
    """Whether it is worth a trial whatever the cause is."""
    hint: bool = False
    """Whether it is only for its causes: it is not proposed where no cause is known."""
    change: Callable[[str, Options], Change | None] | None = None
    """Returns the method and options to run, from the present ones; None where it does not apply or
    is in force already. None for remedies that are not runs with other settings."""
    plan: Callable[[Remedy, Planning], Proposal | None]
    """Returns the proposal: which runs it needs and their expected seconds, or why it is not tried;
    None where it does not apply."""
    judge: Callable[[Judging], Trial]
    """Returns the trial from its runs."""
    what: Callable[[str, Options], str]
    """Writes what is done, from the method that is run and the changed options."""
    sentence: Callable[[Trial], str]
    """Writes the trial's effect, without capital and full stop."""
