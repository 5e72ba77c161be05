"""What a comparison decides: one row a method, made once and rendered by every outlet.

The terminal, the page, notebooks and Markdown write these rows and sentences, so that they cannot
disagree. All text is for people; nothing reads it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from harness import judgement
from harness.methods import METHODS, title
from harness.metrics import W1
from harness.records import (
    WITHOUT_DRAWS,
    Comparison,
    Evidence,
    Level,
    ModelComparison,
    Reference,
    RunResult,
    Verdict,
)
from harness.records.text import capital, count, estimate, listed, number, one_line
from harness.records.text import seconds as seconds_text
from harness.report import standing
from harness.report.next_step import next_command
from harness.why.words import cause_in_short, remedy_in_short

KINDS: Mapping[str, str] = {
    "exact": "exact draws", "supplied": "supplied draws", "nuts": "NUTS",
    "ensemble": "short chains", "none": "none",
}  # fmt: skip
"""References in words."""

EVIDENCE: Mapping[Evidence, str] = {
    "exact": "exact draws", "supplied": "supplied draws", "nuts": "NUTS",
    "nuts+ensemble": "NUTS and short chains", "ensemble": "short chains",
    "movement": "its draws, moved", "none": "nothing",
}  # fmt: skip
"""What verdicts rest on, in words."""

ORDER: tuple[Level, ...] = ("pass", "warn", "fail", "unknown", "reference")
"""Rows stand in this order: what can be used comes first, the yardstick last."""

ADVI = frozenset({"CmdStan's ADVI", "stochastic gradients", "deterministic", "weighted draws"})
"""Kinds of methods that are ADVI; the lecture's answer counts these."""

SPECIAL = frozenset({"conjugate", "quadrature"})
"""Kinds of methods that need a derivation by hand, or a single parameter: no answer rests on them,
because they are no choice on other programs."""

DEFAULTS = ("meanfield", "fullrank")
"""What CmdStan's users get with default settings."""

COLUMNS = 9
"""Methods in the table of verdicts; beyond, rarer methods share a column."""

_BAD = ("fail", "warn")
_NAMED = 3  # models that an answer names; beyond, the table does
_MOST = 12  # methods that a sentence lists


@dataclass(frozen=True, slots=True)
class Row:
    """What is decided about one method on one model."""

    method: str
    title: str
    level: Level
    seeds: str
    """Which seeds have the level: ``3 of 10 seeds; typical seed: warn``."""
    says: str
    """The worst quantity in words, or how close all are."""
    why: str
    """The causes in a few words; empty where none was looked for."""
    helps: str
    """What to do instead, in a few words; empty where nothing needs it."""
    seconds: float
    """Of a typical (median) run; NaN where there is none."""
    times: float
    """The base's seconds over the method's: above 1 it is faster. NaN where either is missing."""
    evidence: str
    """What the method was checked against."""

    @property
    def time_text(self) -> str:
        """Seconds in words, a dash where the method did not run."""
        return "–" if math.isnan(self.seconds) else seconds_text(self.seconds)

    @property
    def times_text(self) -> str:
        """How many times as fast as the base."""
        if math.isnan(self.times):
            return "–"
        return "1" if self.times == 1 else f"× {number(self.times)}"


@dataclass(frozen=True, slots=True)
class ModelDecision:
    """What is decided on one model: the answer in a sentence, and a row a method."""

    model: str
    answer: str
    detail: str
    reference: str
    """The kind of the reference in words, and whether it is trusted."""
    rows: tuple[Row, ...]
    base: str
    """The method whose seconds are the unit of ``times``; empty where none can be."""
    command: str
    """The next command to type; empty where nothing is undecided."""
    remarks: tuple[str, ...] = ()
    """What readers must know beside the rows: why modes were not looked for, who agrees."""
    error: str | None = None

    @property
    def best(self) -> Level:
        """The level of the best approximation; unknown where there is none."""
        levels = [r.level for r in _choices(self.rows) if r.level != "reference"]
        return min(levels, key=ORDER.index, default="unknown")

    @property
    def has_reasons(self) -> bool:
        """Whether there is anything in the columns of causes and remedies."""
        return any(row.why or row.helps for row in self.rows)

    @property
    def speed_heading(self) -> str:
        """Return the heading of the column of speeds."""
        return f"× {title(self.base)}" if self.base else "speed"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a whole comparison decides."""

    question: str
    answer: str
    detail: str
    models: tuple[ModelDecision, ...]
    claims: str
    """How many claims hold, in words; empty without claims."""


def decide(comparison: Comparison) -> Decision:
    """Return what a comparison decides."""
    models = tuple(_model(m, next_command(comparison, m)) for m in comparison.models)
    if len(models) == 1:
        question = f"Can ADVI stand in for NUTS on {models[0].model}?"
        answer, detail = models[0].answer, models[0].detail
    else:
        question = "Where can ADVI stand in for NUTS?"
        answer, detail = _answer(models)
    return Decision(question, answer, detail, models, _claims(comparison))


def decide_one(entry: ModelComparison) -> ModelDecision:
    """Return what is decided on one model, without the command to type next."""
    return _model(entry, "")


def timing_base(entry: ModelComparison) -> str:
    """Return the method that others are timed against: NUTS, a reference, the cheapest pass."""
    timed = {v.method: _seconds(_finished(entry, v.method)) for v in entry.verdicts}
    timed = {method: s for method, s in timed.items() if math.isfinite(s) and s > 0}
    for sampler in ("nuts", entry.reference.method):
        if sampler in timed:
            return sampler
    trusted = [v.method for v in entry.verdicts if v.level == "pass" and v.method in timed]
    return min(trusted, key=timed.__getitem__, default="")


def evidence(reference: Reference, of: Evidence = "none") -> str:
    """Say what a verdict rests on, or the reference where the verdict does not tell.

    The one place that puts it into words.
    """
    return EVIDENCE[reference.evidence if of == "none" else of]


def _checked(verdict: Verdict, reference: Reference) -> str:
    """Say what one verdict rests on; without a reference, a method's own draws can be evidence."""
    if verdict.level == "reference":
        return ""
    return evidence(reference, verdict.evidence)


def columns_of(judged: Sequence[Sequence[str]], methods: list[str]) -> list[str]:
    """Return the methods that have a column: all, or of many those on most models.

    ``judged`` are the methods of each model that could be compared.
    """
    if len(methods) <= COLUMNS:
        return methods
    usual = [m for m in methods if 2 * sum(m in names for names in judged) > len(judged)]
    return usual if len(judged) > 1 else methods[: COLUMNS - 1]


def reference_text(reference: Reference) -> str:
    """Return the kind of a reference, and whether it is trusted."""
    doubted = not reference.trusted and reference.kind != "none"
    return KINDS[reference.kind] + (" (not trusted)" if doubted else "")


def _finished(entry: ModelComparison, method: str) -> list[RunResult]:
    # By status, not by draws: a comparison may come without its arrays.
    runs = [r for r in entry.runs if r.spec.method == method]
    return [r for r in runs if r.status not in WITHOUT_DRAWS]


def _seconds(runs: Sequence[RunResult]) -> float:
    known = [r.cost.seconds for r in runs if math.isfinite(r.cost.seconds)]
    return float(median(known)) if known else math.nan


def _model(entry: ModelComparison, command: str) -> ModelDecision:
    base = timing_base(entry)
    unit = _seconds(_finished(entry, base))
    rows = tuple(sorted((_row(entry, v, unit) for v in entry.verdicts), key=_place))
    remarks = []
    if entry.reference.unsought:
        unsought = entry.reference.unsought
        remarks.append(f"whether the reference misses a mode is not known: {unsought}")
    if agreement := standing.summary(entry):
        remarks.append(agreement)
    answer, detail = _for_one(rows, base, entry)
    return ModelDecision(
        model=entry.model.name,
        answer=answer,
        detail=detail,
        reference=reference_text(entry.reference),
        rows=rows,
        base=base,
        command=command,
        remarks=tuple(remarks),
        error=entry.error,
    )


def _place(row: Row) -> tuple[int, float, int]:
    """Return what rows are sorted by: levels; of what passes the fastest; the table of methods."""
    known = list(METHODS)
    index = known.index(row.method) if row.method in known else len(known)
    fastest = row.seconds if row.level == "pass" and math.isfinite(row.seconds) else math.inf
    return ORDER.index(row.level), fastest, index


def _row(entry: ModelComparison, verdict: Verdict, unit: float) -> Row:
    finished = _finished(entry, verdict.method)
    own = _seconds(finished)
    # What failed has used time too, which makes it no faster than anything.
    spent = (
        own if finished else _seconds([r for r in entry.runs if r.spec.method == verdict.method])
    )
    reasoned = verdict.level in _BAD or verdict.level == "unknown"
    return Row(
        method=verdict.method,
        title=title(verdict.method),
        level=verdict.level,
        seeds=judgement.seeds_text(verdict),
        says=_says(entry, verdict),
        why=str(cause_in_short(verdict)) if reasoned else "",
        helps=remedy_in_short(verdict) if reasoned else "",
        seconds=spent,
        times=unit / own if own > 0 else math.nan,
        evidence=_checked(verdict, entry.reference),
    )


def _says(entry: ModelComparison, verdict: Verdict) -> str:
    """Return the headline; of what passes also the largest distance, with its error."""
    said = one_line(verdict.headline)
    if verdict.level != "pass":
        return said
    own = [
        m
        for m in entry.measures
        if (m.method, m.metric) == (verdict.method, W1.id) and m.quantity is not None
    ]
    worst = max((m for m in own if math.isfinite(m.value)), key=lambda m: m.value, default=None)
    if worst is None:
        return said
    far = f"{worst.quantity}, {estimate(max(worst.value, 0.0), worst.mcse)} sd"
    return f"{said}; worst: {far}" if said else f"worst: {far}"


# --- answers -----------------------------------------------------------------------------------


def _choices(rows: Sequence[Row]) -> list[Row]:
    """Return the approximations that an answer may rest on."""
    approximate = [r for r in rows if r.method not in METHODS or METHODS[r.method].approximate]
    usual = [r for r in approximate if not _special(r.method)]
    return usual or approximate


def _special(method: str) -> bool:
    return method in METHODS and METHODS[method].kind in SPECIAL


def _advi(method: str) -> bool:
    return method not in METHODS or METHODS[method].kind in ADVI


def _titles(rows: Sequence[Row]) -> str:
    return listed([r.title for r in rows], _MOST)


def _for_one(rows: Sequence[Row], base: str, entry: ModelComparison) -> tuple[str, str]:
    """Return the decision on one model, and the sentences that support it."""
    if entry.error is not None:
        return "Undecided: it could not be compared.", one_line(entry.error)
    choices = _choices(rows)
    if not choices:
        return "No approximation was run.", ""
    by = {level: [r for r in choices if r.level == level] for level in ORDER}
    good = by["pass"]
    nuts = next((r for r in rows if r.method == "nuts"), None)
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
    return answer, _detail(by, good, base, entry.reference, nuts)


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
        best = good[0]
        verb = "agrees" if len(good) == 1 else "agree"
        speed = ""
        if base == "nuts" and best.times > 0 and best.method != base:
            slower = best.times < 1
            factor = number(1 / best.times if slower else best.times)
            speed = f"; {best.title} is {factor} times {'slower' if slower else 'faster'} than NUTS"
        said.append(f"{_titles(good)} {verb} with {evidence(reference)}{speed}.")
    if by["warn"]:
        said.append(f"Off: {_titles(by['warn'])}.")
    if by["fail"]:
        said.append(f"Wrong: {_titles(by['fail'])}.")
    if by["unknown"]:
        said.append(f"Undecided: {_titles(by['unknown'])}.")
    if nuts is not None and nuts.level in _BAD:
        said.append(f"NUTS itself {'fails' if nuts.level == 'fail' else 'warns'}: {nuts.says}.")
    elif not reference.trusted:
        why = reference.short or one_line(reference.why)
        said.append(f"There is no reference that can be trusted: {why.rstrip('.')}.")
    return " ".join(said)


def _answer(models: Sequence[ModelDecision]) -> tuple[str, str]:
    """Count the models on which some ADVI passes, then each method's."""
    rows = {(m.model, r.method): r for m in models for r in m.rows}
    methods = [n for n in METHODS if any((m.model, n) in rows for m in models)]
    methods += list(dict.fromkeys(n for _, n in rows if n not in METHODS))
    names = [m.model for m in models]
    usual = [m for m in methods if m != "nuts" and not _special(m)]
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
    if defaults and not having(defaults, {"pass"}) and having(defaults, set(_BAD)):
        open_ = [n for n in having(defaults, {"unknown"}) if n not in having(defaults, set(_BAD))]
        rest = f"; undecided on {len(open_)}" if open_ else ""
        answer += f". With CmdStan's defaults, on none{rest}"
    answer += "."
    if undecided:
        verb = "is" if len(undecided) == 1 else "are"
        answer += f" {len(undecided)} {verb} undecided ({listed(undecided, _NAMED)})."
    shares = listed([f"{title(m)} {n}" for m, n in by_method.items()], _MOST)
    detail = f"Models passed, of {len(names)}: {shares}. A method is as good as its worst seed."
    return answer, detail


def _claims(comparison: Comparison) -> str:
    if not comparison.claims:
        return ""
    words = {True: "hold", False: "do not hold", None: "could not be measured"}
    counted = {w: sum(c.holds is h for c in comparison.claims) for h, w in words.items()}
    said = ", ".join(f"{w} {n}" for w, n in counted.items() if n)
    return capital(f"of {count(len(comparison.claims), 'claim')}: {said}")
