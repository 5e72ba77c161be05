"""Tables for the terminal: as wide as it is, words and symbols, colour only where there is some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import judge
from harness.methods import METHODS

if TYPE_CHECKING:
    from harness.records import Comparison, Method, Model, Verdict
    from harness.toolchain import Check

SYMBOLS: Mapping[str, str] = {
    "pass": "✓ pass",
    "warn": "! warn",
    "fail": "✗ fail",
    "unknown": "? unknown",
    "reference": "– reference",
}
_STYLES: Mapping[str, str] = {
    "pass": "green",
    "warn": "yellow",
    "fail": "red",
    "unknown": "magenta",
    "reference": "dim",
}
_NARROW = 100
"""Below this many columns one row a verdict reads better than one column a method."""


def make_console() -> Console:
    """Return the console: as wide as the terminal, 160 columns in a pipe."""
    console = Console()
    if not console.is_terminal:
        # In a pipe nobody sees the width, and cut words cannot be searched for.
        return Console(width=160)
    return console


def print_verdicts(comparison: Comparison) -> None:
    """Print models × methods, and what kept a model from being compared."""
    console = make_console()
    methods = list(dict.fromkeys(v.method for m in comparison.models for v in m.verdicts))
    if methods:
        wide = console.width >= _NARROW
        console.print(_wide(comparison, methods) if wide else _narrow(comparison))
    for model in comparison.models:
        if model.error is not None:
            console.print(Text(f"✗ {model.model.name}: {model.error}", style="red"))
    _print_claims(console, comparison)


def _cell(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text("left out", style="dim")
    text = Text(SYMBOLS[verdict.level], style=f"bold {_STYLES[verdict.level]}")
    detail = judge.level_text(verdict).partition(" ")[2]
    if detail:
        text.append(f" {detail}", style="not bold")
    if verdict.headline and verdict.level != "pass":
        text.append(f"\n{verdict.headline}", style="not bold default")
    return text


def _wide(comparison: Comparison, methods: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    table.add_column("model", style="bold", no_wrap=True)
    table.add_column("reference", max_width=16)
    for method in methods:
        table.add_column(METHODS[method].title if method in METHODS else method, ratio=1)
    for model in comparison.models:
        if model.error is None:
            by_method = {v.method: v for v in model.verdicts}
            kind = model.reference.kind + ("" if model.reference.trusted else " (not trusted)")
            table.add_row(model.model.name, kind, *(_cell(by_method.get(m)) for m in methods))
    return table


def _narrow(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model / method")
    table.add_column("verdict")
    for model in comparison.models:
        if model.error is not None:
            continue
        table.add_row(
            Text(model.model.name, style="bold"), Text(f"reference: {model.reference.kind}")
        )
        for verdict in model.verdicts:
            title = METHODS[verdict.method].title if verdict.method in METHODS else verdict.method
            table.add_row(f"  {title}", _cell(verdict))
    return table


def _print_claims(console: Console, comparison: Comparison) -> None:
    if not comparison.claims:
        return
    words = {True: "hold", False: "do not hold", None: "could not be measured"}
    counted = {w: sum(c.holds is h for c in comparison.claims) for h, w in words.items()}
    said = ", ".join(f"{w} {n}" for w, n in counted.items() if n)
    console.print(f"of {len(comparison.claims)} claims: {said} (claims.csv)", highlight=False)


def print_models(
    models: Sequence[Model], methods: Mapping[str, Method], default: Sequence[str]
) -> None:
    """Print the lecture's models and the table of methods."""
    console = make_console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("model", "from", "reference", "title"):
        table.add_column(heading, no_wrap=heading == "model")
    for model in models:
        kind = "exact" if model.reference else "NUTS"
        table.add_row(model.name, model.source, kind, model.title)
    console.print(table)
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("method", "seeds", "draws", "run unless --methods says otherwise"):
        rows.add_column(heading)
    for name, method in methods.items():
        rows.add_row(
            name, str(method.seeds), f"{method.draws:,}", "yes" if name in default else "no"
        )
    console.print(rows)


def print_checks(checks: Sequence[Check]) -> None:
    """Print what the doctor found."""
    console = make_console()
    for check in checks:
        mark = Text("✓ ok     " if check.ok else "✗ missing", style="green" if check.ok else "red")
        console.print(mark, Text(f"{check.name}: {check.found}"), soft_wrap=True)
        if not check.ok:
            console.print(Text(f"            mend it: {check.mend}"), soft_wrap=True)
