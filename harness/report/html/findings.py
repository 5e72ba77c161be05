"""Findings as sentences, grouped by method, and the limits that were applied."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from harness import judgement
from harness.metrics import METRICS
from harness.records import Comparison, Finding, ModelComparison, Rule, Verdict
from harness.report.figures.looks import in_order, look
from harness.report.html.summary import GRAVEST_FIRST, LEVELS
from harness.why.words import cause_sentences, remedy_sentences

MOST = 40
"""Findings of a method; a model of 200 quantities has a thousand, all in results.json."""


class Line(NamedTuple):
    """A finding's sentence with its level and the word for it."""

    level: str
    word: str
    sentence: str
    alarm: bool


class Group(NamedTuple):
    """The findings of one method, or of the reference, without what other methods share."""

    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    causes: tuple[str, ...]
    remedies: tuple[str, ...]
    left_out: int
    shared: int
    """Sentences that hold for other methods, too, and stand once for all of them."""

    @property
    def size(self) -> int:
        """How many sentences there are, the shared ones included."""
        own = len(self.lines) + len(self.notes) + len(self.causes) + len(self.remedies)
        return own + self.left_out + self.shared


Shared = tuple[tuple[str, tuple[str, ...]], ...]
"""Sentences with the titles of the methods that they hold for."""


class Limit(NamedTuple):
    """A rule for the table of limits; ``model`` names the one model it is changed for."""

    metric: str
    words: str
    close: str
    wrong: str
    why: str
    alarm: bool
    model: str


def groups(entry: ModelComparison) -> tuple[dict[str, Group], Shared]:
    """Return each method's findings, and the sentences that several methods share."""
    verdicts = {v.method: v for v in entry.verdicts}
    said: dict[str, list[str]] = {}
    for method in in_order(verdicts, nuts_first=False):
        for sentence in _sentences(verdicts[method]):
            said.setdefault(sentence, []).append(method)
    common = {sentence: methods for sentence, methods in said.items() if len(methods) > 1}
    found = {m: _group(v, v.findings, set(common)) for m, v in verdicts.items()}
    shared = tuple((s, tuple(look(m).title for m in methods)) for s, methods in common.items())
    return {m: g for m, g in found.items() if g.size}, shared


def of_reference(entry: ModelComparison) -> Group | None:
    """Return the findings of the reference, None where it has none."""
    if not entry.reference.findings:
        return None
    return _group(None, entry.reference.findings, set())


def _sentences(verdict: Verdict) -> list[str]:
    """Return what may hold for several methods: sentences on runs, causes and remedies."""
    every = (*verdict.notes, *cause_sentences(verdict), *remedy_sentences(verdict))
    return list(dict.fromkeys(every))


def _group(
    verdict: Verdict | None, findings: tuple[Finding, ...], common: Collection[str]
) -> Group:
    telling = [f for f in findings if f.level != "close"]
    # Alarms come last, because no verdict rests on them.
    telling.sort(key=lambda f: (f.rule.alarm, GRAVEST_FIRST.index(f.level)))
    lines = tuple(_line(f) for f in telling)

    def own(sentences: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(s for s in sentences if s not in common)

    return Group(
        lines=lines[:MOST],
        notes=own(verdict.notes) if verdict else (),
        causes=own(cause_sentences(verdict)) if verdict else (),
        remedies=own(remedy_sentences(verdict)) if verdict else (),
        left_out=max(len(lines) - MOST, 0),
        shared=sum(s in common for s in _sentences(verdict)) if verdict else 0,
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
