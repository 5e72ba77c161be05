"""Verdicts with the facts behind them: causes, and what helps. The words are made elsewhere."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from harness.methods import METHODS
from harness.records import (
    NO_ESTIMATE,
    WITHOUT_DRAWS,
    Better,
    Cause,
    Estimate,
    Explanation,
    Gap,
    Level,
    ModelComparison,
    Reference,
    RunResult,
    Trial,
    Verdict,
    VerdictCause,
)
from harness.why.causes import causes_of, last_if_unknown
from harness.why.causes.row import OtherScene
from harness.why.causes.unknown import FAILED_RUNS, THROWN, VerdictScene

NEEDS_CAUSE = ("fail", "warn")

TRIFLE = 0.01
"""Share of KL(q ‖ p) under which an optimiser's cause is not reported."""

ORDER: tuple[Level | None, ...] = ("pass", "reference", "warn", "fail", "unknown", None)
"""Levels after a remedy, the best first; trusted chains come after a fit that passes."""

FEW = 3
"""At most this many better methods of the same comparison are named."""


def explained(comparison: ModelComparison) -> ModelComparison:
    """Return a comparison whose verdicts that fail or warn have their causes and remedies.

    Where nobody asked why (no explanation) it is returned as it is.
    """
    if comparison.explanation is None:
        return comparison
    verdicts = tuple(
        with_causes(v, comparison.explanation, comparison.runs, comparison.reference)
        for v in comparison.verdicts
    )
    seconds = {
        v.method: statistics.median(s)
        for v in verdicts
        if (s := [r.cost.seconds for r in comparison.runs if r.spec.method == v.method])
    }
    verdicts = tuple(
        dataclasses.replace(v, remedies=remedies_of(v, verdicts, comparison.trials, seconds))
        for v in verdicts
    )
    return dataclasses.replace(comparison, verdicts=verdicts)


def with_causes(
    verdict: Verdict,
    explanation: Explanation | None,
    runs: Sequence[RunResult],
    reference: Reference | None = None,
) -> Verdict:
    """Return a verdict with its causes, where it fails or warns.

    Without a trusted reference the causes of the gaps are named too: a fit may show by itself why
    it is off. Other verdicts stay as they are.
    """
    if explanation is None:
        return verdict
    gaps = explanation.of(verdict.method)
    if verdict.level not in NEEDS_CAUSE:
        untrusted = reference is not None and not reference.trusted
        alone = _of_gaps(gaps) if gaps and untrusted and verdict.level == "unknown" else ()
        return dataclasses.replace(verdict, causes=tuple(alone)) if alone else verdict
    own = [r for r in runs if r.spec.method == verdict.method]
    reasons = _of_gaps(gaps) if gaps else _of_method(verdict, own, explanation)
    scene = VerdictScene(gaps=gaps, runs=own, explanation=explanation, named=len(reasons))
    lost = {FAILED_RUNS.id: scene.failed, THROWN.id: scene.thrown}
    reasons += [
        VerdictCause(c, tuple(r.spec.seed for r in lost[c.name]), of=len(own))
        if c.name in lost
        else VerdictCause(c)
        for c in causes_of(scene)
    ]
    return dataclasses.replace(verdict, causes=tuple(reasons))


def _of_gaps(gaps: Sequence[Gap]) -> list[VerdictCause]:
    """Return the family's causes, the same in all seeds, and the optimiser's, commonest first."""
    first = gaps[0]
    reasons = [
        VerdictCause(c, whole=first.family_gap, family=first.family)
        for c in first.causes
        if c.gap == "family"
    ]
    by_name: dict[str, list[tuple[int, Cause]]] = {}
    for gap in gaps:
        for cause in gap.causes:
            if cause.gap == "optimiser" and not cause.nats < TRIFLE * gap.kl.value:
                by_name.setdefault(cause.name, []).append((gap.seed, cause))
    for found in sorted(by_name.values(), key=lambda f: -len(f)):
        ordered = sorted(found, key=lambda f: last_if_unknown(f[1].nats))
        shown, cause = ordered[len(ordered) // 2]
        seeds, nats = tuple(s for s, _ in ordered), tuple(c.nats for _, c in ordered)
        reasons.append(VerdictCause(cause, seeds, nats, shown, len(gaps)))
    return reasons


def _of_method(
    verdict: Verdict, runs: Sequence[RunResult], explanation: Explanation
) -> list[VerdictCause]:
    """Return the causes of a method without a Gaussian q; a family's explains all of its gap."""
    if all(r.status in WITHOUT_DRAWS for r in runs):
        return []
    row = METHODS.get(verdict.method)
    chains = row is not None and not row.approximate
    scene = OtherScene(verdict=verdict, runs=runs, gaps=explanation.gaps, chains=chains)
    return [
        VerdictCause(c, whole=Estimate(c.nats, 0.0) if c.gap == "family" else NO_ESTIMATE)
        for c in causes_of(scene)
    ]


def remedies_of(
    verdict: Verdict,
    verdicts: Sequence[Verdict],
    trials: Sequence[Trial],
    seconds: Mapping[str, float],
) -> tuple[Trial | Better, ...]:
    """Return what helps a verdict that fails or warns, the best first, and what was tried in vain.

    These are its trials, the best level first and of these the fastest. Unless one of them helps,
    methods of the same comparison that do better come before them. ``seconds`` are of one run, by
    method.
    """
    own = sorted(
        (t for t in trials if t.method == verdict.method),
        key=lambda t: (not t.helps, t.luck, *_rank(t.level_after, t.seconds)),
    )
    if any(t.helps for t in own):
        return tuple(own)
    return (*better(verdict, verdicts, seconds), *own)


def _rank(level: Level | None, seconds: float) -> tuple[int, float]:
    return ORDER.index(level), last_if_unknown(seconds)


def better(
    verdict: Verdict, verdicts: Sequence[Verdict], seconds: Mapping[str, float]
) -> tuple[Better, ...]:
    """Return the methods of the same comparison that do better, the best first.

    NUTS is among them where it is the reference and no approximation does better.
    """
    levels: Mapping[Level, tuple[Level, ...]] = {"fail": ("pass", "warn"), "warn": ("pass",)}
    if verdict.level not in levels:
        return ()
    rows = [v for v in verdicts if v.method != verdict.method]
    found = [v for v in rows if v.level in levels[verdict.level] and v.method != "nuts"]
    if not found:
        found = [v for v in rows if v.method == "nuts" and v.level in {"reference", "pass"}]
    better = [Better(v.method, v.level, v.seeds, seconds.get(v.method, math.nan)) for v in found]
    return tuple(sorted(better, key=lambda b: _rank(b.level, b.seconds))[:FEW])
