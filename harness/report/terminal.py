"""Tables for the terminal, as wide as it is; levels are words and symbols, not only colours."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.methods import METHODS, title
from harness.records import levels
from harness.records.text import clip, count, integer, number, one_line, percent, printed
from harness.report.decision import columns_of, decide
from harness.report.next_step import OWN_DRAWS, YOURS
from harness.report.rows import Decision, ModelDecision, Row
from harness.why.words import cause_in_short, remedy_in_short, remedy_key

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

    from harness.methods.method import Method
    from harness.records import Comparison, Level, Model, ModelComparison, Verdict
    from harness.report.league import League
    from harness.stan import Check

SYMBOLS: Mapping[str, str] = {level: f"{sign} {level}" for level, sign in levels.SYMBOLS.items()}
_STYLES: Mapping[str, str] = {
    "pass": "green", "warn": "yellow", "fail": "red", "unknown": "magenta", "reference": "dim",
}  # fmt: skip
_MARGIN = 40  # columns of the terminal for a model's name and its reference
_TITLE = 16  # columns for a method's name
_LEVEL_WITH_SEEDS = 16  # columns for a verdict with its seeds
_LEVEL = 12  # columns for a verdict without a reason
_OTHERS = 24  # columns that methods on few models share
_NARROW = 100  # below this many columns a verdict's parts stand below each other
_BAD = ("fail", "warn")  # levels that have a reason and perhaps a remedy
_REASONS = 25  # rows of reasons below a matrix; verdicts.csv has them all
_FIGURES = 3  # up to this many methods in a row, figures that differ are all given


class SafeConsole(Console):
    """A console on which text is text: no markup, no escape sequences, no commands."""

    def __init__(self, **settings: Any) -> None:
        """Take the settings of rich's console."""
        super().__init__(**settings, markup=False, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render; what rich itself sends to the terminal is not in the text of a segment."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printed(segment.text))


def make_console() -> Console:
    """Return the console: as wide as the terminal, 160 columns in a pipe."""
    console = SafeConsole()
    # A pipe has no width, and cut words cannot be searched for.
    return console if console.is_terminal else SafeConsole(width=160)


def verdicts_text(comparison: Comparison, width: int = 80) -> str:
    """Return what :func:`print_verdicts` prints, as plain text of a width."""
    console = SafeConsole(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        print_verdicts(comparison, console)
    return captured.get()


def print_verdicts(comparison: Comparison, console: Console | None = None) -> None:
    """Print the answer, the table of verdicts, and why a model could not be compared."""
    console = console or make_console()
    found = decide(comparison)
    compared = [model for model in found.models if model.error is None]
    if any(model.rows for model in compared):
        console.print(Text(found.answer, style="bold"))
        if found.detail:
            console.print(Text(found.detail))
    if len(found.models) == 1:
        for model in compared:
            if model.rows:
                console.print(_rows(model) if console.width >= _NARROW else _narrow([model]))
                _print_notes(console, comparison.models[0])
    elif methods := _methods(compared):
        _print_matrix(console, comparison, compared, methods)
    _print_remarks(console, found)


def _print_notes(console: Console, entry: ModelComparison) -> None:
    """Print what was left out, or made again, a line each; the page has them whole."""
    for note in entry.notes:
        console.print(Text(clip(f"note: {one_line(note)}", console.width), style="dim"))


def _print_remarks(console: Console, found: Decision) -> None:
    """Print what stands below the tables: errors, doubts, commands to type, claims."""
    for model in found.models:
        if model.error is not None:
            console.print(Text(f"✗ {model.model}: {model.error}", style="red"))
    for model in found.models:
        for remark in model.remarks:
            console.print(Text(f"{model.model}: {remark}", style="yellow"), soft_wrap=True)
    for model in found.models:
        if model.command:
            # A command that is folded cannot be copied.
            said = Text(f"unknown on {model.model}; next: ").append(model.command, style="bold")
            if OWN_DRAWS[1] in model.command.split():
                said.append(f" ({OWN_DRAWS[1]}: {YOURS})")
            console.print(said, soft_wrap=True)
    if found.claims:
        console.print(f"{found.claims} (claims.csv)", highlight=False)


def _methods(models: Sequence[ModelDecision]) -> list[str]:
    """Return the methods that have a verdict, as tables show them: samplers last."""
    present = list(dict.fromkeys(row.method for model in models for row in model.rows))
    known = [m for m in METHODS if m in present]
    known += [m for m in present if m not in METHODS]
    return sorted(known, key=lambda m: m in METHODS and not METHODS[m].approximate)


def _print_matrix(
    console: Console,
    comparison: Comparison,
    models: Sequence[ModelDecision],
    methods: Sequence[str],
) -> None:
    """Print models × methods with the reasons below, or a row a verdict where that is too wide."""
    columns = columns_of([[row.method for row in model.rows] for model in models], list(methods))
    others = _OTHERS if len(columns) < len(methods) else 0
    if console.width < max(_NARROW, _MARGIN + _LEVEL * len(columns) + others):
        console.print(_narrow(models))
        return
    console.print(_matrix(models, methods, columns))
    _print_reasons(console, comparison)


def _rows(model: ModelDecision) -> Table:
    """Return the table of one model: a row a method, with its reason, remedy, time and speed."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("method", style="bold", max_width=_TITLE)
    table.add_column("verdict", max_width=_LEVEL_WITH_SEEDS)
    table.add_column("what is wrong", ratio=8)
    if model.has_reasons:
        table.add_column("why", ratio=7)
        table.add_column("what helps", ratio=5)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column(model.speed_heading, justify="right", no_wrap=True)
    table.add_column("checked against", max_width=_LEVEL)
    table.title = Text(f"{model.model}, reference: {model.reference}", style="dim")
    table.title_justify = "left"
    for row in model.rows:
        reasons = [row.why, row.helps] if model.has_reasons else []
        last = [row.time_text, row.times_text, row.evidence]
        verdict = _level(row)
        if row.seeds:
            verdict.append(f"\n{row.seeds}", style="not bold")
        table.add_row(Text(row.title), verdict, *map(Text, [row.says, *reasons, *last]))
    if model.base:
        table.caption = f"{model.speed_heading}: how many times as fast as {title(model.base)}"
        table.caption_justify = "left"
    return table


def _matrix(
    models: Sequence[ModelDecision], methods: Sequence[str], columns: Sequence[str]
) -> Table:
    """Return levels and times without reasons; methods on few models share a column."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", style="bold", no_wrap=True)
    for method in columns:
        table.add_column(title(method), max_width=_LEVEL - 1)
    if len(columns) < len(methods):
        table.add_column("others")
    table.add_column("reference", max_width=9)
    for model in models:
        by_method = {row.method: row for row in model.rows}
        cells = [_timed(by_method.get(m), "\n") for m in columns]
        if len(columns) < len(methods):
            others = [by_method[m] for m in methods if m in by_method and m not in columns]
            lines = [Text(f"{row.title} ").append_text(_timed(row, " ")) for row in others]
            cells.append(Text("\n").join(lines))
        table.add_row(Text(model.model), *cells, model.reference)
    words = "× how many times as fast as NUTS, else short chains, else the cheapest pass"
    table.caption = Text(words)
    table.caption_justify = "left"
    return table


def _level(row: Row | None) -> Text:
    if row is None:
        return Text("left out", style="dim")
    return Text(SYMBOLS[row.level], style=f"bold {_STYLES[row.level]}")


def _timed(row: Row | None, between: str) -> Text:
    """Return a level with the time of a run and its speed."""
    text = _level(row)
    if row is not None:
        said = row.time_text if math.isnan(row.times) else f"{row.time_text}, {row.times_text}"
        text.append(f"{between}{said}", style="not bold dim")
    return text


def _narrow(models: Sequence[ModelDecision]) -> Table:
    """Return a row a verdict, its reasons below it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model / method")
    table.add_column("verdict")
    for model in models:
        name = Text(model.model, style="bold")
        table.add_row(name, Text(f"reference: {model.reference}"))
        for row in model.rows:
            table.add_row(Text(f"  {row.title}"), _told(row, model))
    return table


def _told(row: Row, model: ModelDecision) -> Text:
    """Return a verdict with everything that is said about it, a line each."""
    text = _level(row)
    if row.seeds:
        text.append(f" ({row.seeds})", style="not bold")
    if row.says:
        text.append(f"\n{row.says}", style="not bold default")
    for word, said in (("why", row.why), ("try", row.helps)):
        if said:
            text.append(f"\n{word}: ", style="not bold dim")
            text.append(said, style="not bold default")
    speed = ""
    if row.method != model.base and not math.isnan(row.times):
        speed = f", {row.times_text} as fast as {title(model.base)}"
    text.append(f"\n{row.time_text}{speed}", style="not bold dim")
    return text


def _print_reasons(console: Console, comparison: Comparison) -> None:
    """Print why methods fail or warn and what to try: a matrix has no room for it."""
    rows = [
        (model.model.name, several)
        for model in comparison.models
        if model.error is None
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


def _reasoned(verdict: Verdict) -> bool:
    """Whether a reason is given: for what is not well, and what is known without a reference."""
    return verdict.level in _BAD or (verdict.level == "unknown" and bool(verdict.causes))


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


def print_league(found: League) -> None:
    """Print a row a method: how often it has each level, and its speed beside NUTS's."""
    console = make_console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    levels_shown: tuple[Level, ...] = ("pass", "warn", "fail", "unknown")
    for heading in ("method", *levels_shown, "passes", "× NUTS"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for row in found.standings:
        counts = [integer(row.counts.get(level, 0)) for level in levels_shown]
        share = "–" if math.isnan(row.share) else percent(row.share)
        speed = "–" if math.isnan(row.times_nuts) else number(row.times_nuts)
        table.add_row(row.title, *counts, share, speed)
    console.print(table)
    for posterior, error in found.errors:
        console.print(Text(f"{posterior} could not be compared: {error}"))


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
