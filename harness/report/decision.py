"""What a comparison decides: one row a method, made once and rendered by every outlet.

The terminal, the page, notebooks and Markdown write these rows and sentences, so that they cannot
disagree. All text is for people; nothing reads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from harness import judgement
from harness.methods import METHODS, title
from harness.metrics import W1
from harness.records import (
    WITHOUT_DRAWS,
    Comparison,
    ModelComparison,
    Reference,
    RunResult,
    Verdict,
)
from harness.records.text import estimate, one_line
from harness.report import standing
from harness.report.answers import answer_for_all, answer_for_one, claims_text
from harness.report.next_step import next_command
from harness.report.rows import (
    BAD,
    ORDER,
    Decision,
    ModelDecision,
    Row,
    evidence,
    improper,
    reference_text,
)
from harness.why.words import cause_in_short, remedy_in_short

COLUMNS = 9
"""Methods in the table of verdicts; beyond, rarer methods share a column."""


def decide(comparison: Comparison) -> Decision:
    """Return what a comparison decides."""
    models = tuple(_model(m, next_command(comparison, m)) for m in comparison.models)
    if len(models) == 1:
        question = f"Can ADVI stand in for NUTS on {models[0].model}?"
        answer, detail = models[0].answer, models[0].detail
    else:
        question = "Where can ADVI stand in for NUTS?"
        answer, detail = answer_for_all(models)
    return Decision(question, answer, detail, models, claims_text(comparison))


def decide_one(entry: ModelComparison) -> ModelDecision:
    """Return what is decided on one model, without the command to type next."""
    return _model(entry, "")


def timing_base(entry: ModelComparison) -> str:
    """Return the method that others are timed against: NUTS, a reference, the cheapest pass."""
    timed = {v.method: _seconds(_finished(entry, v.method)) for v in entry.verdicts}
    timed = {method: s for method, s in timed.items() if math.isfinite(s) and s > 0}
    for sampler in ("nuts", entry.reference.method):
        if sampler in timed:
            return sampler
    trusted = [v.method for v in entry.verdicts if v.level == "pass" and v.method in timed]
    return min(trusted, key=timed.__getitem__, default="")


def _checked(verdict: Verdict, reference: Reference) -> str:
    """Say what one verdict rests on; without a reference, a method's own draws can be evidence."""
    if verdict.level == "reference":
        return ""
    return evidence(reference, verdict.evidence, method=verdict.method)


def columns_of(judged: Sequence[Sequence[str]], methods: list[str]) -> list[str]:
    """Return the methods that have a column: all, or of many those on most models.

    ``judged`` are the methods of each model that could be compared.
    """
    if len(methods) <= COLUMNS:
        return methods
    usual = [m for m in methods if 2 * sum(m in names for names in judged) > len(judged)]
    return usual if len(judged) > 1 else methods[: COLUMNS - 1]


def _finished(entry: ModelComparison, method: str) -> list[RunResult]:
    # By status, not by draws: a comparison may come without its arrays.
    runs = [r for r in entry.runs if r.spec.method == method]
    return [r for r in runs if r.status not in WITHOUT_DRAWS]


def _seconds(runs: Sequence[RunResult]) -> float:
    known = [r.cost.seconds for r in runs if math.isfinite(r.cost.seconds)]
    return float(median(known)) if known else math.nan


def _model(entry: ModelComparison, command: str) -> ModelDecision:
    base = timing_base(entry)
    unit = _seconds(_finished(entry, base))
    rows = tuple(sorted((_row(entry, v, unit) for v in entry.verdicts), key=_place))
    remarks = []
    if entry.reference.unsought:
        unsought = entry.reference.unsought
        remarks.append(f"whether the reference misses a mode is not known: {unsought}")
    if (agreement := standing.summary(entry)) and not improper(entry):
        remarks.append(agreement)
    answer, detail = answer_for_one(rows, base, entry)
    return ModelDecision(
        model=entry.model.name,
        answer=answer,
        detail=detail,
        reference=reference_text(entry.reference),
        rows=rows,
        base=base,
        command=command,
        remarks=tuple(remarks),
        error=entry.error,
    )


def _place(row: Row) -> tuple[int, float, int]:
    """Return what rows are sorted by: levels; of what passes the fastest; the table of methods."""
    known = list(METHODS)
    index = known.index(row.method) if row.method in known else len(known)
    fastest = row.seconds if row.level == "pass" and math.isfinite(row.seconds) else math.inf
    return ORDER.index(row.level), fastest, index


def _row(entry: ModelComparison, verdict: Verdict, unit: float) -> Row:
    finished = _finished(entry, verdict.method)
    own = _seconds(finished)
    # What failed has used time too, which makes it no faster than anything.
    spent = (
        own if finished else _seconds([r for r in entry.runs if r.spec.method == verdict.method])
    )
    reasoned = verdict.level in BAD or verdict.level == "unknown"
    return Row(
        method=verdict.method,
        title=title(verdict.method),
        level=verdict.level,
        seeds=judgement.seeds_text(verdict),
        says=_says(entry, verdict),
        why=str(cause_in_short(verdict)) if reasoned else "",
        helps=remedy_in_short(verdict) if reasoned else "",
        seconds=spent,
        times=unit / own if own > 0 else math.nan,
        evidence=_checked(verdict, entry.reference),
    )


def _says(entry: ModelComparison, verdict: Verdict) -> str:
    """Return the headline; of what passes also the largest distance, with its error."""
    said = one_line(verdict.headline)
    if verdict.level != "pass":
        return said
    own = [
        m
        for m in entry.measures
        if (m.method, m.metric) == (verdict.method, W1.id) and m.quantity is not None
    ]
    worst = max((m for m in own if math.isfinite(m.value)), key=lambda m: m.value, default=None)
    if worst is None:
        return said
    far = f"{worst.quantity}, {estimate(max(worst.value, 0.0), worst.mcse)} sd"
    return f"{said}; worst: {far}" if said else f"worst: {far}"
