"""Reading a comparison back from ``results.json`` and the draws beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.judge import rules_for
from harness.records import (
    Cause,
    Claim,
    ClaimResult,
    Comparison,
    Cost,
    Estimate,
    Explanation,
    Finding,
    Gap,
    Measure,
    Model,
    ModelComparison,
    Reference,
    RunResult,
    RunSpec,
    SeedVerdict,
    Trial,
    Verdict,
)
from harness.report.files.netcdf import read_draws
from harness.report.files.numbers import from_json
from harness.report.files.writing import SCHEMA
from harness.why.verdicts import explained


class ResultsError(ValueError):
    """A results folder that cannot be read, with what is wrong and what to do."""


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
            claims=tuple(ClaimResult(**from_json(c)) for c in raw["claims"]),
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
    rows = [from_json(m) for m in raw["measures"]]
    kind = raw["reference"]["kind"]
    measures = tuple(Measure(name, m[0], m[1], m[2], m[3], m[4], m[5], kind) for m in rows)
    drawn = folder / "draws" / name
    found = ModelComparison(
        model=model,
        error=raw["error"],
        reference=Reference(
            kind=kind,
            trusted=raw["reference"]["trusted"],
            why=raw["reference"]["why"],
            draws=read_draws(drawn / "reference.nc")[0],
            findings=tuple(_read_finding(name, f) for f in raw["reference"]["findings"]),
            short=raw["reference"].get("short", ""),
        ),
        runs=tuple(_read_run(name, r, drawn) for r in raw["runs"]),
        measures=measures,
        levels=tuple(m[6] for m in rows),
        verdicts=tuple(_read_verdict(v) for v in raw["verdicts"]),
        notes=tuple(raw["notes"]),
        explanation=_read_explanation(raw.get("explanation")),
        trials=tuple(_read_trial(t) for t in raw.get("trials", ())),
    )
    return explained(found)


def _read_finding(model: str, raw: list[Any]) -> Finding:
    method, seed, quantity, metric, value, mcse, kind, close, wrong, level, said, needed = (
        from_json(raw)
    )
    measure = Measure(model, method, seed, quantity, metric, value, mcse, kind)
    rule = dataclasses.replace(rules_for()[metric], close=close, wrong=wrong)
    return Finding(rule, measure, level, said, needed)


def _read_verdict(raw: Mapping[str, Any]) -> Verdict:
    # The words of causes and remedies are not read: both are found again from their facts.
    said = {"cause", "causes", "remedy", "remedies"}
    return Verdict(
        **{
            **{key: value for key, value in raw.items() if key not in said},
            "findings": tuple(_read_finding(raw["model"], f) for f in raw["findings"]),
            "notes": tuple(raw["notes"]),
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
    plain = from_json(raw)
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


def _read_explanation(raw: Mapping[str, Any] | None) -> Explanation | None:
    """Return why; None where nobody asked, as in files that are older than the question."""
    if raw is None:
        return None
    plain = from_json(raw)
    return Explanation(
        log_evidence=Estimate(*plain["log_evidence"]),
        source=plain["source"],
        gaps=tuple(
            Gap(
                **{
                    **gap,
                    "family_gap": Estimate(*gap["family_gap"]),
                    "optimiser_gap": Estimate(*gap["optimiser_gap"]),
                    "causes": tuple(_read_cause(c) for c in gap["causes"]),
                }
            )
            for gap in plain["gaps"]
        ),
        notes=tuple(plain["notes"]),
        complete=bool(plain.get("complete", True)),
    )


def _read_cause(plain: Mapping[str, Any]) -> Cause:
    """Return a cause; those of older files have their sentence for evidence."""
    evidence = plain.get("figures", {"said": plain["evidence"]})
    return Cause(plain["gap"], plain["name"], plain["nats"], evidence)


def _read_trial(raw: Mapping[str, Any]) -> Trial:
    """Return a trial; those of older files have words for facts."""
    plain = from_json(raw)
    pair = {key: Estimate(*plain[key]) for key in ("before", "after")}
    what, words, helps = (plain.pop(key) for key in ("what", "words", "helps"))
    if "outcome" not in plain:
        tried = "no help" if plain["level_after"] is not None else "not tried"
        plain |= {
            "ran": plain["method"],
            "options": {},
            "outcome": "helps" if helps else tried,
            "facts": {"what": what, "words": words},
        }
    return Trial(**{**plain, **pair})
