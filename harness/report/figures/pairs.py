"""The pair of quantities whose correlation is most wrong: reference points, 90% regions."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes

from harness.records import Draws, FloatArray, ModelComparison
from harness.records.text import count, number, span
from harness.report.figures import canvas
from harness.report.figures.choose import Pair, Window, compared_methods, runs_of, view, worst_pair
from harness.report.figures.density import panel_width
from harness.report.figures.looks import look

_POINTS = 80
_CORNERS = 32
_BINS = 56
_HEIGHT = 200
_MASS = 0.9
_DOT = 2  # vertices: an outline with no more is no region
_GREY = "#9aa3ab"
_POINT_GREY = "#c3c9ce"

Line = tuple[FloatArray, FloatArray]


def region(x: FloatArray, y: FloatArray, across: Window, up: Window) -> list[Line]:
    """Return the outline of the smallest region with 90% of a smoothed sample.

    The sample is smoothed on a grid over the view, with two thirds of Scott's bandwidth: the full
    bandwidth suits a single normal and would widen bananas and merge modes. The 90% are of all
    draws; if more than 10% lie outside the view, no outline is drawn.
    """
    # Takes a third of a second to import, which a report with given figures does not need.
    from scipy.ndimage import gaussian_filter

    inside = (x >= across.low) & (x <= across.high) & (y >= up.low) & (y <= up.high)
    if inside.mean() < _MASS:
        return []
    counts, xs, ys = np.histogram2d(
        x, y, bins=_BINS, range=[[across.low, across.high], [up.low, up.high]]
    )
    narrow = 0.65 * x.size ** (-1 / 6)
    steps = (xs[1] - xs[0], ys[1] - ys[0])
    sds = (float(np.std(x[inside])), float(np.std(y[inside])))
    smooth = [max(narrow * sd / step, 0.5) for sd, step in zip(sds, steps, strict=True)]
    if not np.isfinite(smooth).all():  # draws so far out that their variance overflows
        return []
    density = gaussian_filter(counts, smooth, mode="constant")
    ranked = np.sort(density.ravel())[::-1]
    total = np.cumsum(ranked) / max(counts.sum(), 1.0) * inside.mean()
    level = float(ranked[min(int(np.searchsorted(total, _MASS)), ranked.size - 1)])
    middles = ((xs[1:] + xs[:-1]) / 2, (ys[1:] + ys[:-1]) / 2)
    # contourpy's type says what any of its settings may return; the default is a list of (n, 2).
    lines = [np.asarray(a) for a in contour_generator(*middles, density.T).lines(level)]
    kept = [canvas.thin(line, _CORNERS) for line in lines if len(line) > _DOT]
    return [(line[:, 0], line[:, 1]) for line in kept]


def _xy(draws: Draws | None, pair: Pair) -> Line | None:
    if draws is None or pair.first not in draws.names or pair.second not in draws.names:
        return None
    x, y = draws.quantity(pair.first).ravel(), draws.quantity(pair.second).ravel()
    finite = np.isfinite(x) & np.isfinite(y)
    return (x[finite], y[finite]) if finite.any() else None


def figure(comparison: ModelComparison) -> canvas.Figure | None:
    """Return the figure, or None for a single quantity or without a reference."""
    pair = worst_pair(comparison)
    reference = None if pair is None else _xy(comparison.reference.draws, pair)
    if pair is None or reference is None:
        return None
    across, up = view(comparison, pair.first), view(comparison, pair.second)
    methods = compared_methods(comparison)
    if across is None or up is None or not methods:
        return None
    width = panel_width(len(methods))
    drawing, ax = _frame(pair, reference, (across, up), width)
    panels = []
    for method in methods:
        runs = runs_of(comparison, method)
        title = look(method).title + (f", {count(len(runs), 'seed')}" if len(runs) > 1 else "")
        with canvas.overlay(ax):
            absent = _draw(ax, [_xy(run.draws, pair) for run in runs], method, (across, up))
            note = f"{count(absent, 'seed')} outside the view." if absent else ""
            alt = _alt(pair, method, title, note)
            panels.append(canvas.panel(drawing, title, method, alt, note))
    title = f"Worst pair: {pair.first} and {pair.second}"
    caption = (
        f"Grey: {_POINTS} reference draws and the region that holds 90% of them (correlation"
        f" {number(pair.reference)}). Lines: the regions that hold 90% of each seed's draws."
    )
    return canvas.Figure("pair", title, caption, tuple(panels))


def _frame(
    pair: Pair, reference: Line, frame: tuple[Window, Window], width: int
) -> tuple[canvas.Drawing, Axes]:
    """Draw what all panels share: axes, the reference's points and its region."""
    across, up = frame
    drawing, ax = canvas.scaled(width, _HEIGHT, up.low, up.high, right=6, label=pair.second)
    x, y = (canvas.thin(values, _POINTS) for values in reference)
    shown = across.holds(x) & up.holds(y)
    canvas.dots(ax, zip(x[shown], y[shown], strict=True), _POINT_GREY, size=1.7)
    ax.plot(*canvas.broken(region(*reference, across, up)), color=_GREY, lw=1.1)
    ax.set_xlim(across.low, across.high)
    canvas.x_axis(ax, canvas.nice_ticks(across.low, across.high, 4), pair.first)
    return drawing, ax


def _draw(ax: Axes, samples: list[Line | None], method: str, frame: tuple[Window, Window]) -> int:
    """Draw the outline of every seed; return how many have none in view."""
    found = [region(*xy, *frame) for xy in samples if xy is not None]
    lines = [line for outline in found for line in outline]
    style = look(method)
    ax.plot(*canvas.broken(lines), color=style.colour, ls=style.dash, lw=0.9, alpha=0.8)
    return sum(1 for outline in found if not outline)


def _alt(pair: Pair, method: str, title: str, note: str) -> str:
    known = [r for r in pair.by_method.get(method, []) if math.isfinite(r)]
    seen = "correlation unknown"
    if known:
        seen = f"correlation {span(known)}, typical {number(median(known))}"
    text = f"{pair.first} against {pair.second}, {title}: {seen};"
    return f"{text} reference {number(pair.reference)}. {note}".strip()
