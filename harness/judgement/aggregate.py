"""Combine the findings of many seeds, and choose the headline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.judgement.context import Bench, lost
from harness.judgement.notes import how_it_ended
from harness.judgement.trust import subjects
from harness.metrics import METRICS
from harness.metrics.metric import TAKEN
from harness.records import Finding, Level, Measure, SeedVerdict
from harness.records.text import integer, listed

GRAVITY = ("close", "unsure", "off", "wrong")

ADJECTIVES = {"wrong": "Wrong", "off": "Off", "unsure": "Undecided"}

MANY = 3
"""From this many seeds on, the median one stands for all with the same finding."""

NAMED = 4
"""Absent figures that are named one by one."""


def _size(f: Finding) -> float:
    """Return how large a finding is, to compare findings of one metric."""
    return math.inf if math.isnan(f.measure.value) else abs(f.measure.value)


def grouped(bench: Bench, findings: Sequence[Finding]) -> list[tuple[Finding, int]]:
    """Return one finding for each metric and quantity, with how many seeds have it.

    It is that of the worst seed, or of the median one of many. The gravest come first, then those
    of many seeds, then the most telling.
    """
    cells: dict[tuple[str, str | None], list[Finding]] = {}
    for f in findings:
        cells.setdefault((f.measure.metric, f.measure.quantity), []).append(f)
    out = [_group(cell, len(bench.runs)) for cell in cells.values()]
    often = max((n for _, n in out), default=0) / 2

    def order(group: tuple[Finding, int]) -> tuple[float, ...]:
        finding, n = group
        metric = METRICS[finding.measure.metric]
        tie = 0.0 if metric.tie is None else metric.tie(bench.scene(finding.measure))
        return (
            finding.rule.alarm,
            -GRAVITY.index(finding.level),
            finding.measure.quantity in bench.context.generated,
            # A finding of one seed in ten comes after those of nearly all.
            n < often,
            metric.telling,
            # Two digits: if x and sin(x) are equally wrong, the program's first is named.
            -float(f"{_size(finding):.2g}"),
            -tie,
        )

    return sorted(out, key=order)


def _group(cell: Sequence[Finding], total: int) -> tuple[Finding, int]:
    """Return the finding that stands for all seeds that have it, and how many those are."""
    grave = max((f.level for f in cell), key=GRAVITY.index)
    alike = [f for f in cell if f.level == grave]
    worst = max(alike, key=_size)
    # With many seeds, the median one is what users get; the worst is named beside it.
    shown = sorted(alike, key=_size)[len(alike) // 2] if len(alike) >= MANY else worst
    if shown.measure.seed is None or total == 1:
        return shown, len(alike)
    if METRICS[shown.measure.metric].by_seed:
        also = f"By seed: {_values_by_seed(alike)}."
    else:
        also = f"{ADJECTIVES[grave]} in {len(alike)} of {total} seeds"
        also += "." if shown is worst else f", worst in seed {worst.measure.seed}."
    return replace(shown, sentence=f"{shown.sentence} {also}"), len(alike)


def _values_by_seed(findings: Sequence[Finding]) -> str:
    """Say which seeds have which value: ``0.20 in 1, 2 and 4; 0.80 in 3``."""
    seeds: dict[str, list[str]] = {}
    for f in sorted(findings, key=lambda f: (f.measure.value, f.measure.seed or 0)):
        value = METRICS[f.measure.metric].size(f.measure.value)
        seeds.setdefault(value, []).append(str(f.measure.seed))
    return "; ".join(f"{value} in {listed(who, len(who))}" for value, who in seeds.items())


def no_figure(absent: Sequence[tuple[str, str | None]]) -> str:
    """Say what keeps a seed from being judged."""
    return f"no figure for {listed(subjects(absent), NAMED) if absent else 'any quantity'}"


def top_headline(
    bench: Bench,
    level: Level,
    groups: Sequence[tuple[Finding, int]],
    by_seed: Sequence[SeedVerdict],
    *,
    quantities: int,
) -> str:
    """Return the short reason for the level."""
    total = len(by_seed)
    gone = [r for r in bench.runs if lost(r)]
    kind = {"fail": "wrong", "warn": "off", "unknown": "unsure"}.get(level)
    grave = [g for g in groups if g[0].level == kind and not g[0].rule.alarm]
    if level == "pass":
        generated = len(bench.context.generated)
        if 0 < generated < quantities:
            own, theirs = integer(quantities - generated), integer(generated)
            return f"all quantities close ({own}, and {theirs} generated)"
        return f"all {quantities} quantities close" if quantities > 1 else "close by every rule"
    if gone and (not grave or len(gone) == total):
        said = f": {gone[0].message}" if gone[0].message else ""
        runs = f"{len(gone)} of {total} runs " if total > 1 else ""
        return f"{runs}{how_it_ended(gone[0])}{said}"
    if not grave:
        # The last seed's, as its note is the last.
        return no_figure(next((s.absent for s in reversed(by_seed) if s.absent), ()))
    # A rare finding is no headline if another one describes most seeds.
    often = max(n for _, n in grave) / 2
    finding, n = next(g for g in grave if g[1] >= often)
    metric = METRICS[finding.measure.metric]
    alike = _alike(bench, finding) if finding.measure.seed is not None else []
    # The median of the measures with this finding: one seed alone is not the news.
    shown = alike[len(alike) // 2] if alike else finding.measure
    values = [m.value for m in alike] if metric.by_seed else []
    text = metric.headline(bench.scene(shown, values), finding.level)
    if finding.beyond:
        text += f", needs more than {TAKEN[finding.beyond]}"
    elif finding.draws_needed:
        text += f", needs about {integer(finding.draws_needed)} draws"
    # The level's own text says how many seeds have it; only another number is news.
    if shown.seed is not None and n != sum(s.level == level for s in by_seed):
        text = f"{text} in {n} of {total} seeds"
    away = sum(s.far == "ran away" for s in by_seed)
    return f"{text}; {away} ran away" if away else text


def _alike(bench: Bench, finding: Finding) -> list[Measure]:
    """Return the measures that share a finding's metric, quantity and level, smallest first."""
    m = finding.measure
    alike = [
        o
        for o in bench.measures
        if (o.metric, o.quantity) == (m.metric, m.quantity)
        and o.seed is not None
        and bench.level(o, finding.rule) == finding.level
    ]
    return sorted(alike, key=lambda o: math.inf if math.isnan(o.value) else o.value)
