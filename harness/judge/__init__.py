"""From figures with errors to verdicts with reasons. Pure: no I/O, no randomness."""

from __future__ import annotations

from harness.judge.chains import ChainJudgement, judge_chains
from harness.judge.context import JudgeContext
from harness.judge.rules import (
    AT_LEAST,
    CHAIN_RULES,
    RULES,
    closeness,
    critical_z,
    draws_needed,
    levels,
    rules_for,
)
from harness.judge.verdict import judge_method, level_text

__all__ = [
    "AT_LEAST",
    "CHAIN_RULES",
    "RULES",
    "ChainJudgement",
    "JudgeContext",
    "closeness",
    "critical_z",
    "draws_needed",
    "judge_chains",
    "judge_method",
    "level_text",
    "levels",
    "rules_for",
]
