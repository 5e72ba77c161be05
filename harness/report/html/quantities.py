"""The table of quantities: each method's typical and worst seed beside the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.metrics import METRICS
from harness.metrics.metric import Metric
from harness.records import Closeness, Estimate, Measure, ModelComparison
from harness.records.text import estimate, number
from harness.report.figures.choose import quantity_names, worst_first
from harness.report.figures.looks import in_order
from harness.report.html.summary import GRAVEST_FIRST, LEVELS

SHOWN = 12
"""Quantities that are not folded."""

FOLDED = 24
"""Folded quantities; measures.csv has all."""


class Cell(NamedTuple):
    """A figure: the typical seed's with its error, the worst seed's, and its level."""

    text: str
    worst: str
    sort: str
    level: str


class Row(NamedTuple):
    """One method on one quantity."""

    quantity: str
    method: str
    cells: tuple[Cell, ...]
    level: str
    word: str
    sort: int


class Table(NamedTuple):
    """Rows of the worst quantities and the folded rest."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    rest: tuple[Row, ...]
    shown: int
    folded: int
    """Quantities in the folded rest; any beyond are in measures.csv only."""
    total: int
    nothing_missed: bool


Found = dict[tuple[str, str, str], list[tuple[Measure, Closeness | None]]]


def table(entry: ModelComparison) -> Table | None:
    """Return the table, or None if no quantity was measured."""
    found: Found = {}
    judged: dict[tuple[str, str], list[Closeness]] = {}
    levels: Sequence[Closeness | None] = entry.levels or [None] * len(entry.measures)
    for measure, level in zip(entry.measures, levels, strict=True):
        if measure.quantity is not None:
            key = (measure.quantity, measure.method, measure.metric)
            found.setdefault(key, []).append((measure, level))
            if level is not None:
                judged.setdefault((measure.quantity, measure.method), []).append(level)
    if not found:
        return None
    if entry.reference.kind == "nuts":  # its chains are the reference's
        found |= {
            (q, "reference", metric): v
            for (q, m, metric), v in found.items()
            if m == "nuts" and metric in METRICS and METRICS[metric].about_chains
        }
    names = quantity_names(entry)
    if len(names) > SHOWN:
        names = worst_first(entry)
    # NUTS as the reference has no row of its own: it would be compared with itself.
    left_out = {"reference", entry.reference.method}
    methods = in_order((m for _, m, _ in found if m not in left_out), nuts_first=False)
    # A sentence instead of a column of zeros.
    measured = {metric for _, _, metric in found}
    nonzero = {metric for (_, _, metric), v in found.items() if any(m.value != 0 for m, _ in v)}
    zeros = {m.id for m in METRICS.values() if m.hide_zeros} - nonzero
    shown = [m for m in METRICS.values() if m.id in measured - zeros]
    columns = [(m, m.column) for m in shown if m.column is not None]

    def rows(wanted: Sequence[str]) -> tuple[Row, ...]:
        return tuple(
            _row(found, judged.get((name, method), []), name, method, [m for m, _ in columns])
            for name in wanted
            for method in ["reference", *methods]
            if any((name, method, metric.id) in found for metric, _ in columns)
        )

    return Table(
        columns=tuple((c.title, c.words) for _, c in columns),
        rows=rows(names[:SHOWN]),
        rest=rows(names[SHOWN : SHOWN + FOLDED]),
        shown=min(SHOWN, len(names)),
        folded=min(FOLDED, max(len(names) - SHOWN, 0)),
        total=len(names),
        nothing_missed=bool(zeros & measured),
    )


def _row(
    found: Found, judged: Sequence[Closeness], name: str, method: str, columns: Sequence[Metric]
) -> Row:
    cells = tuple(_cell(metric, found.get((name, method, metric.id), [])) for metric in columns)
    if not judged:
        return Row(name, method, cells, "", "", -len(LEVELS))
    worst = min(judged, key=GRAVEST_FIRST.index)
    return Row(name, method, cells, LEVELS[worst], worst, -GRAVEST_FIRST.index(worst))


def _cell(metric: Metric, values: list[tuple[Measure, Closeness | None]]) -> Cell:
    if not values:
        return Cell("", "", "", "")
    summary = metric.scope == "draws"
    ordered = sorted((m for m, _ in values), key=lambda m: _size(m.value, summary=summary))
    middle, last = ordered[(len(ordered) - 1) // 2], ordered[-1]
    typical = metric.shown(Estimate(middle.value, middle.mcse))
    judged = [level for _, level in values if level is not None]
    digits = 3 if metric.log else 2
    worst = number(metric.shown(Estimate(last.value, last.mcse)).value, digits)
    # A mean or an sd has no worst seed.
    alike = summary or len(values) == 1 or worst == number(typical.value, digits)
    sort = middle.value if summary else last.value
    return Cell(
        text=estimate(*typical),
        worst="" if alike else worst,
        sort="" if math.isnan(sort) else f"{_size(sort, summary=summary):.6g}",
        level=LEVELS[min(judged, key=GRAVEST_FIRST.index)] if judged else "",
    )


def _size(value: float, *, summary: bool) -> float:
    """Return what seeds are ordered by: the distance from perfect, or the value itself."""
    if math.isnan(value):
        return math.inf
    return value if summary else abs(value)
