"""Causes and remedies of a verdict in words: a few for tables, and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from harness.methods import METHODS, title
from harness.records import Better, Trial, Verdict, VerdictCause
from harness.records.text import capital, count, ended, listed, number, seconds, span
from harness.why.causes import cause_brief, cause_name, cause_sentence
from harness.why.causes.row import figure
from harness.why.remedies import REMEDIES
from harness.why.remedies.sentence import VERBS

SHORT = 3
"""Causes in the short form, and remedies that help with a sentence of their own."""

SHARP = 0.005
"""Relative error of a gap up to which it is written with three digits."""


@dataclass(frozen=True, slots=True)
class Brief:
    """A verdict's causes in a few words: without the last figure, and that figure.

    ``key`` is equal for verdicts with the same causes, whatever the last figure; it is made of
    facts, not of words.
    """

    words: str
    figure: str = ""
    key: tuple[object, ...] = ()

    def __str__(self) -> str:
        """All of it."""
        return f"{self.words}, {self.figure} nats" if self.figure else self.words


def cause_in_short(verdict: Verdict) -> Brief:
    """Return ``family: correlation, 0.89 nats; optimiser: runaway (3 of 10)``, or nothing."""
    family, optimiser, other, none = (
        [c for c in verdict.causes if c.cause.gap == gap]
        for gap in ("family", "optimiser", "method", "none")
    )
    parts: list[Brief] = []
    if family:
        parts.append(_family(family))
    if optimiser:
        *before, last = [_share(c) for c in optimiser[:SHORT]]
        words = ", ".join([*map(str, before), last.words])
        parts.append(Brief(f"optimiser: {words}", last.figure))
    parts += [_share(c) for c in [c for c in other if not c.of][:SHORT]]
    parts = parts or [Brief(cause_name(c.cause)) for c in none][:1]
    parts += [_share(c) for c in other if c.of]
    if not parts:
        return Brief("")
    *before, last = parts
    words = "; ".join([*map(str, before), last.words])
    return Brief(words, last.figure, _key(verdict.causes, figure=bool(last.figure)))


def _key(causes: Sequence[VerdictCause], *, figure: bool) -> tuple[object, ...]:
    """Return which causes there are, in how many seeds, and their nats but for the last figure."""
    facts = [(c.cause.gap, c.cause.name, len(c.seeds), c.of, c.cause.nats) for c in causes]
    shown = [f for f in facts if f[0] != "none"] or facts
    unsaid = figure or math.isnan(shown[-1][-1])  # NaN equals nothing, itself included
    return (*shown[:-1], shown[-1][:-1] if unsaid else shown[-1])


def _family(causes: Sequence[VerdictCause]) -> Brief:
    """Return the family's causes; one alone has three digits where its gap is that precise."""
    whole = causes[0].whole
    digits = 3 if len(causes) == 1 and whole.mcse < SHARP * whole.value else 2
    if len(causes) == 1:
        name = cause_brief(causes[0].cause)
        known = not math.isnan(causes[0].cause.nats)
        return Brief(f"family: {name}", number(causes[0].cause.nats, digits) if known else "")
    names = [
        cause_name(c.cause) + (f" {number(c.cause.nats)} nats" if c.cause.nats > 0 else "")
        for c in causes
    ]
    return Brief(f"family: {', '.join(names)}")


def _share(found: VerdictCause) -> Brief:
    """Return a cause with the share of seeds that have it, or what it typically costs all."""
    name = cause_name(found.cause)
    if len(found.seeds) < found.of:
        return Brief(f"{name} ({len(found.seeds)} of {found.of})")
    return Brief(name, number(median(found.nats)) if found.nats else "")


def cause_sentences(verdict: Verdict) -> tuple[str, ...]:
    """Return a sentence for each cause, and one for the family gap that they explain."""
    sentences = []
    first = next((c for c in verdict.causes if c.family is not None), None)
    if first is not None and first.family is not None:
        unknown = math.isnan(first.whole.value)
        far = "an unknown distance" if unknown else f"{figure(first.whole)} nats"
        sentences.append(
            f"Family: the best {title(first.family)} Gaussian is {far} from the posterior."
        )
    return (*sentences, *(_cause_sentence(c, verdict.method) for c in verdict.causes))


def _cause_sentence(found: VerdictCause, method: str) -> str:
    cause = found.cause
    name, words = cause_name(cause), cause_sentence(cause)
    if found.family is not None:
        size = "" if math.isnan(cause.nats) else f", {number(cause.nats)} nats"
        return ended(capital(f"{name}{size}: {words}"))
    if cause.gap != "optimiser":
        return ended(capital(f"{name}: {words}"))
    lost, who = f"{span(found.nats)} nats below", title(method)
    row, several = METHODS.get(method), len(found.seeds) > 1
    best = "their family's best" if several else "its family's best"
    if row is not None and row.narrower:
        # Of a family that is part of another the best is not known.
        best = "the best full-rank Gaussian"
    if several:
        share = f"{len(found.seeds)} of {count(found.of, 'seed')} of {who}"
        best = f"{share} are {lost} {best}. Seed {found.shown}"
    elif found.of > 1:
        best = f"seed {found.shown} of {who} is {lost} {best}"
    else:
        best = f"{who} is {lost} {best}"
    return ended(f"Optimiser, {name}: {best}: {words}")


# --- remedies --------------------------------------------------------------------------------


def remedy_name(trial: Trial) -> str:
    """Return what people read for a remedy in a list."""
    row = REMEDIES.get(trial.remedy)
    return trial.remedy if row is None else row.name


def remedy_what(trial: Trial) -> str:
    """Write what was done, with its settings, in a few words."""
    row = REMEDIES.get(trial.remedy)
    if "what" in trial.facts or row is None:
        return str(trial.facts.get("what", trial.remedy))
    return row.what(trial.ran, trial.options)


def trial_words(trial: Trial) -> str:
    """Write what was done and its effect, or why it was not tried: one sentence."""
    if "words" in trial.facts:
        return str(trial.facts["words"])
    row = REMEDIES.get(trial.remedy)
    why = trial.facts.get("why", "no reason is recorded")
    said = f"not tried: {why}" if row is None or trial.reason == "error" else row.sentence(trial)
    return ended(f"{capital(remedy_what(trial))}: {said}")


def remedy_in_short(verdict: Verdict) -> str:
    """Return the best remedy in a few words: ``DADVI + LR passes (0.05 s)``; empty without any."""
    if not verdict.remedies:
        return ""
    best = verdict.remedies[0]
    if isinstance(best, Better):
        return f"{title(best.method)} {VERBS[best.level]}{_took(best.seconds)}"
    if best.helps:
        verb = VERBS[best.level_after or "unknown"]
        return f"{remedy_name(best)} {verb}{_took(best.seconds)}"
    hints = [r for r in verdict.remedies if isinstance(r, Trial) and _hint(r)]
    return f"{remedy_name(hints[0])} (a hint)" if hints else "nothing tried helps"


def _took(duration: float) -> str:
    return f" ({seconds(duration)})" if math.isfinite(duration) else ""


def remedy_key(verdict: Verdict) -> tuple[object, ...]:
    """Return what is equal for verdicts with the same remedy; it is made of facts, not of words."""
    if not verdict.remedies:
        return ()
    best = verdict.remedies[0]
    if isinstance(best, Better):
        return best.method, (), best.level, best.seconds
    if best.helps:
        return best.ran, tuple(sorted(best.options.items())), best.level_after, best.seconds
    return tuple(r.remedy for r in verdict.remedies if isinstance(r, Trial) and _hint(r))[:1]


def _hint(trial: Trial) -> bool:
    row = REMEDIES.get(trial.remedy)
    return row is not None and row.hint and trial.level_after is None


def remedy_sentences(verdict: Verdict) -> tuple[str, ...]:
    """Return sentences on what helps, what was not tried, and what does not help."""
    found = [_better(r) for r in verdict.remedies if isinstance(r, Better)]
    trials = [r for r in verdict.remedies if isinstance(r, Trial)]
    helping = [t for t in trials if t.helps]
    untried = [t for t in trials if t.level_after is None]
    vain = [t for t in trials if not t.helps and t.level_after is not None]
    found += [trial_words(t) for t in [*helping[:SHORT], *untried]]
    if more := helping[SHORT:]:
        verb = "helps" if len(more) == 1 else "help"
        found.append(f"{capital(_list(more))} also {verb}.")
    if vain:
        found.append(f"Tried without effect on the verdict: {_list(vain)}.")
    return tuple(found)


def _better(row: Better) -> str:
    where = f" in all {row.seeds} seeds" if row.level == "pass" and row.seeds > 1 else ""
    took = seconds(row.seconds)
    return f"{capital(title(row.method))} {VERBS[row.level]}{where} here, {took} a run."


def _list(trials: Sequence[Trial]) -> str:
    return listed([remedy_name(t) for t in trials], len(trials))
