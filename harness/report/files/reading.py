"""Reading a comparison back from ``results.json`` and the draws beside it."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness import records
from harness.judgement import rules_for
from harness.records import Closeness
from harness.records.budget import Scarce
from harness.records.text import clip, one_line
from harness.records.untrusted import file_name, inside, parse_json, read_bytes
from harness.report.files.netcdf import read_draws, written_keys
from harness.report.files.numbers import from_json
from harness.report.files.tables import COLUMNS
from harness.report.files.writing import SCHEMA, checksum
from harness.why.verdicts import explained

_Measure = tuple[str, int | None, str | None, str, float, float, Closeness | None]
_Finding = tuple[
    str, int | None, str | None, str, float, float, str, float, float, Closeness, str, int | None,
    Scarce | None,
]  # fmt: skip

_FIELDS = 13  # of a finding

_MOST = 2**29
"""Characters that a compressed file may have: a small one may unpack to a full memory."""

_BROKEN = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)
"""What a file raises in which something has another type, is missing, or is cut short."""


class ResultsError(ValueError):
    """A results folder that cannot be read, with what is wrong and what to do."""


def read(folder: Path) -> records.Comparison:
    """Read ``results.json`` and ``measures.csv``, and the draws beside them if there are any.

    Both files may be compressed, with ``.gz`` behind their names.

    Raises
    ------
    ResultsError
        If the folder holds no results, results of another schema, or measures that are not those
        of the results.
    """
    path = folder / "results.json"
    try:
        raw = parse_json(_text_of(path))
    except FileNotFoundError as error:
        msg = f"no results in {folder}: {error.strerror}; make some: harness compare --out {folder}"
        raise ResultsError(msg) from error
    except json.JSONDecodeError as error:
        msg = f"{path} is damaged: line {error.lineno}: {error.msg}; run harness compare again"
        raise ResultsError(msg) from error
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    schema = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
    if type(schema) is not int or schema not in {1, SCHEMA}:
        got = clip(one_line(str(schema)), 60)
        msg = f"{path} has schema {got}, this harness reads {SCHEMA}; run harness compare again"
        raise ResultsError(msg)
    measures: Mapping[str, Sequence[Any]] = {}
    if schema == SCHEMA:
        measures = _measures(folder / "measures.csv", raw.get("measures_sha256"))
    try:
        return records.Comparison(
            models=tuple(
                _model(m, m["measures"] if schema == 1 else measures[m["model"]["name"]], folder)
                for m in raw["models"]
            ),
            claims=_as(tuple[records.ClaimResult, ...], raw["claims"]),
            provenance=raw["provenance"],
        )
    except _BROKEN as error:
        raise _damaged(path, error) from error


_UNREADABLE = (OSError, EOFError, ValueError, zlib.error)
"""What a file raises that is cut, no text, or no archive."""


def _damaged(path: Path, error: Exception) -> ResultsError:
    what = f"{type(error).__name__}: {clip(one_line(str(error)), 300)}"
    return ResultsError(f"{path} is damaged ({what}); run harness compare again")


def _text_of(path: Path) -> str:
    """Return a file's text, of its compressed form where there is only that."""
    packed = path.with_name(f"{path.name}.gz")
    if path.is_file() or not packed.is_file():
        return read_bytes(path).decode().replace("\r\n", "\n")
    with gzip.open(packed, "rt", encoding="utf-8") as file:
        text = file.read(_MOST + 1)
    if len(text) > _MOST:
        raise ValueError(f"it unpacks to more than {_MOST} characters")
    return text


def _measures(path: Path, expected: Any) -> Mapping[str, Sequence[Any]]:
    """Return the rows of measures by model, without the model's name."""
    try:
        text = _text_of(path)
        if checksum(text) != expected:
            raise ValueError("it is not the one that results.json belongs to")
        found: dict[str, list[Any]] = defaultdict(list)
        for row in csv.DictReader(io.StringIO(text, newline="")):
            cells = [row[name] or None for name in COLUMNS["measures"]]
            found[str(cells[0])].append(cells[1:])
    except (*_UNREADABLE, KeyError, csv.Error) as error:
        raise _damaged(path, error) from error
    return found


def _as(kind: Any, raw: Any) -> Any:
    """Return what JSON holds as ``kind``; figures that are not finite have their names there."""
    return _adapter(kind).validate_python(raw)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _model(
    raw: Mapping[str, Any], measures: Sequence[Any], folder: Path
) -> records.ModelComparison:
    name = file_name(raw["model"]["name"])
    program = raw["model"]["program"]
    # Whoever made the folder must neither choose what is written nor, by a link, where.
    drawn = inside(folder / "draws" / name, folder)
    file = Path(raw["model"]["stan_file"]).name
    stan_file = inside(drawn / _program_name(file), folder) if file else Path()
    if not stan_file.is_file() and program is not None:
        stan_file.parent.mkdir(parents=True, exist_ok=True)
        stan_file.write_text(program, encoding="utf-8")
    reference = raw["reference"]
    rows = _as(list[_Measure], measures)
    figures = [(*row[:6], reference["kind"]) for row in rows]
    why = raw.get("explanation")
    keys = written_keys(drawn)
    runs = tuple(_run(name, r, drawn, keys) for r in raw["runs"])
    if method := records.SAMPLED_BY.get(reference["kind"]):
        # Draws of a method are kept once, as those of its run.
        draws = next((r.draws for r in runs if r.spec.method == method), None)
    else:
        draws = read_draws(inside(drawn / "reference.nc", drawn))[0]
    found = records.ModelComparison(
        model=_as(records.Model, {**raw["model"], "stan_file": stan_file}),
        error=raw["error"],
        reference=records.Reference(
            kind=reference["kind"],
            trusted=reference["trusted"],
            why=reference["why"],
            draws=draws,
            findings=_findings(name, reference["findings"]),
            short=reference.get("short", ""),
            attempts=_as(tuple[records.Attempt, ...], reference.get("attempts", ())),
            unsought=reference.get("unsought", ""),
            seconded=reference.get("seconded", False),
            disagreement=_as(records.Disagreement | None, reference.get("disagreement")),
        ),
        runs=runs,
        measures=tuple(records.Measure(name, *row) for row in figures),
        levels=tuple(row[6] for row in rows),
        verdicts=tuple(_verdict(name, v) for v in raw["verdicts"]),
        notes=tuple(raw["notes"]),
        explanation=None if why is None else _explanation(why),
        trials=tuple(_trial(t) for t in raw.get("trials", ())),
        standings=tuple(_as(records.Standing, s) for s in raw.get("standings", ())),
    )
    return explained(found)


def _program_name(name: str) -> str:
    if not name.endswith(".stan"):
        raise ValueError(f"the program is called {name!a:.60}; allowed: names that end in .stan")
    return file_name(name)


def _findings(model: str, raw: list[Any]) -> tuple[records.Finding, ...]:
    rules = rules_for()
    found = []
    # Findings of older files end before what is beyond.
    for row in _as(list[_Finding], [[*row, None][:_FIELDS] for row in raw]):
        close, wrong, *judged = row[7:]
        rule = dataclasses.replace(rules[row[3]], close=close, wrong=wrong)
        found.append(records.Finding(rule, records.Measure(model, *row[:7]), *judged))
    return tuple(found)


def _verdict(model: str, raw: Mapping[str, Any]) -> records.Verdict:
    # The words of causes and remedies are not read: both are found again from their facts.
    said = {"cause", "causes", "remedy", "remedies"}
    seeds = [{**s, "findings": _findings(model, s["findings"])} for s in raw["by_seed"]]
    plain = {key: value for key, value in raw.items() if key not in said}
    findings = _findings(model, raw["findings"])
    verdict: records.Verdict = _as(
        records.Verdict, {**plain, "findings": findings, "by_seed": seeds}
    )
    return verdict


def _run(
    model: str, raw: Mapping[str, Any], folder: Path, keys: Mapping[str, str]
) -> records.RunResult:
    name = file_name(f"{raw['method']}-{raw['seed']}")
    # Files of another run of the same name may have been left there.
    draws, trace = (
        read_draws(inside(folder / f"{name}.nc", folder))
        if keys.get(name) == raw["key"]
        else (None, None)
    )
    return records.RunResult(
        spec=_as(records.RunSpec, {**from_json(raw), "model": model}),
        key=file_name(raw["key"]) if raw["key"] else "",
        status=_as(records.Status, raw["status"]),
        message=raw["message"],
        draws=draws,
        trace=trace,
        diagnostics=_as(dict[str, float], raw["diagnostics"]),
        cost=_as(records.Cost, raw["cost"]),
        versions={records.STAN: raw["stan"]} if raw.get("stan") else {},
        console=raw["console"],
        engine=raw.get("engine"),
        doubts=_as(tuple[records.Doubt, ...], raw.get("doubts", ())),
    )


def _explanation(raw: Mapping[str, Any]) -> records.Explanation:
    gaps = [{**gap, "causes": [_cause(c) for c in gap["causes"]]} for gap in raw["gaps"]]
    explanation: records.Explanation = _as(records.Explanation, {**raw, "gaps": gaps})
    return explanation


def _cause(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cause's fields; those of older files have their sentence for evidence."""
    return {**raw, "evidence": from_json(raw.get("figures", {"said": raw["evidence"]}))}


def _trial(raw: Mapping[str, Any]) -> records.Trial:
    """Return a trial; those of older files have words for facts."""
    plain = from_json(raw)
    if "outcome" not in raw:
        tried = "no help" if raw["level_after"] is not None else "not tried"
        plain |= {
            "ran": raw["method"],
            "options": {},
            "outcome": "helps" if raw["helps"] else tried,
            "facts": {"what": raw["what"], "words": raw["words"]},
        }
    trial: records.Trial = _as(records.Trial, plain)
    return trial
