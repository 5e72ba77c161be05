"""Errors of the 5, 50 and 95% quantiles in reference sds: a panel a quantity, a row a method."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
from matplotlib.axes import Axes

from harness.judgement import rules_for
from harness.metrics import TAIL
from harness.records import ModelComparison
from harness.records.text import number, setting
from harness.report.figures import canvas
from harness.report.figures.choose import QUANTITIES, compared_methods, quantity_names, telling
from harness.report.figures.looks import CLOSE_BAND, FAINT, MUTED, look

_QUANTILES = (("q5", "5%"), ("q50", "50%"), ("q95", "95%"))
_REACH = 1.0  # errors beyond this many sds are drawn at the edge; the note counts them
_ROW = 8.0  # CSS pixels per quantile
_GAP = 8.0
_WIDTH = 272

Errors = dict[tuple[str, str], list[float]]
"""Of one quantity: the errors of every seed, by method and quantile."""


def figure(comparison: ModelComparison) -> canvas.Figure | None:
    """Return the figure, or None where neither reference nor methods have quantiles."""
    reference = {
        (m.quantity, m.metric): m.value for m in comparison.measures if m.method == "reference"
    }
    names = [n for n in telling(comparison) if reference.get((n, "sd"), 0.0) > 0]
    found: dict[str, Errors] = {name: {} for name in names}
    wanted = {(name, metric) for name in names for metric, _ in _QUANTILES} & reference.keys()
    for m in comparison.measures:
        if m.quantity is not None and (what := (m.quantity, m.metric)) in wanted:
            error = (m.value - reference[what]) / reference[m.quantity, "sd"]
            found[m.quantity].setdefault((m.method, m.metric), []).append(error)
    judged = {method for errors in found.values() for method, _ in errors}
    methods = [m for m in compared_methods(comparison) if m in judged]
    if not methods:
        return None
    close = rules_for(comparison.model)[TAIL.id].close
    drawing, ax = _frame(methods, close)
    panels = []
    for name, errors in found.items():
        note = _beyond_words(
            [v for (m, _), values in errors.items() if m in methods for v in values]
        )
        with canvas.overlay(ax):
            _draw(ax, errors, methods)
            alt = _alt(name, errors, methods, note)
            panels.append(canvas.panel(drawing, name, "", alt, note, quantity=name))
    total = len(quantity_names(comparison))
    many = f" The {len(names)} worst of {total} quantities." if total > QUANTITIES else ""
    caption = (
        "In each row, from top to bottom: the 5%, 50% and 95% quantile. Dot: the typical (median)"
        " seed; ticks: every seed; line: from the lowest seed to the highest. Shaded: close, within"
        f" ±{setting(close)} sd.{many}"
    )
    return canvas.Figure("quantile", "Quantile errors, in reference sds", caption, tuple(panels))


def _frame(methods: list[str], close: float) -> tuple[canvas.Drawing, Axes]:
    shown = [look(m).title for m in methods]
    left = 12 + canvas.widest_px(shown)
    height = round(len(methods) * (3 * _ROW + _GAP) + 42)
    drawing, ax = canvas.axes(_WIDTH, height, canvas.Margins(left=left, right=10, top=4))
    ax.axvspan(-close, close, color=CLOSE_BAND, lw=0)
    ax.axvline(0, color=MUTED, lw=0.6)
    ax.set_xlim(-_REACH * 1.06, _REACH * 1.06)
    ax.set_ylim(len(methods) * (3 * _ROW + _GAP), 0)
    canvas.named_axis(ax, "y", [_place(i, 1) for i in range(len(methods))], shown)
    canvas.x_axis(ax, [-1, -0.5, 0, 0.5, 1], "error / sd")
    return drawing, ax


def _place(row: int, quantile: int) -> float:
    return row * (3 * _ROW + _GAP) + _GAP / 2 + (quantile + 0.5) * _ROW


def _draw(ax: Axes, errors: Errors, methods: list[str]) -> None:
    """Draw each method's row as three paths: spans, ticks of seeds, dots."""
    for row, method in enumerate(methods):
        spans, ticks, middles = [], [], []
        for place, (metric, _) in enumerate(_QUANTILES):
            finite = [v for v in errors.get((method, metric), []) if math.isfinite(v)]
            if not finite:
                continue
            y = _place(row, place)
            inside = [min(max(v, -_REACH), _REACH) for v in finite]
            spans.append((np.array([min(inside), max(inside)]), np.array([y, y])))
            ticks += [(np.array([v, v]), np.array([y - 2.4, y + 2.4])) for v in inside]
            middles.append((min(max(median(finite), -_REACH), _REACH), y))
        colour = look(method).colour
        ax.plot(*canvas.broken(spans), color=FAINT, lw=1.2)
        ax.plot(*canvas.broken(ticks), color=colour, lw=0.7, alpha=0.6)
        canvas.dots(ax, middles, colour, size=4.0)


def _beyond_words(everything: list[float]) -> str:
    beyond = sum(not abs(v) <= _REACH for v in everything)
    if not beyond:
        return ""
    finite = [abs(v) for v in everything if math.isfinite(v)]
    largest = f", up to {number(max(finite))} sd" if finite and max(finite) > _REACH else ""
    return (
        f"{beyond} of {len(everything)} beyond ±{setting(_REACH)} sd, drawn at the edge{largest}."
    )


def _alt(name: str, errors: Errors, methods: list[str], note: str) -> str:
    """Return the largest error of each method's typical seed."""
    parts = []
    for method in methods:
        typical = [
            (median(finite), words)
            for metric, words in _QUANTILES
            if (finite := [v for v in errors.get((method, metric), []) if math.isfinite(v)])
        ]
        if typical:
            largest, words = max(typical, key=lambda pair: abs(pair[0]))
            parts.append(f"{look(method).title} {number(largest)} sd ({words})")
    body = "; ".join(parts) or "nothing finite"
    return f"Quantile errors of {name}. Largest error of a typical seed: {body}. {note}".strip()
