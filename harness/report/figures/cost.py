"""Seconds against error for every model and method, a panel per method, labelled directly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from harness.metrics import W1
from harness.records import WITHOUT_DRAWS, Comparison, ModelComparison
from harness.records.text import count, number, seconds, span
from harness.report.figures import canvas
from harness.report.figures.choose import runs_of
from harness.report.figures.looks import CLOSE_BAND, FAINT, INK, MUTED, in_order, look

_WIDTH = 360
_WIDE = 640
_HEIGHT = 270
_MARGINS = canvas.Margins(left=44, right=10, top=8, bottom=36)
_FLOOR = 0.005
_CEILING = 30.0
_CLOSE = 0.1
_LABEL_PT = canvas.FONT_PT
_LABEL_HEIGHT = 12.0
_CENTRED_FROM = 2
_FEW = 3
_TIMES = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)
_EDGE = 0.07  # part of the axis that half a label takes
_TIME_WORDS = ("10 ms", "0.1 s", "1 s", "10 s", "1 min", "10 min", "1 h")


Box = tuple[float, float, float, float]


class Point(NamedTuple):
    """One method on one model: seconds of a typical seed, W1 of the typical and worst seed."""

    model: str
    method: str
    seconds: float
    typical: float
    worst: float


def points(comparison: Comparison) -> list[Point]:
    """Return a point per model and method that has both a time and a distance."""
    found = (
        _point(entry, method)
        for entry in comparison.models
        for method in dict.fromkeys(run.spec.method for run in entry.runs)
    )
    return [point for point in found if point is not None]


def _point(entry: ModelComparison, method: str) -> Point | None:
    by_seed: dict[int | None, float] = {}
    for m in entry.measures:
        if m.method == method and m.metric == W1.id and m.quantity is not None:
            size = math.inf if math.isnan(m.value) else abs(m.value)
            by_seed[m.seed] = max(by_seed.get(m.seed, 0.0), size)
    # By status, not by draws: a comparison may come without its arrays.
    done = [run for run in runs_of(entry, method) if run.status not in WITHOUT_DRAWS]
    times = [run.cost.seconds for run in done]
    times = [t for t in times if math.isfinite(t) and t > 0]
    if method == entry.reference.method and times:
        # What others are measured against stays in the figure, at no distance from itself.
        return Point(entry.model.name, method, median(times), 0.0, 0.0)
    if not by_seed or not times:
        return None
    sizes = list(by_seed.values())
    return Point(entry.model.name, method, median(times), median(sizes), max(sizes))


def figure(comparison: Comparison) -> canvas.Figure | None:
    """Return the figure, or None where there are fewer than three points to compare.

    Methods on at least three models have a panel each; where there is none, all share one.
    """
    everything = points(comparison)
    if len(everything) < _FEW:
        return None
    low = min(p.seconds for p in everything) / 1.6
    high = max(p.seconds for p in everything) * 3.0  # room for labels on the right
    methods = in_order((p.method for p in everything), nuts_first=True)
    shown = [m for m in methods if sum(p.method == m for p in everything) >= _FEW]
    caption = (
        "Across: seconds of a typical run. Up: W1 distance of the worst quantity to the reference,"
        " in sds; the reference itself at the bottom. Marker: the typical (median) seed; its line"
        " ends at the worst seed. Shaded: close."
    )
    if shown:
        drawing, ax = _frame((low, high), _WIDTH)
        panels = tuple(_panel(drawing, ax, m, everything) for m in shown)
        caption += " Pale: the other methods."
        if len(shown) < len(methods):
            caption += f" Methods on fewer than {_FEW} models are pale only."
    else:
        drawing, ax = _frame((low, high), _WIDE)
        panels = (_together(drawing, ax, methods, everything),)
    return canvas.Figure("cost", "Cost against error", caption, panels)


def _clipped(value: float) -> float:
    return min(max(value, _FLOOR), _CEILING)


def _frame(times: tuple[float, float], width: int) -> tuple[canvas.Drawing, Axes]:
    """Draw what all panels share: logarithmic axes and the close band."""
    drawing, ax = canvas.axes(width, _HEIGHT, _MARGINS)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(*times)
    ax.set_ylim(_FLOOR * 0.8, _CEILING * 1.25)
    ax.axhspan(_FLOOR * 0.8, _CLOSE, color=CLOSE_BAND, lw=0)
    # A label at the right edge would be cut.
    last = times[1] * (times[0] / times[1]) ** _EDGE
    words = {t: w for t, w in zip(_TIMES, _TIME_WORDS, strict=True) if times[0] < t < last}
    canvas.named_axis(
        ax, "x", list(words), list(words.values()), "time of a typical run", figures=True
    )
    canvas.named_axis(
        ax, "y", [0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"], "W1 / sd", figures=True
    )
    return drawing, ax


def _draw(ax: Axes, mine: list[Point], others: list[Point], method: str) -> None:
    pale = ([p.seconds for p in others], [_clipped(p.typical) for p in others])
    ax.plot(*pale, ls="none", marker="o", ms=2.5, color=FAINT)
    _marks(ax, mine, method)
    _labels(ax, {p: p.model for p in mine})


def _marks(ax: Axes, mine: list[Point], method: str) -> None:
    """Draw a method's points, each with a line to its worst seed."""
    style = look(method)
    ends = [([p.seconds] * 2, [_clipped(p.typical), _clipped(p.worst)]) for p in mine]
    spans = [(np.array(x), np.array(y)) for x, y in ends]
    ax.plot(*canvas.broken(spans), color=style.colour, lw=0.8, alpha=0.7)
    own = ([p.seconds for p in mine], [_clipped(p.typical) for p in mine])
    ax.plot(*own, ls="none", marker=style.marker, ms=4.6, color=style.colour)


def _panel(drawing: canvas.Drawing, ax: Axes, method: str, everything: list[Point]) -> canvas.Panel:
    mine = [p for p in everything if p.method == method]
    style = look(method)
    beyond = [p.worst for p in mine if p.worst > _CEILING]
    note = ""
    if beyond:
        models = count(len(beyond), "model")
        note = f"{models} with a seed beyond {number(_CEILING)} sd, up to {number(max(beyond))}."
    close = sum(p.typical <= _CLOSE for p in mine)
    alt = (
        f"Cost against error, {style.title}, {count(len(mine), 'model')}: typical run"
        f" {seconds(min(p.seconds for p in mine))} to {seconds(max(p.seconds for p in mine))};"
        f" W1 {span([p.typical for p in mine])} sd; the typical seed is close on {close}. {note}"
    ).strip()
    with canvas.overlay(ax):
        _draw(ax, mine, [p for p in everything if p.method != method], method)
        return canvas.panel(drawing, style.title, method, alt, note)


def _together(
    drawing: canvas.Drawing, ax: Axes, methods: list[str], everything: list[Point]
) -> canvas.Panel:
    """Return one panel of all methods, each point with the method's name."""
    several = len({p.model for p in everything}) > 1
    names = {p: look(p.method).title + (f", {p.model}" if several else "") for p in everything}
    told = "; ".join(
        f"{names[p]} {seconds(p.seconds)}, W1 {number(p.typical)} sd" for p in everything
    )
    with canvas.overlay(ax):
        for method in methods:
            _marks(ax, [p for p in everything if p.method == method], method)
        _labels(ax, names)
        return canvas.panel(drawing, "All methods", "", f"Cost against error: {told}.")


def _labels(ax: Axes, names: Mapping[Point, str]) -> None:
    """Name each point: beside it, or where there is room a little above or below."""
    pixel = ax.transData.transform
    scale = 96.0 / ax.figure.dpi
    box = tuple(float(v) * scale for v in ax.bbox.extents)
    at = {p: pixel((p.seconds, _clipped(p.typical))) * scale for p in names}
    tops = {p: pixel((p.seconds, _clipped(p.worst))) * scale for p in names}
    marks = [(x - 5, y - 5, x + 5, y + 5) for x, y in at.values()]
    marks += [(at[p][0] - 1.5, at[p][1], tops[p][0] + 1.5, tops[p][1] + 1) for p in names]
    labels: list[Box] = []
    back = ax.transData.inverted()
    for p in sorted(names, key=lambda q: (-at[q][1], at[q][0])):
        x, y = (float(v) for v in at[p])
        width = canvas.width_px(names[p], _LABEL_PT)
        left, bottom = _free_spot(x, y, width, marks, labels, box)
        labels.append((left, bottom, left + width, bottom + _LABEL_HEIGHT))
        middle = bottom + _LABEL_HEIGHT / 2
        where = back.transform((left / scale, middle / scale))
        words = names[p].replace("$", r"\$")  # no mathematics
        ax.text(where[0], where[1], words, size=_LABEL_PT, color=INK, va="center")
        if abs(middle - y) > _LABEL_HEIGHT:
            # From the point to the nearest edge of its label, never over the letters.
            near_x = min(max(x, left), left + width)
            near_y = middle + (0.4 if middle < y else -0.4) * _LABEL_HEIGHT
            end = back.transform((near_x / scale, near_y / scale))
            start = back.transform((x / scale, y / scale))
            ax.plot([start[0], end[0]], [start[1], end[1]], color=MUTED, lw=0.5)


def _free_spot(
    x: float, y: float, width: float, marks: list[Box], labels: list[Box], box: tuple[float, ...]
) -> tuple[float, float]:
    """Return the lower left corner of the place with the least overlap, above all of labels."""
    best, least = (x + 8, y - _LABEL_HEIGHT / 2), math.inf
    beside = (x + 8, x - 8 - width)
    for step in sorted(range(-12, 13), key=lambda s: (abs(s), s < 0)):
        for left in beside if abs(step) < _CENTRED_FROM else (*beside, x - width / 2):
            bottom = y - _LABEL_HEIGHT / 2 + step * _LABEL_HEIGHT * 0.9
            spot = (left, bottom, left + width, bottom + _LABEL_HEIGHT)
            out = max(box[0] - spot[0], 0) + max(spot[2] - box[2] - 6, 0)
            out += max(box[1] - spot[1], 0) + max(spot[3] - box[3], 0)
            cost = sum(_overlap(spot, mark) for mark in marks) + 1000 * out + 4 * abs(step)
            cost += 100 * sum(_overlap(spot, label) for label in labels)
            if cost < least:
                best, least = (left, bottom), cost
    return best


def _overlap(a: Box, b: Box) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    up = min(a[3], b[3]) - max(a[1], b[1])
    return across * up if across > 0 and up > 0 else 0.0
