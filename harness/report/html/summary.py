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
from harness.records.text import clip, count, estimate, listed, one_line
from harness.report.figures.looks import KINDS, in_order, look
from harness.report.next_step import next_command
from harness.why.words import cause_in_short

SYMBOLS: Mapping[str, str] = {**LEVEL_SYMBOLS, "missing": "–"}

GRAVEST_FIRST = ("wrong", "off", "unsure", "close")
LEVELS: Mapping[str, str] = {"wrong": "fail", "off": "warn", "unsure": "unknown", "close": "pass"}
"""What a single measure counts as, and how grave it is."""

COLUMNS = 9
"""Methods in the table of verdicts; beyond, rarer methods share a column."""

WITH_REASONS = 6
"""Up to this many columns, cells give their reason."""

WITH_CAUSES = 4
"""Up to this many columns, cells also give the cause; beyond, tooltips do."""

DEFAULTS = ("meanfield", "fullrank")
"""What CmdStan's users get with default settings."""

_LONGEST = 111
_OUTCOMES = {
    True: ("pass", "holds"),
    False: ("fail", "does not hold"),
    None: ("unknown", "could not be measured"),
}
_NAMED = 3  # models that the answer names; beyond, the table does


class Cell(NamedTuple):
    """One verdict: its level, the reason and how many seeds share it."""

    method: str
    level: str
    reason: str
    seeds: str
    cause: str = ""
    """The cause in a few words; empty if no explanation was asked for."""

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
    columns = columns_of(comparison, methods)
    answer, detail = _answer(comparison, methods, columns)
    question = "Where can ADVI stand in for NUTS?"
    if len(comparison.models) == 1:
        question = f"Can ADVI stand in for NUTS on {comparison.models[0].model.name}?"
    claim_rows = tuple(_claim_row(c) for c in comparison.claims)
    return Summary(
        question=question,
        answer=answer,
        detail=detail,
        byline=_byline(comparison),
        methods=tuple((m, look(m).title) for m in columns),
        others=len(columns) < len(methods),
        compact=len(columns) > WITH_REASONS,
        causes=len(columns) <= WITH_CAUSES,
        rows=tuple(
            _row(m, columns, methods, next_command(comparison, m)) for m in comparison.models
        ),
        claims=claim_rows,
        claims_line=_claims_line(claim_rows),
    )


def columns_of(comparison: Comparison, methods: list[str]) -> list[str]:
    """Return the methods that have a column: all, or of many those on most models."""
    if len(methods) <= COLUMNS:
        return methods
    judged = [{v.method for v in m.verdicts} for m in comparison.models if m.error is None]
    usual = [m for m in methods if 2 * sum(m in names for names in judged) > len(judged)]
    return usual if len(judged) > 1 else methods[: COLUMNS - 1]


def _answer(comparison: Comparison, methods: list[str], columns: list[str]) -> tuple[str, str]:
    """Count the models on which some approximation passes, then each approximation's."""
    approximate = [m for m in methods if look(m).approximate]
    levels = {(v.model, v.method): v.level for m in comparison.models for v in m.verdicts}
    names = [m.model.name for m in comparison.models]
    passed = [n for n in names if any(levels.get((n, m)) == "pass" for m in approximate)]
    decided = {"pass", "warn", "fail"}
    open_ = [n for n in names if not any(levels.get((n, m)) in decided for m in approximate)]
    by_method = {m: sum(levels.get((n, m)) == "pass" for n in names) for m in approximate}
    if not approximate:
        return "No approximation was run.", ""
    if len(names) == 1:
        return _answer_for_one(passed, open_, by_method), ""
    if not passed:
        answer = f"In none of {count(len(names), 'model')}."
    else:
        answer = f"In {len(passed)} of {count(len(names), 'model')}"
        good = [m for m, n in by_method.items() if n]
        if len(passed) <= _NAMED:
            answer += f": {listed(passed)}"
        best = max(by_method, key=lambda m: by_method[m])
        if by_method[best] < len(passed) or len(good) > 1:
            answer += f"; most often with {look(best).title}, in {by_method[best]}"
        if any(m in by_method for m in DEFAULTS) and not set(good) & set(DEFAULTS):
            answer += ". With CmdStan's defaults, in none"
        answer += "."
    if open_:
        verb = "is" if len(open_) == 1 else "are"
        answer += f" {len(open_)} {verb} undecided ({listed(open_, _NAMED)})."
    shares = listed([f"{look(m).title} {n}" for m, n in by_method.items() if m in columns], 12)
    return (
        answer,
        f"Models passed, of {len(names)}: {shares}. A method is as good as its worst seed.",
    )


def _answer_for_one(passed: list[str], open_: list[str], by_method: dict[str, int]) -> str:
    good = [look(m).title for m, n in by_method.items() if n]
    bad = [look(m).title for m, n in by_method.items() if not n]
    if passed:
        rest = f"; not with {listed(bad)}" if bad else ""
        return f"Yes, with {listed(good)}{rest}."
    if open_:
        return "Undecided: no method passed, and none is known to be wrong."
    return f"No: not with {listed(bad)}."


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


def _row(entry: ModelComparison, columns: list[str], methods: list[str], command: str = "") -> Row:
    judged = {v.method for v in entry.verdicts}
    return Row(
        model=entry.model.name,
        reference=KINDS[entry.reference.kind],
        reference_why=entry.reference.short or _clipped(entry.reference.why),
        trusted=entry.reference.trusted,
        cells=tuple(_cell(entry, m) for m in columns),
        error=entry.error and _clipped(entry.error),
        others=tuple(_cell(entry, m) for m in methods if m in judged - set(columns)),
        command=command,
    )


def _claim_row(claim: ClaimResult) -> ClaimRow:
    level, word = _OUTCOMES[claim.holds]
    silent = not claim.sentence and not math.isnan(claim.measured)
    return ClaimRow(claim, estimate(claim.measured, claim.error) if silent else "", level, word)


def _claims_line(rows: tuple[ClaimRow, ...]) -> str:
    counts = {word: sum(row.word == word for row in rows) for _, word in _OUTCOMES.values()}
    plural = {"holds": "hold", "does not hold": "do not hold"}
    return ", ".join(f"{n} {plural.get(w, w) if n > 1 else w}" for w, n in counts.items() if n)


def strip(entry: ModelComparison) -> tuple[Cell, ...]:
    """Return a model's own verdicts for its section."""
    methods = in_order((v.method for v in entry.verdicts), nuts_first=False)
    return tuple(_cell(entry, m) for m in methods)


def _cell(entry: ModelComparison, method: str) -> Cell:
    verdict = next((v for v in entry.verdicts if v.method == method), None)
    if verdict is None:
        skip = entry.model.settings.get(method, {}).get("skip")
        return Cell(method, "missing", str(skip) if skip else "not run", "")
    # The column of references says why NUTS may be the reference.
    reason = "" if verdict.level == "reference" else _clipped(verdict.headline)
    cause = _clipped(str(cause_in_short(verdict)))
    return Cell(method, verdict.level, reason, seeds_text(verdict), cause)


def _clipped(headline: str) -> str:
    """Shorten a headline to fit a cell; the model's section has all of it."""
    return clip(one_line(headline), _LONGEST, words=True)


def reference_words(reference: Reference) -> str:
    """Return the reference's kind, whether it is trusted, and why."""
    trust = "" if reference.trusted or reference.kind == "none" else " (not trusted)"
    return f"Reference: {KINDS[reference.kind]}{trust}. {reference.why}".strip()
