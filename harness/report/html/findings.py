"""Findings as sentences, grouped by method, and the limits that were applied."""

from __future__ import annotations

from typing import NamedTuple

from harness import judgement
from harness.metrics import METRICS
from harness.records import Comparison, Finding, ModelComparison, Rule, Verdict
from harness.report.figures.looks import in_order, look
from harness.report.html.summary import GRAVEST_FIRST, LEVELS
from harness.why.words import cause_sentences, remedy_sentences

SHOWN = 3
"""Findings of a method that are not folded."""

FOLDED = 40
"""Folded findings; a model of 200 quantities has a thousand, all in results.json."""


class Line(NamedTuple):
    """A finding's sentence with its level and the word for it."""

    level: str
    word: str
    sentence: str
    alarm: bool


class Group(NamedTuple):
    """The findings of one method, or of the reference."""

    method: str
    title: str
    level: str
    headline: str
    seeds: str
    shown: tuple[Line, ...]
    folded: tuple[Line, ...]
    notes: tuple[str, ...]
    folded_notes: tuple[str, ...]
    left_out: int
    causes: tuple[str, ...]
    remedies: tuple[str, ...]


class Limit(NamedTuple):
    """A rule for the table of limits; ``model`` names the one model it is changed for."""

    metric: str
    words: str
    close: str
    wrong: str
    why: str
    alarm: bool
    model: str


def groups(entry: ModelComparison) -> tuple[Group, ...]:
    """Return the reference's findings, then each method's."""
    found = []
    if entry.reference.findings:
        level = "pass" if entry.reference.trusted else "unknown"
        found.append(_group("reference", level, entry.reference.findings, None))
    verdicts = {v.method: v for v in entry.verdicts}
    for method in in_order(verdicts, nuts_first=False):
        v = verdicts[method]
        found.append(_group(method, v.level, v.findings, v))
    return tuple(g for g in found if g.level != "reference" or g.shown or g.notes)


def _group(
    method: str, level: str, findings: tuple[Finding, ...], verdict: Verdict | None
) -> Group:
    telling = [f for f in findings if f.level != "close"]
    # Alarms come last, because no verdict rests on them.
    telling.sort(key=lambda f: (f.rule.alarm, GRAVEST_FIRST.index(f.level)))
    lines = tuple(_line(f) for f in telling)
    # A single sentence is not folded.
    cut = SHOWN if len(lines) > SHOWN + 1 else len(lines)
    notes = verdict.notes if verdict else ()
    cut_notes = SHOWN if len(notes) > SHOWN + 1 else len(notes)
    return Group(
        method=method,
        title="The reference" if method == "reference" else look(method).title,
        level=level,
        headline=verdict.headline if verdict else "",
        seeds=judgement.seeds_text(verdict) if verdict else "",
        shown=lines[:cut],
        folded=lines[cut : cut + FOLDED],
        notes=notes[:cut_notes],
        folded_notes=notes[cut_notes:],
        left_out=max(len(lines) - cut - FOLDED, 0),
        causes=cause_sentences(verdict) if verdict else (),
        remedies=remedy_sentences(verdict) if verdict else (),
    )


def _line(finding: Finding) -> Line:
    rings = finding.rule.alarm and finding.level != "unsure"
    level, word = ("warn", "alarm") if rings else (LEVELS[finding.level], finding.level)
    return Line(level, word, finding.sentence, finding.rule.alarm)


def limits(comparison: Comparison) -> tuple[Limit, ...]:
    """Return every rule once with its reason, then the changes of single models."""
    default = judgement.rules_for()
    rows = [_limit(metric, rule, "") for metric, rule in default.items()]
    for entry in comparison.models:
        if entry.model.limits:
            own = judgement.rules_for(entry.model)
            rows += [_limit(m, own[m], entry.model.name) for m in own if own[m] != default[m]]
    return tuple(rows)


def _limit(name: str, rule: Rule, model: str) -> Limit:
    metric = METRICS[name]
    least = "at least " if rule.at_least else ""
    one = rule.close == rule.wrong
    return Limit(
        metric=name,
        words=metric.title,
        close=least + metric.bound(rule.close),
        wrong="" if one or rule.alarm else metric.bound(rule.wrong),
        why=rule.why,
        alarm=rule.alarm,
        model=model,
    )
