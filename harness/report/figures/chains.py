"""Whether the NUTS chains mix: traces and rank histograms, a strip per chain."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from harness.metrics import RHAT
from harness.records import Draws, FloatArray, ModelComparison
from harness.records.text import number
from harness.report.figures import canvas
from harness.report.figures.choose import quantity_names, runs_of
from harness.report.figures.looks import REFERENCE_FILL, look

_BINS = 20
_STRIP = 38
_CHAINS = 8
_WIDTH = 520
_MARGINS = canvas.Margins(left=54, right=18)
_BAND_Z = 2.576  # 99% of counts under perfect mixing


def figure(comparison: ModelComparison) -> canvas.Figure | None:
    """Return trace and ranks of the quantity with the worst R-hat; None without NUTS draws."""
    runs = [run for run in runs_of(comparison, "nuts") if run.draws is not None]
    if not runs or runs[0].draws is None:
        return None
    draws = runs[0].draws
    name, rhat = _worst_rhat(comparison, draws)
    if name is None:
        return None
    values = draws.quantity(name)[:_CHAINS]
    if not np.isfinite(values).all() or np.ptp(values) == 0 or values.shape[1] < _BINS:
        return None
    said = f"R-hat {number(rhat, 3)}" if rhat is not None else "R-hat unknown"
    panels = (_trace(values, name, said), _ranks(values, name, said))
    caption = (
        "Left: the draws in order, a strip per chain, all on one scale. Right: ranks of each"
        " chain's draws among all draws. If the chains agree, the histogram is flat and 99% of the"
        " bins lie inside the grey band."
    )
    return canvas.Figure("chains", f"NUTS chains: {name}, {said}", caption, panels)


def _worst_rhat(comparison: ModelComparison, draws: Draws) -> tuple[str | None, float | None]:
    found = {
        m.quantity: m.value
        for m in comparison.measures
        if m.metric == RHAT.id and m.method in {"nuts", "reference"} and m.quantity in draws.names
    }
    if found:
        worst = max(found, key=lambda q: math.inf if math.isnan(found[q]) else found[q])
        return worst, found[worst]
    names = [n for n in quantity_names(comparison) if n in draws.names]
    return (names[0] if names else None), None


def _strips(chains: int) -> tuple[canvas.Drawing, Axes]:
    """Return axes with a strip for each chain, the first on top."""
    drawing, ax = canvas.axes(_WIDTH, chains * _STRIP + 44, _MARGINS)
    ax.set_ylim(0, chains)
    names = [f"chain {i + 1}" for i in range(chains)]
    canvas.named_axis(ax, "y", [chains - i - 0.5 for i in range(chains)], names)
    return drawing, ax


def _trace(values: FloatArray, name: str, said: str) -> canvas.Panel:
    chains, n = values.shape
    drawing, ax = _strips(chains)
    low, high = float(values.min()), float(values.max())
    lines = []
    for i, row in enumerate(values):
        x, y = canvas.envelope(np.arange(1.0, n + 1), row, 130)
        lines.append((x, chains - i - 1 + 0.06 + 0.88 * (y - low) / (high - low)))
    ax.plot(*canvas.broken(lines), color=look("nuts").colour, lw=0.6)
    ax.set_xlim(0, n)
    canvas.x_axis(ax, canvas.nice_ticks(0, n, 5), "draw")
    means = ", ".join(number(float(row.mean())) for row in values)
    alt = f"Trace of {name} for {chains} NUTS chains of {n} draws: means {means}; {said}."
    note = f"each strip from {number(low)} to {number(high)}"
    return canvas.panel(drawing, f"{name} by draw", "nuts", alt, note)


def _ranks(values: FloatArray, name: str, said: str) -> canvas.Panel:
    chains, n = values.shape
    from scipy.stats import rankdata  # slow, and kept figures need none

    ranks = rankdata(values).reshape(values.shape)
    edges = np.linspace(0.5, values.size + 0.5, _BINS + 1)
    counts = np.stack([np.histogram(row, bins=edges)[0] for row in ranks]).astype(float)
    expected = n / _BINS
    band = _BAND_Z * math.sqrt(n * (1 / _BINS) * (1 - 1 / _BINS))
    scale = 0.9 / max(float(counts.max()), expected + band)
    drawing, ax = _strips(chains)
    lines = []
    for i, row in enumerate(counts):
        base = chains - i - 1
        low, high = base + scale * max(expected - band, 0.0), base + scale * (expected + band)
        ax.fill_between([0, _BINS], [low, low], [high, high], color=REFERENCE_FILL, lw=0)
        x = np.repeat(np.arange(_BINS + 1.0), 2)
        y = base + scale * np.concatenate(([0.0], np.repeat(row, 2), [0.0]))
        lines.append((x, y))
    ax.plot(*canvas.broken(lines), color=look("nuts").colour, lw=1.0)
    ax.set_xlim(0, _BINS)
    canvas.named_axis(ax, "x", [0.7, _BINS - 0.7], ["lowest", "highest"], f"rank of {name}")
    outside = int(np.sum(np.abs(counts - expected) > band))
    alt = (
        f"Rank histograms of {name} for {chains} NUTS chains: {outside} of {counts.size} bins"
        f" outside the 99% band; {said}."
    )
    note = f"{outside} of {counts.size} bins outside the band"
    return canvas.panel(drawing, f"{name} by rank", "nuts", alt, note)
