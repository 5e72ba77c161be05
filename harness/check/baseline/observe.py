"""Turn a judged comparison of one model, with its draws, into what a baseline holds."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from harness import stan
from harness.check.baseline.form import Baseline, MethodBaseline, Share
from harness.check.baseline.summarise import Summary, fingerprint, of_draws, of_seeds, settle
from harness.methods import METHODS
from harness.metrics.sample import Sample
from harness.metrics.summaries import SD
from harness.models.data import data_hash, load_data
from harness.records import (
    WITHOUT_DRAWS,
    Draws,
    Gap,
    Model,
    ModelComparison,
    RunResult,
    Status,
    Verdict,
)

SURE_NATS = 0.02
"""The cause of a family gap is kept if the gap, less four errors, is larger."""

CLEARLY = 1.5
"""The main cause must be this many times the next."""


class Trouble(NamedTuple):
    """A run that ended without draws, with CmdStan's message."""

    seed: int
    status: Status
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One model as it is now, by method."""

    methods: Mapping[str, MethodBaseline]
    """Not settled: errors as they are."""
    samples: Mapping[str, Mapping[str, Sample]]
    """For samplers, the draws of each quantity."""
    reference: Mapping[str, Any]
    summaries: Mapping[str, Summary]
    troubles: Mapping[str, tuple[Trouble, ...]]
    """Runs that ended without draws."""


def observe(
    found: ModelComparison,
    runs: Sequence[RunResult],
    known: Mapping[str, MethodBaseline] | None = None,
) -> Observation:
    """Summarise every method with a verdict; ``runs`` are the comparison's, with their arrays.

    The quantities of the baseline's methods, ``known``, are summarised besides those that the
    comparison chose, and seeds run away relative to the baseline's.
    """
    known = known or {}
    chosen = [m.quantity for m in found.measures if m.quantity is not None]
    names = list(dict.fromkeys([*chosen, *(q for m in known.values() for q in m.quantities)]))
    widths = {
        str(m.quantity): m.value
        for m in found.measures
        if m.method == "reference" and m.metric == SD.id
    }
    methods, samples, summaries, troubles = {}, {}, {}, {}
    why = found.explanation
    for verdict in found.verdicts:
        its = [r for r in runs if r.spec.method == verdict.method]
        its.sort(key=lambda r: r.spec.seed)
        present = {n for r in its if r.draws is not None for n in r.draws.names}
        here = [n for n in names if n in present] or None
        summary = _summarise(its, here, widths, known.get(verdict.method))
        summaries[verdict.method] = summary
        samples[verdict.method] = summary.samples or {}
        gaps = () if why is None else why.of(verdict.method)
        causes = _family_causes(gaps)
        if why is not None and not why.complete and not gaps:
            # Not the same as no cause: nobody could look.
            causes = ("not known",)
        methods[verdict.method] = _method(verdict, its, summary, gaps, causes)
        troubles[verdict.method] = tuple(
            Trouble(r.spec.seed, r.status, r.message) for r in its if r.draws is None
        )
    reference = {"kind": found.reference.kind, "trusted": found.reference.trusted}
    return Observation(methods, samples, reference, summaries, troubles)


def settled(observation: Observation) -> dict[str, MethodBaseline]:
    """Return the methods in the form that a baseline keeps."""
    out = {}
    for name, method in observation.methods.items():
        kept = settle(observation.summaries[name])
        out[name] = replace(method, quantities=kept.quantities, no_moments=kept.no_moments)
    return out


def _summarise(
    runs: Sequence[RunResult],
    names: Sequence[str] | None,
    widths: Mapping[str, float],
    old: MethodBaseline | None,
) -> Summary:
    method = runs[0].spec.method if runs else ""
    have = [r.draws for r in runs if r.draws is not None]
    if method in METHODS and METHODS[method].approximate:
        return of_seeds([r.draws for r in runs], names, widths, old)
    if not have:
        return Summary("chains", 0, {}, no_moments="no run gave draws", samples={})
    return replace(of_draws(_pooled(have), names, old), kept=len(have))


def _pooled(draws: Sequence[Draws]) -> Draws:
    """Put the chains of several runs side by side, cut to the length of the shortest."""
    length = min(d.values.shape[1] for d in draws)
    same = [n for n in draws[0].names if all(n in d.names for d in draws)]
    values = [d.values[:, :length, [d.names.index(n) for n in same]] for d in draws]
    return Draws(tuple(same), np.concatenate(values), iid=all(d.iid for d in draws))


def _method(
    verdict: Verdict,
    runs: Sequence[RunResult],
    summary: Summary,
    gaps: Sequence[Gap],
    causes: tuple[str, ...],
) -> MethodBaseline:
    off = (
        {f.measure.metric for f in s.findings if f.level in {"off", "wrong"} and not f.rule.alarm}
        for s in verdict.by_seed
    )
    # Causes by seed are shares too: which seed runs away, or stops early, is chance.
    own = ({c.name for c in gap.causes if c.gap == "optimiser"} for gap in gaps)
    count = len(runs)
    shares = {"failed": Share(sum(r.draws is None for r in runs), count)}
    if summary.kind == "seeds":
        doubted = sum(r.status not in {"ok", *WITHOUT_DRAWS} for r in runs)
        shares["doubted"] = Share(doubted, count)
        shares["ran_away"] = Share(len(summary.ran_away), count)
    first = runs[0].spec
    return MethodBaseline(
        kind=summary.kind,
        seeds=tuple(r.spec.seed for r in runs),
        draws=first.draws,
        kept=summary.kept,
        options=dict(first.options),
        level=verdict.level,
        typical=verdict.typical,
        levels=Counter(seed.level for seed in verdict.by_seed),
        causes=causes,
        faults=Counter(chain.from_iterable(off)),
        seed_causes=Counter(chain.from_iterable(own)),
        shares=shares,
        no_moments=summary.no_moments,
        quantities=summary.quantities,
        fingerprints=tuple(fingerprint(r.draws) for r in runs),
    )


def _family_causes(gaps: Sequence[Gap]) -> tuple[str, ...]:
    """Return the main cause of a family gap, if it is beyond doubt; it depends on no seed.

    Another run could have another main cause if this one hardly counts or the next is as large.
    """
    if not gaps:
        return ()
    gap = gaps[0].family_gap
    causes = sorted((c for c in gaps[0].causes if c.gap == "family"), key=lambda c: -c.nats)
    if not causes or not gap.value - 4 * gap.mcse > SURE_NATS:
        return ()
    if len(causes) > 1 and causes[0].nats < CLEARLY * causes[1].nats:
        return ()
    return (causes[0].name,)


# --- program and data -------------------------------------------------------------------------


def describe_program(model: Model) -> dict[str, Any]:
    """Return a program's hash and its lines, included files among them."""
    texts = list(stan.program_texts(model.stan_file))
    lines: list[str] = []
    for name, text in texts:
        if len(texts) > 1:
            lines.append(f"// file {name}")
        lines += text.decode(errors="replace").splitlines()
    return {"hash": stan.program_hash(model.stan_file)[:16], "text": lines}


def describe_data(model: Model, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the data's hash, and each variable's size and hash.

    ``known`` is an earlier description, returned if the data are the same: reading large data
    takes seconds.
    """
    whole = data_hash(model)[:16]
    if known is not None and known.get("hash") == whole:
        return dict(known)
    variables = {
        name: {
            "size": int(np.size(value)),
            "hash": hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8],
        }
        for name, value in sorted(load_data(model).items())
    }
    return {"hash": whole, "variables": variables}


def as_baseline(
    model: Model,
    observation: Observation,
    request: Mapping[str, Any],
    written: Mapping[str, Any],
) -> Baseline:
    """Put a baseline together."""
    return Baseline(
        model=model.name,
        methods=settled(observation),
        reference=observation.reference,
        request=request,
        program=describe_program(model),
        data=describe_data(model),
        written=written,
    )


def without_samples(observation: Observation) -> Observation:
    """Return an observation small enough to send between processes."""
    light = {k: replace(s, samples=None) for k, s in observation.summaries.items()}
    return replace(observation, samples={}, summaries=light)
