"""The words for what a check records: addresses, figures, differences, reasons and notes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.check.baseline.change import (
    AddedSeeds,
    Change,
    Conclusion,
    LeftOut,
    NewMethod,
    NoMoments,
    Note,
    Reason,
    WideMargins,
)
from harness.metrics import METRICS
from harness.records import Cause
from harness.records.text import UNKNOWN, count, fixed, number, percent, setting, with_error
from harness.why.causes import cause_name

SYMBOLS: Mapping[Conclusion, str] = {"same": "✓", "changed": "✗", "inconclusive": "?"}

CONCLUSIONS: Mapping[Conclusion, str] = {
    "same": "same",
    "changed": "changed",
    "inconclusive": "undecided",
}

_NAMED_PARTS = {
    "summary": "{}",
    "share": "seeds {}",
    "fault": "seeds off: {}",
    "cause": "seeds cause: {}",
    "draws": "draws of seed {}",
    "method": "",
    "quantity": "",
}
_SHARES = {"ran_away": "ran away"}

_ABSENT = {
    ("model", "missing"): (
        "the lecture no longer has this model; if that is intended, remove its baseline"
    ),
    ("method", "missing"): "this method is no longer compared",
    ("method", "new"): "the baseline does not have this method",
    ("quantity", "missing"): "the draws no longer have this quantity",
    ("quantity", "new"): "the baseline does not have this quantity",
    ("baseline", "new"): "there was no baseline; a candidate was written ({})",
}

# Of the other reasons, the detail says it all.
_REASONS: Mapping[Reason, str] = {
    "judged otherwise": "the draws are the same; the rules or limits that judge them changed",
    "as seeds differ": "the worst seed's level differs, but no more than seeds do by chance",
    "no common level": "no seed has a level that a seed of the baseline has",
    "no figure before": "the baseline has no figure here: {}",
    "constants differ": "a constant with another value",
    "none comparable": "none of the baseline's figures can be compared: {}",
    "nothing comparable": "there was nothing to compare",
    "too few draws": "too few draws to find a change of twice the margin",
}
_NO_DETAIL: Mapping[Reason, str] = {
    "no figure before": "it is not a number",
    "no figure now": "it is not a number",
    "no error": "its standard error is unknown",
}

_MOST_PLACES = 9
_OVERFLOW = 700.0
_FIXED_TO = 1e6
_WRITTEN_OUT = 3  # figures that a note names


def figure(change: Change) -> str:
    """Name the figure: ``mean``, ``seeds ran away``, ``level``; empty for a whole method."""
    pattern = _NAMED_PARTS.get(change.part, change.part)
    name = _cause(change.name) if change.part == "cause" else change.name
    if change.part == "fault" and name in METRICS:
        name = METRICS[name].noun
    return pattern.format(_SHARES.get(name, name))


def _cause(name: str) -> str:
    """Return what people read for a cause's id."""
    return cause_name(Cause("none", name, math.nan))


def address(change: Change) -> str:
    """Return where the figure stands: ``mixture / meanfield / x / mean``."""
    parts = (change.model, change.method, change.quantity, figure(change))
    return " / ".join(part for part in parts if part)


def reason(change: Change) -> str:
    """Explain a conclusion that the figures do not show; empty where they do."""
    if change.reason is None:
        return _ABSENT.get((change.part, change.kind), "").format(change.detail)
    detail = change.detail or _NO_DETAIL.get(change.reason, "")
    return _REASONS.get(change.reason, "{}").format(detail)


def note(said: Note) -> str:
    """Write what else a reader should know."""
    match said:
        case AddedSeeds():
            words = f"{said.taken} seeds where the baseline has {said.before}"
        case WideMargins():
            words = (
                f"{count(said.figures, 'figure')} too imprecise for the usual margin; the widest "
                f"margin is {number(said.margin)} sd ({said.name} of {said.quantity})"
            )
        case LeftOut():
            each = [f"{what} of {quantity}: {why}" for what, quantity, why in said.figures]
            more = len(each) - _WRITTEN_OUT
            rest = f"; and {more} more" if more > 0 else ""
            words = f"not compared: {'; '.join(each[:_WRITTEN_OUT])}{rest}"
        case NewMethod():
            words = (
                "every program gets it by now and the baseline does not have it, so nothing was "
                "compared; write the baseline again to include it"
            )
        case NoMoments():
            words = f"compared by its level and by shares of its seeds only: {said.why}"
    return f"{said.method}: {words}"


# --- figures --------------------------------------------------------------------------------


def sides(change: Change) -> tuple[str, str]:
    """Return what the baseline has and what there is now."""
    if change.kind in {"missing", "new"}:
        absent = ("there", "missing") if change.kind == "missing" else ("not there", "new")
        return change.was or absent[0], change.now or absent[1]
    if change.part == "causes":
        was, now = ("; ".join(map(_cause, s.split("; "))) for s in (change.was, change.now))
        return was, now
    if change.part != "summary":
        return change.was, change.now
    old, new = change.was or with_error(change.old), change.now or with_error(change.new)
    exact = change.old.value, change.new.value
    told = change.was or change.now or change.conclusion == "same"
    if old == new and not told and exact[0] != exact[1]:
        # They differ beyond the digits that their errors deserve.
        return _all_digits(exact[0]), _all_digits(exact[1])
    return old, new


def _all_digits(x: float) -> str:
    return repr(x) if math.isfinite(x) else number(x)


def difference(change: Change) -> tuple[str, str]:
    """Return the difference and, in brackets, its 95% interval and margin; both may be empty.

    ``+0.31 sd`` and ``(0.28 to 0.34; margin 0.1)``; for an sd, whose difference is the ln of a
    ratio, ``× 0.85`` and ``(0.84 to 0.86; margin ÷/× 1.1)``; for a share ``+70% of seeds``.
    """
    d = change.difference
    if change.part != "summary":
        return f"{_plus(d)}{percent(d)} of seeds" if math.isfinite(d) else "", ""
    if change.kind != "moved" or math.isnan(d) or change.reason == "constants differ":
        return "", ""
    if math.isinf(d):
        return number(d), ""
    low, high = change.interval
    if change.name == "sd":
        d, low, high = (_exp(x) for x in (d, low, high))
    places = _places(d, low, high)
    words = [_interval(low, high, places)]
    if not math.isnan(change.margin):
        words.append(f"margin {margin(change.name, change.margin)}")
    told = f"× {_to(d, places)}" if change.name == "sd" else f"{_plus(d)}{_to(d, places)} sd"
    return told, f"({'; '.join(words)})"


def margin(what: str, size: float) -> str:
    """Write a margin: sds for a location, the largest ratio either way for an sd."""
    return f"÷/× {_short(_exp(size))}" if what == "sd" else _short(size)


def evidence(change: Change) -> str:
    """Write the difference in its standard errors, ``14 se``; else its p-value, if it has one."""
    if not math.isnan(change.sds):
        return f"{number(abs(change.sds))} se"
    if change.p is not None and 0 < change.p < 1:
        return f"p = {number(change.p, 1)}"
    return ""


def _plus(x: float) -> str:
    return "+" if x >= 0 else ""


def _exp(x: float) -> float:
    if not math.isfinite(x):
        return x
    return math.inf if x > _OVERFLOW else math.exp(x)


def _short(x: float) -> str:
    return setting(float(f"{x:.3g}"))


def _places(value: float, low: float, high: float) -> int:
    """Return the number of decimals with which half the interval has one digit."""
    reaches = [abs(value - end) for end in (low, high) if math.isfinite(end)]
    size = max(reaches, default=0.0) or abs(value) / 10
    if not 0 < size < math.inf:
        return 2
    return min(max(-math.floor(math.log10(size)), 0), _MOST_PLACES)


def _to(x: float, places: int) -> str:
    return fixed(x, places) if abs(x) < _FIXED_TO else number(x, 3)


def _interval(low: float, high: float, places: int) -> str:
    below, above = not math.isfinite(low), not math.isfinite(high)
    if math.isnan(low) or math.isnan(high):
        return f"interval {UNKNOWN}"
    if below and above:
        return "no bounds"
    if below or above:
        return f"below {_to(high, places)}" if below else f"above {_to(low, places)}"
    return f"{_to(low, places)} to {_to(high, places)}"
