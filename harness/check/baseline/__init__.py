"""Baselines: what a comparison found, written down; and whether it still finds the same.

Arrays and records in, records out: nothing here runs CmdStan, so other people's test suites
can use it on draws of any origin (:mod:`harness.check.pytest_plugin`).
"""

from __future__ import annotations

from harness.check.baseline.change import ALPHA, Change, conclude, exit_code
from harness.check.baseline.compare import Margins, compare_method
from harness.check.baseline.file import dumps, read, write
from harness.check.baseline.form import (
    SCHEMA,
    Baseline,
    BaselineError,
    Figure,
    MethodBaseline,
    Share,
)
from harness.check.baseline.outcome import CheckOutcome, ModelCheck
from harness.check.baseline.summarise import Summary, fingerprint, of_draws, of_seeds, settle

__all__ = [
    "ALPHA",
    "SCHEMA",
    "Baseline",
    "BaselineError",
    "Change",
    "CheckOutcome",
    "Figure",
    "Margins",
    "MethodBaseline",
    "ModelCheck",
    "Share",
    "Summary",
    "compare_method",
    "conclude",
    "dumps",
    "exit_code",
    "fingerprint",
    "of_draws",
    "of_seeds",
    "read",
    "settle",
    "write",
]
