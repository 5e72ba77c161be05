"""ELBO against iteration, a panel per method, a line per seed, coloured by step size eta."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from harness.methods.method import Dash
from harness.records import FloatArray, ModelComparison, RunResult
from harness.records.text import count, listed, number, setting, span
from harness.report.figures import canvas
from harness.report.figures.choose import methods_of, runs_of
from harness.report.figures.looks import MUTED, look

_BINS = 32
_FEWEST = 3  # recorded points that make a path; a deterministic fit may need only a step or two
_HEIGHT = 190
_ETA_LOOKS: tuple[tuple[float, str, Dash], ...] = (
    (0.03, "#5b8db8", "-"),
    (0.3, "#1d5a8c", "-"),
    (3.0, "#2e7d4f", "-"),
    (30.0, "#c07d00", (0.0, (5.0, 1.5))),
    (math.inf, "#7b3fa0", (0.0, (1.5, 1.2))),
)
"""Colour and dash of a step size up to the first number; CmdStan tries .01, .1, 1, 10, 100."""


class _Path(NamedTuple):
    seed: int
    eta: float
    iteration: FloatArray
    elbo: FloatArray
    finished: bool


def _eta_look(eta: float) -> tuple[str, Dash]:
    found = ((colour, dash) for limit, colour, dash in _ETA_LOOKS if eta <= limit)
    return next(found, (MUTED, "-"))


def _path(run: RunResult) -> _Path | None:
    if run.trace is None or len(run.trace.iteration) < _FEWEST:
        return None
    finite = np.isfinite(run.trace.elbo) & np.isfinite(run.trace.iteration)
    if not finite.any():
        return None
    return _Path(
        seed=run.spec.seed,
        eta=float(run.diagnostics.get("eta", math.nan)),
        iteration=np.asarray(run.trace.iteration, dtype=float)[finite],
        elbo=np.asarray(run.trace.elbo, dtype=float)[finite],
        finished=run.status == "ok",
    )


def figure(comparison: ModelComparison) -> canvas.Figure | None:
    """Return the figure, or None where no run kept an ELBO trace."""
    paths = {
        method: kept
        for method in methods_of(comparison)
        if (kept := [p for run in runs_of(comparison, method) if (p := _path(run)) is not None])
    }
    if not paths:
        return None
    everything = [p for group in paths.values() for p in group]
    low, high = _limits(everything)
    width = {1: 540, 2: 540, 3: 366}.get(len(paths), 272)
    labels = [words for group in paths.values() for _, words, _ in _eta_labels(group)]
    room = 16 + canvas.widest_px(f"{words} ↓" for words in labels)  # any may get an arrow
    drawing, ax = canvas.scaled(width, _HEIGHT, low, high, right=room)
    panels = []
    for method, group in paths.items():
        runs = len(runs_of(comparison, method))
        note = _note(group, runs, low)
        title = f"{look(method).title}, {count(runs, 'seed')}"
        with canvas.overlay(ax):
            _draw(ax, group, low, high)
            panels.append(canvas.panel(drawing, title, method, _alt(title, group, note), note))
    caption = (
        "In nats, larger is better; one line per seed, and one scale of the ELBO for all panels."
        " Colour, dash and label: the step size eta, if CmdStan chose one. Dot: the run stopped"
        " because it reported convergence; others ran to the iteration limit or broke off."
    )
    return canvas.Figure("elbo", "ELBO by iteration", caption, tuple(panels))


def _late(path: _Path) -> FloatArray:
    return path.elbo[len(path.elbo) * 2 // 5 :]


def _limits(paths: list[_Path]) -> tuple[float, float]:
    """Return the range that most late traces need; runaways do not widen it."""
    late = [_late(p) for p in paths]
    pooled = np.concatenate(late)
    high = float(np.quantile(pooled, 0.995))
    # A seed's own level counts once, however long it ran: the middle half of the seeds.
    levels = np.array([np.quantile(values, 0.1) for values in late])
    best = float(np.max([np.median(values) for values in late]))
    spread = float(np.quantile(levels, 0.75) - np.quantile(levels, 0.3))
    low = min(float(np.quantile(levels, 0.3)) - 0.5 * spread, best - 3.0)
    start = np.array([p.elbo[0] for p in paths])
    reachable = start[start > low - 3 * (high - low)]
    if reachable.size:  # show the climb unless it squashes the rest
        low = min(low, float(reachable.min()))
    room = 0.06 * max(high - low, 1e-3 * max(1.0, abs(high)))
    return low - room, high + room


def _draw(ax: Axes, paths: list[_Path], low: float, high: float) -> None:
    last = max(1.0, *(float(p.iteration[-1]) for p in paths))
    ax.set_xlim(0, last * 1.01)
    canvas.x_axis(ax, canvas.nice_ticks(0, last, 3), "iteration")
    reach = 4 * (high - low)
    for eta in dict.fromkeys(p.eta for p in paths):
        colour, dash = _eta_look(eta)
        group = [p for p in paths if p.eta == eta or (math.isnan(eta) and math.isnan(p.eta))]
        deep = [(p.iteration, np.maximum(p.elbo, low - reach)) for p in group]
        lines = [canvas.envelope(x, y, _BINS) for x, y in deep]
        ax.plot(*canvas.broken(lines), color=colour, ls=dash, lw=0.8, alpha=0.8)
        ends = [p for p in group if p.finished]
        if ends:
            places = [(p.iteration[-1], min(max(p.elbo[-1], low), high)) for p in ends]
            canvas.dots(ax, places, colour, size=3.4)
    _label(ax, _eta_labels(paths), low, high, last)


def _eta_labels(paths: list[_Path]) -> list[tuple[float, str, float]]:
    """Return eta, its label and the height of its traces' ends, for each step size."""
    groups: dict[str, list[_Path]] = {}
    for p in paths:
        groups.setdefault("" if math.isnan(p.eta) else f"η {setting(p.eta)}", []).append(p)
    labels = []
    for words, group in groups.items():
        height = float(np.median([np.median(p.elbo[-5:]) for p in group]))
        many = f" ×{len(group)}" if words and len(group) > 1 and len(groups) > 1 else ""
        labels.append((group[0].eta, words + many, height))
    return labels


def _label(
    ax: Axes, labels: list[tuple[float, str, float]], low: float, high: float, x: float
) -> None:
    """Write the labels beside the ends, pushed apart so that none lies on another."""
    line = (high - low) * 13 / (_HEIGHT - 40)
    ordered = sorted(labels, key=lambda item: -item[2])
    places = [min(max(y, low + line / 2), high - line / 2) for _, _, y in ordered]
    for i in range(1, len(places)):
        places[i] = min(places[i], places[i - 1] - line)
    shortfall = (low + line / 2) - places[-1]
    if shortfall > 0:  # ran out at the bottom: push back up, last first
        places[-1] += shortfall
        for i in range(len(places) - 2, -1, -1):
            places[i] = max(places[i], places[i + 1] + line)
    for (eta, label, height), y in zip(ordered, places, strict=True):
        colour, _ = _eta_look(eta)
        words = f"{label} ↓" if height < low else label
        canvas.write(ax, x * 1.03, y, words, colour=colour)


def _note(paths: list[_Path], runs: int, low: float) -> str:
    parts = []
    if len(paths) < runs:
        parts.append(f"{runs - len(paths)} of {runs} without a trace.")
    lowest = [float(_late(p).min()) for p in paths]
    below = [value for value in lowest if value < low]
    if below:
        parts.append(f"Axis cut: {count(len(below), 'seed')} below, down to {number(min(below))}.")
    return " ".join(parts)


def _alt(title: str, paths: list[_Path], note: str) -> str:
    last = [float(np.median(p.elbo[-5:])) for p in paths]
    etas = listed([words for _, words, _ in _eta_labels(paths) if words])
    steps = f"; step sizes {etas}" if etas else ""
    stops = span([float(p.iteration[-1]) for p in paths], 3)
    return (
        f"ELBO by iteration, {title}: final ELBO {span(last, 3)} nats, last iteration {stops}"
        f"{steps}. {note}"
    ).strip()
