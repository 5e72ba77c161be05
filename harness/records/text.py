"""Numbers as a reader wants them: few digits, a true minus sign, errors beside values."""

from __future__ import annotations

import math
from collections.abc import Sequence

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_GROUP = "\u202f"  # narrow no-break space, so that 10 000 never breaks over a line
_PLAIN_TO = 1e5
_PLAIN_FROM = 1e-3
_GROUPED_FROM = 1e4
_DIGITS = 6
_EXACT = 1e-15  # errors below rounding are none


def number(value: float, digits: int = 2) -> str:
    """Return ``value`` with ``digits`` significant digits, never in silence for NaN.

    Examples
    --------
    >>> number(-0.4831), number(12345.0), number(float("nan"))
    ('−0.48', '12 345', 'not a number')
    """
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= _PLAIN_TO or size < _PLAIN_FROM:
        return _scientific(value, digits)
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return _plain(value, decimals)


def _plain(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    if abs(value) >= _GROUPED_FROM:
        whole, _, rest = text.partition(".")
        text = f"{int(whole):,}".replace(",", _GROUP) + (f".{rest}" if rest else "")
    return text.replace("-", "−")


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{max(digits - 1, 0)}e}".split("e")
    power = str(int(exponent)).translate(_SUPERSCRIPT)
    return f"{mantissa} × 10{power}".replace("-", "−")


def estimate(value: float, error: float) -> str:
    """Return ``value ± error`` with as many decimals as the error deserves.

    An error that is not a number is named, not dropped.
    """
    if not math.isfinite(value):
        return number(value)
    if not math.isfinite(error):
        return f"{number(value)} ± {'unknown' if math.isnan(error) else '∞'}"
    if error <= abs(value) * _EXACT:
        return number(value, 3)
    if max(abs(value), error) >= _PLAIN_TO or error < _PLAIN_FROM**2:
        return f"{number(value, 3)} ± {number(error, 1)}"
    decimals = min(6, max(0, -math.floor(math.log10(error))))
    # An error of 0.014 said as 0.01 is a third off: a leading 1 gets one more digit.
    if error * 10**decimals < 2 and decimals > 0:  # noqa: PLR2004 - the leading digit
        decimals = min(6, decimals + 1)
    if value:
        decimals = min(decimals, max(0, _DIGITS - 1 - math.floor(math.log10(abs(value)))))
    shown = _plain(error, decimals)
    if float(shown.replace(_GROUP, "")) == 0:
        shown = f"<{10.0**-decimals:.{decimals}f}"
    return f"{_plain(value, decimals)} ± {shown}"


def seconds(value: float) -> str:
    """Return a time as people say it: ``0.12 s``, ``48 s``, ``3.1 min``, ``2.0 h``."""
    if not math.isfinite(value):
        return number(value)
    if value < 120:  # noqa: PLR2004 - two minutes
        return f"{number(value)} s"
    if value < 7200:  # noqa: PLR2004 - two hours
        return f"{number(value / 60)} min"
    return f"{number(value / 3600)} h"


def count(n: int, noun: str, plural: str = "") -> str:
    """Return ``1 seed`` or ``3 seeds``."""
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def span(values: Sequence[float], digits: int = 2) -> str:
    """Return ``0.1 to 0.5``, or one number where both ends read the same."""
    if not len(values):
        return "none"
    low, high = number(min(values), digits), number(max(values), digits)
    return low if low == high else f"{low} to {high}"


def listed(items: Sequence[str], at_most: int = 6) -> str:
    """Return ``a, b and c``; a long list is cut and says by how much."""
    if len(items) > at_most:
        return f"{', '.join(items[:at_most])} and {len(items) - at_most} more"
    if len(items) < 2:  # noqa: PLR2004 - nothing to join
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
