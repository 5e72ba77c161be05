"""The first screen: the answer, the table of verdicts, the claims, and the provenance."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.judgement import seeds_text
from harness.records import ClaimResult, Comparison, ModelComparison, Reference
from harness.records.levels import SYMBOLS as LEVEL_SYMBOLS
from harness.records.text import clip, count, estimate, one_line
from harness.report.decision import KINDS, ModelDecision, columns_of, decide
from harness.report.decision import Row as DecisionRow
from harness.report.figures.looks import in_order, look
from harness.why.words import cause_in_short

SYMBOLS: Mapping[str, str] = {**LEVEL_SYMBOLS, "missing": "–"}

GRAVEST_FIRST = ("wrong", "off", "unsure", "close")
LEVELS: Mapping[str, str] = {"wrong": "fail", "off": "warn", "unsure": "unknown", "close": "pass"}
"""What a single measure counts as, and how grave it is."""

WITH_REASONS = 6
"""Up to this many columns, cells give their reason."""

WITH_CAUSES = 4
"""Up to this many columns, cells also give the cause; beyond, tooltips do."""

_LONGEST = 111
_OUTCOMES = {
    True: ("pass", "holds"),
    False: ("fail", "does not hold"),
    None: ("unknown", "could not be measured"),
}


class Cell(NamedTuple):
    """One verdict: its level, the reason and how many seeds share it."""

    method: str
    level: str
    reason: str
    seeds: str
    cause: str = ""
    """The cause in a few words; empty if no explanation was asked for."""
    timed: str = ""
    """Seconds of a run, and how many times as fast as NUTS that is."""

    @property
    def tip(self) -> str:
        """Reason and cause, for a tooltip."""
        return "; why: ".join(w for w in (self.reason, self.cause) if w)


class Row(NamedTuple):
    """One model in the table of verdicts; ``error`` replaces its cells."""

    model: str
    reference: str
    reference_why: str
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
    compact: bool
    """Whether there are too many columns to give reasons."""
    causes: bool
    """Whether there is room for causes."""
    rows: tuple[Row, ...]
    claims: tuple[ClaimRow, ...]
    claims_line: str


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
        compact=len(columns) > WITH_REASONS,
        causes=len(columns) <= WITH_CAUSES,
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
        reference_why=entry.reference.short or _clipped(entry.reference.why),
        trusted=entry.reference.trusted,
        cells=tuple(_cell(entry, m, rows.get(m)) for m in columns),
        error=entry.error and _clipped(entry.error),
        others=tuple(_cell(entry, m, rows[m]) for m in methods if m in judged - set(columns)),
        command=decided.command,
    )


def _claim_row(claim: ClaimResult) -> ClaimRow:
    level, word = _OUTCOMES[claim.holds]
    silent = not claim.sentence and not math.isnan(claim.measured)
    return ClaimRow(claim, estimate(claim.measured, claim.error) if silent else "", level, word)


def strip(entry: ModelComparison) -> tuple[Cell, ...]:
    """Return a model's own verdicts for its section."""
    methods = in_order((v.method for v in entry.verdicts), nuts_first=False)
    return tuple(_cell(entry, m) for m in methods)


def _cell(entry: ModelComparison, method: str, row: DecisionRow | None = None) -> Cell:
    verdict = next((v for v in entry.verdicts if v.method == method), None)
    if verdict is None:
        skip = entry.model.settings.get(method, {}).get("skip")
        return Cell(method, "missing", str(skip) if skip else "not run", "")
    # The column of references says why NUTS may be the reference.
    reason = "" if verdict.level == "reference" else _clipped(verdict.headline)
    cause = _clipped(str(cause_in_short(verdict)))
    timed = "" if row is None else f"{row.time_text}, {row.times_text}"
    return Cell(method, verdict.level, reason, seeds_text(verdict), cause, timed)


def _clipped(headline: str) -> str:
    """Shorten a headline to fit a cell; the model's section has all of it."""
    return clip(one_line(headline), _LONGEST, words=True)


def reference_words(reference: Reference) -> str:
    """Return the reference's kind, whether it is trusted, and why."""
    trust = "" if reference.trusted or reference.kind == "none" else " (not trusted)"
    return f"Reference: {KINDS[reference.kind]}{trust}. {reference.why}".strip()
