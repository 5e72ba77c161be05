"""Errors of the 5, 50 and 95% quantiles in reference sds, a panel per method."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
from matplotlib.axes import Axes

from harness.judgement import rules_for
from harness.metrics import TAIL
from harness.records import ModelComparison
from harness.records.text import count, number, setting
from harness.report.figures import canvas
from harness.report.figures.choose import compared_methods, quantity_names, shown_quantities
from harness.report.figures.density import panel_width
from harness.report.figures.looks import CLOSE_BAND, FAINT, MUTED, look

QUANTITIES = 12
_QUANTILES = (("q5", "5%"), ("q50", "50%"), ("q95", "95%"))
_REACH = 1.0  # errors beyond this many sds are drawn at the edge; the note counts them
_ROW = 11.0  # CSS pixels per quantile
_GAP = 10.0
_NAME_LENGTHS = (19, 15)
"""Characters of a name that fit in a wide and in a narrow panel."""
_WIDE = 260

Errors = dict[tuple[str, str], list[float]]


def figure(comparison: ModelComparison) -> canvas.Figure | None:
    """Return the figure, or None where neither reference nor methods have quantiles."""
    names = shown_quantities(comparison, QUANTITIES)
    reference = {
        (m.quantity, m.metric): m.value for m in comparison.measures if m.method == "reference"
    }
    names = [n for n in names if reference.get((n, "sd"), 0.0) > 0]
    errors: dict[str, Errors] = {}
    wanted = {(name, metric) for name in names for metric, _ in _QUANTILES} & reference.keys()
    for m in comparison.measures:
        if m.quantity is not None and (what := (m.quantity, m.metric)) in wanted:
            error = (m.value - reference[what]) / reference[m.quantity, "sd"]
            errors.setdefault(m.method, {}).setdefault(what, []).append(error)
    methods = [m for m in compared_methods(comparison) if m in errors]
    if not methods or not names:
        return None
    close = rules_for(comparison.model)[TAIL.id].close
    width = panel_width(len(methods))
    drawing, ax = _frame(names, width, close)
    panels = []
    for method in methods:
        found = errors[method]
        seeds = max(len(values) for values in found.values())
        title = look(method).title + (f", {count(seeds, 'seed')}" if seeds > 1 else "")
        note = _beyond_words(found)
        with canvas.overlay(ax):
            _draw(ax, found, names, method)
            panels.append(canvas.panel(drawing, title, method, _alt(found, title, note), note))
    total = len(quantity_names(comparison))
    many = f" The {QUANTITIES} worst of {total} quantities." if total > QUANTITIES else ""
    caption = (
        "In each row, from top to bottom: the 5%, 50% and 95% quantile. Dot: the typical (median)"
        " seed; ticks: every seed; line: from the lowest seed to the highest. Shaded: close, within"
        f" ±{setting(close)} sd.{many}"
    )
    return canvas.Figure("quantile", "Quantile errors, in reference sds", caption, tuple(panels))


def _frame(names: list[str], width: int, close: float) -> tuple[canvas.Drawing, Axes]:
    longest = _NAME_LENGTHS[0] if width >= _WIDE else _NAME_LENGTHS[1]
    shown = [_shortened(n, longest) for n in names]
    left = 12 + canvas.widest_px(shown)
    height = round(len(names) * (3 * _ROW + _GAP) + 46)
    drawing, ax = canvas.axes(width, height, canvas.Margins(left=left, right=10, top=4))
    ax.axvspan(-close, close, color=CLOSE_BAND, lw=0)
    ax.axvline(0, color=MUTED, lw=0.6)
    ax.set_xlim(-_REACH * 1.06, _REACH * 1.06)
    ax.set_ylim(len(names) * (3 * _ROW + _GAP), 0)
    canvas.named_axis(ax, "y", [_place(i, 1) for i in range(len(names))], shown)
    canvas.x_axis(ax, [-1, -0.5, 0, 0.5, 1], "error / sd")
    return drawing, ax


def _place(row: int, quantile: int) -> float:
    return row * (3 * _ROW + _GAP) + _GAP / 2 + (quantile + 0.5) * _ROW


def _draw(ax: Axes, errors: Errors, names: list[str], method: str) -> None:
    """Draw all rows as three paths: spans, ticks of seeds, dots."""
    spans, ticks, middles = [], [], []
    for row, name in enumerate(names):
        for place, (metric, _) in enumerate(_QUANTILES):
            finite = [v for v in errors.get((name, metric), []) if math.isfinite(v)]
            if not finite:
                continue
            y = _place(row, place)
            inside = [min(max(v, -_REACH), _REACH) for v in finite]
            spans.append((np.array([min(inside), max(inside)]), np.array([y, y])))
            ticks += [(np.array([v, v]), np.array([y - 3.2, y + 3.2])) for v in inside]
            middles.append((min(max(median(finite), -_REACH), _REACH), y))
    style = look(method)
    ax.plot(*canvas.broken(spans), color=FAINT, lw=1.2)
    ax.plot(*canvas.broken(ticks), color=style.colour, lw=0.7, alpha=0.6)
    canvas.dots(ax, middles, style.colour, size=4.4)


def _beyond_words(errors: Errors) -> str:
    everything = [v for values in errors.values() for v in values]
    beyond = sum(not abs(v) <= _REACH for v in everything)
    if not beyond:
        return ""
    finite = [abs(v) for v in everything if math.isfinite(v)]
    largest = f", up to {number(max(finite))} sd" if finite and max(finite) > _REACH else ""
    return (
        f"{beyond} of {len(everything)} beyond ±{setting(_REACH)} sd, drawn at the edge{largest}."
    )


def _alt(errors: Errors, title: str, note: str) -> str:
    parts = []
    for metric, words in _QUANTILES:
        typical = [
            median(finite)
            for (_, which), values in errors.items()
            if which == metric and (finite := [v for v in values if math.isfinite(v)])
        ]
        if typical:
            largest = max(typical, key=abs)
            parts.append(f"{words}: {number(largest)} sd")
    body = "; ".join(parts) or "nothing finite"
    return f"Quantile errors, {title}. Largest error of a typical seed by quantile: {body}. {note}"


def _shortened(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    half = (longest - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
