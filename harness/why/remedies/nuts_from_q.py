"""NUTS from q's draws and scale: it helps if it earns the same trust with less work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness import judgement
from harness.methods import title
from harness.metrics import METRICS, RHAT, measure
from harness.records import NO_ESTIMATE, Estimate, Level, Measure, Rule, RunResult, Trial
from harness.records.names import stan_name, variables
from harness.records.text import count, fixed, integer, listed, seconds
from harness.stan.density import EngineError
from harness.why.remedies.judge import (
    NOWHERE,
    Before,
    Figure,
    Telling,
    not_tried,
    plain_finding,
    trial_of,
)
from harness.why.remedies.row import Change, Judging, Options, Planning, Proposal, Remedy
from harness.why.remedies.sentence import headline, trial_sentence

if TYPE_CHECKING:
    from harness.records import Draws, FloatArray
    from harness.stan.density import Density

WARMUP = 150
"""Iterations of warm-up for NUTS from q: the fewest that CmdStan divides into its three phases
(75, 25 and 50)."""

SAVES = 0.9
"""Share of the control's leapfrog steps under which starting from q saves some."""

USUAL_STEPS = 15
"""Leapfrog steps of an iteration, where they were not counted."""

MOST = 500
"""Draws from which variances are estimated: an sd to 3% is enough where adaptation begins."""

METRIC = RHAT.id
"""The figure that is given before and after: the worst of all quantities."""

NAMED = 3
"""Quantities or diagnostics that are named."""

Control = Literal["not run", "no draws", "not trusted", "more work", "as good"]
"""What as short a warm-up from random starts did."""


@dataclass(frozen=True, slots=True)
class _Chains:
    """One run of NUTS: whether it is trusted, its worst R-hat, its work."""

    trusted: bool
    findings: Sequence[Mapping[str, Any]]
    rhat: Estimate
    quantity: str | None
    seconds: float
    work: float
    """Leapfrog steps with those of the warm-up, which are taken to be as many per iteration."""

    @property
    def level(self) -> Level:
        return "reference" if self.trusted else "unknown"


def start_from(
    draws: Draws, model: Density, chains: int, rng: np.random.Generator
) -> Options | str:
    """Choose a start for each chain among q's draws (constrained), and estimate q's variances.

    Returns :mod:`harness.methods.nuts`' options: ``inits``, for each chain the parameters by name,
    nested as Stan's JSON, and ``inv_metric``, variances on the unconstrained scale. A string says
    why there is no start.
    """
    parameters = [stan_name(n) for n in model.constrained_names(transformed=False)]
    absent = [p for p in parameters if p not in draws.names]
    if absent:
        return f"q's draws lack {listed(absent, 4)}"
    values = draws.values[:, :, [draws.names.index(p) for p in parameters]]
    flat = values.reshape(-1, len(parameters))
    usable = np.isfinite(flat).all(axis=1)
    if draws.log_p is not None:
        usable &= np.isfinite(draws.log_p.reshape(-1))
    flat = flat[usable]
    points: list[dict[str, Any]] = []
    rows: list[FloatArray] = []
    why = "none is finite and has a density"
    for theta in flat[rng.permutation(len(flat))[:MOST]]:
        point = {k: v[0, 0].tolist() for k, v in variables(parameters, theta[None, None]).items()}
        try:
            rows.append(model.unconstrain(point))
        except EngineError as error:
            why = str(error)
            continue
        points.append(point)
    if len(points) < max(chains, 2):
        return f"only {len(points)} of q's draws can be starting points: {why}"
    variances = np.var(np.stack(rows), axis=0, ddof=1)
    if not (np.isfinite(variances) & (variances > 0)).all():
        return "q's variances are not all positive and finite: it has collapsed or run away"
    return {"inits": points[:chains], "inv_metric": [float(v) for v in variances]}


def _plan(remedy: Remedy, planning: Planning) -> Proposal:
    change = Change("nuts", {"warmup": WARMUP})
    runs, start = planning.of("nuts"), planning.start
    if not runs:
        why = planning.model.settings.get("nuts", {}).get("skip", "NUTS was not run here")
        return planning.proposal(remedy.id, change, None, "left out", {"why": why})
    if start is None or isinstance(start, str):
        facts = {"why": start or "no start was given"}
        return planning.proposal(remedy.id, change, None, "no start", facts)
    present = runs[0]
    steps = present.diagnostics.get("sampling_leapfrogs", USUAL_STEPS * present.spec.draws)
    takes = planning.gradient_s * steps
    if takes > planning.limit_s:
        slow = {"seconds": takes, "limit": planning.limit_s}
        return planning.proposal(remedy.id, change, None, "too slow", slow, takes)
    short = {**present.spec.options, "warmup": WARMUP}
    spec = replace(present.spec, options={**short, **start})
    # The same from random starts shows whether q helps, or the short warm-up alone.
    control = replace(present.spec, options=short)
    return planning.proposal(remedy.id, change, (spec, control), seconds=takes)


def _judge(judging: Judging) -> Trial:
    """Compare NUTS from q with the comparison's own run of NUTS.

    It helps if its diagnostics are trusted, it agrees with the reference, it takes fewer leapfrog
    steps, and as short a warm-up from random starts does not do as well. Without the second
    condition, chains that all start in the one mode that q holds would be trusted.
    """
    proposal, results = judging.proposal, judging.results
    if proposal.spec is None:
        return not_tried(judging)
    rules = judgement.rules_for(judging.comparison.model)
    own = next((r for r in judging.comparison.runs if r.spec.method == "nuts"), None)
    before = None if own is None else _chains(own, judging.comparison.measures, rules)
    start = Before("unknown", Telling(METRIC, None), NOWHERE, math.nan)
    if before is not None:
        start = Before(before.level, start.what, Figure(before.rhat), before.seconds)
    trial = replace(trial_of(judging, start), level_after="unknown", outcome="no help")
    if not results or results[0].draws is None:
        status, message = (results[0].status, results[0].message) if results else ("", "")
        lost = {"runs": 1, "of": 1, "status": status, "message": message}
        return replace(trial, level_after="fail", reason="no draws", facts={"lost": lost})
    after = _chains(results[0], _diagnostics(judging, results[0]), rules)
    facts: dict[str, Any] = {
        "work": after.work,
        "work_before": math.nan if before is None else before.work,
        "findings": after.findings[:NAMED],
    }
    trial = replace(
        trial,
        quantity=after.quantity,
        level_after=after.level,
        after=after.rhat,
        seconds=after.seconds,
        facts=facts,
    )
    if not after.trusted:
        return trial
    far = _far(judging, results[0], rules)
    if far is not None:
        return replace(trial, level_after="fail", facts={**facts, "far": far})
    if before is not None and not after.work < before.work:
        return trial
    control, work = _control(judging, rules, after)
    facts = {**facts, "control": control, "control_work": work}
    helps = control in {"no draws", "not trusted", "more work"}
    return replace(trial, outcome="helps" if helps else "no help", facts=facts)


def _control(judging: Judging, rules: Mapping[str, Rule], after: _Chains) -> tuple[Control, float]:
    """Compare with the control, from random starts; return what it did, and its work."""
    if len(judging.results) < 2:  # noqa: PLR2004 - the run and its control
        return "not run", math.nan
    run = judging.results[1]
    if run.draws is None:
        return "no draws", math.nan
    control = _chains(run, _diagnostics(judging, run), rules)
    if not control.trusted or _far(judging, run, rules) is not None:
        return "not trusted", control.work
    return ("more work" if after.work < SAVES * control.work else "as good"), control.work


def _diagnostics(judging: Judging, run: RunResult) -> list[Measure]:
    return measure.chain_measures(run, judging.yardstick.names, judging.comparison.reference.kind)


def _chains(run: RunResult, measures: Sequence[Measure], rules: Mapping[str, Rule]) -> _Chains:
    own = [
        m
        for m in measures
        if m.method == run.spec.method
        and m.seed == run.spec.seed
        and METRICS[m.metric].about_chains
    ]
    found = judgement.judge_chains(own, rules)
    worst = max(
        (m for m in own if m.metric == METRIC),
        key=lambda m: math.inf if math.isnan(m.value) else m.value,
        default=None,
    )
    steps = run.diagnostics.get("sampling_leapfrogs", math.nan)
    if math.isnan(steps) and run.draws is not None and "n_steps" in run.draws.stats:
        steps = float(run.draws.stats["n_steps"].sum())
    warmup, samples = float(run.spec.options["warmup"]), float(run.spec.options["samples"])
    return _Chains(
        trusted=found.trusted and run.status == "ok",
        findings=[plain_finding(f) for f in found.findings],
        rhat=NO_ESTIMATE if worst is None else Estimate(worst.value, worst.mcse),
        quantity=None if worst is None else worst.quantity,
        seconds=run.cost.seconds,
        work=steps * (1 + warmup / samples),
    )


def _far(judging: Judging, run: RunResult, rules: Mapping[str, Rule]) -> list[str] | None:
    """Return the quantities in which the chains differ from the reference; None if they agree."""
    measures = judging.yardstick.run(run).measures
    z_of = judgement.z_of(judging.context, judging.yardstick.names)
    off = [
        m
        for m in measures
        if m.metric in rules
        and not rules[m.metric].alarm
        and judgement.closeness(m, rules[m.metric], z_of(m.quantity)) in {"off", "wrong"}
    ]
    return sorted({m.quantity for m in off if m.quantity is not None}) if off else None


def _sentence(trial: Trial) -> str:
    if trial.outcome == "not tried" or trial.reason == "no draws":
        return trial_sentence(trial)
    facts = trial.facts
    work = _work(trial)
    if trial.level_after == "unknown":
        said = "; ".join(headline(f) for f in facts["findings"]) or "its diagnostics are incomplete"
        return f"cannot be trusted ({said}); {work}"
    if "far" in facts:
        whose = f"of {listed(facts['far'], NAMED)} " if facts["far"] else ""
        return (
            f"its diagnostics pass, but its draws {whose}differ from the reference's, so it has "
            f"not left q; {work}"
        )
    passes = f"passes its diagnostics (R-hat at most {fixed(trial.after.value, 3)}), {work}"
    if "control" not in facts:
        return f"no gain: {passes}"
    return f"{passes}; {_CONTROL[facts['control']].format(_steps(facts['control_work']))}"


_CONTROL: Mapping[str, str] = {
    "not run": "whether q helped is unknown: as short a warm-up from random starts was not run",
    "no draws": "as short a warm-up from random starts gives no draws",
    "not trusted": "as short a warm-up from random starts cannot be trusted",
    "more work": "as short a warm-up from random starts passes too, with {}",
    "as good": "no gain over as short a warm-up from random starts, which passes too, with {}",
}


def _steps(work: float) -> str:
    return f"about {count(round(work), 'leapfrog step')}" if math.isfinite(work) else "unknown work"


def _work(trial: Trial) -> str:
    """Give seconds and leapfrog steps, each with those of the comparison's NUTS."""
    if math.isnan(trial.seconds_before):
        return seconds(trial.seconds)
    words = f"{seconds(trial.seconds)} instead of {seconds(trial.seconds_before)}"
    work, before = trial.facts["work"], trial.facts["work_before"]
    if math.isfinite(work) and math.isfinite(before):
        words += f", {_steps(work)} with the warm-up's instead of {integer(before)}"
    return words


NUTS_FROM_Q = Remedy(
    id="nuts from q",
    name="NUTS from q",
    always=True,
    plan=_plan,
    judge=_judge,
    what=lambda ran, options: (
        f"{title(ran)} from its draws and scale, {count(options['warmup'], 'warm-up iteration')}"
    ),
    sentence=_sentence,
)
