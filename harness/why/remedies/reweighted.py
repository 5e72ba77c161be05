"""A fit's own draws, reweighted to the posterior where k-hat allows it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness import metrics
from harness.records import Draws, RunResult, Trial
from harness.records.text import number
from harness.vi.deterministic.importance import delivered, smoothed_weights, systematic
from harness.why.remedies.judge import judge_runs, not_tried, runs_missing
from harness.why.remedies.row import Change, Judging, Planning, Proposal, Remedy
from harness.why.remedies.sentence import trial_sentence

Refusal = Mapping[str, Any]
"""Why draws cannot be reweighted: ``why`` and, for a large k-hat, ``khat`` and ``limit``."""


def reweighted(draws: Draws | None, rng: np.random.Generator) -> tuple[Draws, float, int] | Refusal:
    """Resample draws by Pareto-smoothed weights p / q.

    Parameters
    ----------
    draws
        Independent draws of q with ``log_p`` and ``log_q`` (nats, unconstrained scale), each up
        to a constant. The resampling is systematic.

    Returns
    -------
    tuple or Refusal
        As many draws as their effective sample size allows, shape ``(1, draw, quantity)``,
        without densities, because their weights are used up; k-hat; and how many there were. Or
        why it is impossible: densities are missing, or k-hat is above min(1 − 1/log10 S, 0.7).
    """
    if draws is None:
        return {"why": "no draws"}
    if draws.log_p is None or draws.log_q is None:
        return {"why": "no densities"}
    if not draws.iid:
        return {"why": "not independent"}
    log_p, log_q = draws.log_p.reshape(-1), draws.log_q.reshape(-1)
    limit = metrics.khat_limit(len(log_p))
    found = smoothed_weights(log_p, log_q, lambda p, q: metrics.khat(p[None], q[None]).value)
    if not found.khat <= limit:
        return {"why": "khat", "khat": found.khat, "limit": limit}
    count = delivered(len(log_p), found.ess)
    flat = draws.values.reshape(len(log_p), -1)
    index = systematic(found.weight, count, rng)
    return Draws(draws.names, flat[index][None], iid=True), found.khat, len(log_p)


def _runs(results: Sequence[RunResult]) -> tuple[RunResult, ...] | Refusal:
    """Return runs with reweighted draws, or why some run's cannot be reweighted."""
    found = []
    refused: list[tuple[int, Refusal]] = []
    for run in results:
        begin = time.perf_counter()
        outcome = reweighted(run.draws, np.random.default_rng(run.spec.seed))
        if not isinstance(outcome, tuple):
            refused.append((run.spec.seed, outcome))
            continue
        draws, khat, size = outcome
        diagnostics = {**run.diagnostics, "khat": khat, "proposals": float(size)}
        cost = replace(run.cost, seconds=run.cost.seconds + time.perf_counter() - begin)
        found.append(
            replace(run, key="reweighted", draws=draws, diagnostics=diagnostics, cost=cost)
        )
    if not refused:
        return tuple(found)
    seed, why = refused[0]
    return {**why, "seed": seed, "refused": len(refused), "seeds": len(results)}


def _plan(remedy: Remedy, planning: Planning) -> Proposal:
    return planning.proposal(remedy.id, Change(planning.method), None, seconds=0.0)


def _judge(judging: Judging) -> Trial:
    if missing := runs_missing(judging):
        return missing
    weighted = _runs(judging.results)
    if isinstance(weighted, tuple):
        return judge_runs(replace(judging, results=weighted))
    trial = not_tried(judging, "no weights", weighted)
    return replace(trial, outcome="no help", level_after="unknown")


def _sentence(trial: Trial) -> str:
    if trial.reason != "no weights":
        return trial_sentence(trial)
    facts = trial.facts
    why = _WHY[facts["why"]]
    if facts["why"] == "khat":
        why = f"k-hat is {number(facts['khat'])}, above {number(facts['limit'])}: {why}"
    if facts["seeds"] == 1:
        return why
    return (
        f"impossible in {facts['refused']} of {facts['seeds']} seeds (seed {facts['seed']}: {why})"
    )


_WHY = {
    "no densities": "the draws have no densities from which weights could be computed",
    "not independent": "the draws are not independent",
    "no draws": "there are no draws",
    "khat": "importance weights cannot correct q",
}

REWEIGHTED = Remedy(
    id="reweighted",
    name="reweighted",
    always=True,
    plan=_plan,
    judge=_judge,
    what=lambda _, __: "its own draws, reweighted by Pareto-smoothed importance sampling",
    sentence=_sentence,
)
