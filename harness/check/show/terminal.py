"""Print what a check found: a table of what is not the same, then every model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.check.baseline.change import SAME, Conclusion
from harness.check.baseline.outcome import CheckOutcome, ModelCheck
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


class _Line(NamedTuple):
    """A line of a cell: text that may wrap between words, or figures, which may not."""

    text: str
    wraps: bool = True


_Cell = Sequence[_Line]


@dataclass(frozen=True, slots=True)
class _Layout:
    """A way to set the table; text wraps at ``wrap`` columns or wider."""

    headings: tuple[str, ...]
    wrap: tuple[int, ...]
    cells: Callable[[Row], Sequence[_Cell]]


def _one_line_each(row: Row) -> Sequence[_Cell]:
    texts = (f"{SYMBOLS[row.conclusion]} {row.model}", row.method, row.quantity, row.figure)
    return (
        *([_Line(text)] for text in texts),
        *_sides(row),
        _filled(_Line(row.told, wraps=False), _Line(row.note)),
        [_Line(row.evidence, wraps=False)],
    )


def _two_lines_each(row: Row) -> Sequence[_Cell]:
    """Return fewer cells: the address under the model, the interval under the difference."""
    first = ", ".join(part for part in (row.difference, row.evidence) if part)
    return (
        [_Line(f"{SYMBOLS[row.conclusion]} {row.model}"), _Line(f"  {row.address}")],
        *_sides(row),
        _filled(_Line(first), _Line(row.interval, wraps=False), _Line(row.note)),
    )


def _sides(row: Row) -> tuple[_Cell, _Cell]:
    return [_Line(row.old, not row.numeric)], [_Line(row.new, not row.numeric)]


def _filled(*lines: _Line) -> _Cell:
    return [line for line in lines if line.text]


_SIDES = ("old ± error", "new ± error")
_LAYOUTS = (
    _Layout(
        ("model", "method", "quantity", "figure", *_SIDES, "difference", "evidence"),
        (30, 30, 30, 30, 24, 24, 40, 12),
        _one_line_each,
    ),
    _Layout(("figure", *_SIDES, "difference"), (26, 16, 16, 30), _two_lines_each),
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
            title = f"{SYMBOLS[row.conclusion]} {row.model}"
            title += f" / {row.address}" if row.address else ""
            _say(console, title, f"bold {_STYLES[row.conclusion]}")
            for line in row.lines:
                _say(console, line, indent=4)
        if total > len(found):
            _say(console, _left_out(total - len(found)), "dim", 2)
    console.print()


def _widths(found: Sequence[Row], layout: _Layout) -> list[int]:
    """Return how wide each column must be so that text wraps between words, figures never."""
    widths = [cell_len(heading) for heading in layout.headings]
    for row in found:
        for i, cell in enumerate(layout.cells(row)):
            for text, wraps in cell:
                needed = cell_len(text)
                if wraps:
                    longest = max(map(cell_len, text.split()), default=0)
                    needed = max(longest, min(needed, layout.wrap[i]))
                widths[i] = max(widths[i], needed)
    return widths


def _table(
    tables: Sequence[tuple[Sequence[Row], int]], layout: _Layout, widths: Sequence[int]
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, width in zip(layout.headings, widths, strict=True):
        table.add_column(heading, width=width)
    for found, total in tables:
        for row in found:
            first, *rest = ("\n".join(line.text for line in c) for c in layout.cells(row))
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
