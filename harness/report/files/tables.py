"""A comparison as tidy tables: the rows of the CSV files, and what their columns are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.metrics import KHAT
from harness.records import Comparison, Gap, ModelComparison, Trial
from harness.why import words

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "verdicts": (
        "model", "method", "level", "cause", "remedy", "seeds", "seeds_failed", "seconds",
        "reference", "typical", "headline",
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
            {
                "model": name,
                "method": v.method,
                "level": v.level,
                "cause": str(words.cause_in_short(v)),
                "remedy": words.remedy_in_short(v),
                "seeds": v.seeds,
                "seeds_failed": v.seeds_failed,
                "seconds": method_seconds(model, v.method),
                "reference": model.reference.kind,
                "typical": v.typical,
                "headline": v.headline,
            }
            for v in model.verdicts
        ]
        rows["measures"] += [
            {
                "model": name,
                "method": m.method,
                "seed": m.seed,
                "quantity": m.quantity,
                "metric": m.metric,
                "value": m.value,
                "mcse": m.mcse,
                "level": level,
            }
            for m, level in zip(model.measures, model.levels, strict=True)
        ]
        rows["runs"] += [
            {
                "model": name,
                "method": r.spec.method,
                "seed": r.spec.seed,
                "status": r.status,
                "message": r.message,
                "seconds": r.cost.seconds,
                "iterations": r.diagnostics.get("iterations"),
                "eta": r.diagnostics.get("eta"),
                "khat": khat.get((r.spec.method, r.spec.seed)),
                "log_density_evaluations": r.cost.log_density_evaluations,
                "gradient_evaluations": r.cost.gradient_evaluations,
                "draws": r.spec.draws,
            }
            for r in model.runs
        ]
        gaps = () if model.explanation is None else model.explanation.gaps
        rows["gaps"] += [_gap_row(name, g) for g in gaps]
        rows["trials"] += [_trial_row(name, t) for t in model.trials]
    rows["claims"] = [
        {c: getattr(claim, c) for c in COLUMNS["claims"]} for claim in comparison.claims
    ]
    return rows


def _gap_row(model: str, gap: Gap) -> dict[str, Any]:
    return {
        "model": model,
        "method": gap.method,
        "seed": gap.seed,
        "family": gap.family,
        "family_gap": gap.family_gap.value,
        "family_gap_error": gap.family_gap.mcse,
        "optimiser_gap": gap.optimiser_gap.value,
        "optimiser_gap_error": gap.optimiser_gap.mcse,
        "cause": "; ".join(c.name for c in gap.causes),
        "exact": gap.exact,
        "words": gap.words,
    }


def _trial_row(model: str, trial: Trial) -> dict[str, Any]:
    own = {c: getattr(trial, c) for c in COLUMNS["trials"] if c not in {"model", "what"}}
    return {
        "model": model,
        **own,
        "what": words.remedy_what(trial),
        "before": trial.before.value,
        "after": trial.after.value,
    }


def cell(value: Any) -> Any:
    """Return a value as a CSV file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        # Seven digits are far beyond any Monte Carlo error and keep diffs readable.
        return f"{value:.7g}"
    return value
