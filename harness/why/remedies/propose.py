"""Which remedies are worth a trial for a method that fails or warns, and with which runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.methods import METHODS, title
from harness.records import Gap, Model, RunResult, RunSpec, Verdict
from harness.why.remedies.changes import CHANGES, MENDABLE, Change
from harness.why.remedies.cost import duration, expected_s
from harness.why.remedies.nuts_start import Start

LIMIT_S = 60.0
"""A remedy whose run would take longer is not tried unless it is there already."""

MOST_SEEDS = 3

WARMUP = 150
"""Iterations of warm-up for NUTS that starts from q: the shortest that CmdStan divides into
its three phases (75, 25 and 50)."""

REWEIGHTED, REPARAMETERISE, NUTS_FROM_Q = "reweighted", "reparameterise", "nuts from q"

OPTIMISER: Mapping[str, tuple[str, ...]] = {
    "runaway": ("smaller step", "more gradient samples", "tuned settings"),
    "noisy steps": ("smaller step", "more gradient samples", "tuned settings"),
    "dropped evaluations": ("smaller step", "more gradient samples", "tuned settings"),
    "stopped early": ("tighter tolerance", "tuned settings"),
    "iteration limit": ("tighter tolerance", "tuned settings"),
    "other basin": (),
}
"""Remedies by the cause of an optimiser gap; the best of the family is one for all of them."""

FAMILY: Mapping[str, tuple[str, ...]] = {
    "correlation": ("full-rank",),
    "funnel": (REPARAMETERISE,),
    "several modes": ("all basins",),
}
"""Remedies by the cause of a family gap."""

ANY = ("dadvi_lr", "dadvi_psis", REWEIGHTED, NUTS_FROM_Q)
"""Remedies worth a trial whatever the cause is."""

ORDER = (*CHANGES, REWEIGHTED, REPARAMETERISE, NUTS_FROM_Q)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A remedy to try on a method.

    Attributes
    ----------
    method, remedy, what
        As in :class:`~harness.records.Trial`.
    spec
        The runs it needs, of which some may be there already; None where it needs none
        (``reweighted``) or is not tried.
    words
        Why it is not tried, one sentence; empty where it is.
    seeds
        The seeds of the method's own runs with which it is compared.
    seconds
        About what one run is expected to take; 0 for what is there, NaN where nobody knows.
    """

    method: str
    remedy: str
    what: str
    spec: tuple[RunSpec, ...] | None
    words: str = ""
    seeds: tuple[int, ...] = ()
    seconds: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What planning a method's trials needs in every step."""

    model: Model
    method: str
    runs: Sequence[RunResult]
    seeds: tuple[int, ...]
    options: Mapping[str, Mapping[str, Any]]
    limit_s: float

    def of(self, method: str) -> list[RunResult]:
        """Return the comparison's runs of a method."""
        return [r for r in self.runs if r.spec.method == method]

    def proposal(
        self,
        remedy: str,
        what: str,
        spec: tuple[RunSpec, ...] | None,
        words: str = "",
        seconds: float = math.nan,
    ) -> Proposal:
        """Return a proposal for this method."""
        return Proposal(self.method, remedy, what, spec, words, self.seeds, seconds)


def propose(
    model: Model,
    verdict: Verdict,
    runs: Sequence[RunResult],
    gaps: Sequence[Gap] = (),
    seeds: int = MOST_SEEDS,
    *,
    start: Start | str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    limit_s: float = LIMIT_S,
) -> tuple[Proposal, ...]:
    """Return the remedies that make sense for a verdict's causes, in the order of ``ORDER``.

    Parameters
    ----------
    model
        For its settings and skips.
    verdict
        Which method; nothing is proposed unless it fails or warns.
    runs
        All of the comparison's, with or without arrays: for specs, seconds and what is there.
    gaps
        Of the model's explanation; those of other methods are passed over. Without any cause
        every remedy is proposed but the reparameterisation.
    seeds
        How many runs a trial gets at most; more only where they are all there.
    start
        Where NUTS would start, from :func:`~harness.why.remedies.start_from`, or why nowhere.
    options
        Options by method that a user set for this comparison, for rows that it has not run.
    limit_s
        Seconds of one run beyond which a remedy is not tried.
    """
    own = [r for r in runs if r.spec.method == verdict.method]
    if verdict.level not in {"fail", "warn"} or verdict.method not in MENDABLE or not own:
        return ()
    chosen = trial_seeds(verdict, seeds)
    scene = _Scene(model, verdict.method, runs, chosen, options or {}, limit_s)
    wanted = _wanted([g for g in gaps if g.method == verdict.method])
    found = []
    for remedy in ORDER:
        if remedy not in wanted:
            continue
        if remedy in CHANGES:
            change = CHANGES[remedy](verdict.method, own[0].spec.options)
            if change is not None:
                found.append(_changed(scene, remedy, change))
        elif remedy == REWEIGHTED:
            what = "its own draws, reweighted by Pareto-smoothed importance sampling"
            found.append(scene.proposal(remedy, what, None, seconds=0.0))
        elif remedy == NUTS_FROM_Q:
            found.append(_nuts(scene, start))
        else:
            found.append(_hint(scene, gaps))
    return tuple(found)


def trial_seeds(verdict: Verdict, count: int) -> tuple[int, ...]:
    """Return the seeds to try: the first that failed, then that warned, then any."""
    order = {"fail": 0, "warn": 1}
    ranked = sorted(verdict.by_seed, key=lambda s: (order.get(s.level, 2), s.seed))
    return tuple(sorted(s.seed for s in ranked[:count]))


def _wanted(gaps: Sequence[Gap]) -> set[str]:
    causes = [c for g in gaps for c in g.causes if c.gap != "method"]
    if not causes:
        return set(ORDER) - {REPARAMETERISE}
    wanted = set(ANY)
    for cause in causes:
        if cause.gap == "family":
            wanted |= set(FAMILY.get(cause.name, ()))
        else:
            # A cause that is not known here may be mended by any of them.
            wanted |= {"best of the family", *OPTIMISER.get(cause.name, tuple(CHANGES))}
    return wanted


def _changed(scene: _Scene, remedy: str, change: Change) -> Proposal:
    """Propose runs with other settings; runs that are there are taken as they are."""
    base = scene.of(scene.method)[0].spec
    row = METHODS[change.method]
    there = scene.of(change.method)
    if change.same:
        options = {**base.options, **change.options}
    else:
        options = {**_own_options(scene, change.method), **change.options}
    same = tuple(r.spec for r in there if dict(r.spec.options) == options)
    if same:
        return scene.proposal(remedy, change.what, same, seconds=0.0)
    settings = scene.model.settings.get(change.method, {})
    why = row.unfit(scene.model) or (None if there else settings.get("skip"))
    if why is not None:
        return scene.proposal(remedy, change.what, None, f"Not tried: {why}.")
    draws = base.draws if change.same else int(settings.get("draws", row.draws))
    first = RunSpec(base.model, change.method, options, scene.seeds[0], draws)
    seconds = expected_s(first, scene.of(scene.method), there)
    if seconds > scene.limit_s:
        words = (
            f"Not tried: one run would take about {duration(seconds)}, and trials are kept to "
            f"{scene.limit_s:g} s."
        )
        return scene.proposal(remedy, change.what, None, words, seconds)
    spec = tuple(replace(first, seed=seed) for seed in scene.seeds)
    return scene.proposal(remedy, change.what, spec, seconds=seconds)


def _own_options(scene: _Scene, method: str) -> dict[str, Any]:
    """Return a row's options as the comparison plans them."""
    there = scene.of(method)
    if there:
        return dict(there[0].spec.options)
    row = METHODS[method]
    settings = scene.model.settings.get(method, {})
    own = {k: type(row.defaults[k])(v) for k, v in settings.items() if k in row.defaults}
    options = {**row.defaults, **own, **scene.options.get(method, {})}
    if row.batch and scene.model.batch is not None:
        options["batch"] = dict(scene.model.batch)
    return options


def _nuts(scene: _Scene, start: Start | str | None) -> Proposal:
    what = f"NUTS from its draws and scale, {WARMUP} warm-up iterations"
    runs = scene.of("nuts")
    if not runs:
        why = scene.model.settings.get("nuts", {}).get("skip", "NUTS was not run here")
        return scene.proposal(NUTS_FROM_Q, what, None, f"Not tried: {why}.")
    if not isinstance(start, Start):
        why = start or "nobody said where from"
        return scene.proposal(NUTS_FROM_Q, what, None, f"Not tried: {why}.")
    present = runs[0]
    options = {**present.spec.options, "warmup": WARMUP, **start.options}
    spec = replace(present.spec, options=options)
    seconds = present.cost.seconds
    if seconds > scene.limit_s:
        words = (
            f"Not tried: {title('nuts')} takes {duration(seconds)}, and trials are kept to "
            f"{scene.limit_s:g} s."
        )
        return scene.proposal(NUTS_FROM_Q, what, None, words, seconds)
    # What q brings, and not the short warm-up, is the question: the same from random starts.
    control = replace(present.spec, options={**present.spec.options, "warmup": WARMUP})
    return scene.proposal(NUTS_FROM_Q, what, (spec, control), seconds=seconds)


def _hint(scene: _Scene, gaps: Sequence[Gap]) -> Proposal:
    """Say which parameters to write in another way; only a person can do that."""
    its = [c for g in gaps if g.method == scene.method for c in g.causes if c.name == "funnel"]
    evidence = max(its, key=lambda c: -math.inf if math.isnan(c.nats) else c.nats).evidence
    words = (
        f"Not tried, for it changes the program: {evidence.rstrip('.')}; writing the one as its "
        "scale times a standard normal (non-centred) removes the dependence."
    )
    return scene.proposal(REPARAMETERISE, "a non-centred parameterisation", None, words)
