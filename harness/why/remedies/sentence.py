"""The effect of a trial in a sentence; remedies that are not plain runs add their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.metrics import METRICS, Scene
from harness.records import Estimate, Level, Measure, Trial
from harness.records.text import count, percent, seconds

_STATUS = {"failed": "failed", "timed_out": "timed out", "killed": "was killed"}


def trial_sentence(trial: Trial) -> str:
    """Write the figure after and before, the level and the seconds; or why there are none."""
    facts = trial.facts
    if trial.outcome == "not tried":
        return f"not tried: {_why_not(trial)}"
    lost = facts.get("lost")
    if trial.reason == "no draws" and lost is not None:
        return _lost(lost, "{}: {}")
    level = _level(trial)
    if lost is not None:
        level += f", {_lost(lost, '{} ({})')}"
    elif facts.get("other"):
        level += f" ({headline(facts['other'])})"
    shown = changed(trial)
    return f"{f'{shown}; ' if shown else ''}{level}, {seconds(trial.seconds)}{_chance(trial)}"


def _why_not(trial: Trial) -> str:
    facts = trial.facts
    if trial.reason == "too slow":
        took, limit = seconds(facts["seconds"]), seconds(facts["limit"])
        return f"one run would take about {took}, and trials are limited to {limit}"
    if trial.reason == "runs missing":
        return f"{facts['there']} of its {count(facts['wanted'], 'run')} exist"
    return str(facts.get("why", "no reason is recorded"))


def _lost(lost: Mapping[str, Any], form: str) -> str:
    which = "the run" if lost["of"] == 1 else f"{lost['runs']} of {lost['of']} runs"
    how = f"{which} {_STATUS.get(lost['status'], 'gave no draws')}"
    return form.format(how, lost["message"]) if lost["message"] else how


def _chance(trial: Trial) -> str:
    if not trial.luck:
        return ""
    chance = percent(trial.facts["chance"])
    return (
        f"; possibly chance: with so few seeds the unchanged method would do as well {chance} of "
        "the time, so try more seeds"
    )


VERBS: Mapping[Level, str] = {
    "pass": "passes", "reference": "is trusted", "warn": "warns", "fail": "fails",
    "unknown": "is undecided",
}  # fmt: skip


def _level(trial: Trial) -> str:
    """Write the level as what the method then does: ``still fails in 2 of 3 seeds``."""
    level, seeds, at = trial.level_after, trial.facts["seeds"], trial.facts["at"]
    verb = VERBS[level or "unknown"]
    if level == "pass":
        return verb if seeds == 1 else f"{verb} in all {seeds} seeds"
    if level not in {"warn", "fail"}:
        return verb
    still = "still " if level == trial.level_before else ""
    where = "" if at == 0 else f" in {at} of {seeds} seeds"
    if at == seeds:
        where = "" if at == 1 else f" in all {at} seeds"
    return f"{still}{verb}{where}"


def changed(trial: Trial) -> str:
    """Write the figure after and before: ``sd of m 1.0 of the reference's instead of 6.5``."""
    metric = METRICS.get(trial.metric)
    if metric is None:
        return ""
    if math.isnan(trial.after.value):
        return f"{metric.subject(trial.quantity)} could not be computed"
    its = {"metric": trial.metric, "quantity": trial.quantity}
    before, after = (
        _scene({**trial.facts.get(when, {}), **its, "figure": figure})
        for when, figure in (("before", trial.before), ("after", trial.after))
    )
    where = " in the worst seed" if trial.facts.get("worst") else ""
    return metric.changed(None if math.isnan(before.value) else before, after) + where


def headline(found: Mapping[str, Any]) -> str:
    """Write a finding that is kept as facts in a few words."""
    metric = METRICS.get(found["metric"])
    return found["metric"] if metric is None else metric.headline(_scene(found), found["level"])


def _scene(found: Mapping[str, Any]) -> Scene:
    """Return a figure with the quantity's other figures, as its metric's words need them."""
    own, theirs = (
        {metric: Estimate(*pair) for metric, pair in found.get(whose, {}).items()}
        for whose in ("own", "theirs")
    )
    value, mcse = found["figure"]
    m = Measure("", "", None, found["quantity"], found["metric"], value, mcse, "")
    return Scene(m, own, theirs)
