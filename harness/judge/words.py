"""Numbers, limits and names as they stand in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.judge.rules import AT_LEAST
from harness.records.method_titles import TITLES

if TYPE_CHECKING:
    from harness.records import Estimate, Rule

__all__ = ["TITLES", "capital", "limits", "listed", "number", "with_error"]


def number(x: float, digits: int = 2) -> str:
    """Write a number with a true minus sign and as many significant digits."""
    if math.isnan(x):
        return "unknown"
    if math.isinf(x):
        return "infinite" if x > 0 else "minus infinity"
    if x != 0 and not 1e-4 <= abs(x) < 1e6:  # noqa: PLR2004 (where decimals stop being readable)
        text = f"{x:.{digits - 1}e}"
    else:
        decimals = digits - 1 - (math.floor(math.log10(abs(x))) if x else 0)
        text = f"{x:.{max(decimals, 0)}f}"
    return text.replace("-", "−")


def capital(sentence: str) -> str:
    """Begin with a capital letter, and leave the rest as it is."""
    return sentence[:1].upper() + sentence[1:]


def with_error(estimate: Estimate) -> str:
    """Write ``0.41 ± 0.01``, the error rounded to one digit, the value to the error's place."""
    value, error = estimate
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return number(value)
    places = max(-math.floor(math.log10(error)), 0)
    if places > 6 or abs(value) >= 1e6:  # noqa: PLR2004 (where decimals stop being readable)
        return f"{number(value)} ± {number(error, 1)}"
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", "−")


def limits(rule: Rule) -> str:
    """Write a rule's limits in the unit in which its sentence gives the figure."""
    if rule.metric in AT_LEAST:
        return f"at least {rule.close:g} needed"
    if rule.metric == "treedepth_hits":
        return f"at most {rule.close:.0%} allowed"
    if rule.metric in {"rhat", "divergences"}:
        return f"at most {rule.close:g} allowed"
    if rule.metric in {"log_width_ratio", "worst_direction"}:
        low, high = math.exp(rule.close), math.exp(rule.wrong)
        return f"{1 / low:.2f} to {low:.2f} is close, outside {1 / high:.2f} to {high:.2f} is wrong"
    if rule.close == rule.wrong:
        return f"at most {rule.close:g} allowed"
    return f"up to {rule.close:g} is close, beyond {rule.wrong:g} wrong"


def listed(shares: Sequence[float]) -> str:
    """Write shares as ``6%, 72% and 20%``."""
    words = [f"{share:.0%}" for share in shares]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
