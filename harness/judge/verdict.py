"""From measures to a verdict on a method: the level of its worst seed, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.judge.aggregate import grouped, top_headline
from harness.judge.bench import Bench
from harness.judge.chains import CHAIN_METRICS, chain_findings, missing_diagnostics
from harness.judge.context import JudgeContext
from harness.judge.notes import errors_by_seed, run_notes, runaway, stopped_early
from harness.judge.rules import RULES, closeness, critical_z, draws_needed, rules_for
from harness.judge.wording import sentence
from harness.records import (
    WITHOUT_DRAWS,
    Estimate,
    Finding,
    Level,
    Measure,
    Model,
    Reference,
    RunResult,
    SeedVerdict,
    Verdict,
)

SEVERITY: tuple[Level, ...] = ("reference", "pass", "unknown", "warn", "fail")

REQUIRED = ("bias", "log_width_ratio", "w1", "tail", "missed_mass")
"""Metrics without which a quantity has not been compared."""


def judge_method(
    model: Model,
    method: str,
    runs: Sequence[RunResult],
    measures: Sequence[Measure],
    reference: Reference,
    context: JudgeContext | None = None,
) -> Verdict:
    """Judge a method on a model.

    Parameters
    ----------
    model
        For its name and its changed limits.
    method
        Which of the runs and measures to judge; others are passed over.
    runs
        One a seed, with or without draws.
    measures
        The method's own, and the reference's summaries (under the method ``"reference"``).
    reference
        What the measures are relative to.
    context
        For the sentences.

    Returns
    -------
    Verdict
        Any wrong figure or run without draws: fail; else any off: warn; else any undecided or
        missing figure: unknown; else pass. With a reference that is not trusted always
        unknown. Of several seeds the worst counts.
    """
    context = context or JudgeContext()
    runs = sorted((r for r in runs if r.spec.method == method), key=lambda r: r.spec.seed)
    own = [m for m in measures if m.method == method]
    cells: dict[tuple[int | None, str | None], dict[str, Estimate]] = {}
    for m in own:
        cells.setdefault((m.seed, m.quantity), {})[m.metric] = Estimate(m.value, m.mcse)
    summaries: dict[str, dict[str, Estimate]] = {}
    for m in measures:
        if m.method == "reference" and m.quantity is not None:
            summaries.setdefault(m.quantity, {})[m.metric] = Estimate(m.value, m.mcse)
    named = {m.quantity for m in own if m.quantity is not None} | set(summaries)
    draws = reference.draws
    bench = Bench(
        method=method,
        runs=runs,
        measures=own,
        own=cells,
        summaries=summaries,
        rules=rules_for(model),
        z=critical_z(context.dimension or len(named)),
        context=context,
        reference_draws=0 if draws is None else draws.values.shape[0] * draws.values.shape[1],
    )
    if not runs:
        return Verdict(model.name, method, "unknown", "unknown", 0, 0, "no runs", ())
    if not reference.trusted or (reference.kind == "nuts" and method == "nuts"):
        return _without_comparison(bench, model.name, reference)
    by_seed, notes = [], run_notes(runs)
    for run in runs:
        verdict, note = _judge_seed(bench, run, sorted(named))
        by_seed.append(verdict)
        notes += note
    overall = _findings(bench, [m for m in own if m.seed is None and m.metric in bench.rules])
    level = _worst([s.level for s in by_seed] + [_level_of(overall)])
    found = [f for s in by_seed for f in s.findings] + overall
    groups = grouped(bench, found)
    failed = sum(s.level == "fail" for s in by_seed)
    if level in {"fail", "warn"}:
        telling = next((g for g, _ in groups if g.measure.quantity and not g.rule.alarm), None)
        notes = [*stopped_early(bench), *notes, *errors_by_seed(bench, telling)]
    return Verdict(
        model=model.name,
        method=method,
        level=level,
        typical=_typical(by_seed),
        seeds=len(runs),
        seeds_failed=failed,
        headline=top_headline(bench, level, groups, by_seed, quantities=len(named), notes=notes),
        findings=tuple(g for g, _ in groups),
        notes=tuple(notes),
        by_seed=tuple(by_seed),
    )


def level_text(verdict: Verdict) -> str:
    """Return the level with its seeds: ``fail (3 of 10 seeds; typical seed: warn)``."""
    if verdict.seeds <= 1 or verdict.level in {"reference", "unknown"}:
        return verdict.level
    if verdict.level == "pass":
        return f"pass (all {verdict.seeds} seeds)"
    at_level = sum(s.level == verdict.level for s in verdict.by_seed)
    if at_level == 0:
        return f"{verdict.level} (over all {verdict.seeds} seeds; typical seed: {verdict.typical})"
    typical = "" if verdict.typical == verdict.level else f"; typical seed: {verdict.typical}"
    return f"{verdict.level} ({at_level} of {verdict.seeds} seeds{typical})"


def _worst(levels: Sequence[Level]) -> Level:
    return max(levels, key=SEVERITY.index)


def _typical(by_seed: Sequence[SeedVerdict]) -> Level:
    """Return the median seed's level, of two middle ones the worse."""
    ordered = sorted((s.level for s in by_seed), key=SEVERITY.index)
    return ordered[len(ordered) // 2]


def _level_of(findings: Sequence[Finding]) -> Level:
    kinds = {f.level for f in findings if not f.rule.alarm}
    if "wrong" in kinds:
        return "fail"
    if "off" in kinds:
        return "warn"
    return "unknown" if "unsure" in kinds else "pass"


def _without_comparison(bench: Bench, model: str, reference: Reference) -> Verdict:
    """Return the verdict where there is nothing to compare with, or nothing but itself."""
    notes = run_notes(bench.runs)
    itself = reference.trusted
    level: Level = "reference" if itself else "unknown"
    seeds: list[SeedVerdict] = []
    for run in bench.runs:
        kept: Level = "fail" if run.status in WITHOUT_DRAWS or run.draws is None else level
        seeds.append(SeedVerdict(run.spec.seed, kept, run.status, ()))
    failed = sum(s.level == "fail" for s in seeds)
    if failed and itself:
        level = "unknown"
    why = f"no trustworthy reference: {reference.why}"
    if itself:
        # Two figures are enough in a table; the reference's own row has them all.
        why = ", ".join(reference.why.partition(": ")[2].split(", ")[:2])
    return Verdict(
        model=model,
        method=bench.method,
        level=level,
        typical=level,
        seeds=len(seeds),
        seeds_failed=failed,
        headline=why.replace(
            "no trustworthy reference: NUTS is no reference here: ", "no trustworthy reference: "
        ),
        findings=reference.findings if bench.method == "nuts" else (),
        notes=tuple(notes),
        by_seed=tuple(seeds),
    )


def _judge_seed(
    bench: Bench, run: RunResult, quantities: Sequence[str]
) -> tuple[SeedVerdict, list[str]]:
    """Judge one run; notes say what kept figures from being had."""
    seed = run.spec.seed
    if run.status in WITHOUT_DRAWS or run.draws is None:
        return SeedVerdict(seed, "fail", run.status, ()), []
    own = [m for m in bench.measures if m.seed == seed]
    findings = _findings(bench, [m for m in own if m.metric not in CHAIN_METRICS], run)
    absent = _absent(bench, own, quantities)
    if not run.draws.iid:
        chains = [m for m in own if m.metric in CHAIN_METRICS]
        findings = [*chain_findings(chains, bench.rules, bench.context), *findings]
        absent += missing_diagnostics(chains)
    level = _level_of(findings)
    notes = runaway(bench, run, own, findings)
    if absent or not quantities:
        level = _worst([level, "unknown"])
        what = ", ".join(absent[:4]) + (f" and {len(absent) - 4} more" if len(absent) > 4 else "")  # noqa: PLR2004
        notes.append(f"Seed {seed}: nothing to judge by for {what or 'any quantity'}.")
    return SeedVerdict(seed, level, run.status, tuple(findings)), notes


def _absent(bench: Bench, own: Sequence[Measure], quantities: Sequence[str]) -> list[str]:
    """Return the figures that a seed should have and has not, as ``tail of x``.

    Those are the required ones of every quantity, and the joint ones that another seed has.
    """
    present = {(m.metric, m.quantity) for m in own}
    judged = {rule.metric for rule in RULES if not rule.alarm}
    elsewhere = {
        (m.metric, None)
        for m in bench.measures
        if m.quantity is None and m.seed is not None and m.metric in judged
    }
    wanted = {(metric, q) for metric in REQUIRED for q in quantities} | elsewhere
    return sorted(f"{m} of {q}" if q else m for m, q in wanted - present)


def _findings(
    bench: Bench, measures: Sequence[Measure], run: RunResult | None = None
) -> list[Finding]:
    """Apply the rules; figures that are close make no finding."""
    out = []
    for m in measures:
        rule = bench.rules.get(m.metric)
        if rule is None:
            continue
        if m.metric == "khat" and run is not None and run.draws is not None:
            # The metrics load ArviZ, which takes a second or two: not before it is needed.
            from harness.metrics import khat_limit

            size = run.draws.values.shape[0] * run.draws.values.shape[1]
            # Weights that were used up were those of more draws than are left.
            size = int(run.diagnostics.get("proposals", size))
            rule = replace(rule, close=min(rule.close, khat_limit(size)))
        level = closeness(m, rule, bench.z)
        if level == "close":
            continue
        needed = None
        if level == "unsure" and m.seed is not None:
            needed = draws_needed(m, rule, bench.z, _scarcer(bench, m, run))
        where = "" if m.seed is None or len(bench.runs) == 1 else f"seed {m.seed}"
        text = sentence(bench.scene(m), rule, level, z=bench.z, needed=needed, where=where)
        out.append(Finding(rule, m, level, text, needed))
    return out


def _scarcer(bench: Bench, m: Measure, run: RunResult | None) -> float:
    """Return the number of draws of the sample with the larger error, by effective size."""
    sizes = []
    if run is not None and run.draws is not None:
        sizes.append((run.draws.values.shape[0] * run.draws.values.shape[1], run.draws.iid, True))
    if bench.reference_draws:
        sizes.append((bench.reference_draws, False, False))
    if not sizes:
        return math.nan

    def effective(size: tuple[int, bool, bool]) -> float:
        count, iid, own = size
        scene = bench.scene(m)
        figures = scene.own if own else scene.theirs
        if iid or "mean" not in figures or "sd" not in figures or figures["mean"].mcse <= 0:
            return float(count)
        return (figures["sd"].value / figures["mean"].mcse) ** 2

    return float(min(sizes, key=effective)[0])
