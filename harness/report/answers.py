"""Answers in sentences: whether one model can do without NUTS, and how many can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.methods import METHODS, title
from harness.records import SAMPLED_BY, Comparison, Level, ModelComparison, Reference
from harness.records.text import capital, count, listed, number, one_line
from harness.report.rows import (
    BAD,
    BOTH,
    ORDER,
    ModelDecision,
    Row,
    choices,
    evidence,
    improper,
    special,
)

ADVI = frozenset({"CmdStan's ADVI", "stochastic gradients", "deterministic", "weighted draws"})
"""Kinds of methods that are ADVI; the lecture's answer counts these."""

DEFAULTS = ("meanfield", "fullrank")
"""What CmdStan's users get with default settings."""

_NAMED = 3  # models that an answer names; beyond, the table does
_MOST = 12  # methods that a sentence lists


def _advi(method: str) -> bool:
    return method not in METHODS or METHODS[method].kind in ADVI


def _titles(rows: Sequence[Row]) -> str:
    return listed([r.title for r in rows], _MOST)


def answer_for_one(rows: Sequence[Row], base: str, entry: ModelComparison) -> tuple[str, str]:
    """Return the decision on one model, and the sentences that support it."""
    if entry.error is not None:
        return "Undecided: it could not be compared.", one_line(entry.error)
    usable = choices(rows)
    nuts = next((r for r in rows if r.method == "nuts"), None)
    if not usable and nuts is not None and nuts.level != "reference":
        return _of_nuts_alone(nuts, entry.reference), ""
    if not usable:
        return "No approximation was run.", ""
    by = {level: [r for r in usable if r.level == level] for level in ORDER}
    good = by["pass"]
    sound = nuts is not None and nuts.level in {"reference", "pass"}
    stay = _fallback(entry.reference, sound=sound)
    failing = [r for r in by["fail"] if r.method in DEFAULTS]
    rest = f"; not {' or '.join(r.title for r in failing)} ADVI" if failing else ""
    if good and sound and base == "nuts" and not good[0].times > 1:
        verb = "is" if len(good) == 1 else "are"
        answer = f"Stay with NUTS: {_titles(good)} {verb} close, but no faster."
    elif good and sound:
        answer = f"Use {good[0].title} instead of NUTS here{rest}."
    elif good:
        answer = f"Use {good[0].title} here{rest}."
    elif by["unknown"]:
        bad = [*by["warn"], *by["fail"]]
        known = f"{_titles(bad)} are not close" if len(bad) > 1 else ""
        known = f"{_titles(bad)} is not close" if len(bad) == 1 else known
        # Draws that can be trusted are an answer, whatever is not known of the fits.
        lead = "Undecided" if sound or not stay else stay
        said = f"{known}, the rest is not known" if bad else "no method could be judged"
        answer = f"{lead}: {said}."
    elif by["warn"]:
        verb = "is" if len(by["warn"]) == 1 else "are"
        near = f"{_titles(by['warn'])} {verb} nearest, but off."
        answer = f"{stay or 'No method can be used as it is'}: {near}"
    else:
        answer = f"{stay or 'No method can be used'}: every approximation is wrong."
    if level := improper(entry):
        advice = "Parameters need priors here; NUTS cannot be right either."
        answer = "No method can be used: the posterior is improper."
        return answer, f"{capital(level)}. {advice}"
    return answer, _detail(by, good, base, entry.reference, nuts)


def _of_nuts_alone(nuts: Row, reference: Reference) -> str:
    """Say how draws of NUTS were judged, where there is nothing else to decide about."""
    if nuts.level == "pass":
        return f"{nuts.title} agrees with {evidence(reference, method=nuts.method)}."
    if nuts.level == "unknown":
        return f"Undecided: {nuts.title} could not be judged."
    return f"{nuts.title} {'is wrong' if nuts.level == 'fail' else 'is off'}: {nuts.says}."


def _fallback(reference: Reference, *, sound: bool) -> str:
    """Return what is left where no fit is close; ``sound`` says whether NUTS is."""
    if sound:
        return "Stay with NUTS"
    return "Use the draws of short chains" if reference.evidence == "ensemble" else ""


def _detail(
    by: Mapping[Level, Sequence[Row]],
    good: Sequence[Row],
    base: str,
    reference: Reference,
    nuts: Row | None,
) -> str:
    said = []
    if good:
        both = reference.evidence == BOTH
        told = [r for r in good if not (both and r.method == SAMPLED_BY["ensemble"])] or good
        best = told[0]
        verb = "agrees" if len(told) == 1 else "agree"
        against = evidence(reference, method=told[0].method)
        speed = ""
        if base == "nuts" and best.times > 0 and best.method != base:
            slower = best.times < 1
            factor = number(1 / best.times if slower else best.times)
            speed = f"; {best.title} is {factor} times {'slower' if slower else 'faster'} than NUTS"
        said.append(f"{_titles(told)} {verb} with {against}{speed}.")
    if by["warn"]:
        said.append(f"Off: {_titles(by['warn'])}.")
    if by["fail"]:
        said.append(f"Wrong: {_titles(by['fail'])}.")
    if by["unknown"]:
        said.append(f"Undecided: {_titles(by['unknown'])}.")
    if nuts is not None and nuts.level in BAD:
        said.append(f"NUTS itself {'fails' if nuts.level == 'fail' else 'warns'}: {nuts.says}.")
    elif not reference.trusted:
        why = reference.short or one_line(reference.why)
        said.append(f"There is no reference that can be trusted: {why.rstrip('.')}.")
    return " ".join(said)


def answer_for_all(models: Sequence[ModelDecision]) -> tuple[str, str]:
    """Count the models on which some ADVI passes, then each method's."""
    rows = {(m.model, r.method): r for m in models for r in m.rows}
    methods = [n for n in METHODS if any((m.model, n) in rows for m in models)]
    methods += list(dict.fromkeys(n for _, n in rows if n not in METHODS))
    names = [m.model for m in models]
    usual = [m for m in methods if m != "nuts" and not special(m)]
    counted = [m for m in usual if _advi(m)] or usual
    if not counted:
        return "No approximation was run.", ""

    def having(methods: Sequence[str], levels: set[str]) -> list[str]:
        return [
            name
            for name in names
            if any((name, m) in rows and rows[name, m].level in levels for m in methods)
        ]

    passed = having(counted, {"pass"})
    decided = having(counted, {"pass", "warn", "fail"})
    undecided = [name for name in names if name not in decided]
    by_method = {m: len(having([m], {"pass"})) for m in usual}
    where = (
        f"on {len(passed)} of {count(len(names), 'model')}" if passed else "on none of the models"
    )
    answer = f"ADVI can stand in for NUTS {where}"
    if 0 < len(passed) <= _NAMED:
        answer += f" ({listed(passed)})"
    best = max(counted, key=lambda m: by_method[m])
    if passed and (by_method[best] < len(passed) or sum(by_method[m] > 0 for m in counted) > 1):
        answer += f", most often as {title(best)} ({by_method[best]})"
    defaults = [m for m in DEFAULTS if m in counted]
    if defaults and not having(defaults, {"pass"}) and having(defaults, set(BAD)):
        open_ = [n for n in having(defaults, {"unknown"}) if n not in having(defaults, set(BAD))]
        rest = f"; undecided on {len(open_)}" if open_ else ""
        answer += f". With CmdStan's defaults, on none{rest}"
    answer += "."
    if undecided:
        verb = "is" if len(undecided) == 1 else "are"
        answer += f" {len(undecided)} {verb} undecided ({listed(undecided, _NAMED)})."
    shares = listed([f"{title(m)} {n}" for m, n in by_method.items()], _MOST)
    detail = f"Models passed, of {len(names)}: {shares}. A method is as good as its worst seed."
    return answer, detail


def claims_text(comparison: Comparison) -> str:
    """Return how many claims hold, in words; empty without claims."""
    if not comparison.claims:
        return ""
    words = {True: "hold", False: "do not hold", None: "could not be measured"}
    counted = {w: sum(c.holds is h for c in comparison.claims) for h, w in words.items()}
    said = ", ".join(f"{w} {n}" for w, n in counted.items() if n)
    return capital(f"of {count(len(comparison.claims), 'claim')}: {said}")
