"""From measures to a verdict on a method: the level of its worst seed, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.judgement.aggregate import grouped, no_figure, top_headline
from harness.judgement.context import Bench, for_method, lost, lost_level, z_of
from harness.judgement.more import more_draws
from harness.judgement.notes import errors_by_seed, far_off, far_words, run_notes, stopped_early
from harness.judgement.rules import bound_z, rules_for, typical_sizes
from harness.judgement.trust import chain_findings, missing_diagnostics, not_recorded
from harness.metrics import METRICS
from harness.metrics.metric import JudgeContext
from harness.records import (
    Closeness,
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

LEVELS: dict[Closeness, Level] = {"wrong": "fail", "off": "warn", "unsure": "unknown"}


def judge_method(
    model: Model,
    method: str,
    runs: Sequence[RunResult],
    measures: Sequence[Measure],
    reference: Reference,
    context: JudgeContext | None = None,
) -> Verdict:
    """Judge a method on a model; runs and measures of other methods are ignored.

    Fail with any wrong figure or a run without draws; otherwise warn with any that is off;
    otherwise unknown with any undecided or missing figure, or a run that the machine ended;
    otherwise pass. Always unknown without a
    trusted reference. Of several seeds, the worst counts. Among the measures are the reference's
    summaries, under the method ``"reference"``.
    """
    context = for_method(method, context or JudgeContext())
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
    rules = rules_for(model)
    z = z_of(context, named)
    bench = Bench(
        method=method,
        runs=runs,
        measures=own,
        own=cells,
        summaries=summaries,
        rules=rules,
        z_of=z,
        typical=typical_sizes([m for m in own if m.metric in rules], lambda m: rules[m.metric], z),
        context=context,
        reference=reference,
    )
    if not runs:
        return Verdict(model.name, method, "unknown", "unknown", 0, 0, "no runs", ())
    if not reference.trusted or method == reference.method:
        return _without_comparison(bench, model.name, reference)
    judged = [_judge_seed(bench, run, sorted(named)) for run in runs]
    by_seed = [seed for seed, _ in judged]
    notes = [*run_notes(runs), *(note for _, said in judged for note in said)]
    overall = _findings(bench, [m for m in own if m.seed is None])
    level = _worst([s.level for s in by_seed] + [_level_of(overall)])
    groups = grouped(bench, [f for s in by_seed for f in s.findings] + overall)
    if level in {"fail", "warn"}:
        telling = next((g for g, _ in groups if g.measure.quantity and not g.rule.alarm), None)
        notes = [*stopped_early(bench), *notes, *errors_by_seed(bench, telling)]
    return Verdict(
        model=model.name,
        method=method,
        level=level,
        # The median seed's, the worse of two middle ones.
        typical=sorted((s.level for s in by_seed), key=SEVERITY.index)[len(runs) // 2],
        seeds=len(runs),
        seeds_failed=sum(s.level == "fail" for s in by_seed),
        headline=top_headline(bench, level, groups, by_seed, quantities=len(named)),
        findings=tuple(g for g, _ in groups),
        notes=tuple(notes),
        by_seed=tuple(by_seed),
        evidence=reference.evidence,
    )


def level_text(verdict: Verdict) -> str:
    """Return the level with its seeds: ``fail (3 of 10 seeds; typical seed: warn)``."""
    seeds = seeds_text(verdict)
    return f"{verdict.level} ({seeds})" if seeds else verdict.level


def seeds_text(verdict: Verdict) -> str:
    """Return which seeds have the level, nothing for a single run or an unknown verdict."""
    total = verdict.seeds
    if total <= 1 or verdict.level in {"reference", "unknown"}:
        return ""
    alike = sum(s.level == verdict.level for s in verdict.by_seed)
    at_level = alike if verdict.by_seed else verdict.seeds_failed
    if verdict.level == "pass" or at_level >= total:
        return f"all {total} seeds"
    typical = "" if verdict.typical == verdict.level else f"; typical seed: {verdict.typical}"
    return f"{f'{at_level} of' if at_level else 'over all'} {total} seeds{typical}"


def _worst(levels: Sequence[Level]) -> Level:
    return max(levels, key=SEVERITY.index)


def _level_of(findings: Sequence[Finding]) -> Level:
    return _worst(["pass", *(LEVELS[f.level] for f in findings if not f.rule.alarm)])


def _without_comparison(bench: Bench, model: str, reference: Reference) -> Verdict:
    """Return the verdict without a trusted reference, or of the reference itself."""
    itself = reference.trusted
    level: Level = "reference" if itself else "unknown"
    seeds = [
        SeedVerdict(r.spec.seed, lost_level(r) if lost(r) else level, r.status, ())
        for r in bench.runs
    ]
    failed = sum(s.level == "fail" for s in seeds)
    level = "unknown" if failed else level
    short = reference.short or reference.why
    headline = short if itself else f"no trustworthy reference: {short}"
    if failed == len(seeds):
        # Without draws there is nothing that a reference could clear.
        level = "fail"
        headline = top_headline(bench, level, [], seeds, quantities=0)
    return Verdict(
        model=model,
        method=bench.method,
        level=level,
        typical=level,
        seeds=len(seeds),
        seeds_failed=failed,
        headline=headline,
        findings=reference.findings if bench.method == "nuts" else (),
        notes=tuple(run_notes(bench.runs)),
        by_seed=tuple(seeds),
        evidence=reference.evidence,
    )


def _judge_seed(
    bench: Bench, run: RunResult, quantities: Sequence[str]
) -> tuple[SeedVerdict, list[str]]:
    """Judge one run; notes name a runaway, and figures that are not there."""
    seed = run.spec.seed
    if lost(run) or run.draws is None:
        return SeedVerdict(seed, lost_level(run), run.status, ()), []
    own = [m for m in bench.measures if m.seed == seed and m.metric in METRICS]
    chains = [m for m in own if METRICS[m.metric].about_chains]
    findings = _findings(bench, [m for m in own if not METRICS[m.metric].about_chains], run)
    absent = _absent(bench, own, quantities)
    if run.sampled:
        unknown = not_recorded(run.draws.stats) if run.foreign else ()
        chains = [m for m in chains if m.metric not in unknown]
        findings = [*chain_findings(chains, bench.rules, bench.context), *findings]
        absent += [a for a in missing_diagnostics(chains) if a[0] not in unknown]
    level = _level_of(findings)
    far = far_off(run, own, findings)
    notes = [] if far is None else [far_words(bench, run, *far)]
    if absent or not quantities:
        level = _worst([level, "unknown"])
        notes.append(f"Seed {seed}: {no_figure(absent)}.")
    how = None if far is None else far[0]
    return SeedVerdict(seed, level, run.status, tuple(findings), how, tuple(absent)), notes


def _absent(
    bench: Bench, own: Sequence[Measure], quantities: Sequence[str]
) -> list[tuple[str, str | None]]:
    """Return missing figures: those every quantity needs, and joint ones that another seed has."""
    present = {(m.metric, m.quantity) for m in own}
    judged = [m for m in METRICS.values() if m.rule is not None and not m.rule.alarm]
    kinds = {q: bench.context.kinds.get(q, "continuous") for q in quantities}
    wanted: set[tuple[str, str | None]] = {
        (m.id, q)
        for m in judged
        for q, kind in kinds.items()
        if m.scope == "quantity" and kind in m.kinds and kind != "constant"
    }
    together = {m.id for m in judged if m.scope in {"joint", "run"}}
    wanted |= {(m.metric, None) for m in bench.measures if m.metric in together}
    return sorted(wanted - present, key=lambda w: (w[0], w[1] or ""))


def _findings(
    bench: Bench, measures: Sequence[Measure], run: RunResult | None = None
) -> list[Finding]:
    """Apply the rules; figures that are close make no finding."""
    out = []
    for m in measures:
        if m.metric not in bench.rules:
            continue
        metric, rule = METRICS[m.metric], bench.rules[m.metric]
        if metric.stricter is not None and run is not None:
            rule = replace(rule, close=min(rule.close, metric.stricter(run)))
        level = bench.level(m, rule)
        if level == "close":
            continue
        needed, beyond = None, None
        if level == "unsure" and m.seed is not None:
            needed, beyond = more_draws(bench, m, rule, run)
        text = metric.sentence(
            bench.scene(m),
            rule,
            level,
            z=bound_z(bench.z_of(m.quantity)),
            needed=needed,
            beyond=beyond,
            where="" if m.seed is None or len(bench.runs) == 1 else f"seed {m.seed}",
        )
        out.append(Finding(rule, m, level, text, needed, beyond))
    return out
