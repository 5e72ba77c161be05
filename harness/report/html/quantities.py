"""The table of quantities: each method's typical and worst seed beside the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.records.text import estimate, number
from harness.report.figures.choose import quantity_names, worst_first
from harness.report.figures.looks import in_order, look
from harness.report.html.summary import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records import Closeness, Measure, ModelComparison

SHOWN = 12
"""Quantities before the rest is folded."""

FOLDED = 24
"""Quantities in the fold: a report is to be read, and every measure is in measures.csv."""

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("mean", "mean", "mean of the draws"),
    ("sd", "sd", "standard deviation of the draws"),
    ("bias", "bias", "error of the mean in reference sds"),
    ("log_width_ratio", "width ×", "width from the 5% to the 95% quantile, over the reference's"),
    ("w1", "W1", "1-Wasserstein distance in reference sds, less what chance shows"),
    ("tail", "tail", "largest error of the 5% and 95% quantiles in reference sds"),
    ("missed_mass", "missed", "reference mass in modes that the method does not hold"),
    ("rhat", "R-hat", "rank-normalised split R-hat of the NUTS chains"),
)

_ORDER: tuple[Closeness, ...] = ("close", "unsure", "off", "wrong")
_LEVELS = {"close": "pass", "unsure": "unknown", "off": "warn", "wrong": "fail"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure: the typical seed's with its error, the worst seed's, and its level."""

    text: str
    worst: str
    sort: str
    level: str
    symbol: str


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one quantity."""

    quantity: str
    method: str
    title: str
    cells: tuple[Cell, ...]
    level: str
    word: str
    symbol: str
    sort: int


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of the worst quantities and the folded rest."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    rest: tuple[Row, ...]
    shown: int
    folded: int
    """Quantities in the folded rest; any beyond are in measures.csv only."""
    total: int
    nothing_missed: bool


Found = dict[tuple[str, str, str], list[tuple["Measure", "Closeness | None"]]]


def table(entry: ModelComparison) -> Table | None:
    """Return the table, or None where nothing was measured by quantity."""
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
            (q, "reference", "rhat"): v
            for (q, m, metric), v in found.items()
            if (m, metric) == ("nuts", "rhat")
        }
    names = quantity_names(entry)
    if len(names) > SHOWN:
        names = worst_first(entry)
    # NUTS as the reference has no row of its own: it would be compared with itself.
    left_out = {"reference", "nuts"} if entry.reference.kind == "nuts" else {"reference"}
    methods = in_order((m for _, m, _ in found if m not in left_out), nuts_first=False)
    # A column of noughts says less than the sentence that there is nothing to show.
    nothing_missed = all(
        m.value == 0 for (_, _, metric), v in found.items() if metric == "missed_mass" for m, _ in v
    )
    present = {metric for _, _, metric in found} - ({"missed_mass"} if nothing_missed else set())
    columns = tuple(c for c in COLUMNS if c[0] in present)
    metrics = [c[0] for c in columns]

    def rows(wanted: Sequence[str]) -> tuple[Row, ...]:
        return tuple(
            _row(found, judged.get((name, method), []), name, method, metrics)
            for name in wanted
            for method in ["reference", *methods]
            if any((name, method, metric) in found for metric in metrics)
        )

    return Table(
        columns=tuple((title, words) for _, title, words in columns),
        rows=rows(names[:SHOWN]),
        rest=rows(names[SHOWN : SHOWN + FOLDED]),
        shown=min(SHOWN, len(names)),
        folded=min(FOLDED, max(len(names) - SHOWN, 0)),
        total=len(names),
        nothing_missed=nothing_missed and any(metric == "missed_mass" for _, _, metric in found),
    )


def _row(
    found: Found, judged: Sequence[Closeness], name: str, method: str, metrics: Sequence[str]
) -> Row:
    cells = tuple(_cell(metric, found.get((name, method, metric), [])) for metric in metrics)
    title = "reference" if method == "reference" else look(method).title
    if not judged:
        return Row(name, method, title, cells, "", "", "", -1)
    worst = max(judged, key=_ORDER.index)
    level = _LEVELS[worst]
    return Row(name, method, title, cells, level, worst, SYMBOLS[level], _ORDER.index(worst))


def _cell(metric: str, values: list[tuple[Measure, Closeness | None]]) -> Cell:
    if not values:
        return Cell("", "", "", "", "")
    ordered = sorted(values, key=lambda item: _size(metric, item[0].value))
    typical = ordered[(len(ordered) - 1) // 2][0]
    last = ordered[-1][0]
    text = estimate(*_shown(metric, typical))
    judged = [level for _, level in values if level is not None]
    worst = ""
    # Of a mean or an sd no seed is the worst; the distances say which is.
    if len(values) > 1 and metric not in {"mean", "sd"}:
        digits = 3 if metric == "log_width_ratio" else 2
        worst = number(_shown(metric, last)[0], digits)
        if worst == number(_shown(metric, typical)[0], digits):
            worst = ""
    level = _LEVELS[max(judged, key=_ORDER.index)] if judged else ""
    sort = last.value if metric not in {"mean", "sd"} else typical.value
    return Cell(
        text=text,
        worst=worst,
        sort="" if math.isnan(sort) else f"{_size(metric, sort):.6g}",
        level=level,
        symbol=SYMBOLS[level] if level in {"fail", "warn", "unknown"} else "",
    )


def _size(metric: str, value: float) -> float:
    """Return what figures are ordered by: distance from perfect, or the value itself."""
    if math.isnan(value):
        return math.inf
    return value if metric in {"mean", "sd"} else abs(value)


def _shown(metric: str, measure: Measure) -> tuple[float, float]:
    """Return value and error as shown: ratios instead of their logs."""
    if metric == "log_width_ratio":
        ratio = math.exp(min(measure.value, 700.0))
        return ratio, ratio * measure.mcse
    return measure.value, measure.mcse
