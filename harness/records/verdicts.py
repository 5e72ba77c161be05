"""How far fits are from the reference and what that means, for one model and for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from harness.records.budget import Scarce
from harness.records.gaps import Better, Explanation, Refuted, Trial, VerdictCause
from harness.records.levels import Closeness, Level
from harness.records.models import ClaimResult, Model
from harness.records.numbers import Estimate
from harness.records.runs import Draws, Reason, RunResult, Status
from harness.records.text import clip, count, one_line


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of the comparison, with its standard error.

    ``quantity`` is None for joint metrics and ``seed`` None for figures over all seeds.
    """

    model: str
    method: str
    seed: int | None
    quantity: str | None
    metric: str
    value: float
    mcse: float
    reference: str


@dataclass(frozen=True, slots=True)
class Rule:
    """The limits of one metric, and their reason.

    ``direction`` is ``"both"`` (the absolute value counts) or ``"above"``; with ``at_least``
    values below the limits are bad instead. A measure is *close* only if it is bounded by
    ``bound_factor`` × ``close``. ``alarm`` rules are shown beside a verdict and never make one.
    With ``chi_squared`` the value is the sd of a few others, and its error that of a variance.
    """

    close: float
    wrong: float
    direction: Literal["both", "above"]
    why: str
    bound_factor: float = 1.5
    alarm: bool = False
    at_least: bool = False
    chi_squared: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule applied to a measure, and the sentence a colleague would say."""

    rule: Rule
    measure: Measure
    level: Closeness
    sentence: str
    draws_needed: int | None = None
    """For ``unsure``: how many draws of the scarcer sample to take, at most its limit."""
    beyond: Scarce | None = None
    """For ``unsure``: the sample that would need more draws than the harness takes."""


ReferenceKind = Literal["exact", "supplied", "nuts", "ensemble", "none"]
"""What methods are compared with; ``ensemble`` is that of short chains."""

Evidence = Literal["exact", "supplied", "nuts", "nuts+ensemble", "ensemble", "movement", "none"]
"""What a verdict rests on: a trusted reference, two that agree, or how far short chains moved."""

CHOICES = ("auto", "nuts", "ensemble")
"""Choices of a reference; anything else names the files of a supplied one."""

SAMPLED_BY: Mapping[str, str] = {"nuts": "nuts", "ensemble": "short_chains"}
"""The methods whose draws are a reference, by the reference's kind."""

Far = Literal["ran away", "never arrived"]
"""How a run came to lie far from the posterior: by steps that are too large, or otherwise."""


@dataclass(frozen=True, slots=True)
class SeedVerdict:
    """How one run of a method was judged.

    ``far`` says how it came to lie far from the posterior, None where it does not. ``absent``
    are the metrics, with their quantities, that the run should have and does not.
    """

    seed: int
    level: Level
    status: Status
    findings: tuple[Finding, ...]
    far: Far | None = None
    absent: tuple[tuple[str, str | None], ...] = ()


_FINDINGS, _NOTES = 3, 2
"""How many of them a verdict shows when it is printed."""


@dataclass(frozen=True, slots=True, repr=False)
class Verdict:
    """A method's level on a model: that of its worst seed.

    ``headline`` is the short reason for tables ("sd of slope 0.49 of the reference's"),
    ``notes`` are sentences on what no rule covers (runs that failed or ran away). Both are for
    people: nothing reads them.
    ``causes`` and ``remedies`` are facts, in the order in which they are reported: what is behind
    the verdict, and what was tried, or does better in the same comparison (the best first).
    :mod:`harness.why.words` writes the sentences.
    ``evidence`` is what the level rests on; ``none`` where nothing that is trusted does.
    """

    model: str
    method: str
    level: Level
    typical: Level
    seeds: int
    seeds_failed: int
    headline: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    by_seed: tuple[SeedVerdict, ...] = ()
    causes: tuple[VerdictCause, ...] = ()
    remedies: tuple[Trial | Better, ...] = ()
    evidence: Evidence = "none"

    def __repr__(self) -> str:
        """Return the fields, counting what a screen has no room for."""
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            shown = f"<{len(value)}>" if isinstance(value, tuple) and value else repr(value)
            parts.append(f"{field.name}={shown}")
        return f"Verdict({', '.join(parts)})"

    def __str__(self) -> str:
        """Return the verdict in at most ten lines of at most 80 columns."""
        failed = (
            f", {self.seeds_failed} of {count(self.seeds, 'seed')}" if self.seeds_failed else ""
        )
        lines = [f"{self.method} on {self.model}: {self.level}{failed}", self.headline]
        said = dict.fromkeys(f.sentence for f in self.findings if f.level != "close")
        lines += [f"- {s}" for s in said][:_FINDINGS]
        if len(said) > _FINDINGS:
            lines.append(f"- and {len(said) - _FINDINGS} more in .findings")
        lines += self.notes[:_NOTES]
        causes = dict.fromkeys(c.cause.name for c in self.causes)
        if causes:
            lines.append(f"why: {', '.join(causes)}")
        lines.append(f"checked against: {self.evidence}")
        return "\n".join(clip(one_line(line), 80) for line in lines if line)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a method where there is no reference: how it compares with another one.

    ``beside`` is the method whose draws it was measured against, itself for that one; nothing
    vouches for them. ``level`` is what its verdict would be if they were right, and ``short`` the
    headline of that verdict, for people. ``divergence`` is KL(q ‖ p) in nats by the importance
    weights of its own draws, which see only what q sees; ``khat`` tells how far to believe them.
    ``doubts`` counts its runs that report something wrong with themselves.
    """

    method: str
    beside: str
    level: Level
    short: str
    divergence: Estimate
    khat: Estimate
    runs: int
    doubts: Mapping[Reason, int]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run of NUTS that was made to be the reference.

    ``samples`` are per chain; ``divergences`` is None if the run gave no draws. ``short`` says in
    a few words why it is trusted or not, for people.
    """

    adapt_delta: float
    max_treedepth: int
    samples: int
    divergences: int | None
    trusted: bool
    short: str


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The figure in which two references that are trusted by themselves differ most.

    ``figure`` is the id of a summary, ``nuts`` and ``ensemble`` its values with standard errors,
    in the quantity's unit. ``gap`` is their difference and ``error`` its standard error, both in
    sds of the quantity.
    """

    quantity: str
    figure: str
    nuts: Estimate
    ensemble: Estimate
    gap: float
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the methods are compared with, and whether it can be trusted.

    ``why`` says in a sentence, with its figures, why it is trusted or not, and ``short`` in a few
    words for tables. Both are for people: nothing reads them. ``attempts`` are the runs of NUTS,
    in the order they were made.
    """

    kind: ReferenceKind
    trusted: bool
    why: str
    draws: Draws | None = None
    findings: tuple[Finding, ...] = ()
    short: str = ""
    attempts: tuple[Attempt, ...] = ()
    refuted: Refuted | None = None
    """What proves it wrong; it is then not trusted, whatever its diagnostics say."""
    unsought: str = ""
    """Why missing modes were not looked for, where there was reason to look; else empty."""
    seconded: bool = False
    """Whether the ensemble of short chains, which is trusted too, agrees with NUTS."""
    disagreement: Disagreement | None = None
    """How NUTS and an ensemble that is trusted by itself differ; then neither is trusted."""

    @property
    def method(self) -> str:
        """The method whose draws these are; empty where no method made them."""
        return SAMPLED_BY.get(self.kind, "")

    @property
    def evidence(self) -> Evidence:
        """What a comparison with it is worth as evidence."""
        if not self.trusted:
            return "none"
        return "nuts+ensemble" if self.kind == "nuts" and self.seconded else self.kind


@dataclass(frozen=True, slots=True, eq=False)
class ModelComparison:
    """Everything known about one model. ``error`` says what kept it from being compared."""

    model: Model
    error: str | None
    reference: Reference
    runs: tuple[RunResult, ...] = ()
    measures: tuple[Measure, ...] = ()
    levels: tuple[Closeness | None, ...] = ()
    """Closeness of each measure, in the order of ``measures``; None where no rule applies."""
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out and why: skipped methods, constant quantities, …"""
    explanation: Explanation | None = None
    """None if causes were not asked for."""
    trials: tuple[Trial, ...] = ()
    """Remedies that were tried, in the order of the verdicts."""
    standings: tuple[Standing, ...] = ()
    """Where there is no reference: what the methods say of each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A whole comparison with what is needed to repeat it."""

    models: tuple[ModelComparison, ...]
    claims: tuple[ClaimResult, ...]
    provenance: Mapping[str, Any]
    """``command``, ``date``, ``versions``, ``seeds``, ``seconds``, ``hashes``."""
