"""Everything known about one model, and about all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.records.gaps import Explanation, Trial
from harness.records.levels import Closeness
from harness.records.models import ClaimResult, Model
from harness.records.runs import RunResult
from harness.records.verdicts import Measure, Reference, Verdict


@dataclass(frozen=True, slots=True, eq=False)
class ModelComparison:
    """Everything known about one model. ``error`` says what kept it from being compared."""

    model: Model
    error: str | None
    reference: Reference
    runs: tuple[RunResult, ...] = ()
    measures: tuple[Measure, ...] = ()
    levels: tuple[Closeness | None, ...] = ()
    """Closeness of each measure, in the order of ``measures``; None where no rule applies."""
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out and why: skipped methods, constant quantities, …"""
    explanation: Explanation | None = None
    """None where nobody asked why."""
    trials: tuple[Trial, ...] = ()
    """Remedies that were tried, in the order of the verdicts."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A whole comparison with what is needed to repeat it."""

    models: tuple[ModelComparison, ...]
    claims: tuple[ClaimResult, ...]
    provenance: Mapping[str, Any]
    """``command``, ``date``, ``versions``, ``seeds``, ``seconds``, ``hashes``."""
