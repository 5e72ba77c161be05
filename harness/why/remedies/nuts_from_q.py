"""What NUTS gains from q's draws and scale: the same trust for less work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness import judge
from harness.metrics import METRICS, RHAT, measure
from harness.metrics.measure import Yardstick
from harness.records import (
    NO_ESTIMATE,
    Estimate,
    Level,
    Measure,
    Model,
    Reference,
    Rule,
    RunResult,
    Trial,
)
from harness.why.remedies.cost import duration
from harness.why.remedies.propose import Proposal

SAVES = 0.9
"""Of the control's leapfrog steps, under which starting from q saves some."""

METRIC = RHAT.id
"""The figure that is given before and after: the worst of all quantities."""


@dataclass(frozen=True, slots=True)
class _Chains:
    """One run of NUTS: whether it is trusted, its worst R-hat, its work."""

    trusted: bool
    why: str
    rhat: Estimate
    quantity: str | None
    seconds: float
    leapfrogs: float
    """Of the sampling."""
    work: float
    """Leapfrogs with those of the warm-up, taken to be as many an iteration as the sampling's."""

    @property
    def level(self) -> Level:
        return "reference" if self.trusted else "unknown"


def started(
    model: Model,
    proposal: Proposal,
    results: Sequence[RunResult],
    yardstick: Yardstick,
    reference: Reference,
    *,
    runs: Sequence[RunResult],
    measures: Sequence[Measure],
) -> Trial:
    """Judge NUTS that started from q beside the comparison's own run of NUTS.

    It helps if its diagnostics are trusted, it is not far from the reference, its leapfrog
    steps are fewer, and as short a warm-up from random starts does not do as well. Without the
    second, chains that all start in the one mode that q holds would be trusted.

    Parameters
    ----------
    model, proposal, yardstick, reference
        As in :func:`harness.why.remedies.judge.tried`.
    results
        The run, and its control from random starts, with arrays.
    runs, measures
        The comparison's, among them NUTS's own run and its diagnostics.
    """
    own = next((r for r in runs if r.spec.method == "nuts"), None)
    rules = judge.rules_for(model)
    before = None if own is None else _chains(own, measures, rules)
    trial = Trial(
        method=proposal.method,
        remedy=proposal.remedy,
        what=proposal.what,
        level_before="unknown" if before is None else before.level,
        level_after="unknown",
        metric=METRIC,
        quantity=None,
        before=NO_ESTIMATE if before is None else before.rhat,
        after=NO_ESTIMATE,
        seconds=math.nan,
        seconds_before=math.nan if before is None else before.seconds,
        helps=False,
        words="",
    )
    what = proposal.what
    if not results or results[0].draws is None:
        said = "there is no run of it"
        if results:
            said = f"{results[0].status.replace('_', ' ')}: {results[0].message}"
        return replace(trial, level_after="fail", words=f"{what}: {said}".rstrip(".") + ".")
    found = measure.chain_measures(results[0], yardstick.names, reference.kind)
    after = _chains(results[0], found, rules)
    trial = replace(
        trial,
        quantity=after.quantity,
        level_after=after.level,
        after=after.rhat,
        seconds=after.seconds,
    )
    if not after.trusted:
        return replace(
            trial, words=f"{what}: not to be trusted, {after.why}; {_work(before, after)}."
        )
    far = _far(results[0], yardstick, rules)
    if far:
        return replace(
            trial,
            level_after="fail",
            words=f"{what}: its diagnostics pass, but {far}: it has not left q; "
            f"{_work(before, after)}.",
        )
    rhat = f"R-hat at most {after.rhat.value:.3f}"
    passes = f"passes its diagnostics ({rhat}), {_work(before, after)}"
    if before is not None and not (after.work < before.work):
        return replace(trial, words=f"{what}: no gain: {passes}.")
    helps, words = _beside_control(model, results[1:], yardstick, reference, after)
    return replace(trial, helps=helps, words=f"{what}: {passes}; {words}.")


def _beside_control(
    model: Model,
    controls: Sequence[RunResult],
    yardstick: Yardstick,
    reference: Reference,
    after: _Chains,
) -> tuple[bool, str]:
    """Say whether it was q that helped, and not the short warm-up alone."""
    same = "as short a warm-up from random starts"
    if not controls:
        return False, f"whether q helped is not known: {same} was not run"
    if controls[0].draws is None:
        return True, f"{same} gives no draws"
    rules = judge.rules_for(model)
    found = measure.chain_measures(controls[0], yardstick.names, reference.kind)
    control = _chains(controls[0], found, rules)
    if not control.trusted or _far(controls[0], yardstick, rules):
        return True, f"{same} is not to be trusted"
    steps = f"about {control.work:,.0f} leapfrog steps"
    if after.work < SAVES * control.work:
        return True, f"{same} passes too, with {steps}"
    return False, f"no gain over {same}, which passes too, with {steps}"


def _chains(run: RunResult, measures: Sequence[Measure], rules: Mapping[str, Rule]) -> _Chains:
    own = [
        m
        for m in measures
        if m.method == run.spec.method
        and m.seed == run.spec.seed
        and METRICS[m.metric].about_chains
    ]
    found = judge.judge_chains(own, rules)
    worst = max(
        (m for m in own if m.metric == METRIC),
        key=lambda m: math.inf if math.isnan(m.value) else m.value,
        default=None,
    )
    steps = run.diagnostics.get("sampling_leapfrogs", math.nan)
    if math.isnan(steps) and run.draws is not None and "n_steps" in run.draws.stats:
        steps = float(run.draws.stats["n_steps"].sum())
    options = run.spec.options
    warmup, samples = float(options["warmup"]), float(options["samples"])
    return _Chains(
        trusted=found.trusted and run.status == "ok",
        why="; ".join(found.reasons[:3]),
        rhat=NO_ESTIMATE if worst is None else Estimate(worst.value, worst.mcse),
        quantity=None if worst is None else worst.quantity,
        seconds=run.cost.seconds,
        leapfrogs=steps,
        work=steps * (1 + warmup / samples),
    )


def _far(run: RunResult, yardstick: Yardstick, rules: Mapping[str, Rule]) -> str:
    """Name the figures in which the chains differ from the reference, if there are any."""
    measures = yardstick.run(run).measures
    z = judge.critical_z(len(yardstick.names))
    off = [
        m
        for m in measures
        if m.metric in rules
        and not rules[m.metric].alarm
        and judge.closeness(m, rules[m.metric], z) in {"off", "wrong"}
    ]
    if not off:
        return ""
    quantities = sorted({m.quantity for m in off if m.quantity is not None})
    whose = f"of {', '.join(quantities[:3])}" if quantities else "all together"
    return f"its draws {whose} are not the reference's"


def _work(before: _Chains | None, after: _Chains) -> str:
    """Give seconds and leapfrog steps, each beside what NUTS took before."""
    if before is None:
        return duration(after.seconds)
    words = f"{duration(after.seconds)} instead of {duration(before.seconds)}"
    if math.isfinite(after.work) and math.isfinite(before.work):
        words += (
            f", about {after.work:,.0f} leapfrog steps with the warm-up's instead of "
            f"{before.work:,.0f}"
        )
    return words
