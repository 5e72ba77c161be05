"""The next command to type where verdicts are unknown."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from harness.methods import METHODS
from harness.metrics.chains import DIVERGENCES, ESS_BULK, ESS_TAIL, RHAT, TREEDEPTH_HITS
from harness.records import Comparison, ModelComparison, Reason
from harness.report.rows import improper

OWN_DRAWS = ("--reference", "DRAWS.nc")
"""Draws of the user's own: what is left where NUTS cannot be made to serve."""

YOURS = "draws that you trust, such as NUTS's on a reparametrised program"
"""What the file of these draws stands for."""

_LONGER = 4  # times as many draws, or seeds
_FINEST = 0.999  # divergences at this adapt_delta are not cured by a larger one
_DEEPER = 3  # doublings of NUTS's longest trajectory


def next_command(comparison: Comparison, entry: ModelComparison) -> str:
    """Return the command that may decide a model's unknown verdicts, empty where there are none."""
    # Once every approximation is decided, it no longer matters whether NUTS can be trusted.
    waiting = [v for v in entry.verdicts if v.method != "nuts"] or entry.verdicts
    if entry.error is not None or all(v.level != "unknown" for v in waiting) or improper(entry):
        return ""
    if comparison.provenance.get("judged"):
        # Of draws that were handed over there are no more; the program can make some.
        return shlex.join(_fresh(entry)) if entry.model.has_program else ""
    reference = entry.reference
    words = _command(comparison, entry)
    undecided = {v.method for v in waiting if v.level == "unknown"}
    if any(r.reason is Reason.MACHINE for r in entry.runs if r.spec.method in undecided):
        return shlex.join(words)  # what the machine ended was not stored, and is made again
    options = list(_draws(entry) if reference.trusted else _reference(entry))
    if not comparison.provenance.get("nuts", True) and not (reference.trusted and options):
        return shlex.join([word for word in words if word != "--quick"])
    return shlex.join(_with(words, options or [OWN_DRAWS]))


def _command(comparison: Comparison, entry: ModelComparison) -> list[str]:
    """Return the words that compare this model, with the user's own options where it was alone."""
    words = shlex.split(str(comparison.provenance.get("command", "")).replace("…", ""))
    if len(comparison.models) == 1 and words[:2] == ["harness", "compare"]:
        return words
    return _fresh(entry)


def _fresh(entry: ModelComparison) -> list[str]:
    model = entry.model
    if model.stan_file.parent.name == model.name:
        return ["harness", "compare", model.name]
    data = [str(model.data_file)] if model.data_file else []
    return ["harness", "compare", str(model.stan_file), *data]


def _with(words: list[str], options: list[tuple[str, str]]) -> list[str]:
    """Return a command with options, which replace those that it has."""
    for name, value in options:
        key = value.partition("=")[0] if name == "--set" else ""
        for i in range(len(words) - 2, 0, -1):
            if words[i] == name and words[i + 1].partition("=")[0] == (key or words[i + 1]):
                del words[i : i + 2]
        words = [*words, name, value]
    return words


def _other(entry: ModelComparison) -> str:
    """Return the reference beside a supplied one; of a model that brings draws, auto is these."""
    return "auto" if entry.model.draws_file is None else "nuts"


def _reference(entry: ModelComparison) -> Iterator[tuple[str, str]]:
    """Yield what may make an untrusted reference one that serves."""
    reference = entry.reference
    if reference.kind == "supplied":
        yield "--reference", _other(entry)
        return
    if reference.disagreement is not None:
        yield "--reference", "ensemble"  # it has looked for modes that NUTS may have missed
        return
    bad = {f.measure.metric: f for f in reference.findings if f.level != "close"}
    apart = RHAT.id in bad and bad[RHAT.id].level == "wrong"
    # Longer chains stay in their modes.
    if reference.refuted is not None or not reference.attempts or apart:
        return
    last = reference.attempts[-1]
    if DIVERGENCES.id in bad and last.adapt_delta >= _FINEST:
        return
    if DIVERGENCES.id in bad:
        yield "--set", f"nuts.adapt_delta={1 - (1 - last.adapt_delta) / 10:.6g}"
    if TREEDEPTH_HITS.id in bad:
        yield "--set", f"nuts.max_treedepth={last.max_treedepth + _DEEPER}"
    if {RHAT.id, ESS_BULK.id, ESS_TAIL.id} & set(bad):
        yield "--set", f"nuts.samples={_LONGER * last.samples}"


def _draws(entry: ModelComparison) -> Iterator[tuple[str, str]]:
    """Yield what gives an undecided comparison more draws, or more seeds."""
    short = dict.fromkeys(_short(entry))
    if "reference" in short:
        yield from _longer(entry)
    for run in {r.spec.method: r for r in entry.runs if r.spec.method in short}.values():
        row = METHODS.get(run.spec.method)
        for name in () if row is None else row.sized_by:
            yield "--set", f"{run.spec.method}.{name}={_LONGER * run.spec.options[name]:g}"
    if "seeds" in short:
        yield "--seeds", str(_LONGER * max(v.seeds for v in entry.verdicts))


def _longer(entry: ModelComparison) -> Iterator[tuple[str, str]]:
    """Yield what makes a trusted reference longer."""
    # A comparison that is shown has no draws any more; how many there were is in the records.
    reference = entry.reference
    made = next((r for r in entry.runs if r.spec.method == reference.method), None)
    if reference.kind == "supplied":
        yield "--reference", _other(entry)
    elif reference.kind == "nuts" and reference.attempts:
        yield "--set", f"nuts.samples={_LONGER * reference.attempts[-1].samples}"
    elif reference.kind == "ensemble" and made is not None:
        yield "--set", f"{made.spec.method}.chains={_LONGER * made.diagnostics['chains']:g}"


def _short(entry: ModelComparison) -> Iterator[str]:
    """Yield what there is too little of: the reference's draws, a method's own, or seeds."""
    for verdict in (v for v in entry.verdicts if v.level == "unknown"):
        row = METHODS.get(verdict.method)
        for f in verdict.findings:
            if f.level != "unsure" or f.rule.alarm:
                continue
            if f.measure.seed is not None and f.beyond != "run" and (row is None or row.extends):
                yield "reference"
            elif f.measure.seed is not None and row is not None and row.sized_by:
                yield verdict.method
            else:
                # Seeds are judged by what they have in common, which more of them make surer.
                yield "seeds"
