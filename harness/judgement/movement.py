"""What a run's own draws show against it, by how far short chains moved them.

It needs no reference: a figure that moved beyond its errors was wrong by at least that much. It
never shows that a fit is right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.judgement.aggregate import GRAVITY
from harness.judgement.context import for_method
from harness.judgement.rules import closeness, rules_for
from harness.metrics import METRICS, Metric
from harness.metrics.bias import BIAS, MEDIAN
from harness.metrics.errors import critical_z
from harness.metrics.metric import JudgeContext, Scene
from harness.metrics.movement import moved
from harness.records import Estimate, Finding, Level, Measure, Model, SeedVerdict, Verdict
from harness.records.text import number, with_error
from harness.vi.short_chains.movement import (
    FORGOTTEN,
    SETTLED,
    Movement,
    growth_of,
    memory_of,
)

if TYPE_CHECKING:
    from harness.records import FloatArray, RunSpec

CENTRES = frozenset({BIAS.id, MEDIAN.id})

SEVERITY: tuple[Level, ...] = ("unknown", "warn", "fail")


@dataclass(frozen=True, slots=True)
class Shown:
    """What one run's draws show: measures of the quantities that can be judged.

    ``quantities`` is how many were looked at, ``slow`` how many of them depend on directions that
    chains remember, ``widening`` how many others on some in which they still widen: nothing is said
    of their centres. ``why`` says why none could be judged, for people. Of several ``regions`` that
    a fit found, draws show their error in their own, in that region's sds: no lower bound of the
    whole.
    """

    measures: tuple[Measure, ...] = ()
    quantities: int = 0
    slow: int = 0
    widening: int = 0
    why: str = ""
    regions: int = 1


def shown(
    spec: RunSpec,
    names: Sequence[str],
    before: FloatArray,
    after: FloatArray,
    movement: Movement,
    copies: FloatArray,
) -> Shown:
    """Return what a movement shows of quantities.

    ``before`` are their values at the starts, ``(chain, quantity)``, ``after`` at the later
    positions, ``(chain, kept, quantity)``, both constrained scale; ``copies`` says how many chains
    started at the same draw, ``(chain,)``.
    """
    memory = memory_of(movement, before, after[:, -1])
    growth = growth_of(movement, after[:, -1])
    found: list[Measure] = []
    slow = widening = 0
    for j, name in enumerate(names):
        figures = moved(before[:, j], after[:, :, j], copies)
        if figures and not FORGOTTEN.fine(float(memory[j])):
            slow += 1
            continue
        if figures and not SETTLED.fine(float(growth[j])):
            widening += 1
            figures = {metric: e for metric, e in figures.items() if metric not in CENTRES}
        found += [
            Measure(spec.model, spec.method, spec.seed, name, metric, *e, "movement")
            for metric, e in figures.items()
        ]
    return Shown(tuple(found), len(names), slow, widening)


def by_movement(model: Model, verdict: Verdict, runs: Mapping[int, Shown]) -> Verdict:
    """Return an unknown verdict with what movement shows against it, by seed.

    Fail with any figure that was surely *wrong*, warn with any that was *off*; unknown as it was
    where none is, because movement cannot call a fit close.
    """
    rules = rules_for(model)
    context = for_method(verdict.method, JudgeContext())
    by_seed, every = [], []
    for seed in verdict.by_seed:
        own = runs.get(seed.seed, Shown())
        z = critical_z(own.quantities)
        findings = []
        for m in own.measures:
            level = closeness(m, rules[m.metric], z)
            if level in {"wrong", "off"}:
                said = METRICS[m.metric].sentence(
                    Scene(m, context=context), rules[m.metric], level, z=z
                )
                text = f"{said} {_moved(m, z, own.regions)}."
                findings.append(Finding(rules[m.metric], m, level, text))
        findings.sort(key=lambda f: _gravity(f, z), reverse=True)
        levels = {f.level for f in findings}
        bad: Level = "fail" if "wrong" in levels else "warn" if levels else seed.level
        by_seed.append(replace(seed, level=bad, findings=tuple(findings)))
        every += [(f, z, own.regions) for f in findings]
    if not every:
        return _undecided(verdict, runs)
    every.sort(key=lambda f: _gravity(f[0], f[1]), reverse=True)
    finding, z, regions = every[0]
    return replace(
        verdict,
        level="fail" if finding.level == "wrong" else "warn",
        typical=_typical(by_seed),
        seeds_failed=sum(s.level == "fail" for s in by_seed),
        headline=_headline(finding.measure, z, regions),
        findings=_one_each([f for f, *_ in every]),
        by_seed=tuple(by_seed),
        evidence="movement",
    )


def least(m: Measure, z: float) -> str:
    """Write by how much a figure was wrong at least: z standard errors less than it moved."""
    metric = METRICS[m.metric]
    size = max(abs(m.value) - z * m.mcse, 0.0)
    if metric.log:
        return f"a factor of {number(math.exp(size), 3)}"
    return f"{number(size)} {metric.unit}" if metric.unit else number(size)


def _moved(m: Measure, z: float, regions: int) -> str:
    """Say what a movement shows: a lower bound, unless there are other regions."""
    if regions > 1:
        return "Short chains moved it within one of several regions, so the size is no lower bound"
    return f"Short chains moved it, so it was wrong by at least {least(m, z)}"


def _headline(m: Measure, z: float, regions: int) -> str:
    metric: Metric = METRICS[m.metric]
    figure = with_error(metric.shown(Estimate(m.value, m.mcse)))
    unit = f" {metric.unit}" if metric.unit else ""
    size = f"wrong by at least {least(m, z)}" if regions <= 1 else "wrong in its own region"
    # The quantity comes first: narrow cells cut the end.
    return f"{size}: {metric.subject(m.quantity)} {figure}{unit} as short chains move its draws"


def _gravity(f: Finding, z: float) -> tuple[int, float]:
    """Return how grave a finding is: its level, then its surest size in limits."""
    surely = (abs(f.measure.value) - z * f.measure.mcse) / (f.rule.wrong or math.inf)
    return GRAVITY.index(f.level), surely


def _one_each(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the gravest finding of each metric and quantity."""
    first = {(f.measure.metric, f.measure.quantity): f for f in reversed(findings)}
    return tuple(f for f in findings if first[f.measure.metric, f.measure.quantity] is f)


def _typical(seeds: Sequence[SeedVerdict]) -> Level:
    order = sorted((s.level for s in seeds), key=SEVERITY.index)
    return order[len(order) // 2]


def _undecided(verdict: Verdict, runs: Mapping[int, Shown]) -> Verdict:
    """Say why movement shows nothing; nothing is added where no run was moved."""
    if not runs:
        return verdict
    reasons = dict.fromkeys(s.why for s in runs.values() if s.why)
    slow = max(s.slow for s in runs.values())
    if reasons:
        said = "; ".join(reasons)
    elif slow:
        of = max(s.quantities for s in runs.values())
        said = f"{slow} of {of} quantities depend on directions that they do not forget"
    elif widening := max(s.widening for s in runs.values()):
        of = max(s.quantities for s in runs.values())
        said = (
            f"{widening} of {of} quantities depend on directions in which they still widen, and "
            "nothing else moves beyond its error"
        )
    else:
        said = "they move no quantity beyond its error, which does not show that the fit is right"
    note = f"Short chains from its own draws cannot tell: {said}."
    return replace(verdict, notes=(*verdict.notes, note))
