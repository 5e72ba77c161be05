"""q's means and sds by iteration, as a tracker recorded them: a line per seed."""

from __future__ import annotations

import math

import numpy as np

from harness.records import FloatArray, ModelComparison, RunResult, Trace
from harness.records.text import count, number, span
from harness.report.figures import canvas
from harness.report.figures.choose import methods_of, runs_of
from harness.report.figures.looks import MUTED, look

PARAMETERS = 2
"""Unconstrained parameters whose means and sds are drawn."""

_BINS = 60
_WIDTH, _HEIGHT = 330, 190

_Curves = list[tuple[FloatArray, FloatArray]]


def figures(comparison: ModelComparison) -> list[canvas.Figure]:
    """Return a figure for every method whose runs kept what they tracked."""
    tracked = {
        method: [r for r in runs_of(comparison, method) if r.trace is not None and _names(r.trace)]
        for method in methods_of(comparison)
    }
    return [_figure(method, runs) for method, runs in tracked.items() if runs]


def _names(trace: Trace) -> list[str]:
    """Return the parameters whose mean and sd were tracked."""
    means = [k.removeprefix("mean.") for k in trace.extras if k.startswith("mean.")]
    return [name for name in means if f"sd.{name}" in trace.extras][:PARAMETERS]


def _figure(method: str, runs: list[RunResult]) -> canvas.Figure:
    traces = [r.trace for r in runs if r.trace is not None]
    panels = [_panel(method, "ELBO", runs, [(t.iteration, t.elbo) for t in traces], "nats")]
    for name in _names(traces[0]):
        for what in ("mean", "sd"):
            key = f"{what}.{name}"
            curves = [(t.iteration, t.extras[key]) for t in traces if key in t.extras]
            panels.append(_panel(method, f"{what} of {name}", runs, curves, "unconstrained"))
    refined = _refined(runs)
    caption = (
        f"{look(method).title}: the ELBO beside q's mean and sd on the unconstrained scale, a line"
        f" per seed ({count(len(runs), 'seed')}). The parameters can still move while the ELBO is"
        " level."
    )
    if refined:
        caption += f" Dashed: the fit was refined after {count(round(refined), 'iteration')}."
    return canvas.Figure("tracks", f"{look(method).title}, tracked", caption, tuple(panels))


def _refined(runs: list[RunResult]) -> float:
    """Return the iteration from which the fit was refined, 0 where it was not."""
    found = (r.diagnostics.get("refined_from", math.nan) for r in runs)
    return next(filter(math.isfinite, found), 0.0)


def _window(curves: _Curves) -> tuple[float, float]:
    """Return the range that the later half of the paths needs, with some of the climb."""
    late = np.concatenate([y[len(y) // 2 :] for _, y in curves])
    every = np.concatenate([y for _, y in curves])
    low, high = (float(q) for q in np.quantile(late, (0.002, 0.998)))
    room = 0.6 * (high - low) if high > low else max(abs(high) * 0.1, 1e-6)
    low = max(low - room, float(every.min()))
    high = min(high + room, float(every.max()))
    slack = 0.04 * max(high - low, 1e-9 * max(1.0, abs(high)))
    return low - slack, high + slack


def _panel(
    method: str, title: str, runs: list[RunResult], curves: _Curves, unit: str
) -> canvas.Panel:
    finite = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in curves]
    kept = [(x, y) for x, y in finite if len(x)]
    if not kept:
        drawing, ax = canvas.axes(_WIDTH, _HEIGHT, canvas.Margins())
        canvas.x_axis(ax, [], "iteration")
        words = "nothing finite was recorded"
        canvas.write_instead(ax, words)
        return canvas.panel(drawing, title, method, f"{title}: {words}", words)
    low, high = _window(kept)
    last = max(1.0, *(float(x[-1]) for x, _ in kept))
    across = canvas.nice_ticks(0, last, 3)
    # The last tick may stand at the very end of the axis.
    right = 8 + canvas.widest_px(canvas.tick_words(across)) / 2
    drawing, ax = canvas.scaled(_WIDTH, _HEIGHT, low, high, right=right)
    ax.set_xlim(0, last * 1.01)
    canvas.x_axis(ax, across, "iteration")
    lines = [canvas.envelope(x, np.clip(y, low, high), _BINS) for x, y in kept]
    ax.plot(*canvas.broken(lines), color=look(method).colour, lw=0.8, alpha=0.75)
    refined = _refined(runs)
    if refined:
        ax.axvline(refined, color=MUTED, lw=0.8, ls=(0.0, (4.0, 2.0)))
    ends = [float(y[-1]) for _, y in kept]
    moved = [float(np.ptp(y[len(y) // 2 :])) for _, y in kept]
    note = (
        f"At the end {span(ends, 3)}; it moves by up to {number(max(moved))} over the second half."
    )
    alt = f"{title} by iteration ({unit}), {count(len(kept), 'seed')}. {note}"
    return canvas.panel(drawing, title, method, alt, note)
