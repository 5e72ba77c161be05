"""Words for what methods say of each other where there is no reference."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.methods import title
from harness.records import ModelComparison, Standing
from harness.records.text import count, listed, number, with_error


def headline(standing: Standing) -> str:
    """Say in a few words what is known of a method without a reference."""
    parts = [f"doubts itself: {reason}" for reason in standing.doubts]
    if standing.method == standing.beside:
        parts.append("the others are measured against it")
    elif standing.level == "pass":
        parts.append(f"agrees with {title(standing.beside)}")
    elif standing.level == "unknown":
        parts.append(f"too few draws to compare with {title(standing.beside)}")
    elif standing.short:
        parts.append(f"with {title(standing.beside)} as reference: {standing.short}")
    if math.isfinite(standing.khat.value):
        parts.append(f"k-hat {number(standing.khat.value)}")
    elif standing.khat.value == math.inf:
        parts.append("k-hat infinite")
    divergence = standing.divergence
    # A few weights can be so large that the sum of all is known to no digit.
    if math.isfinite(divergence.value) and divergence.mcse < abs(divergence.value) / 2:
        parts.append(f"KL {with_error(divergence)} nats by its own weights")
    return "; ".join(parts)


def summary(entry: ModelComparison) -> str:
    """Say which methods agree; empty where there is a reference, or nothing to say."""
    by: dict[str, list[str]] = {}
    for s in entry.standings:
        if s.method != s.beside:
            by.setdefault(s.level, []).append(title(s.method))
    if not entry.standings:
        return ""
    beside = title(entry.standings[0].beside)
    clauses = [
        f"{_are(by[level], *words)}"
        for level, words in (
            ("pass", ("agrees", "agree")),
            ("warn", ("is off", "are off")),
            ("fail", ("differs", "differ")),
            ("unknown", ("is undecided", "are undecided")),
        )
        if level in by
    ]
    said = f"no reference: methods are measured against {beside}, for which nothing vouches"
    return f"{said}; {'; '.join(clauses)}" if clauses else said


def first_words(entry: ModelComparison, waiting: int) -> list[str]:
    """Say what is known already while other runs are made: verdicts, or what methods agree on."""
    more = f"{count(waiting, 'run')} to come"
    if entry.standings:
        return [f"{entry.model.name}: {summary(entry)} ({more})"]
    levels = [f"{title(v.method)} {v.level}" for v in entry.verdicts]
    return [f"{entry.model.name}: first verdicts: {', '.join(levels)} ({more})"] if levels else []


def _are(methods: Sequence[str], one: str, several: str) -> str:
    return f"{listed(list(methods), 20)} {one if len(methods) == 1 else several}"
