"""A fit's own draws, reweighted to the posterior where the weights allow it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness import metrics
from harness.records import Draws, RunResult, Trial
from harness.records.text import percent
from harness.vi.deterministic.importance import (
    LARGEST,
    LEAST_SHARE,
    smoothed_weights,
    systematic,
)
from harness.why.remedies.judge import judge_runs, not_tried, runs_missing
from harness.why.remedies.row import Change, Judging, Planning, Proposal, Remedy
from harness.why.remedies.sentence import trial_sentence

Refusal = Mapping[str, Any]
"""Why draws cannot be reweighted: ``why`` and, for bad weights, their ``share`` and ``largest``."""


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
        As many draws, shape ``(1, draw, quantity)``, without densities, because their weights are
        used up; k-hat; and how many there were. Or why it is impossible: densities are missing, or
        the weights cannot be believed.
    """
    if draws is None:
        return {"why": "no draws"}
    if draws.log_p is None or draws.log_q is None:
        return {"why": "no densities"}
    if not draws.iid:
        return {"why": "not independent"}
    log_p, log_q = draws.log_p.reshape(-1), draws.log_q.reshape(-1)
    found = smoothed_weights(log_p, log_q, lambda p, q: metrics.khat(p[None], q[None]).value)
    n = len(log_p)
    if not found.trusted:
        return {"why": "weights", "share": found.ess / n, "largest": found.largest}
    index = systematic(found.weight, n, rng)
    copies = np.bincount(index, minlength=n)[index].astype(np.float64)
    values = draws.values.reshape(n, -1)[index]
    return Draws(draws.names, values[None], stats={"copies": copies[None]}), found.khat, n


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
    if facts["why"] == "weights":
        why = (
            f"the weights are worth {percent(facts['share'])} of the draws, and the largest is "
            f"{percent(facts['largest'])} of their sum (allowed: at least {percent(LEAST_SHARE)}, "
            f"at most {percent(LARGEST)}): {why}"
        )
    if facts["seeds"] == 1:
        return why
    return (
        f"impossible in {facts['refused']} of {facts['seeds']} seeds (seed {facts['seed']}: {why})"
    )


_WHY = {
    "no densities": "the draws have no densities from which weights could be computed",
    "not independent": "the draws are not independent",
    "no draws": "there are no draws",
    "weights": "importance weights cannot correct q",
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
