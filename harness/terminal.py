"""Tables for the terminal: as wide as it is, words and symbols, colour only where there is some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import judge
from harness.titles import title

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
_MARGIN = 40
"""Columns of the terminal that the model's name and its reference take."""

_COLUMN = 18
"""Columns that a verdict with its reason needs."""

_LEVEL = 12
"""Columns that a verdict without a reason needs."""

_OTHERS = 24
"""Columns that the methods of few models share."""

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
    # matplotlib comes along, which the other tables need not wait for.
    from harness.plots.looks import in_order

    found = in_order((v.method for m in comparison.models for v in m.verdicts), nuts_first=False)
    if found:
        console.print(_verdicts(comparison, found, console.width))
    for model in comparison.models:
        if model.error is not None:
            console.print(Text(f"✗ {model.model.name}: {model.error}", style="red"))
    _print_claims(console, comparison)


def _verdicts(comparison: Comparison, methods: Sequence[str], width: int) -> Table:
    """Return the table that the width has room for."""
    if width < _NARROW:
        return _narrow(comparison)
    if (width - _MARGIN) // len(methods) >= _COLUMN:
        return _wide(comparison, methods)
    from harness.report.summary import columns_of

    columns = columns_of(comparison, list(methods))
    others = _OTHERS if len(columns) < len(methods) else 0
    # With one model there is room below each other for what every verdict rests on.
    if len(comparison.models) > 1 and width >= _MARGIN + _LEVEL * len(columns) + others:
        return _matrix(comparison, methods, columns)
    return _narrow(comparison)


def _matrix(comparison: Comparison, methods: Sequence[str], columns: Sequence[str]) -> Table:
    """Return levels without their reasons; methods of few models share a column."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", style="bold", no_wrap=True)
    for method in columns:
        table.add_column(title(method), max_width=_LEVEL - 1)
    if len(columns) < len(methods):
        table.add_column("others")
    table.add_column("reference", max_width=9)
    for model in comparison.models:
        if model.error is not None:
            continue
        by_method = {v.method: v for v in model.verdicts}
        cells = [_level(by_method.get(m)) for m in columns]
        if len(columns) < len(methods):
            others = [by_method[m] for m in methods if m in by_method and m not in columns]
            lines = [Text(f"{title(v.method)} ").append_text(_level(v)) for v in others]
            cells.append(Text("\n").join(lines))
        kind = model.reference.kind + ("" if model.reference.trusted else " ?")
        table.add_row(model.model.name, *cells, kind)
    return table


def _level(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text("left out", style="dim")
    return Text(SYMBOLS[verdict.level], style=f"bold {_STYLES[verdict.level]}")


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
        table.add_column(title(method), ratio=1)
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
            table.add_row(f"  {title(verdict.method)}", _cell(verdict))
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
