"""Baselines written and checked: runs, summaries, comparisons, and more runs where it is close.

A comparison's runs are stored by what they depend on, so a check of something that did not
change runs nothing twice, and one that needs more seeds runs only those.
"""

from __future__ import annotations

from harness.checking.check import check
from harness.checking.request import BUDGET, CANDIDATE, Request, Target, locate, to_write
from harness.checking.write import rewrite, write_baselines

__all__ = [
    "BUDGET",
    "CANDIDATE",
    "Request",
    "Target",
    "check",
    "locate",
    "rewrite",
    "to_write",
    "write_baselines",
]
