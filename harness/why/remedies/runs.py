"""Remedies that are runs with other settings: planned, and their cost guessed beforehand."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.methods import METHODS
from harness.methods.options import planned
from harness.records import RunResult, RunSpec
from harness.why.remedies.judge import judge_runs
from harness.why.remedies.row import Change, Options, Planning, Proposal, Remedy
from harness.why.remedies.sentence import trial_sentence

LONGER = 3
"""How many times the iterations of its present runs CmdStan's ADVI may take, in a guess."""

OVERHEAD_S = 1e-4
"""Seconds of an iteration of an optimiser in Python, beside its gradients."""

UNKNOWN_GRADIENTS = 10_000
"""The guess where options do not show how many gradients a method takes."""


def plan_runs(remedy: Remedy, planning: Planning) -> Proposal | None:
    """Propose runs with other settings; runs of the comparison are used as they are."""
    own = planning.of(planning.method)[0].spec
    change = None if remedy.change is None else remedy.change(planning.method, own.options)
    if change is None:
        return None
    row = METHODS[change.method]
    there = planning.of(change.method)
    if change.same:
        before = own.options
    elif there:
        before = there[0].spec.options
    else:
        before = planned(change.method, planning.model, planning.options.get(change.method, {}))
    options = {**before, **change.options}
    same = tuple(r.spec for r in there if dict(r.spec.options) == options)
    if same:
        return planning.proposal(remedy.id, change, same, seconds=0.0)
    settings = planning.model.settings.get(change.method, {})
    why = row.unfit(planning.model) or (None if there else settings.get("skip"))
    if why is not None:
        return planning.proposal(remedy.id, change, None, "left out", {"why": why})
    draws = own.draws if change.same else int(settings.get("draws", row.draws))
    first = replace(own, method=change.method, options=options, seed=planning.seeds[0], draws=draws)
    seconds = expected_s(first, planning.of(planning.method), planning.gradient_s)
    if seconds > planning.limit_s:
        facts = {"seconds": seconds, "limit": planning.limit_s}
        return planning.proposal(remedy.id, change, None, "too slow", facts, seconds)
    spec = tuple(replace(first, seed=seed) for seed in planning.seeds)
    return planning.proposal(remedy.id, change, spec, seconds=seconds)


def runs_remedy(
    remedy_id: str,
    change: Callable[[str, Options], Change | None],
    what: Callable[[str, Options], str],
    *causes: str,
    name: str = "",
) -> Remedy:
    """Return a row that is runs with other settings; without causes it is always worth a trial."""
    return Remedy(
        id=remedy_id,
        name=name or remedy_id,
        causes=causes,
        always=not causes,
        change=change,
        plan=plan_runs,
        judge=judge_runs,
        what=what,
        sentence=trial_sentence,
    )


def gradients(spec: RunSpec, present: Sequence[RunResult] = ()) -> float:
    """Return roughly how many gradients a run takes, from its options.

    CmdStan's runs are stopped by their tolerance. If it is no tighter than that of the present
    runs, they are assumed to need at most three times as many iterations.
    """
    options = spec.options
    if "tol_rel_obj" in options:
        iterations = float(options["iter"])
        took = [
            r.diagnostics["iterations"]
            for r in present
            if "iterations" in r.diagnostics
            and r.spec.options.get("tol_rel_obj", math.inf) <= options["tol_rel_obj"]
        ]
        if took:
            iterations = min(iterations, LONGER * statistics.median(took))
        return iterations * float(options["grad_samples"])
    if "iterations" in options and "gradient_draws" in options:
        return float(options["iterations"]) * float(options["gradient_draws"])
    return float(UNKNOWN_GRADIENTS)


def expected_s(spec: RunSpec, present: Sequence[RunResult], gradient_s: float) -> float:
    """Return roughly how many seconds one run takes, from those of a gradient.

    ``gradient_s`` is expected, not measured: the same comparison tries the same remedies on any
    machine.
    """
    overhead = OVERHEAD_S * float(spec.options.get("iterations", 0))
    return gradient_s * gradients(spec, present) + overhead
