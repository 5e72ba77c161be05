"""The first screen: the answer, the table of verdicts, the claims, and the provenance."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.records import ClaimResult, Comparison, ModelComparison, Reference
from harness.records.levels import SYMBOLS as LEVEL_SYMBOLS
from harness.records.text import clip, count, estimate, one_line
from harness.report.decision import columns_of, decide
from harness.report.figures.looks import in_order, look
from harness.report.rows import KINDS, ORDER, ModelDecision
from harness.report.rows import Row as DecisionRow

SYMBOLS: Mapping[str, str] = {**LEVEL_SYMBOLS, "missing": "–"}

GRAVEST_FIRST = ("wrong", "off", "unsure", "close")
LEVELS: Mapping[str, str] = {"wrong": "fail", "off": "warn", "unsure": "unknown", "close": "pass"}
"""What a single measure counts as, and how grave it is."""

_LONGEST = 111
_OUTCOMES = {
    True: ("pass", "holds"),
    False: ("fail", "does not hold"),
    None: ("unknown", "could not be measured"),
}


class Cell(NamedTuple):
    """One verdict: its level, and seconds of a run with how many times as fast that is."""

    method: str
    level: str
    timed: str = ""


class Row(NamedTuple):
    """One model in the table of verdicts; ``error`` replaces its cells."""

    model: str
    reference: str
    trusted: bool
    cells: tuple[Cell, ...]
    error: str | None
    others: tuple[Cell, ...] = ()
    """Verdicts of methods that have no column."""
    command: str = ""
    """The next command to type, where verdicts are unknown."""


class ClaimRow(NamedTuple):
    """A claim with its outcome; the figure stands for a sentence that is missing."""

    claim: ClaimResult
    figure: str
    level: str
    word: str


class Summary(NamedTuple):
    """All of the first screen."""

    question: str
    answer: str
    detail: str
    byline: str
    methods: tuple[tuple[str, str], ...]
    """The columns: name and title."""
    others: bool
    """Whether there are methods without a column of their own."""
    rows: tuple[Row, ...]
    claims: tuple[ClaimRow, ...]
    claims_line: str


class Filter(NamedTuple):
    """What a reader can choose to see: the levels and methods (name and title) that there are."""

    levels: tuple[str, ...]
    methods: tuple[tuple[str, str], ...]


def filter_of(comparison: Comparison) -> Filter:
    """Return the levels and methods of all verdicts."""
    verdicts = [v for m in comparison.models for v in m.verdicts]
    found = {v.level for v in verdicts}
    return Filter(
        tuple(level for level in ORDER if level in found and level != "reference"),
        tuple((m, look(m).title) for m in in_order((v.method for v in verdicts), nuts_first=False)),
    )


def anchor(name: str) -> str:
    """Return a model's id in the page, another one for every name."""
    return "model-" + re.sub(r"[^A-Za-z0-9_-]", lambda m: f"-{ord(m.group()):x}-", name)


def summarise(comparison: Comparison) -> Summary:
    """Return everything above the first figure."""
    methods = in_order(
        [v.method for m in comparison.models for v in m.verdicts]
        + [r.spec.method for m in comparison.models for r in m.runs],
        nuts_first=False,
    )
    judged = [[v.method for v in m.verdicts] for m in comparison.models if m.error is None]
    columns = columns_of(judged, methods)
    found = decide(comparison)
    return Summary(
        question=found.question,
        answer=found.answer,
        detail=found.detail,
        byline=_byline(comparison),
        methods=tuple((m, look(m).title) for m in columns),
        others=len(columns) < len(methods),
        rows=tuple(
            _row(m, columns, methods, decided)
            for m, decided in zip(comparison.models, found.models, strict=True)
        ),
        claims=tuple(_claim_row(c) for c in comparison.claims),
        claims_line=found.claims,
    )


def _byline(comparison: Comparison) -> str:
    """Return versions, date and size of the comparison in one line."""
    versions = comparison.provenance.get("versions") or {}
    known = versions if isinstance(versions, Mapping) else {}
    parts = (
        count(len(comparison.models), "model"),
        count(sum(len(m.runs) for m in comparison.models), "run"),
        f"CmdStan {known['cmdstan']}" if "cmdstan" in known else "",
        f"embedded engine {known['embedded']}" if "embedded" in known else "",
        _day(comparison.provenance.get("date")),
    )
    return ", ".join(p for p in parts if p)


def _day(date: Any) -> str:
    try:
        found = dt.date.fromisoformat(str(date)[:10])
    except ValueError:
        return str(date) if date else ""
    return f"{found.day} {found:%B %Y}"


def _row(
    entry: ModelComparison, columns: list[str], methods: list[str], decided: ModelDecision
) -> Row:
    judged = {v.method for v in entry.verdicts}
    rows = {row.method: row for row in decided.rows}
    return Row(
        model=entry.model.name,
        reference=KINDS[entry.reference.kind],
        trusted=entry.reference.trusted,
        cells=tuple(_cell(m, rows.get(m)) for m in columns),
        error=entry.error and _clipped(entry.error),
        others=tuple(_cell(m, rows[m]) for m in methods if m in judged - set(columns)),
        command=decided.command,
    )


def _claim_row(claim: ClaimResult) -> ClaimRow:
    level, word = _OUTCOMES[claim.holds]
    silent = not claim.sentence and not math.isnan(claim.measured)
    return ClaimRow(claim, estimate(claim.measured, claim.error) if silent else "", level, word)


def _cell(method: str, row: DecisionRow | None) -> Cell:
    if row is None:
        return Cell(method, "missing")
    figures = [row.time_text, *([] if math.isnan(row.times) else [row.times_text])]
    # A figure stays on the line of its unit: cells are narrow.
    timed = ", ".join(f.replace(" ", "\N{NO-BREAK SPACE}") for f in figures)
    return Cell(method, row.level, timed)


def _clipped(headline: str) -> str:
    """Shorten a headline to fit a cell; the model's section has all of it."""
    return clip(one_line(headline), _LONGEST, words=True)


def reference_words(reference: Reference) -> str:
    """Return the reference's kind, whether it is trusted, and why."""
    trust = "" if reference.trusted or reference.kind == "none" else " (not trusted)"
    return f"Reference: {KINDS[reference.kind]}{trust}. {reference.why}".strip()
