"""A baseline's JSON file: one a model, small and sorted, so that a review can read its diff.

Numbers are written with two digits more than their errors have: a diff shows what moved and not
the rounding. A file is written whole or not at all, and read whole or not at all.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.check.baseline.form import (
    SCHEMA,
    SUMMARIES,
    Baseline,
    BaselineError,
    Count,
    Figure,
    MethodBaseline,
)
from harness.records.untrusted import MOST_TEXT, parse_json, read_bytes
from harness.records.whole import write_text

SUFFIX = ".json"
CANDIDATE = ".candidate.json"
"""What a model without a baseline gets, to be reviewed and renamed."""

_AGAIN = "write it again with `harness baseline`"

_CAUSE = "cause: "
"""In a file, causes by seed stand among the faults, marked by this."""

# --- writing -------------------------------------------------------------------------------


def dumps(baseline: Baseline) -> str:
    """Return the baseline's text: sorted, one figure a line."""
    plain = {
        "schema": SCHEMA,
        "model": baseline.model,
        "written": baseline.written,
        "request": baseline.request,
        "program": baseline.program,
        "data": baseline.data,
        "reference": baseline.reference,
        "methods": {name: _plain(m) for name, m in sorted(baseline.methods.items())},
    }
    return _pretty(plain, 0) + "\n"


def write(baseline: Baseline, path: Path) -> None:
    """Write a baseline, whole or not at all."""
    write_text(path, dumps(baseline))


def _plain(method: MethodBaseline) -> dict[str, Any]:
    """Return a method as it is written, its parts in the order of the record."""
    out = {f.name: getattr(method, f.name) for f in fields(method)}
    out["faults"] = {**method.faults, **{_CAUSE + k: n for k, n in out.pop("seed_causes").items()}}
    out["shares"] = {
        name: {
            "count": s.count,
            "of": s.of,
            "share": _rounded(s.value, s.mcse),
            "error": _significant(s.mcse, 2),
        }
        for name, s in method.shares.items()
    }
    out = {k: dict(sorted(v.items())) if isinstance(v, Mapping) else v for k, v in out.items()}
    out["quantities"] = {
        name: {what: _plain_figure(figures[what]) for what in SUMMARIES}
        for name, figures in sorted(method.quantities.items(), key=lambda q: _natural(q[0]))
    }
    return out


def _plain_figure(figure: Figure) -> dict[str, Any]:
    out: dict[str, Any] = {
        "value": _rounded(figure.value, figure.mcse),
        "mcse": _significant(figure.mcse, 3),
        "ess": _significant(figure.ess, 4),
    }
    own = {"spread": figure.spread, "margin": figure.margin}
    out |= {what: _significant(size, 3) for what, size in own.items() if size is not None}
    return out | ({"why": figure.why} if figure.why else {})


def _natural(name: str) -> tuple[list[str | int], str]:
    """Order ``beta[2]`` before ``beta[10]``."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _rounded(value: float, error: float) -> float | None:
    """Round to a hundredth of the error."""
    if not math.isfinite(value):
        return None
    if not (math.isfinite(error) and error > 0):
        return value
    # The error as it is written: what is read again must be rounded at the same digit.
    return round(value, 2 - math.floor(math.log10(float(f"{error:.3g}"))))


def _significant(value: float, digits: int) -> float | int | None:
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short  # noqa: PLR2004


def _pretty(value: Any, depth: int) -> str:
    """Write JSON with objects and lists without inner ones on one line."""
    inner = "  " * (depth + 1)
    if isinstance(value, Mapping) and any(
        isinstance(v, (Mapping, list, tuple)) for v in value.values()
    ):
        parts = [f"{inner}{json.dumps(str(k))}: {_pretty(v, depth + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(parts) + "\n" + "  " * depth + "}"
    if isinstance(value, (list, tuple)) and any(isinstance(v, str) and " " in v for v in value):
        # Lines of a program, or sentences: one each.
        parts = [inner + _json(v) for v in value]
        return "[\n" + ",\n".join(parts) + "\n" + "  " * depth + "]"
    return _json(dict(value) if isinstance(value, Mapping) else value)


_json = partial(json.dumps, ensure_ascii=False, allow_nan=False)


# --- reading ---------------------------------------------------------------------------------


def read(path: Path) -> Baseline:
    """Read a baseline.

    Raises
    ------
    BaselineError
        If it is not there, is damaged, or has another schema: never a baseline with gaps.
    """
    try:
        raw = parse_json(read_bytes(path, MOST_TEXT), constants=False)
    except OSError as error:
        raise BaselineError(f"cannot read the baseline {path}: {error.strerror}", _AGAIN) from error
    except ValueError as error:
        msg = f"{path} is not JSON ({error}): perhaps a merge conflict"
        raise BaselineError(msg, _AGAIN) from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if isinstance(schema, bool) or schema != SCHEMA:
        raise BaselineError(f"{path} has schema {schema!r}, this harness reads {SCHEMA}", _AGAIN)
    try:
        _complete(Baseline, raw)
        methods = raw["methods"] if isinstance(raw["methods"], dict) else {}
        parted = {name: _parted(method) for name, method in methods.items()}
        found = _BASELINE.validate_python(raw | {"methods": parted} if parted else raw)
        for part, adapter in _PARTS.items():
            adapter.validate_python(getattr(found, part))
        for name, method in found.methods.items():
            if broken := _contradiction(method):
                raise ValueError(f"method {name}: {broken}")
    except ValueError as error:
        said = _problem(error) if isinstance(error, ValidationError) else str(error)
        raise BaselineError(f"{path} is damaged: {said}", _AGAIN) from error
    return found


@dataclass
class _Request:
    source: Mapping[str, str | None] = field(default_factory=dict)
    methods: list[str] | None = None
    seeds: Count | None = None
    quantities: list[str] | None = None
    settings: list[str] | None = None
    generated: bool = True


@dataclass
class _Program:
    text: list[str] = field(default_factory=list)


@dataclass
class _Data:
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_BASELINE = TypeAdapter(Baseline)
_PARTS: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(kind)
    for name, kind in {"request": _Request, "program": _Program, "data": _Data}.items()
}
"""Parts that may hold anything; these are the keys that the harness reads again."""


def _problem(error: ValidationError) -> str:
    """Say where the first problem is, and what it is."""
    first = error.errors(include_url=False)[0]
    *parents, last = map(str, first["loc"])
    if first["type"] == "missing":
        return f"{last!r} is missing{' in ' if parents else ''}{' / '.join(parents)}"
    where = " / ".join([*parents, last])
    said = first["msg"]
    return f"{where} is {first['input']!r:.60}: {said[:1].lower()}{said[1:]}"


def _complete(kind: type[Baseline | MethodBaseline], raw: Mapping[str, Any]) -> None:
    """Refuse gaps: the records' defaults are for those who make baselines."""
    for part in fields(kind):
        if part.name not in raw:
            raise ValueError(f"{part.name!r} is missing")


def _parted(raw: Any) -> Any:
    """Take the causes from among the faults of a method."""
    if not isinstance(raw, dict):
        return raw
    faults, causes = raw.get("faults"), {}
    if isinstance(faults, dict):
        causes = {k.removeprefix(_CAUSE): n for k, n in faults.items() if k.startswith(_CAUSE)}
        raw = raw | {"faults": {k: n for k, n in faults.items() if not k.startswith(_CAUSE)}}
    raw = raw | {"seed_causes": causes}
    _complete(MethodBaseline, raw)
    return raw


def _contradiction(method: MethodBaseline) -> str:
    """Say which parts contradict each other; empty where none do."""
    seeds = method.seeds
    if bool(method.quantities) == bool(method.no_moments):
        both = "both quantities and" if method.quantities else "neither quantities nor"
        return f"{both} a reason to have none"
    if not seeds or len(set(seeds)) < len(seeds) or method.kept > len(seeds):
        return f"{method.kept} kept of the seeds {list(seeds)}"
    if len(method.fingerprints) not in {0, len(seeds)}:
        return f"{len(method.fingerprints)} fingerprints for {len(seeds)} seeds"
    shares = [f"{s.count} of {s.of} seeds" for s in method.shares.values() if s.count > s.of]
    figures = [
        f"{what!r} is missing in {name}"
        for name, found in method.quantities.items()
        for what in SUMMARIES
        if what not in found
    ]
    sds = [(name, f["sd"].value) for name, f in method.quantities.items() if "sd" in f]
    return "; ".join([*shares, *figures, *(f"the sd of {n} is {v}" for n, v in sds if v < 0)])
