"""Writing a comparison: the CSV files, and one JSON with provenance."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import records
from harness.judgement.aggregate import GRAVITY
from harness.records.whole import write_text
from harness.report.files.numbers import EXACT, to_json
from harness.report.files.tables import COLUMNS, cell, tables
from harness.why import words
from harness.why.causes import cause_sentence

SCHEMA = 2
"""Before, in 1, every model of ``results.json`` had its measures."""

_CLOCKED = ("seconds", "seconds_before")
"""Columns of what a clock measured."""

SENTENCES = 60
"""Findings of a method kept as sentences; every figure and level is in ``measures`` anyway."""


def write(comparison: records.Comparison, folder: Path, *, seconds: bool = True) -> None:
    """Write the CSV files and ``results.json`` into a folder, each whole or not at all.

    Without ``seconds``, CSV files have no column of them; the comparison should have none either.
    Measures are in ``measures.csv`` alone: ``results.json``, written last, has its checksum.
    """
    written = {
        f"{name}.csv": _csv([c for c in COLUMNS[name] if seconds or c not in _CLOCKED], rows)
        for name, rows in tables(comparison).items()
    }
    plain = {
        "schema": SCHEMA,
        "provenance": to_json(comparison.provenance),
        "claims": to_json([dataclasses.asdict(c) for c in comparison.claims]),
        "measures_sha256": checksum(written["measures.csv"]),
        "models": [_plain_model(m) for m in comparison.models],
    }
    written["results.json"] = _text(plain) + "\n"
    for name, text in written.items():
        write_text(folder / name, text)
        (folder / f"{name}.gz").unlink(missing_ok=True)


def checksum(text: str) -> str:
    """Return the SHA-256 of a text, whatever its line ends: git may change them."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: cell(v) for k, v in row.items()} for row in rows)
    return text.getvalue()


def _text(value: Any, indent: str = "\n") -> str:
    """Return JSON in which lists and objects without inner ones take one line: a finding does."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(v, dict | list) for v in inner):
        return json.dumps(value, allow_nan=False, ensure_ascii=False)
    further = f"{indent} "
    if isinstance(value, list):
        return f"[{further}{f',{further}'.join(_text(v, further) for v in value)}{indent}]"
    named = (f"{_text(k)}: {_text(v, further)}" for k, v in value.items())
    return f"{{{further}{f',{further}'.join(named)}{indent}}}"


def _plain_model(model: records.ModelComparison) -> dict[str, Any]:
    plain: dict[str, Any] = to_json(
        {
            "model": {
                **dataclasses.asdict(model.model),
                "stan_file": _relative(model.model.stan_file),
                "data_file": _relative(model.model.data_file),
                "draws_file": _relative(model.model.draws_file),
                "program": _program_text(model.model.stan_file),
            },
            "error": model.error,
            "reference": {
                "kind": model.reference.kind,
                "trusted": model.reference.trusted,
                "why": model.reference.why,
                "short": model.reference.short,
                "findings": [_plain_finding(f) for f in model.reference.findings],
                "unsought": model.reference.unsought,
                "attempts": [dataclasses.asdict(a) for a in model.reference.attempts],
                "seconded": model.reference.seconded,
                "disagreement": None
                if model.reference.disagreement is None
                else dataclasses.asdict(model.reference.disagreement),
            },
            "notes": model.notes,
            "verdicts": [_plain_verdict(v) for v in model.verdicts],
            "runs": [_plain_run(r) for r in model.runs],
        }
    )
    # Seven digits of a log Z of a million would lose the gaps' own figures.
    plain["explanation"] = to_json(_plain_explanation(model.explanation), EXACT)
    plain["standings"] = to_json([dataclasses.asdict(s) for s in model.standings])
    plain["trials"] = to_json([_plain_trial(t) for t in model.trials], EXACT)
    return plain


def _plain_explanation(explanation: records.Explanation | None) -> dict[str, Any] | None:
    """Return an explanation; a cause's evidence is its sentence, beside the figures in it."""
    if explanation is None:
        return None
    gaps = [
        {
            **dataclasses.asdict(gap),
            "causes": [
                {**dataclasses.asdict(c), "evidence": cause_sentence(c), "figures": c.evidence}
                for c in gap.causes
            ],
        }
        for gap in explanation.gaps
    ]
    return {**dataclasses.asdict(dataclasses.replace(explanation, gaps=())), "gaps": gaps}


def _plain_trial(trial: records.Trial) -> dict[str, Any]:
    """Return a trial, with its words beside the facts."""
    said = {"what": words.remedy_what(trial), "words": words.trial_words(trial)}
    return {**dataclasses.asdict(trial), "helps": trial.helps, **said}


def _relative(path: Path | None) -> str | None:
    """Shorten a path to folder and file: a committed report names no machine."""
    return None if path is None else f"{path.parent.name}/{path.name}"


def _program_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _plain_verdict(verdict: records.Verdict) -> dict[str, Any]:
    bare = dataclasses.replace(verdict, findings=(), by_seed=(), causes=(), remedies=())
    return {
        **dataclasses.asdict(bare),
        "cause": str(words.cause_in_short(verdict)),
        "causes": words.cause_sentences(verdict),
        "remedy": words.remedy_in_short(verdict),
        "remedies": words.remedy_sentences(verdict),
        "findings": [_plain_finding(f) for f in _gravest(verdict.findings, SENTENCES)],
        "by_seed": [
            {
                "seed": s.seed,
                "level": s.level,
                "status": s.status,
                "findings": [_plain_finding(f) for f in _gravest(s.findings, 0)],
            }
            for s in verdict.by_seed
        ],
    }


def _gravest(findings: tuple[records.Finding, ...], most: int) -> tuple[records.Finding, ...]:
    """Return the findings that are written as sentences, the gravest where there are too many.

    The gravest of each metric is always there: causes are found again from these.
    """
    ordered = sorted(findings, key=lambda f: -GRAVITY.index(f.level))
    first = {f.measure.metric: i for i, f in reversed(list(enumerate(ordered)))}
    kept = sorted({*first.values(), *range(most - len(first))})
    return tuple(ordered[i] for i in kept if i < len(ordered))


def _plain_finding(finding: records.Finding) -> list[Any]:
    """Return a finding without its rule, whose limits stand once in the file."""
    m = finding.measure
    where = [m.method, m.seed, m.quantity, m.metric, m.value, m.mcse, m.reference]
    rule = [finding.rule.close, finding.rule.wrong]
    said = [finding.level, finding.sentence, finding.draws_needed, finding.beyond]
    return [*where, *rule, *said]


def _plain_run(run: records.RunResult) -> dict[str, Any]:
    return {
        "method": run.spec.method,
        "seed": run.spec.seed,
        "draws": run.spec.draws,
        "options": dict(run.spec.options),
        "key": run.key,
        "status": run.status,
        "engine": run.engine,
        "stan": run.versions.get(records.STAN),
        "message": run.message,
        "doubts": [dataclasses.asdict(d) for d in run.doubts],
        "diagnostics": dict(run.diagnostics),
        "cost": dataclasses.asdict(run.cost),
        "console": run.console,
    }
