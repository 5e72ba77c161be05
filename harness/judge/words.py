"""Limits and shares as they stand in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.judge.rules import AT_LEAST
from harness.records.text import fixed, listed, percent, setting

if TYPE_CHECKING:
    from harness.records import Rule


def limits(rule: Rule) -> str:
    """Write a rule's limits in the unit of its sentence."""
    if rule.metric in AT_LEAST:
        return f"at least {setting(rule.close)} needed"
    if rule.metric == "treedepth_hits":
        return f"at most {percent(rule.close)} allowed"
    if rule.metric in {"rhat", "divergences"}:
        return f"at most {setting(rule.close)} allowed"
    if rule.metric in {"log_width_ratio", "worst_direction"}:
        ends = [fixed(math.exp(x), 2) for x in (-rule.close, rule.close, -rule.wrong, rule.wrong)]
        return "{} to {} is close, outside {} to {} is wrong".format(*ends)
    if rule.close == rule.wrong:
        return f"at most {setting(rule.close)} allowed"
    return f"up to {setting(rule.close)} is close, beyond {setting(rule.wrong)} wrong"


def shares_listed(shares: Sequence[float]) -> str:
    """Write shares as ``6%, 72% and 20%``."""
    return listed([percent(share) for share in shares], len(shares))
