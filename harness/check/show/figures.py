"""The figures of a change as they are read: value ± error, difference with interval, evidence."""

from __future__ import annotations

import math

from harness.check.baseline.change import Change
from harness.check.baseline.form import SUMMARIES
from harness.records import Estimate

_SCIENTIFIC = 1e9
_MOST_PLACES = 9
_MOST_DIGITS = 16
_OVERFLOW = 700.0
_WHOLE_SE = 10.0


def not_finite(x: float) -> str:
    """Say in words what is no finite number."""
    if math.isnan(x):
        return "not a number"
    return "infinite" if x > 0 else "minus infinity"


def _minus(text: str) -> str:
    return text.replace("-", "−")


def estimate(figure: Estimate) -> str:
    """Write ``1.0240 ± 0.0031``: the error with two digits, the value to the same place."""
    value, error = figure
    if not math.isfinite(value):
        return not_finite(value)
    if not (math.isfinite(error) and error > 0):
        return _minus(f"{value:z.10g}")
    places = 1 - math.floor(math.log10(error))
    if abs(value) >= _SCIENTIFIC or not -_MOST_PLACES <= places <= _MOST_PLACES:
        digits = (math.floor(math.log10(abs(value))) if value else 0) + places
        digits = min(max(digits, 1), _MOST_DIGITS)
        return _minus(f"{value:.{digits}e} ± {error:.1e}")
    shown = max(places, 0)
    return _minus(f"{round(value, places):z.{shown}f} ± {round(error, places):.{shown}f}")


def sides(change: Change) -> tuple[str, str]:
    """Return what stood there and what stands there now."""
    absent = {"missing": ("there", "missing"), "new": ("not there", "new")}
    # What is no summary has no figure of its own: only its note speaks.
    nothing = not_finite(math.nan) if change.what in SUMMARIES else ""
    words = absent.get(change.kind, (nothing, nothing))
    old = change.was or _side(change.old, words[0])
    new = change.now or _side(change.new, words[1])
    said = change.was or change.now or change.conclusion == "same"
    if old == new and not said and change.old.value != change.new.value:
        # An exact check tells figures apart that differ in their last digits only.
        exact = [f.value for f in (change.old, change.new)]
        if all(math.isfinite(v) for v in exact):
            return _minus(repr(exact[0])), _minus(repr(exact[1]))
    return old, new


def _side(figure: Estimate, word: str) -> str:
    return word if math.isnan(figure.value) else estimate(figure)


def difference(change: Change) -> tuple[str, str]:
    """Return the difference and, in brackets, its 95% interval and margin; both may be empty.

    ``+0.31 sd`` and ``(0.28 to 0.34; margin 0.1)``; for an sd, whose difference is the ln of a
    ratio, ``× 0.85`` and ``(0.84 to 0.86; margin ÷/× 1.1)``; for a share ``+70% of seeds``.
    """
    d = change.difference
    if change.what not in SUMMARIES:
        return (_share(change), "") if math.isfinite(d) else ("", "")
    if change.kind != "moved" or math.isnan(d):
        return "", ""
    if math.isinf(d):
        return "" if change.note else not_finite(d), ""
    return _ratio(change) if change.what == "sd" else _shift(change)


def _share(change: Change) -> str:
    if change.what.startswith("seeds "):
        return _minus(f"{100 * change.difference:+z.0f}% of seeds")
    return _minus(f"{change.difference:+z.3g}")


def _shift(change: Change) -> tuple[str, str]:
    low, high = change.interval
    places = _places(change.difference, low, high)
    margin = "" if math.isnan(change.margin) else f"; margin {_short(change.margin)}"
    words = _interval(low, high, places)
    return f"{_fixed(change.difference, places, sign='+')} sd", f"({words}{margin})"


def _ratio(change: Change) -> tuple[str, str]:
    value = _exp(change.difference)
    low, high = change.interval
    bounds = (_exp(low) if low > -math.inf else -math.inf, _exp(high))
    places = _places(value, *bounds)
    margin = "" if math.isnan(change.margin) else f"; margin ÷/× {_short(_exp(change.margin))}"
    return f"× {_fixed(value, places)}", f"({_interval(*bounds, places)}{margin})"


def _exp(x: float) -> float:
    if math.isnan(x):
        return x
    return math.inf if x > _OVERFLOW else math.exp(x)


def _places(value: float, low: float, high: float) -> int:
    """Return so many decimals that half the interval has one digit."""
    reaches = [abs(value - end) for end in (low, high) if math.isfinite(end)]
    size = max(reaches, default=0.0) or abs(value) / 10
    if not 0 < size < math.inf:
        return 2
    return min(max(-math.floor(math.log10(size)), 0), _MOST_PLACES)


def _fixed(x: float, places: int, sign: str = "-") -> str:
    if not math.isfinite(x):
        return not_finite(x)
    if abs(x) >= _SCIENTIFIC:
        return _minus(f"{x:{sign}.2e}")
    return _minus(f"{x:{sign}z.{places}f}")


def _short(x: float) -> str:
    return _minus(f"{x:.3g}") if math.isfinite(x) else not_finite(x)


def _interval(low: float, high: float, places: int) -> str:
    if math.isnan(low) or math.isnan(high):
        return "interval unknown"
    below, above = not math.isfinite(low), not math.isfinite(high)
    if below and above:
        return "no bounds"
    if below or above:
        return f"below {_fixed(high, places)}" if below else f"above {_fixed(low, places)}"
    return f"{_fixed(low, places)} to {_fixed(high, places)}"


def evidence(change: Change) -> str:
    """Write the difference in its standard errors, ``14 se``; else its p-value, if it has one."""
    sds = abs(change.sds)
    if math.isinf(sds):
        return "infinite"
    if math.isfinite(sds):
        return f"{sds:.0f} se" if _WHOLE_SE <= sds < _SCIENTIFIC else f"{sds:.2g} se"
    if change.p is not None and 0 < change.p < 1:
        return _minus(f"p = {change.p:.1g}".replace("e-0", "e-"))
    return ""
