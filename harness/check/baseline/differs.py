"""The likely reasons for a change: what else differs between a baseline and now."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from harness.check.baseline.form import MethodBaseline
from harness.records.text import listed

VERSIONS_OF_DRAWS = ("cmdstan", "compiler", "embedded")
"""Draws are equal to the last digit only if these versions are."""


def program_reason(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, str]:
    """Return a sentence on a changed program and the diff of its text; empty if it is the same."""
    if old.get("hash") == new.get("hash"):
        return "", ""
    before, now = (_lines(side) for side in (old, new))
    diff = "\n".join(
        difflib.unified_diff(
            before, now, "program of the baseline", "program now", lineterm="", n=2
        )
    )
    what = f"the program changed ({old.get('hash')} → {new.get('hash')})"
    if _words(before) == _words(now):
        return f"{what}, in white space only", diff
    return what, diff


def _words(lines: Sequence[str]) -> list[list[str]]:
    return [words for words in (line.split() for line in lines) if words]


def _lines(side: Mapping[str, Any]) -> list[str]:
    text = side.get("text", [])
    return [str(line) for line in text] if isinstance(text, Sequence) else []


def data_reason(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return a sentence on changed data, with the variables; empty if they are the same."""
    if old.get("hash") == new.get("hash"):
        return ""
    what = f"the data changed ({old.get('hash')} → {new.get('hash')})"
    a, b = (dict(side.get("variables", {})) for side in (old, new))
    said = [f"{name} is gone" for name in sorted(a.keys() - b.keys())]
    said += [f"{name} is new" for name in sorted(b.keys() - a.keys())]
    for name in sorted(a.keys() & b.keys()):
        sizes = a[name].get("size"), b[name].get("size")
        if sizes[0] != sizes[1]:
            said.append(f"{name} has {sizes[1]} values, not {sizes[0]}")
        elif a[name].get("hash") != b[name].get("hash"):
            said.append(f"values of {name}")
    return f"{what}: {listed(said)}" if said else f"{what}, in their form only"


ADAPTED = frozenset({"adapt_delta", "max_treedepth", "samples", "draws"})
"""What the harness changes itself: NUTS until its chains can be trusted, draws until they decide.

So a difference in them follows from another, unless the user set them.
"""


def method_reasons(
    name: str, old: MethodBaseline, new: MethodBaseline, chosen: Collection[str] = ()
) -> list[str]:
    """Return sentences on changed options and numbers of draws of a method.

    ``chosen`` are the options that the user set: of those that the harness changes itself only
    they are named.
    """
    said = []
    for option in sorted({*old.options, *new.options}):
        before, now = (m.options.get(option, "not set") for m in (old, new))
        if before != now and (option in chosen or option not in ADAPTED):
            said.append(f"{name}: option {option} was {before}, is {now}")
    if old.draws != new.draws and "draws" in chosen:
        said.append(f"{name}: {old.draws} draws a run then, {new.draws} now")
    return said


def version_reasons(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return sentences on changed versions of the tools."""
    return [
        f"{name} {old.get(name, 'unknown')} then, {new.get(name, 'unknown')} now"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
