"""A baseline on disk: small, sorted, made to be read in a review.

One JSON file a model. Numbers are written with two digits more than their errors have, so that
a diff shows what moved and not the rounding.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.records import Level

SCHEMA = 1

SUMMARIES = ("mean", "sd", "q5", "q50", "q95")
"""What is compared of every quantity."""

Kind = Literal["chains", "independent", "seeds"]
"""What carries the error: autocorrelated draws, independent draws, or the seeds of a method."""


class BaselineError(ValueError):
    """A baseline that cannot be read, with what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A summary of one quantity, in its own unit.

    Attributes
    ----------
    mcse
        Standard error of ``value``; NaN where it has none, and then ``why`` says why.
    ess
        Effective sample size: of this summary for chains, else the number of draws.
    spread
        Sd of the summary between seeds; None where seeds do not carry the error.
    margin
        A wider margin than the check's own, where the error leaves no other choice: in sds of
        the quantity for locations, as ln of a ratio for the sd.
    """

    value: float
    mcse: float
    ess: float
    spread: float | None = None
    margin: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many seeds."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.count / self.of if self.of else math.nan

    @property
    def mcse(self) -> float:
        """The binomial error: the sd of Jeffreys' posterior, which is not zero at 0 of 10."""
        a, b = self.count + 0.5, self.of - self.count + 0.5
        return math.sqrt(a * b / (a + b) ** 2 / (a + b + 1))


@dataclass(frozen=True, slots=True)
class MethodBaseline:
    """What is known of one method on one model.

    Attributes
    ----------
    seeds, draws
        The seeds that were run and the draws of each run.
    kept
        The number of seeds whose draws stand behind ``quantities``.
    levels
        How many seeds have each verdict level.
    faults
        How many seeds are off or wrong by each metric.
    shares
        ``failed`` (no draws), ``ran_away`` and ``doubted`` (by CmdStan) seeds.
    no_moments
        Why no moments are worth comparing; empty where ``quantities`` holds them.
    fingerprints
        A hash of every seed's draws, to the last digit; ``"none"`` for a run without any.
    """

    kind: Kind
    seeds: tuple[int, ...]
    draws: int
    kept: int
    options: Mapping[str, Any]
    level: Level | None = None
    typical: Level | None = None
    levels: Mapping[str, int] = field(default_factory=dict)
    causes: tuple[str, ...] = ()
    faults: Mapping[str, int] = field(default_factory=dict)
    shares: Mapping[str, Share] = field(default_factory=dict)
    no_moments: str = ""
    quantities: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    fingerprints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a comparison of one model found, and what is needed to repeat it.

    Attributes
    ----------
    request
        What was asked for: ``methods``, ``seeds``, ``reference``, ``quantities``, and for a
        user's own program ``program`` and ``data``, relative to the baseline's folder.
    reference
        ``kind`` and ``trusted``.
    program
        ``hash`` and ``text`` (lines), so that a check can show what changed.
    data
        ``hash``, and ``variables``: size and hash of each.
    written
        ``date``, ``command`` and versions.
    """

    model: str
    methods: Mapping[str, MethodBaseline]
    reference: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)
    program: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)


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
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(dumps(baseline), encoding="utf-8")
    partial.replace(path)


def _plain(method: MethodBaseline) -> dict[str, Any]:
    return {
        "kind": method.kind,
        "seeds": list(method.seeds),
        "draws": method.draws,
        "kept": method.kept,
        "options": dict(sorted(method.options.items())),
        "level": method.level,
        "typical": method.typical,
        "levels": dict(sorted(method.levels.items())),
        "causes": list(method.causes),
        "faults": dict(sorted(method.faults.items())),
        "shares": {
            name: {
                "count": s.count,
                "of": s.of,
                "share": _rounded(s.value, s.mcse),
                "error": _significant(s.mcse, 2),
            }
            for name, s in sorted(method.shares.items())
        },
        "no_moments": method.no_moments,
        "quantities": {
            name: {what: _plain_figure(figures[what]) for what in SUMMARIES}
            for name, figures in sorted(method.quantities.items(), key=lambda q: _natural(q[0]))
        },
        "fingerprints": list(method.fingerprints),
    }


def _plain_figure(figure: Figure) -> dict[str, Any]:
    out: dict[str, Any] = {
        "value": _rounded(figure.value, figure.mcse),
        "mcse": _significant(figure.mcse, 3),
        "ess": _significant(figure.ess, 4),
    }
    if figure.spread is not None:
        out["spread"] = _significant(figure.spread, 3)
    if figure.margin is not None:
        out["margin"] = _significant(figure.margin, 3)
    if figure.why:
        out["why"] = figure.why
    return out


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
    if isinstance(value, Mapping) and any(isinstance(v, (Mapping, list)) for v in value.values()):
        parts = [f"{inner}{json.dumps(str(k))}: {_pretty(v, depth + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(parts) + "\n" + "  " * depth + "}"
    if isinstance(value, list) and any(isinstance(v, str) and " " in v for v in value):
        # Lines of a program, or sentences: one each.
        parts = [inner + _json(v) for v in value]
        return "[\n" + ",\n".join(parts) + "\n" + "  " * depth + "]"
    return _json(dict(value) if isinstance(value, Mapping) else value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
