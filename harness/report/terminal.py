"""Tables for the terminal, as wide as it is; levels are words and symbols, not only colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import judgement
from harness.methods import title
from harness.records import levels
from harness.records.text import count, integer
from harness.report import standing
from harness.report.next_step import next_command
from harness.why.words import cause_in_short, remedy_in_short, remedy_key

if TYPE_CHECKING:
    from harness.methods.method import Method
    from harness.records import Comparison, Model, ModelComparison, Verdict
    from harness.stan import Check

SYMBOLS: Mapping[str, str] = {level: f"{sign} {level}" for level, sign in levels.SYMBOLS.items()}
_STYLES: Mapping[str, str] = {
    "pass": "green", "warn": "yellow", "fail": "red", "unknown": "magenta", "reference": "dim",
}  # fmt: skip
_MARGIN = 40  # columns of the terminal for a model's name and its reference
_COLUMN = 18  # columns for a verdict with its reason
_LEVEL = 12  # columns for a verdict without a reason
_OTHERS = 24  # columns that methods on few models share
_NARROW = 100  # below this many columns a row per verdict reads better than a column per method
_BAD = ("fail", "warn")  # levels that have a reason and perhaps a remedy
_REASONS = 25  # rows of reasons below a matrix; verdicts.csv has them all
_FIGURES = 3  # up to this many methods in a row, figures that differ are all given


def make_console() -> Console:
    """Return the console: as wide as the terminal, 160 columns in a pipe."""
    console = Console()
    # A pipe has no width, and cut words cannot be searched for.
    return console if console.is_terminal else Console(width=160)


def print_verdicts(comparison: Comparison) -> None:
    """Print models × methods, and why a model could not be compared."""
    console = make_console()
    # Imports matplotlib, which the other tables do not need.
    from harness.report.figures.looks import in_order

    found = in_order((v.method for m in comparison.models for v in m.verdicts), nuts_first=False)
    if found:
        table, reasons = _verdicts(comparison, found, console.width)
        console.print(table)
        if not reasons:
            _print_reasons(console, comparison)
    for model in comparison.models:
        if model.error is not None:
            console.print(Text(f"✗ {model.model.name}: {model.error}", style="red"))
    for model in comparison.models:
        if why := model.reference.unsought:
            doubt = f"{model.model.name}: whether the reference misses a mode is not known: {why}"
            console.print(Text(doubt, style="yellow"))
        if summary := standing.summary(model):
            console.print(Text(f"{model.model.name}: {summary}"), soft_wrap=True)
    for model in comparison.models:
        if command := next_command(comparison, model):
            # A command that is folded cannot be copied.
            said = Text(f"unknown on {model.model.name}; next: ").append(command, style="bold")
            console.print(said, soft_wrap=True)
    _print_claims(console, comparison)


def _verdicts(comparison: Comparison, methods: Sequence[str], width: int) -> tuple[Table, bool]:
    """Return the table that fits the width, and whether it gives reasons."""
    one = len(comparison.models) == 1
    if width < _NARROW:
        return _narrow(comparison), True
    if (width - _MARGIN) // len(methods) >= _COLUMN:
        return _wide(comparison, methods, reasons=one), one
    from harness.report.html.summary import columns_of

    columns = columns_of(comparison, list(methods))
    others = _OTHERS if len(columns) < len(methods) else 0
    # A single model has room for the reasons of all its verdicts.
    if not one and width >= _MARGIN + _LEVEL * len(columns) + others:
        return _matrix(comparison, methods, columns), False
    return _narrow(comparison), True


def _matrix(comparison: Comparison, methods: Sequence[str], columns: Sequence[str]) -> Table:
    """Return levels without reasons; methods on few models share a column."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", style="bold", no_wrap=True)
    for method in columns:
        table.add_column(title(method), max_width=_LEVEL - 1)
    if len(columns) < len(methods):
        table.add_column("others")
    table.add_column("reference", max_width=9)
    for model in _compared(comparison):
        by_method = {v.method: v for v in model.verdicts}
        cells = [_level(by_method.get(m)) for m in columns]
        if len(columns) < len(methods):
            others = [by_method[m] for m in methods if m in by_method and m not in columns]
            lines = [Text(f"{title(v.method)} ").append_text(_level(v)) for v in others]
            cells.append(Text("\n").join(lines))
        kind = model.reference.kind + ("" if model.reference.trusted else " ?")
        table.add_row(Text(model.model.name), *cells, kind)
    return table


def _compared(comparison: Comparison) -> list[ModelComparison]:
    return [model for model in comparison.models if model.error is None]


def _level(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text("left out", style="dim")
    return Text(SYMBOLS[verdict.level], style=f"bold {_STYLES[verdict.level]}")


def _cell(verdict: Verdict | None, *, reasons: bool = False) -> Text:
    text = _level(verdict)
    if verdict is None:
        return text
    seeds = judgement.seeds_text(verdict)
    if seeds:
        text.append(f" ({seeds})", style="not bold")
    if verdict.headline and verdict.level != "pass":
        text.append(f"\n{verdict.headline}", style="not bold default")
    if reasons and _reasoned(verdict):
        for word, said in (
            ("why", str(cause_in_short(verdict))),
            ("try", remedy_in_short(verdict)),
        ):
            if said:
                text.append(f"\n{word}: ", style="not bold dim")
                text.append(said, style="not bold default")
    return text


def _reasoned(verdict: Verdict) -> bool:
    """Whether a reason is given: for what is not well, and what is known without a reference."""
    return verdict.level in _BAD or (verdict.level == "unknown" and bool(verdict.causes))


def _wide(comparison: Comparison, methods: Sequence[str], *, reasons: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    table.add_column("model", style="bold", no_wrap=True)
    table.add_column("reference", max_width=16)
    for method in methods:
        table.add_column(title(method), ratio=1)
    for model in _compared(comparison):
        by_method = {v.method: v for v in model.verdicts}
        kind = model.reference.kind + ("" if model.reference.trusted else " (not trusted)")
        cells = [_cell(by_method.get(m), reasons=reasons) for m in methods]
        table.add_row(Text(model.model.name), kind, *cells)
    return table


def _narrow(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model / method")
    table.add_column("verdict")
    for model in _compared(comparison):
        name = Text(model.model.name, style="bold")
        table.add_row(name, Text(f"reference: {model.reference.kind}"))
        for verdict in model.verdicts:
            table.add_row(f"  {title(verdict.method)}", _cell(verdict, reasons=True))
    return table


def _print_reasons(console: Console, comparison: Comparison) -> None:
    """Print why methods fail or warn and what to try: a matrix has no room for it."""
    rows = [
        (model.model.name, several)
        for model in _compared(comparison)
        for several in _same_reason(model.verdicts)
    ]
    if not any(v.causes or v.remedies for _, several in rows for v in several):
        return  # no explanation was asked for
    # If there are too many, failures stay, in the order of the models.
    graver = sorted(range(len(rows)), key=lambda i: all(v.level == "warn" for v in rows[i][1]))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", style="bold", no_wrap=True)
    for heading in ("method", "why", "try"):
        table.add_column(heading)
    last = ""
    for i in sorted(graver[:_REASONS]):
        name, several = rows[i]
        methods = ", ".join(title(v.method) for v in several)
        words = (name if name != last else "", methods, _why(several), remedy_in_short(several[0]))
        table.add_row(*map(Text, words))
        last = name
    console.print(table)
    if len(rows) > _REASONS:
        more = f"{count(len(rows) - _REASONS, 'milder reason')}: see verdicts.csv"
        console.print(more, highlight=False)


def _same_reason(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """Group the verdicts that fail or warn by cause and remedy."""
    groups: dict[tuple[object, ...], list[Verdict]] = {}
    for verdict in verdicts:
        if _reasoned(verdict):
            key = (cause_in_short(verdict).key, remedy_key(verdict))
            groups.setdefault(key, []).append(verdict)
    return list(groups.values())


def _why(verdicts: Sequence[Verdict]) -> str:
    """Return the cause that verdicts share, with the figure of each if they are few."""
    causes = [cause_in_short(v) for v in verdicts]
    figures = [c.figure for c in causes]
    if len(set(figures)) == 1:
        return str(causes[0]) or "unknown"
    if len(set(figures)) != len(figures) or len(figures) > _FIGURES:
        return causes[0].words
    # In the order of the methods beside them.
    return f"{causes[0].words}, {' / '.join(f or 'unknown' for f in figures)} nats"


def _print_claims(console: Console, comparison: Comparison) -> None:
    if not comparison.claims:
        return
    words = {True: "hold", False: "do not hold", None: "could not be measured"}
    counted = {w: sum(c.holds is h for c in comparison.claims) for h, w in words.items()}
    said = ", ".join(f"{w} {n}" for w, n in counted.items() if n)
    console.print(f"of {len(comparison.claims)} claims: {said} (claims.csv)", highlight=False)


def print_models(models: Sequence[Model], methods: Mapping[str, Method]) -> None:
    """Print the lecture's models and the table of methods."""
    console = make_console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("model", "from", "reference", "title"):
        table.add_column(heading, no_wrap=heading == "model")
    for model in models:
        kind = "exact" if model.reference else "NUTS"
        table.add_row(*map(Text, (model.name, model.source, kind, model.title)))
    console.print(table)
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("method", "what it is", "seeds", "draws", "usual"):
        rows.add_column(heading, no_wrap=heading != "what it is")
    for name, method in methods.items():
        usual = "yes" if method.usual else "no"
        rows.add_row(name, method.what, integer(method.seeds), integer(method.draws), usual)
    console.print(rows)
    console.print("usual: run on every program unless --methods says otherwise", highlight=False)


def print_checks(checks: Sequence[Check]) -> None:
    """Print what the doctor found, and how to fix what is missing."""
    console = make_console()
    for check in checks:
        mark = Text("✓ ok     " if check.ok else "✗ missing", style="green" if check.ok else "red")
        console.print(mark, Text(f"{check.name}: {check.found}"), soft_wrap=True)
        if not check.ok:
            console.print(Text(f"            fix: {check.fix}"), soft_wrap=True)
