"""What is needed to repeat a comparison: command, versions, seeds, options, hashes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.records import Comparison, ModelComparison
from harness.records.text import clip, integer, listed, seconds

_HASH = 13  # digits of a hash that are shown, and an ellipsis; results.json has all


def reproduce(entry: ModelComparison) -> dict[str, object]:
    """Return the command, seeds, options and versions that repeat one model."""
    versions: dict[str, str] = {}
    methods: dict[str, dict[str, Any]] = {}
    for run in entry.runs:
        versions |= run.versions
        settings = methods.setdefault(
            run.spec.method, {"seeds": [], "options": dict(run.spec.options), "draws": set()}
        )
        settings["seeds"].append(run.spec.seed)
        settings["draws"].add(run.spec.draws)
    rows = [
        {
            "method": method,
            "seeds": _ranges(sorted(m["seeds"])),
            "draws": listed([integer(n) for n in sorted(m["draws"])], 3),
            "options": ", ".join(f"{k}={v}" for k, v in m["options"].items()) or "defaults",
        }
        for method, m in methods.items()
    ]
    # Draws that were handed over cannot be made again.
    command = f"harness compare {entry.model.name}" if entry.model.has_program else ""
    return {"versions": versions, "methods": rows, "command": command}


def _ranges(seeds: list[int]) -> str:
    consecutive = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))  # noqa: PLR2004
    return f"{seeds[0]} to {seeds[-1]}" if consecutive else listed([str(s) for s in seeds], 20)


class Fact(NamedTuple):
    """A named piece of provenance: one text, or a table of names and values."""

    name: str
    text: str = ""
    items: tuple[tuple[str, str], ...] = ()


def provenance(comparison: Comparison) -> tuple[Fact, ...]:
    """Return all provenance, whatever its keys, in the order it came."""
    return tuple(_fact(str(k).replace("_", " "), v) for k, v in comparison.provenance.items())


def _fact(name: str, value: Any) -> Fact:
    if isinstance(value, Mapping):
        return Fact(name, items=tuple((str(k), _value_words(v)) for k, v in value.items()))
    if name == "seconds" and isinstance(value, (int, float)):
        return Fact("time", seconds(float(value)))
    listing = isinstance(value, (list, tuple))
    return Fact(name, ", ".join(str(v) for v in value) if listing else str(value))


def _value_words(value: Any) -> str:
    """Write a value, hashes shortened."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_value_words(v)}" for k, v in value.items())
    text = str(value)
    return clip(text, _HASH) if re.fullmatch(r"[0-9a-f]{32,}", text) else text
