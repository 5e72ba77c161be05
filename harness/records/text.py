"""How figures and foreign text are written for people: the only place that decides it.

========================  ==============================  =========================================
figure                    function                        written
========================  ==============================  =========================================
a measured value          ``number(-0.4831)``             ``−0.48``, two significant digits
of 10 000 or more         ``number(12345.6)``             ``12 346``, a narrow no-break space
of 100 000 or more        ``number(1.2e6)``               ``1.2 × 10⁶``
under 0.001               ``number(1.2e-5)``              ``1.2 × 10⁻⁵``
NaN, infinity             ``number(math.nan)``            ``unknown``, ``∞``, ``−∞``
a chosen value            ``setting(0.1)``                ``0.1``, no digit more than it has
fixed decimals            ``fixed(1.00234, 3)``           ``1.002``
a whole number            ``integer(123456)``             ``123 456``
with its error            ``estimate(1.024, 0.0142)``     ``1.024 ± 0.014``
of a large value          ``estimate(3e6, 2e4)``          ``(3.00 ± 0.02) × 10⁶``
an unknown error          ``estimate(1.02, math.nan)``    ``1.0 ± unknown``
a share                   ``percent(0.125)``              ``12%``, ``0.04%``, ``99.97%``
a time                    ``seconds(150)``                ``0.12 s``, ``48 s``, ``2.5 min``, ``2 h``
a count of things         ``count(3, "seed")``            ``3 seeds``
a range                   ``span([0.1, 0.5])``            ``0.10 to 0.50``
a list                    ``listed(["a", "b", "c"])``     ``a, b and c``
========================  ==============================  =========================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from harness.records.numbers import Estimate

UNKNOWN = "unknown"

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_GROUP = "\u202f"  # narrow no-break space, so that 10 000 never breaks over a line
_PLAIN_TO = 1e5
_PLAIN_FROM = 1e-3
_GROUPED_FROM = 1e4
_DIGITS = 6
_COUNTED_TO = 1e9  # digits that an error makes sure of are written out up to here
_SMALLEST = 1e-300  # nearer to zero, powers of ten cannot be divided by
_EXACT = 1e-15  # errors below rounding are none
_FINEST = 4  # decimals of a percentage

# What XML forbids, what moves a terminal's cursor or changes its colours, and what turns the
# letters behind it around, so that a line reads as another one.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufffe\uffff]"
)
_BREAKS = re.compile("\r\n?|\x85|\u2028|\u2029")
_LINE_COMMAND = re.compile(r"(?<!\w)::")


def number(value: float, digits: int = 2) -> str:
    """Write a measured value with ``digits`` significant digits."""
    if value == 0 or not math.isfinite(value):
        return fixed(value, 0)
    mantissa, exponent = f"{value:.{max(digits - 1, 0)}e}".split("e")
    # Rounding comes first: 99 999.6 has become 100 000 and is written as such.
    if not _PLAIN_FROM <= abs(float(f"{mantissa}e{exponent}")) < _PLAIN_TO:
        return _scientific(mantissa, int(exponent))
    return fixed(value, max(0, digits - 1 - int(exponent)))


def setting(value: float) -> str:
    """Write a value that somebody chose (a limit, a step size) without trailing zeros."""
    if value == 0 or not math.isfinite(value):
        return fixed(value, 0)
    mantissa, exponent = f"{value:.{_DIGITS - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    if not _PLAIN_FROM <= abs(value) < 10 * _PLAIN_TO:
        return _scientific(mantissa, int(exponent))
    decimals = len(mantissa.lstrip("-").replace(".", "")) - 1 - int(exponent)
    return fixed(value, max(0, decimals))


def fixed(value: float, decimals: int) -> str:
    """Write a value with a fixed number of decimals."""
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    if abs(float(text)) >= _GROUPED_FROM:
        whole, _, rest = text.partition(".")
        text = f"{int(whole):,}".replace(",", _GROUP) + (f".{rest}" if rest else "")
    return text.replace("-", "−")


def integer(value: float) -> str:
    """Write a whole number in full."""
    return fixed(value, 0)


def _scientific(mantissa: str, exponent: int) -> str:
    power = f"10{str(exponent).translate(_SUPERSCRIPT)}"
    return f"{mantissa} × {power}".replace("-", "−")


def estimate(value: float, error: float) -> str:
    """Write ``value ± error`` with as many decimals as the error deserves."""
    if not math.isfinite(value):
        return number(value)
    if not (math.isfinite(error) and error >= 0):
        return f"{number(value)} ± {number(abs(error))}"
    if error <= abs(value) * _EXACT:
        return number(value, 3)
    size = max(abs(value), error)
    tiny = size < _SMALLEST
    if not tiny and not _PLAIN_FROM <= size < (
        _PLAIN_TO if error > size * _PLAIN_FROM else _COUNTED_TO
    ):
        exponent = math.floor(math.log10(size))
        inside = estimate(value / 10.0**exponent, error / 10.0**exponent)
        return f"({inside}) × 10{str(exponent).translate(_SUPERSCRIPT)}"
    if tiny or error < _PLAIN_FROM**2:
        return f"{number(value, 3)} ± {number(error, 1)}"
    decimals = min(_DIGITS, max(0, -math.floor(math.log10(error))))
    # An error of 0.014 written as 0.01 is a third off: a leading 1 gets one more digit.
    if error * 10**decimals < 2 and decimals > 0:  # noqa: PLR2004 - the leading digit
        decimals = min(_DIGITS, decimals + 1)
    return f"{fixed(value, decimals)} ± {fixed(error, decimals)}"


def with_error(figure: Estimate) -> str:
    """Write an estimate with its standard error."""
    return estimate(*figure)


def percent(share: float, decimals: int = 0) -> str:
    """Write a share as a percentage; what is not none or all never reads 0% or 100%."""
    if not math.isfinite(share):
        return number(share)
    while decimals < _FINEST and f"{100 * abs(share):.{decimals}f}" in _ends(decimals, share):
        decimals += 1
    return f"{fixed(100 * share, decimals)}%"


def _ends(decimals: int, share: float) -> tuple[str, ...]:
    ends = ((0.0, share != 0), (100.0, abs(share) != 1))
    return tuple(f"{end:.{decimals}f}" for end, spurious in ends if spurious)


def seconds(value: float) -> str:
    """Write a time as people say it."""
    if not math.isfinite(value):
        return number(value)
    if value < 120:  # noqa: PLR2004 - two minutes
        return f"{number(value)} s"
    if value < 7200:  # noqa: PLR2004 - two hours
        return f"{number(value / 60)} min"
    return f"{number(value / 3600)} h"


def count(n: int, noun: str, plural: str = "") -> str:
    """Write how many there are of something."""
    return f"{integer(n)} {noun if n == 1 else plural or noun + 's'}"


def span(values: Sequence[float], digits: int = 2) -> str:
    """Write the range of some values, or one value where both ends read the same."""
    if not len(values):
        return "none"
    low, high = number(min(values), digits), number(max(values), digits)
    return low if low == high else f"{low} to {high}"


def combination(terms: Sequence[tuple[str, float]], at_most: int = 6) -> str:
    """Write a linear combination: ``a − 0.50 b``."""
    said = ""
    for name, factor in terms[:at_most]:
        sign = "−" if factor < 0 else "+"
        said += f" {sign} " if said else sign.replace("+", "")
        said += name if abs(factor) == 1 else f"{number(abs(factor))} {name}"
    more = len(terms) - at_most
    return f"{said} and {count(more, 'more term')}" if more > 0 else said


def listed(items: Sequence[str], at_most: int = 6) -> str:
    """Write a list; one that is too long is cut and says by how much."""
    if len(items) > at_most:
        return f"{', '.join(items[:at_most])} and {len(items) - at_most} more"
    if len(items) < 2:  # noqa: PLR2004 - nothing to join
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def capital(sentence: str) -> str:
    """Begin with a capital letter, and leave the rest as it is."""
    return sentence[:1].upper() + sentence[1:]


def ended(sentence: str) -> str:
    """End with a full stop, unless a quotation at the end has one."""
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


# --- text from elsewhere: names, messages, programs -------------------------------------------


def visible(text: str) -> str:
    """Return the text with control and bidirectional characters, but no tabs, as their codes."""
    return _CONTROL.sub(_code, text)


def _code(match: re.Match[str]) -> str:
    point = ord(match[0])
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}"  # noqa: PLR2004 - a byte


def printed(text: str) -> str:
    """Return the text for a terminal, where nothing in it moves the cursor or commands anything.

    A runner of GitHub's takes a printed line that begins with ``::``, or has ``##[`` in it, for a
    command; a zero-width space, which cannot be seen, ends that. ``stats::sd`` stays as it is.
    """
    return _LINE_COMMAND.sub(":\u200b:", visible(text)).replace("##[", "#\u200b#[")


def clean(text: str) -> str:
    """Return the text with line feeds as its only breaks, and other characters :func:`visible`."""
    return visible(_BREAKS.sub("\n", text))


def one_line(text: str) -> str:
    """Return the clean text on one line, without spaces at its ends."""
    return " ".join(clean(text).split())


def clip(text: str, most: int, *, words: bool = False) -> str:
    """Return at most ``most`` characters, or whole ``words``, and an ellipsis for those lost."""
    if len(text) <= most:
        return text
    cut = text[: most - 1]
    return (cut[: cut.rindex(" ") + 1] if words and " " in cut else cut) + "…"


def head(text: str, lines: int) -> str:
    """Return the first lines, and how many more there are."""
    all_lines = clean(text).rstrip("\n").split("\n")
    more = len(all_lines) - lines
    if more <= 0:
        return "\n".join(all_lines)
    return "\n".join([*all_lines[:lines], f"… {count(more, 'more line')}"])
