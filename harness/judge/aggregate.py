"""Many seeds' findings as one list, and the one that says most as the headline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.judge.headlines import headline
from harness.judge.rules import closeness
from harness.judge.wording import ALL_OF_IT
from harness.records import WITHOUT_DRAWS, Finding, Level, Measure, SeedVerdict
from harness.records.text import number

if TYPE_CHECKING:
    from harness.judge.bench import Bench

GRAVITY = ("close", "unsure", "off", "wrong")

# What says most comes first: of findings as grave and as frequent the headline names this one.
TELLING = (
    *(f"{m}" for m in ("rhat", "chain_modes", "divergences", "ess_bulk", "ess_tail")),
    *(f"{m}" for m in ("ebfmi", "treedepth_hits", "missed_mass", "log_width_ratio", "bias")),
    *(f"{m}" for m in ("tail", "w1", "corr_error", "worst_direction", "sliced_w1")),
    *(f"{m}" for m in ("seed_spread", "khat")),
)

MANY = 3
"""From this many seeds with a finding the middle one stands for them."""

STUCK = 1.1
"""An R-hat from which chains are not merely slow but in different places."""


def _size(f: Finding) -> float:
    """Return how far beyond its limit a finding is, for comparison within one metric."""
    value = abs(f.measure.value)
    return math.inf if math.isnan(value) else value


def _off(bench: Bench, m: Measure) -> float:
    """Return how many sds off the mean is of a quantity that is missed entirely, else 0."""
    if m.metric != "missed_mass" or not m.value > ALL_OF_IT:
        return 0.0
    bias = bench.own.get((m.seed, m.quantity), {}).get("bias")
    return abs(bias.value) if bias is not None and not math.isnan(bias.value) else 0.0


def grouped(bench: Bench, findings: Sequence[Finding]) -> list[tuple[Finding, int]]:
    """Return one finding per metric and quantity with how many seeds have it.

    Of few seeds it is the worst one's, of many the middle one's.

    The gravest come first, of them those of many seeds, then the most telling.
    """
    cells: dict[tuple[str, str | None], list[Finding]] = {}
    for f in findings:
        cells.setdefault((f.measure.metric, f.measure.quantity), []).append(f)
    out = []
    for cell in cells.values():
        grave = max((f.level for f in cell), key=GRAVITY.index)
        alike = [f for f in cell if f.level == grave]
        worst = max(alike, key=_size)
        total = len(bench.runs)
        # Of many seeds the middle one is what users get; the worst is named beside it.
        shown = sorted(alike, key=_size)[len(alike) // 2] if len(alike) >= MANY else worst
        if shown.measure.seed is not None and total > 1:
            also = f" {_adjective(grave)} in {len(alike)} of {total} seeds"
            also += "." if shown is worst else f", worst in seed {worst.measure.seed}."
            if shown.measure.metric == "missed_mass":
                also = f" By seed: {_by_share(alike)}."
            shown = replace(shown, sentence=shown.sentence + also)
        out.append((shown, len(alike)))
    often = max((count for _, count in out), default=0) / 2
    return sorted(
        out,
        key=lambda g: (
            g[0].rule.alarm,
            -GRAVITY.index(g[0].level),
            # What one seed in ten has comes after what nearly all have.
            g[1] < often,
            TELLING.index(g[0].measure.metric),
            # Two figures: of x and sin(x), equally wrong, the program's first is named.
            -float(f"{_size(g[0]):.2g}"),
            -_off(bench, g[0].measure),
        ),
    )


def _by_share(findings: Sequence[Finding]) -> str:
    """Say which seeds miss how much: ``0.20 in 1, 2 and 4; 0.80 in 3``."""
    seeds: dict[str, list[str]] = {}
    for f in sorted(findings, key=lambda f: (f.measure.value, f.measure.seed or 0)):
        seeds.setdefault(number(f.measure.value), []).append(str(f.measure.seed))
    return "; ".join(f"{share} in {_and(names)}" for share, names in seeds.items())


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _adjective(level: str) -> str:
    return {"wrong": "Wrong", "off": "Off", "unsure": "Undecided"}[level]


def top_headline(
    bench: Bench,
    level: Level,
    groups: Sequence[tuple[Finding, int]],
    by_seed: Sequence[SeedVerdict],
    *,
    quantities: int,
    notes: Sequence[str],
) -> str:
    """Return the short reason for the level."""
    total = len(by_seed)
    lost = [r for r in bench.runs if r.status in WITHOUT_DRAWS or r.draws is None]
    kind = {"fail": "wrong", "warn": "off", "unknown": "unsure"}.get(level)
    grave = [g for g in groups if g[0].level == kind and not g[0].rule.alarm]
    if level == "pass":
        return f"all {quantities} quantities close" if quantities > 1 else "close by every rule"
    if lost and (not grave or len(lost) == total):
        what = lost[0].status.replace("_", " ")
        said = f": {lost[0].message}" if lost[0].message else ""
        return f"{len(lost)} of {total} runs {what}{said}" if total > 1 else f"{what}{said}"
    if not grave:
        return notes[-1].rstrip(".") if notes else "nothing to judge by"
    # A rare finding does not make the headline when another one describes most seeds.
    often = max(n for _, n in grave) / 2
    finding, count = next(g for g in grave if g[1] >= often)
    shown = _typical_case(bench, finding)
    text = headline(bench.scene(shown), finding.level)
    if shown.metric == "missed_mass":
        text = _range_of_missed(bench, finding, text)
    if shown.metric == "chain_modes" or (shown.metric == "rhat" and shown.value > STUCK):
        text = f"chains stuck: {text}"
    if finding.draws_needed:
        text += f", needs about {finding.draws_needed} draws"
    # The level's own text says how many seeds have it; only another number is news.
    if shown.seed is not None and count != sum(s.level == level for s in by_seed):
        text = f"{text} in {count} of {total} seeds"
    away = sum(" ran away" in note for note in notes)
    return f"{text}; {away} ran away" if away else text


def _alike(bench: Bench, finding: Finding) -> list[Measure]:
    """Return the measures that share a finding's metric, quantity and level, smallest first."""
    m = finding.measure
    alike = [
        o
        for o in bench.measures
        if (o.metric, o.quantity) == (m.metric, m.quantity)
        and o.seed is not None
        and closeness(o, finding.rule, bench.z) == finding.level
    ]
    return sorted(alike, key=lambda o: math.inf if math.isnan(o.value) else o.value)


def _range_of_missed(bench: Bench, finding: Finding, text: str) -> str:
    """Give both ends where seeds sit on different modes: neither alone is what users get."""
    alike = _alike(bench, finding)
    if len(alike) == 0:
        return text
    low, high = (number(m.value) for m in (alike[0], alike[-1]))
    one = f"misses {number(_typical_case(bench, finding).value)} of"
    return text if low == high else text.replace(one, f"misses {low} to {high} of")


def _typical_case(bench: Bench, finding: Finding) -> Measure:
    """Return the median of the measures that share a finding, so that one seed is not the news."""
    alike = _alike(bench, finding) if finding.measure.seed is not None else []
    return alike[len(alike) // 2] if alike else finding.measure
