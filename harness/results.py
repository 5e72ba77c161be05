"""A comparison on disk: tidy CSV files, one JSON with provenance, NetCDF draws.

The columns and keys are a contract with other people's scripts: additions are fine, changes
are not.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.datatree import read_draws
from harness.judge import rules_for
from harness.records import (
    Claim,
    ClaimResult,
    Comparison,
    Cost,
    Finding,
    Measure,
    Model,
    ModelComparison,
    Reference,
    RunResult,
    RunSpec,
    SeedVerdict,
    Verdict,
)

SCHEMA = 1

SENTENCES = 60
"""Findings kept as sentences, per method and per seed; every level is in ``measures`` anyway."""

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
}  # fmt: skip


class ResultsError(ValueError):
    """A results folder that cannot be read, with what is wrong and what to do."""


def method_seconds(model: ModelComparison, method: str) -> float:
    """Return the median seconds of one run of a method, NaN if it never ran."""
    seconds = [r.cost.seconds for r in model.runs if r.spec.method == method]
    return float(np.median(seconds)) if seconds else math.nan


def tables(comparison: Comparison) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the four CSV files, by name, in a stable order."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in COLUMNS}
    for model in comparison.models:
        name = model.model.name
        khat = {(m.method, m.seed): m.value for m in model.measures if m.metric == "khat"}
        rows["verdicts"] += [
            {
                "model": name,
                "method": v.method,
                "level": v.level,
                "cause": "; ".join(v.causes),
                "remedy": "; ".join(v.remedies),
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
    rows["claims"] = [
        {c: getattr(claim, c) for c in COLUMNS["claims"]} for claim in comparison.claims
    ]
    return rows


def write(comparison: Comparison, folder: Path) -> None:
    """Write the CSV files and ``results.json`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables(comparison).items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS[name], lineterminator="\n")
            writer.writeheader()
            writer.writerows({k: _cell(v) for k, v in row.items()} for row in rows)
    text = json.dumps(_plain(comparison), indent=1, allow_nan=False, ensure_ascii=False)
    (folder / "results.json").write_text(_on_one_line(text) + "\n", encoding="utf-8")


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        # Seven digits are far beyond any Monte Carlo error and keep diffs readable.
        return f"{value:.7g}"
    return value


def _on_one_line(text: str) -> str:
    """Fold objects and lists without inner ones onto one line: half the file is measures."""
    return re.sub(
        r"[\[{]\n\s+([^\[\]{}]*?)\n\s+([\]}])",
        lambda m: m.group(0)[0] + re.sub(r"\n\s+", " ", m.group(1)) + m.group(2),
        text,
    )


def _plain(comparison: Comparison) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "provenance": _json(comparison.provenance),
        "claims": _json([dataclasses.asdict(c) for c in comparison.claims]),
        "models": [_plain_model(m) for m in comparison.models],
    }


def _plain_model(model: ModelComparison) -> dict[str, Any]:
    plain: dict[str, Any] = _json(
        {
            "model": {
                **dataclasses.asdict(model.model),
                "stan_file": _relative(model.model.stan_file),
                "data_file": _relative(model.model.data_file),
                "program": _program_text(model.model.stan_file),
            },
            "error": model.error,
            "reference": {
                "kind": model.reference.kind,
                "trusted": model.reference.trusted,
                "why": model.reference.why,
                "findings": [_plain_finding(f) for f in model.reference.findings],
            },
            "notes": model.notes,
            "verdicts": [_plain_verdict(v) for v in model.verdicts],
            "runs": [_plain_run(r) for r in model.runs],
            "measures": [
                [m.method, m.seed, m.quantity, m.metric, m.value, m.mcse, level]
                for m, level in zip(model.measures, model.levels, strict=True)
            ],
        }
    )
    return plain


def _relative(path: Path | None) -> str | None:
    """Name files so that a committed report does not tell whose machine made it."""
    if path is None:
        return None
    return f"{path.parent.name}/{path.name}"


def _program_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _plain_verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        **dataclasses.asdict(dataclasses.replace(verdict, findings=(), by_seed=())),
        "findings": [_plain_finding(f) for f in gravest(verdict.findings)],
        "by_seed": [
            {
                "seed": s.seed,
                "level": s.level,
                "status": s.status,
                "findings": [_plain_finding(f) for f in gravest(s.findings)],
            }
            for s in verdict.by_seed
        ],
    }


def gravest(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return the findings that are written as sentences, the gravest where there are too many."""
    order = ("wrong", "off", "unsure", "close")
    return tuple(sorted(findings, key=lambda f: order.index(f.level))[:SENTENCES])


def _plain_finding(finding: Finding) -> list[Any]:
    """Return a finding without its rule, whose limits stand once in the file."""
    m = finding.measure
    where = [m.method, m.seed, m.quantity, m.metric, m.value, m.mcse, m.reference]
    rule = [finding.rule.close, finding.rule.wrong]
    return [*where, *rule, finding.level, finding.sentence, finding.draws_needed]


def _plain_run(run: RunResult) -> dict[str, Any]:
    return {
        "method": run.spec.method,
        "seed": run.spec.seed,
        "draws": run.spec.draws,
        "options": dict(run.spec.options),
        "key": run.key,
        "status": run.status,
        "message": run.message,
        "diagnostics": dict(run.diagnostics),
        "cost": dataclasses.asdict(run.cost),
        "console": run.console,
    }


_NAMES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _json(value: Any) -> Any:
    """Return a JSON value: seven digits, and non-finite numbers as their names in strings."""
    if isinstance(value, (np.floating, float)):
        number = float(value)
        return float(f"{number:.7g}") if math.isfinite(number) else _NAMES[repr(number)]
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(v) for v in value]
    if isinstance(value, np.integer):
        return int(value)
    return str(value) if isinstance(value, Path) else value


def _unjson(value: Any) -> Any:
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, list):
        return [_unjson(v) for v in value]
    if isinstance(value, dict):
        return {k: _unjson(v) for k, v in value.items()}
    return value


def read(folder: Path) -> Comparison:
    """Read ``results.json`` and the draws beside it.

    Raises
    ------
    ResultsError
        If the folder holds no results, or results of another schema.
    """
    path = folder / "results.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"no results in {folder}: {error.strerror}; make some: harness compare --out {folder}"
        raise ResultsError(msg) from error
    except json.JSONDecodeError as error:
        msg = f"{path} is damaged: line {error.lineno}: {error.msg}; run harness compare again"
        raise ResultsError(msg) from error
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        got = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        msg = f"{path} has schema {got}, this harness reads {SCHEMA}; run harness compare again"
        raise ResultsError(msg)
    try:
        return Comparison(
            models=tuple(_read_model(m, folder) for m in raw["models"]),
            claims=tuple(ClaimResult(**_unjson(c)) for c in raw["claims"]),
            provenance=raw["provenance"],
        )
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path} is damaged ({type(error).__name__}: {error}); run harness compare again"
        raise ResultsError(msg) from error


def _read_model(raw: Mapping[str, Any], folder: Path) -> ModelComparison:
    spec = dict(raw["model"])
    program = spec.pop("program")
    name = spec["name"]
    stan_file = folder / "draws" / name / Path(spec["stan_file"]).name
    if not stan_file.is_file() and program is not None:
        stan_file.parent.mkdir(parents=True, exist_ok=True)
        stan_file.write_text(program, encoding="utf-8")
    model = Model(
        **{
            **spec,
            "stan_file": stan_file,
            "data_file": None if spec["data_file"] is None else Path(spec["data_file"]),
            "quantities": tuple(spec["quantities"]),
            "methods": tuple(spec.get("methods", ())),
            "claims": tuple(Claim(**c) for c in spec["claims"]),
        }
    )
    rows = [_unjson(m) for m in raw["measures"]]
    kind = raw["reference"]["kind"]
    measures = tuple(Measure(name, m[0], m[1], m[2], m[3], m[4], m[5], kind) for m in rows)
    drawn = folder / "draws" / name
    return ModelComparison(
        model=model,
        error=raw["error"],
        reference=Reference(
            kind=kind,
            trusted=raw["reference"]["trusted"],
            why=raw["reference"]["why"],
            draws=read_draws(drawn / "reference.nc")[0],
            findings=tuple(_read_finding(name, f) for f in raw["reference"]["findings"]),
        ),
        runs=tuple(_read_run(name, r, drawn) for r in raw["runs"]),
        measures=measures,
        levels=tuple(m[6] for m in rows),
        verdicts=tuple(_read_verdict(v) for v in raw["verdicts"]),
        notes=tuple(raw["notes"]),
    )


def _read_finding(model: str, raw: list[Any]) -> Finding:
    method, seed, quantity, metric, value, mcse, kind, close, wrong, level, said, needed = _unjson(
        raw
    )
    measure = Measure(model, method, seed, quantity, metric, value, mcse, kind)
    rule = dataclasses.replace(rules_for()[metric], close=close, wrong=wrong)
    return Finding(rule, measure, level, said, needed)


def _read_verdict(raw: Mapping[str, Any]) -> Verdict:
    return Verdict(
        **{
            **raw,
            "findings": tuple(_read_finding(raw["model"], f) for f in raw["findings"]),
            "notes": tuple(raw["notes"]),
            "causes": tuple(raw["causes"]),
            "remedies": tuple(raw["remedies"]),
            "by_seed": tuple(
                SeedVerdict(
                    s["seed"],
                    s["level"],
                    s["status"],
                    tuple(_read_finding(raw["model"], f) for f in s["findings"]),
                )
                for s in raw["by_seed"]
            ),
        }
    )


def _read_run(model: str, raw: Mapping[str, Any], folder: Path) -> RunResult:
    plain = _unjson(raw)
    draws, trace = read_draws(folder / f"{plain['method']}-{plain['seed']}.nc")
    return RunResult(
        spec=RunSpec(model, plain["method"], plain["options"], plain["seed"], plain["draws"]),
        key=plain["key"],
        status=plain["status"],
        message=plain["message"],
        draws=draws,
        trace=trace,
        diagnostics=plain["diagnostics"],
        cost=Cost(**plain["cost"]),
        versions={},
        console=plain["console"],
    )
