"""Remedies tried before they are offered: which are worth a trial, and what a trial showed.

Nothing here runs anything: :func:`propose` returns the runs that are needed, :func:`tried` judges
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.methods import METHODS
from harness.records import Cause, Gap, Model, RunResult, Trial, Verdict
from harness.records.gaps import plain
from harness.why.causes import by_size
from harness.why.remedies import REMEDIES
from harness.why.remedies.judge import not_tried
from harness.why.remedies.row import Judging, Options, Planning, Proposal, Remedy
from harness.why.verdicts import NEEDS_CAUSE

LIMIT_S = 60.0
"""A remedy whose run is expected to take longer is not tried unless the run exists."""

MOST_SEEDS = 3


def propose(
    model: Model,
    verdict: Verdict,
    runs: Sequence[RunResult],
    gaps: Sequence[Gap] = (),
    seeds: int = MOST_SEEDS,
    *,
    start: Options | str | None = None,
    options: Mapping[str, Options] | None = None,
    limit_s: float = LIMIT_S,
    gradient_s: float = 1e-6,
) -> tuple[Proposal, ...]:
    """Return the remedies that are worth a trial for a verdict's causes, in the table's order.

    Nothing is proposed unless the verdict fails or warns; without any cause in ``gaps`` every
    remedy but hints. ``runs`` are all of the comparison's, with or without arrays. A trial gets at
    most ``seeds`` runs, more only where all of them exist. The rest is as in :class:`Planning`.
    """
    own = [r for r in runs if r.spec.method == verdict.method]
    if verdict.level not in NEEDS_CAUSE or not repairable(verdict.method) or not own:
        return ()
    causes = [c for g in gaps if g.method == verdict.method for c in g.causes if c.gap != "method"]
    first, given = trial_seeds(verdict, seeds), options or {}
    evidence = {c.name: c.evidence for c in sorted(causes, key=by_size, reverse=True)}
    planning = Planning(
        model, verdict.method, runs, first, given, limit_s, gradient_s, start, evidence
    )
    plans = [row.plan(row, planning) for row in REMEDIES.values() if wanted(row, causes)]
    return tuple(p for p in plans if p is not None)


def repairable(method: str) -> bool:
    """Tell whether remedies are looked for where a method fails; of others' methods they are."""
    row = METHODS.get(method)
    return row is None or row.repairable


def wanted(remedy: Remedy, causes: Sequence[Cause]) -> bool:
    """Return whether a remedy is worth a trial for some causes.

    Where no cause is known, all are but hints. An optimiser's cause for which no remedy is listed
    may be removed by any change of settings.
    """
    if remedy.always:
        return True
    if not causes:
        return not remedy.hint
    if any(c.name in remedy.causes for c in causes):
        return True
    listed = {name for row in REMEDIES.values() for name in row.causes}
    unlisted = any(c.gap == "optimiser" and c.name not in listed for c in causes)
    return unlisted and remedy.change is not None


def trial_seeds(verdict: Verdict, count: int) -> tuple[int, ...]:
    """Return the seeds to try: the first that failed, then that warned, then any."""
    order = {"fail": 0, "warn": 1}
    ranked = sorted(verdict.by_seed, key=lambda s: (order.get(s.level, 2), s.seed))
    return tuple(sorted(s.seed for s in ranked[:count]))


def tried(judging: Judging) -> Trial:
    """Judge a remedy. Runs that failed are a trial too: they do not help, and the facts say why."""
    proposal = judging.proposal
    judge = not_tried if proposal.reason else REMEDIES[proposal.remedy].judge
    trial = judge(judging)
    return replace(trial, facts=plain(trial.facts))
