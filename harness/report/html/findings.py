"""Findings as sentences, grouped by method, and the limits that were applied."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import judge
from harness.records.text import number
from harness.report.figures.looks import in_order, look
from harness.report.html.summary import SYMBOLS, seeds_words

if TYPE_CHECKING:
    from harness.records import Comparison, Finding, ModelComparison, Rule, Verdict

SHOWN = 3
"""Findings of a method before the rest is folded."""

FOLDED = 40
"""Findings in the fold; a model of 200 quantities has a thousand, all of them in the JSON."""

_LARGE = 1e5
_LOGS = ("log_", "worst_direction")
_ORDER = ("wrong", "off", "unsure", "close")
_LEVELS = {"wrong": "fail", "off": "warn", "unsure": "unknown", "close": "pass"}
_WORDS = {"wrong": "wrong", "off": "off", "unsure": "cannot tell", "close": "close"}
METRICS = {
    "bias": "bias of the mean, in sds",
    "log_width_ratio": "ratio of the 5–95% widths",
    "log_sd_ratio": "ratio of the sds",
    "w1": "W1 distance, in sds",
    "tail": "error of the 5% and 95% quantiles, in sds",
    "missed_mass": "mass of missed modes",
    "corr_error": "error of a correlation",
    "worst_direction": "sd ratio in the worst direction",
    "sliced_w1": "sliced W1 distance",
    "seed_spread": "spread of the mean over seeds, in sds",
    "khat": "Pareto k-hat",
    "rhat": "R-hat",
    "ess_bulk": "bulk ESS",
    "ess_tail": "tail ESS",
    "divergences": "divergent transitions",
    "ebfmi": "E-BFMI",
    "treedepth_hits": "share of hits of the maximal tree depth",
    "chain_modes": "disagreement of chains on modes",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence with its level and the word for it; it names its own limit and reason."""

    level: str
    symbol: str
    word: str
    sentence: str
    alarm: bool


@dataclass(frozen=True, slots=True)
class Group:
    """What is said of one method (or of the reference)."""

    method: str
    title: str
    level: str
    symbol: str
    headline: str
    seeds: str
    shown: tuple[Line, ...]
    folded: tuple[Line, ...]
    notes: tuple[str, ...]
    folded_notes: tuple[str, ...]
    left_out: int
    causes: tuple[str, ...]
    remedies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limit:
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
        found.append(_group("reference", level, "", entry.reference.findings, None))
    verdicts = {v.method: v for v in entry.verdicts}
    for method in in_order(verdicts, nuts_first=False):
        v = verdicts[method]
        found.append(_group(method, v.level, v.headline, v.findings, v))
    return tuple(g for g in found if g.level != "reference" or g.shown or g.notes)


def _group(
    method: str,
    level: str,
    headline: str,
    findings: tuple[Finding, ...],
    verdict: Verdict | None,
) -> Group:
    telling = [f for f in findings if f.level != "close"]
    # Alarms make no verdict: they come after what does.
    telling.sort(key=lambda f: (f.rule.alarm, _ORDER.index(f.level)))
    lines = tuple(_line(f) for f in telling)
    # A single sentence is not worth a fold.
    cut = SHOWN if len(lines) > SHOWN + 1 else len(lines)
    notes = verdict.notes if verdict else ()
    cut_notes = SHOWN if len(notes) > SHOWN + 1 else len(notes)
    return Group(
        method=method,
        title="The reference" if method == "reference" else look(method).title,
        level=level,
        symbol=SYMBOLS[level],
        headline=headline,
        seeds=seeds_words(verdict) if verdict else "",
        shown=lines[:cut],
        folded=lines[cut : cut + FOLDED],
        notes=notes[:cut_notes],
        folded_notes=notes[cut_notes:],
        left_out=max(len(lines) - cut - FOLDED, 0),
        causes=verdict.causes if verdict else (),
        remedies=verdict.remedies if verdict else (),
    )


def _line(finding: Finding) -> Line:
    alarm = finding.rule.alarm and finding.level != "unsure"
    level = "warn" if alarm else _LEVELS[finding.level]
    sentence = finding.sentence
    if finding.level == "unsure" and finding.draws_needed:
        sentence += f" About {number(finding.draws_needed)} draws would decide."
    return Line(
        level=level,
        symbol=SYMBOLS[level],
        word="alarm" if alarm else _WORDS[finding.level],
        sentence=sentence,
        alarm=finding.rule.alarm,
    )


def limits(comparison: Comparison) -> tuple[Limit, ...]:
    """Return every rule once with its reason, then what single models change."""
    default = judge.rules_for()
    rows = [_limit(rule, "") for rule in default.values()]
    for entry in comparison.models:
        if entry.model.limits:
            own = judge.rules_for(entry.model)
            rows += [_limit(own[m], entry.model.name) for m in own if own[m] != default[m]]
    return tuple(rows)


def _limit(rule: Rule, model: str) -> Limit:
    least = "at least " if rule.metric in judge.AT_LEAST else ""
    one = rule.close == rule.wrong
    return Limit(
        metric=rule.metric,
        words=METRICS.get(rule.metric, rule.metric),
        close=least + _bound(rule.close, rule),
        wrong="" if one or rule.alarm else _bound(rule.wrong, rule),
        why=rule.why,
        alarm=rule.alarm,
        model=model,
    )


def _bound(value: float, rule: Rule) -> str:
    if rule.metric.startswith(_LOGS):
        return f"×{math.exp(value):.3g}"
    return f"{value:.3g}" if abs(value) < _LARGE else number(value)
