"""Print what a check found: a table of what is not the same, then every model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.check.baseline.change import SAME, CheckOutcome, Conclusion, ModelCheck
from harness.check.show.answer import answer, conclusion, model_line, next_steps, remarks
from harness.check.show.rows import Row, rows
from harness.check.show.words import SYMBOLS
from harness.records.text import clean, head
from harness.report.terminal import make_console

MOST_ROWS = 12
"""Rows a model; the table in Markdown and JUnit has more."""

_MOST_LINES = 60
_STYLES: dict[Conclusion, str] = {"same": "green", "changed": "red", "inconclusive": "magenta"}
_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def print_check(
    outcome: CheckOutcome, *, quiet: bool = False, console: Console | None = None
) -> None:
    """Print a check; if ``quiet`` only what is not the same, its likely reasons, and the answer."""
    console = console or make_console()
    tables = [(m, rows(m)) for m in outcome.models]
    if any(found for _, found in tables):
        _print_rows(console, [(found[:MOST_ROWS], len(found)) for _, found in tables if found])
    for check, _ in tables:
        if not quiet or check.exit_code != SAME:
            _print_model(console, check, quiet=quiet)
    steps = [] if quiet else next_steps(outcome)
    if steps:
        console.print()
    for step in steps:
        # Never wrapped: a command copied from two lines would be two commands.
        text = Text.assemble(f"{step.why}: ", (step.command, "bold"), step.then)
        console.print(text, soft_wrap=True)
    said = conclusion(outcome.exit_code)
    _say(console, f"{answer(outcome)} (exit code {outcome.exit_code})", f"bold {_STYLES[said]}")


def _say(console: Console, text: str, style: str = "", indent: int = 0) -> None:
    """Print lines: wrapped between words on a terminal, and never broken in a pipe."""
    if console.is_terminal:
        console.print(Padding(Text(text, style=style), (0, 0, 0, indent), expand=False))
        return
    for line in text.split("\n"):
        console.print(Text(" " * indent + line, style=style), soft_wrap=True)


# --- what is not the same -----------------------------------------------------------------------


class _Column(NamedTuple):
    """A column of the table; words wrap at ``wrap`` columns or wider, figures never."""

    heading: str
    wrap: int
    cell: Callable[[Row], str]


def _model(row: Row) -> str:
    return f"{SYMBOLS[row.conclusion]} {row.model}"


def _lines(*parts: str, between: str = "\n") -> str:
    return between.join(filter(None, parts))


_LAYOUTS = (
    (
        _Column("model", 30, _model),
        _Column("method", 30, lambda row: row.method),
        _Column("quantity", 30, lambda row: row.quantity),
        _Column("figure", 30, lambda row: row.figure),
        _Column("old ± error", 24, lambda row: row.old),
        _Column("new ± error", 24, lambda row: row.new),
        _Column("difference", 40, lambda row: _lines(row.told, row.note)),
        _Column("evidence", 12, lambda row: row.evidence),
    ),
    (
        _Column(
            "figure", 26, lambda row: f"{SYMBOLS[row.conclusion]} {row.model}\n  {row.address}"
        ),
        _Column("old ± error", 16, lambda row: row.old),
        _Column("new ± error", 16, lambda row: row.new),
        _Column(
            "difference",
            30,
            lambda row: _lines(
                _lines(row.difference, row.evidence, between=", "), row.interval, row.note
            ),
        ),
    ),
)


def _print_rows(console: Console, tables: Sequence[tuple[Sequence[Row], int]]) -> None:
    shown = [row for found, _ in tables for row in found]
    for layout in _LAYOUTS:
        widths = _widths(shown, layout)
        counts = [cell_len(_left_out(total - len(found))) for found, total in tables]
        widths[0] = max(widths[0], *counts)
        if sum(widths) + 2 * len(widths) <= console.width:
            console.print(_table(tables, layout, widths))
            return
    for found, total in tables:
        for row in found:
            title = _lines(_model(row), row.address, between=" / ")
            _say(console, title, f"bold {_STYLES[row.conclusion]}")
            for line in row.lines:
                _say(console, line, indent=4)
        if total > len(found):
            _say(console, _left_out(total - len(found)), "dim", 2)
    console.print()


def _widths(found: Sequence[Row], layout: Sequence[_Column]) -> list[int]:
    """Return how wide each column must be so that text wraps between words, figures never."""
    widths = [cell_len(column.heading) for column in layout]
    for row in found:
        figures = {row.told, row.interval, row.evidence}
        figures |= {row.old, row.new} if row.numeric else set()
        for i, column in enumerate(layout):
            for line in column.cell(row).split("\n"):
                needed = cell_len(line)
                if line not in figures:
                    longest = max(map(cell_len, line.split()), default=0)
                    needed = max(longest, min(needed, column.wrap))
                widths[i] = max(widths[i], needed)
    return widths


def _table(
    tables: Sequence[tuple[Sequence[Row], int]], layout: Sequence[_Column], widths: Sequence[int]
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, width in zip(layout, widths, strict=True):
        table.add_column(column.heading, width=width)
    for found, total in tables:
        for row in found:
            first, *rest = (column.cell(row) for column in layout)
            table.add_row(Text(first, style=_STYLES[row.conclusion]), *map(Text, rest))
        if total > len(found):
            table.add_row(Text(_left_out(total - len(found)), style="dim"))
        table.add_section()
    return table


def _left_out(n: int) -> str:
    return f"… {n} more"


# --- every model ----------------------------------------------------------------------------


def _print_model(console: Console, check: ModelCheck, *, quiet: bool) -> None:
    _say(console, model_line(check), _STYLES[conclusion(check.exit_code)])
    if check.error is not None:
        _say(console, clean(check.error).strip(), indent=4)
    if check.exit_code != SAME:
        for reason in check.reasons:
            _say(console, f"likely reason: {clean(reason).strip()}", indent=4)
        for line in head(check.diff, _MOST_LINES).split("\n") if check.diff and not quiet else ():
            style = "" if line.startswith(("+++", "---")) else _DIFF_STYLES.get(line[:1], "")
            console.print(Text(f"    {line}", style=style), soft_wrap=True)
    if quiet or (check.identical and check.exit_code == SAME):
        # The draws are identical: the baseline has said it all.
        return
    for note in remarks(check):
        _say(console, f"note: {clean(note).strip()}", "dim", indent=4)
