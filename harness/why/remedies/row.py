"""A row of the table of remedies, and what planning and judging one need."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.judge import JudgeContext
from harness.records import (
    Measure,
    Model,
    Reference,
    RunResult,
    RunSpec,
    Trial,
    TrialReason,
    Verdict,
)

if TYPE_CHECKING:
    from harness.metrics.measure import Yardstick
    from harness.why.remedies.nuts_start import Start

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

    Attributes
    ----------
    method, remedy, ran, options, reason, facts
        As in :class:`~harness.records.Trial`; ``reason`` says why it is not to be tried.
    spec
        The runs it needs; some may exist. None where it needs none (``reweighted``) or is not
        tried.
    seeds
        The seeds of the method's own runs with which it is compared.
    seconds
        The expected seconds of one run; 0 for runs that exist, NaN where unknown.
    """

    method: str
    remedy: str
    ran: str
    options: Options
    spec: tuple[RunSpec, ...] | None
    reason: TrialReason = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    seconds: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Planning:
    """What planning a method's trials needs.

    Attributes
    ----------
    runs
        All of the comparison's.
    seeds
        Those to try.
    options
        By method, that the user set for this comparison.
    limit_s
        Seconds of one run beyond which a remedy is not tried.
    start
        Where NUTS would start, or why it cannot.
    causes
        By id, of the method's own gaps, with their evidence.
    """

    model: Model
    method: str
    runs: Sequence[RunResult]
    seeds: tuple[int, ...]
    options: Mapping[str, Options]
    limit_s: float
    start: Start | str | None = None
    causes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

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
class Present:
    """The comparison with which trials are compared.

    Attributes
    ----------
    runs
        All of the model's, with or without arrays.
    measures
        All of the model's, the reference's summaries among them.
    context
        The comparison's own, for the number of quantities and for sentences.
    """

    runs: Sequence[RunResult]
    measures: Sequence[Measure]
    context: JudgeContext

    def of(self, method: str, seeds: Sequence[int]) -> list[RunResult]:
        """Return a method's runs with some seeds."""
        return [r for r in self.runs if r.spec.method == method and r.spec.seed in seeds]


@dataclass(frozen=True, slots=True, eq=False)
class Judging:
    """What judging one trial needs.

    Attributes
    ----------
    verdict, proposal
        The verdict that is to be improved, and the remedy.
    results
        The proposal's runs, with arrays; for ``reweighted`` the method's own runs with the
        proposal's seeds; empty for what is not tried. A run that the comparison has already
        (the same spec and key) keeps its figures.
    yardstick, reference, present
        Of the comparison.
    """

    model: Model
    verdict: Verdict
    proposal: Proposal
    results: Sequence[RunResult]
    yardstick: Yardstick
    reference: Reference
    present: Present


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """A row of the table of remedies.

    Attributes
    ----------
    id, name
        What results keep, and what people read in a list.
    causes
        The ids of the causes that it is for.
    always
        Whether it is worth a trial whatever the cause is.
    hint
        Whether it is only for its causes: it is not proposed where no cause is known.
    change
        Returns the method and options to run, from the present ones; None where it does not
        apply or is in force already. None for remedies that are not runs with other settings.
    plan
        Returns the proposal: which runs it needs and their expected seconds, or why it is not
        tried; None where it does not apply.
    judge
        Returns the trial from its runs.
    what
        Writes what is done, from the method that is run and the changed options.
    sentence
        Writes the trial's effect, without capital and full stop.
    """

    id: str
    name: str
    causes: tuple[str, ...] = ()
    always: bool = False
    hint: bool = False
    change: Callable[[str, Options], Change | None] | None = None
    plan: Callable[[Remedy, Planning], Proposal | None]
    judge: Callable[[Judging], Trial]
    what: Callable[[str, Options], str]
    sentence: Callable[[Trial], str]
