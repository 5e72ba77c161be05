"""A comparison as tidy tables: the rows of the CSV files, and what their columns are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.metrics import KHAT
from harness.records import Comparison, ModelComparison
from harness.why import words

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "verdicts": (
        "model", "method", "level", "cause", "remedy", "seeds", "seeds_failed", "seconds",
        "reference", "typical", "headline", "evidence",
    ),
    "measures": ("model", "method", "seed", "quantity", "metric", "value", "mcse", "level"),
    "runs": (
        "model", "method", "seed", "status", "message", "seconds", "iterations", "eta", "khat",
        "log_density_evaluations", "gradient_evaluations", "draws",
    ),
    "claims": (
        "model", "claim", "expected", "measured", "error", "holds", "source", "sentence",
    ),
    "gaps": (
        "model", "method", "seed", "family", "family_gap", "family_gap_error", "optimiser_gap",
        "optimiser_gap_error", "cause", "exact", "words",
    ),
    "trials": (
        "model", "method", "remedy", "what", "level_before", "level_after", "metric", "quantity",
        "before", "after", "seconds_before", "seconds", "helps",
    ),
}  # fmt: skip


def method_seconds(model: ModelComparison, method: str) -> float:
    """Return the median seconds of one run of a method, NaN if it never ran."""
    seconds = [r.cost.seconds for r in model.runs if r.spec.method == method]
    return float(np.median(seconds)) if seconds else math.nan


def tables(comparison: Comparison) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the CSV files, by name, in a stable order."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in COLUMNS}
    for model in comparison.models:
        name = model.model.name
        khat = {(m.method, m.seed): m.value for m in model.measures if m.metric == KHAT.id}
        rows["verdicts"] += [
            _row(
                "verdicts",
                v,
                cause=str(words.cause_in_short(v)),
                remedy=words.remedy_in_short(v),
                seconds=method_seconds(model, v.method),
                reference=model.reference.kind,
            )
            for v in model.verdicts
        ]
        rows["measures"] += [
            _row("measures", m, level=level)
            for m, level in zip(model.measures, model.levels, strict=True)
        ]
        rows["runs"] += [
            _row(
                "runs",
                r.spec,
                status=r.status,
                message=r.message,
                iterations=r.diagnostics.get("iterations"),
                eta=r.diagnostics.get("eta"),
                khat=khat.get((r.spec.method, r.spec.seed)),
                **dataclasses.asdict(r.cost),
            )
            for r in model.runs
        ]
        gaps = () if model.explanation is None else model.explanation.gaps
        rows["gaps"] += [
            _row(
                "gaps",
                g,
                model=name,
                family_gap=g.family_gap.value,
                family_gap_error=g.family_gap.mcse,
                optimiser_gap=g.optimiser_gap.value,
                optimiser_gap_error=g.optimiser_gap.mcse,
                cause="; ".join(c.name for c in g.causes),
            )
            for g in gaps
        ]
        rows["trials"] += [
            _row(
                "trials",
                t,
                model=name,
                what=words.remedy_what(t),
                before=t.before.value,
                after=t.after.value,
            )
            for t in model.trials
        ]
    rows["claims"] = [_row("claims", claim) for claim in comparison.claims]
    return rows


def _row(table: str, record: Any, **own: Any) -> dict[str, Any]:
    """Return the record's fields, or what is given in their place."""
    return {c: own[c] if c in own else getattr(record, c) for c in COLUMNS[table]}


def cell(value: Any) -> Any:
    """Return a value as a CSV file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        # Seven digits are far beyond any Monte Carlo error and keep diffs readable.
        return f"{value:.7g}"
    return value
