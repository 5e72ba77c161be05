"""Rows of a decision, and what a decision holds: facts and words that every outlet renders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.methods import METHODS, title
from harness.records import (
    SAMPLED_BY,
    Evidence,
    Level,
    ModelComparison,
    Reason,
    Reference,
)
from harness.records.text import number, one_line
from harness.records.text import seconds as seconds_text

KINDS: Mapping[str, str] = {
    "exact": "exact draws", "supplied": "supplied draws", "nuts": "NUTS",
    "ensemble": "short chains", "none": "none",
}  # fmt: skip
"""References in words."""

EVIDENCE: Mapping[Evidence, str] = {
    "exact": "exact draws", "supplied": "supplied draws", "nuts": "NUTS",
    "nuts+ensemble": "NUTS and short chains", "ensemble": "short chains",
    "movement": "its draws, moved", "none": "nothing",
}  # fmt: skip
"""What verdicts rest on, in words."""

BOTH: Evidence = "nuts+ensemble"
"""The evidence of two witnesses; short chains are one of them."""

BAD = ("fail", "warn")
"""Levels that need a reason."""

ORDER: tuple[Level, ...] = ("pass", "warn", "fail", "unknown", "reference")
"""Rows stand in this order: what can be used comes first, the yardstick last."""

SPECIAL = frozenset({"conjugate", "quadrature"})
"""Kinds of methods that need a derivation by hand, or a single parameter: no answer rests on them,
because they are no choice on other programs."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is decided about one method on one model."""

    method: str
    title: str
    level: Level
    seeds: str
    """Which seeds have the level: ``3 of 10 seeds; typical seed: warn``."""
    says: str
    """The worst quantity in words, or how close all are."""
    why: str
    """The causes in a few words; empty where none was looked for."""
    helps: str
    """What to do instead, in a few words; empty where nothing needs it."""
    seconds: float
    """Of a typical (median) run; NaN where there is none."""
    times: float
    """The base's seconds over the method's: above 1 it is faster. NaN where either is missing."""
    evidence: str
    """What the method was checked against."""

    @property
    def time_text(self) -> str:
        """Seconds in words, a dash where the method did not run."""
        return "–" if math.isnan(self.seconds) else seconds_text(self.seconds)

    @property
    def times_text(self) -> str:
        """How many times as fast as the base."""
        if math.isnan(self.times):
            return "–"
        return "1" if self.times == 1 else f"× {number(self.times)}"


@dataclass(frozen=True, slots=True)
class ModelDecision:
    """What is decided on one model: the answer in a sentence, and a row a method."""

    model: str
    answer: str
    detail: str
    reference: str
    """The kind of the reference in words, and whether it is trusted."""
    rows: tuple[Row, ...]
    base: str
    """The method whose seconds are the unit of ``times``; empty where none can be."""
    command: str
    """The next command to type; empty where nothing is undecided."""
    remarks: tuple[str, ...] = ()
    """What readers must know beside the rows: why modes were not looked for, who agrees."""
    error: str | None = None

    @property
    def best(self) -> Level:
        """The level of the best approximation; unknown where there is none."""
        levels = [r.level for r in choices(self.rows) if r.level != "reference"]
        return min(levels, key=ORDER.index, default="unknown")

    @property
    def has_reasons(self) -> bool:
        """Whether there is anything in the columns of causes and remedies."""
        return any(row.why or row.helps for row in self.rows)

    @property
    def speed_heading(self) -> str:
        """Return the heading of the column of speeds."""
        return f"× {title(self.base)}" if self.base else "speed"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a whole comparison decides."""

    question: str
    answer: str
    detail: str
    models: tuple[ModelDecision, ...]
    claims: str
    """How many claims hold, in words; empty without claims."""


def choices(rows: Sequence[Row]) -> list[Row]:
    """Return the approximations that an answer may rest on."""
    approximate = [r for r in rows if r.method not in METHODS or METHODS[r.method].approximate]
    usual = [r for r in approximate if not special(r.method)]
    return usual or approximate


def special(method: str) -> bool:
    """Return whether a method is of a kind that no answer rests on."""
    return method in METHODS and METHODS[method].kind in SPECIAL


def improper(entry: ModelComparison) -> str:
    """Return in words that log p does not fall in some direction; empty where a method may do.

    A run that thinks so is wrong where there is a reference, or where any method is close.
    """
    if entry.reference.trusted or any(v.level in {"pass", "warn"} for v in entry.verdicts):
        return ""
    said = [one_line(r.message) for r in entry.runs if r.reason is Reason.IMPROPER]
    return min(said, key=len, default="")


def evidence(reference: Reference, of: Evidence = "none", *, method: str = "") -> str:
    """Say what a verdict on a method rests on, or the reference where the verdict does not tell.

    The one place that puts it into words. Short chains are no witness of themselves.
    """
    rests = reference.evidence if of == "none" else of
    return EVIDENCE["nuts" if rests == BOTH and method == SAMPLED_BY["ensemble"] else rests]


def reference_text(reference: Reference) -> str:
    """Return the kind of a reference, and whether it is trusted."""
    doubted = not reference.trusted and reference.kind != "none"
    return KINDS[reference.kind] + (" (not trusted)" if doubted else "")
