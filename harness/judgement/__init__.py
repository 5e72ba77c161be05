"""From figures with errors to verdicts with reasons. Pure: no I/O, no randomness."""

from __future__ import annotations

from harness.judgement.context import z_of
from harness.judgement.levels import levels
from harness.judgement.rules import closeness, draws_needed, rules_for
from harness.judgement.trust import (
    RHAT_CAP,
    ChainJudgement,
    chain_rules,
    disproved,
    judge_chains,
    unsearched,
)
from harness.judgement.verdict import judge_method, level_text, seeds_text
from harness.metrics.errors import critical_z
from harness.metrics.metric import JudgeContext

__all__ = [
    "RHAT_CAP",
    "ChainJudgement",
    "JudgeContext",
    "chain_rules",
    "closeness",
    "critical_z",
    "disproved",
    "draws_needed",
    "judge_chains",
    "judge_method",
    "level_text",
    "levels",
    "rules_for",
    "seeds_text",
    "unsearched",
    "z_of",
]
