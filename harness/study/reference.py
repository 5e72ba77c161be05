"""The reference of a model: exact, the user's own, NUTS, short chains; and whether to trust it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness import judgement, stan
from harness.intake import read_reference
from harness.methods.short_chains_fit import in_short
from harness.metrics import measure
from harness.metrics.chains import DIVERGENCES, ESS_BULK, ESS_TAIL, RHAT, TREEDEPTH_HITS
from harness.models.data import data_hash as hash_of
from harness.models.data import kept_data
from harness.records import (
    CHOICES,
    SAMPLED_BY,
    Attempt,
    Cost,
    Draws,
    Measure,
    Model,
    Reference,
    RunResult,
    RunSpec,
)
from harness.records.budget import EXACT_DRAWS, MAX_NUTS_SAMPLES
from harness.records.names import base_name, scalars
from harness.records.text import count, integer, listed, setting
from harness.stan import embedded
from harness.study import agreement
from harness.study.measuring import Measuring

ADAPT_DELTAS = (0.95, 0.99)
"""With these NUTS is made again where transitions diverged: each makes its steps smaller."""

APART = 1.5
"""An R-hat above which chains are in different places, whatever their steps."""

DEEPEST = 14
"""The maximum tree depth goes up to this, where trajectories are cut short."""

LONGER = 1.3
"""How much longer than the ESS asks for NUTS is made: a new run's ESS is another one."""


class Chosen(NamedTuple):
    """A model's reference, the run of NUTS that counts, and how to make it again first."""

    reference: Reference
    selection: measure.Selection
    nuts: RunResult | None = None
    again: Mapping[str, Any] = {}  # options; empty where nothing would help


def choose_reference(
    model: Model,
    runs: Sequence[RunResult],
    choice: str,
    data_hash: str = "",
    measuring: Measuring | None = None,
    earlier: Sequence[RunResult] = (),
    *,
    iid: bool = False,
) -> Chosen:
    """Take the most trustworthy reference there is: exact, supplied, NUTS that passes.

    The reference is judged before anything is compared with it. NUTS is made again until it can be
    trusted or nothing would help. Where the ensemble of short chains can be trusted too, both must
    agree, else neither is; alone, either serves. ``choice`` ``"nuts"`` and ``"ensemble"`` take
    that one and no other; ``iid`` states that supplied draws are independent. ``earlier`` are runs
    of NUTS that the present one followed: of all, the last that can be trusted counts.
    """
    nuts = next((r for r in runs if r.spec.method == "nuts"), None)
    if choice not in CHOICES:
        draws = read_reference(choice, iid=iid)
        return Chosen(*supplied(model, draws, Path(choice).name), nuts)
    measuring = measuring or Measuring()
    sampled = [r for r in runs if r.spec.method == SAMPLED_BY["ensemble"]]
    ensemble = min(sampled, key=lambda r: r.spec.seed, default=None)
    if choice == "auto" and model.reference is not None:
        draws = exact_draws(model, data_hash)
        why = f"{integer(draws.values.shape[1])} independent draws of the exact posterior"
        selection = measure.select(model, draws, generated_of(model))
        return Chosen(Reference("exact", trusted=True, why=why, draws=draws), selection, nuts)
    if choice == "ensemble" or (choice == "auto" and nuts is None and ensemble is not None):
        return _of_ensemble(model, ensemble, nuts)
    chosen = _of_nuts(model, nuts, earlier, measuring)
    if choice == "nuts" or ensemble is None or ensemble.status != "ok":
        return chosen
    if chosen.nuts is not None and (chosen.reference.trusted or not chosen.again):
        gaps = measuring.apart(chosen.nuts, ensemble, chosen.selection.names)
        both = agreement.held(chosen.reference, gaps, len(chosen.selection.names))
        if both is not None:
            return chosen._replace(reference=both)
    return chosen if chosen.again else _instead(chosen, _of_ensemble(model, ensemble, nuts))


def _of_nuts(
    model: Model, nuts: RunResult | None, earlier: Sequence[RunResult], measuring: Measuring
) -> Chosen:
    made = [*earlier, *([] if nuts is None else [nuts])]
    tries = [_judged(model, run, measuring) for run in made if run.draws is not None]
    if not tries:
        words = "NUTS was not run" if nuts is None else f"NUTS {nuts.status}: {nuts.message}"
        none = Reference("none", trusted=False, why=f"no reference: {words}", short=words)
        return Chosen(none, measure.Selection((), ()), nuts)
    tries = [_confirmed(model, one, tries, measuring) for one in tries]
    best = next((one for one in reversed(tries) if one.found.trusted), tries[-1])
    by_key = {one.run.key: one.found for one in tries}
    attempts = tuple(_attempt(run, by_key.get(run.key)) for run in made)
    found, why = best.found, "; ".join([best.found.sentence("NUTS"), *made_again(attempts)])
    reference = Reference(
        "nuts", found.trusted, why, best.run.draws, found.findings, found.short, attempts
    )
    last = tries[-1]
    again = _again(last.run, last.found, grow=not best.found.trusted) if last.run is nuts else {}
    return Chosen(reference, best.selection, best.run, again)


def _of_ensemble(model: Model, run: RunResult | None, nuts: RunResult | None) -> Chosen:
    """Take the ensemble of short chains, which has judged itself; nothing if it has doubts."""
    if run is None or run.draws is None or run.status != "ok":
        words = short = "short chains were not run"
        if run is not None:
            words = short = f"short chains {run.status}: {run.message}"
        if run is not None and run.draws is not None:
            words = f"short chains doubt themselves: {run.message}"
            told = in_short(run.diagnostics) or run.message
            short = f"short chains doubt themselves: {told}"
        none = Reference("none", trusted=False, why=f"no reference: {words}", short=short)
        return Chosen(none, measure.Selection((), ()), nuts)
    chains, draws = run.draws.values.shape[:2]
    made = f"{count(chains, 'short chain')} of {count(draws, 'draw')}"
    why = f"{made} can serve as the reference: they passed each of their own checks"
    reference = Reference("ensemble", trusted=True, why=why, draws=run.draws, short=made)
    return Chosen(reference, measure.select(model, run.draws, generated_of(model)), nuts)


def _instead(chosen: Chosen, ensemble: Chosen) -> Chosen:
    """Take the ensemble where NUTS cannot be trusted, and say why it was not."""
    before, now = chosen.reference, ensemble.reference
    why = f"{now.why}; {before.why}" if before.why else now.why
    reference = replace(now, why=why, findings=before.findings, attempts=before.attempts)
    return ensemble._replace(reference=reference, nuts=chosen.nuts)


class _Try(NamedTuple):
    run: RunResult
    found: judgement.ChainJudgement
    selection: measure.Selection
    measures: Sequence[Measure]
    context: judgement.JudgeContext


def _judged(model: Model, run: RunResult, measuring: Measuring) -> _Try:
    assert run.draws is not None  # noqa: S101 - asked before
    selection = measure.select(model, run.draws, generated_of(model))
    measures = measuring.chains(run, run.key, "nuts", selection.names)
    shares = measuring.mode_shares(run, run.key, selection.names)
    context = judgement.JudgeContext(mode_shares=shares, chains=len(run.draws.values))
    found = judgement.judge_chains(measures, judgement.rules_for(model), context)
    return _Try(run, found, selection, measures, context)


def _confirmed(model: Model, one: _Try, tries: Sequence[_Try], measuring: Measuring) -> _Try:
    """Trust a run with few divergences only if one with other step sizes agrees with it."""
    if not (one.found.trusted and one.found.worst[DIVERGENCES.id] > 0):
        return one
    at = tries.index(one)
    z = judgement.critical_z(len(one.selection.names))
    for other in tries[max(at - 1, 0) : at + 2]:
        deltas = {float(t.run.spec.options["adapt_delta"]) for t in (one, other)}
        apart = math.inf
        if len(deltas) > 1 and other.found.trusted:
            gaps = measuring.apart(one.run, other.run, one.selection.names)
            apart = max((gap.z for gap in gaps), default=math.inf)
        if apart <= z:
            return one
    rules = judgement.rules_for(model)
    rules[DIVERGENCES.id] = replace(rules[DIVERGENCES.id], close=0.0)
    return one._replace(found=judgement.judge_chains(one.measures, rules, one.context))


def _again(run: RunResult, found: judgement.ChainJudgement, *, grow: bool) -> Mapping[str, Any]:
    """Return the options with which a run that is not trusted may be, empty if there are none.

    Smaller steps where transitions diverged, deeper trees where trajectories were cut short; more
    draws, within the budget, if only their number is at fault. Nothing brings chains together.
    """
    faults = {f.measure.metric: f for f in found.findings}
    if found.trusted or found.missing or not faults or not found.worst[RHAT.id] <= APART:
        return {}
    now = float(run.spec.options["adapt_delta"])
    larger = next((delta for delta in ADAPT_DELTAS if delta > now), None)
    if found.worst[DIVERGENCES.id] > 0 and larger is not None:
        return {"adapt_delta": larger}
    if DIVERGENCES.id in faults:
        return {}
    if TREEDEPTH_HITS.id in faults:
        deeper = int(run.spec.options["max_treedepth"]) + 2
        return {"max_treedepth": deeper} if deeper <= DEEPEST else {}
    few = {ESS_BULK.id, ESS_TAIL.id, RHAT.id}
    if not grow or set(faults) - few or not found.worst[RHAT.id] <= judgement.RHAT_CAP:
        return {}
    asked = [f.rule.close / f.measure.value for m, f in faults.items() if m != RHAT.id]
    samples = int(run.spec.options["samples"])
    # R-hat falls with the square root of the draws; twice as many show whether it does.
    more = min(math.ceil(samples * max(2.0, LONGER * max(asked, default=0.0))), MAX_NUTS_SAMPLES)
    return {"samples": more} if more > samples else {}


def _attempt(run: RunResult, found: judgement.ChainJudgement | None) -> Attempt:
    options = run.spec.options
    settings = float(options["adapt_delta"]), int(options["max_treedepth"]), int(options["samples"])
    if found is None or run.draws is None:
        return Attempt(*settings, None, trusted=False, short=f"it {run.status}")
    diverged = int(np.sum(run.draws.stats["diverging"]))
    return Attempt(*settings, diverged, found.trusted, found.short)


def made_again(attempts: Sequence[Attempt]) -> list[str]:
    """Say with which settings NUTS was made again, and why."""
    said = []
    for before, now in pairwise(attempts):
        why = "" if before.trusted else f": {before.short}"
        if now.adapt_delta != before.adapt_delta:
            settings = f"adapt_delta {setting(now.adapt_delta)}"
            was = count(before.divergences or 0, "divergence")
            ended = "no draws" if now.divergences is None else integer(now.divergences)
            why = f": {was} at {setting(before.adapt_delta)}, {ended} now"
        elif now.max_treedepth != before.max_treedepth:
            settings = f"max_treedepth {now.max_treedepth}"
            why = f": trajectories were cut short at {before.max_treedepth}"
        else:
            settings = f"{integer(now.samples)} draws a chain"
        kept = f", and is not trusted ({now.short})" if before.trusted and not now.trusted else ""
        said.append(f"made again with {settings}{why}{kept}")
    return said


def exact_draws(model: Model, data_hash: str = "") -> Draws:
    """Draw from the model's exact posterior: for the same data the same draws every time."""
    from harness.models import exact

    sampler = exact.SAMPLERS[str(model.reference)]
    content = f"{model.reference} {data_hash or hash_of(model)}"
    rng = np.random.default_rng(measure.seed_of(content))
    found = sampler(kept_data(model.data_file, data_hash), EXACT_DRAWS, rng)
    return scalars({k: np.asarray(v)[None] for k, v in found.items()}, iid=True)


def supplied(model: Model, draws: Draws, name: str) -> tuple[Reference, measure.Selection]:
    """Judge the user's draws by what can be computed; what is not recorded is said.

    ``name`` is what they are called. Draws in which a parameter of the program is not finite are
    damaged, and not trusted; a parameter that they lack is named in the notes.
    """
    selection = measure.select(model, draws, generated_of(model))
    broken: list[str] = []
    if (info := declarations(model)) is not None:
        written = {*info.parameters, *info.transformed_parameters, *info.generated_quantities}
        strange = [n for n in selection.names if base_name(n) not in written]
        kept = tuple(n for n in selection.names if n not in strange)
        note = f"not of the program, so not compared: {listed(strange, 8)}"
        there = {base_name(n) for n in draws.names}
        chosen = model.quantities or tuple(info.parameters)
        lacking = [p for p in info.parameters if p in chosen and p not in there]
        lacks = f"not in the reference, so not compared: {listed(lacking, 8)}"
        notes = (*selection.notes, *([note] if strange else []), *([lacks] if lacking else []))
        selection = replace(selection, names=kept, notes=notes)
        broken = [
            n
            for i, n in enumerate(draws.names)
            if base_name(n) in info.parameters
            and {n, base_name(n)} & set(chosen)
            and not np.isfinite(draws.values[:, :, i]).all()
        ]
    if broken:
        short = f"draws of {listed(broken, 8)} not finite"
        why = f"supplied draws ({name}): {short}"
        return Reference("supplied", trusted=False, why=why, draws=draws, short=short), selection
    if draws.iid:
        why = f"supplied draws ({name}), stated to be independent"
        return Reference("supplied", trusted=True, why=why, draws=draws), selection
    spec = RunSpec(model.name, "supplied", {}, 1, 0)
    probe = RunResult(spec, "", "ok", "", draws, None, {}, Cost(1.0), {})
    measures = measure.chain_measures(probe, selection.names, "supplied")
    context = judgement.JudgeContext(chains=len(draws.values))
    found = judgement.judge_chains(
        measures, judgement.rules_for(model), context, recorded=draws.stats
    )
    why = f"supplied draws ({name}): {found.sentence('these chains')}"
    return Reference("supplied", found.trusted, why, draws, found.findings, found.short), selection


def generated_of(model: Model) -> tuple[str, ...]:
    """Name the program's generated quantities; none where there is no stanc to ask."""
    try:
        info = declarations(model)
    except (stan.ProgramError, stan.ToolchainError):
        return ()
    return () if info is None else tuple(info.generated_quantities)


def declarations(model: Model) -> stan.ProgramInfo | None:
    """Return what the program declares; None without one, or without a compiler to ask."""
    if not model.has_program:
        return None
    if not embedded.available():
        with suppress(stan.ProgramError):
            return embedded.program_info(model.stan_file)
    cmdstan = stan.find_cmdstan()
    return None if cmdstan is None else stan.program_info(model.stan_file, cmdstan)
