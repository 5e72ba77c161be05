"""Kernel density overlays: one panel per method, the reference shaded, each seed a line."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from harness.records import FloatArray, ModelComparison
from harness.records.text import count, listed, number, span
from harness.report.figures import canvas
from harness.report.figures.choose import (
    MOST_TELLING,
    Window,
    column,
    methods_of,
    quantity_names,
    runs_of,
    shown_quantities,
    view,
)
from harness.report.figures.looks import REFERENCE_FILL, look
from harness.report.rows import KINDS

_GRID = 108
_NARROW = 300  # CSS pixels
_HEIGHT = 150
_TALLEST = 2.6  # how far above the reference's peak the axis reaches for narrower approximations
_OUTSIDE = 0.05  # the note names seeds with less than this share of their mass in view
Curve = tuple[FloatArray, FloatArray]


class _Seed(NamedTuple):
    curve: Curve | None
    centre: float
    sd: float
    inside: float
    pinned: bool


def kde(values: FloatArray, frame: Window, bandwidth: str) -> Curve | None:
    """Return ArviZ's KDE of ``values`` on the part of the axis in view.

    Draws far outside are left out before smoothing, because the grid of a runaway would be
    coarser than the whole view; the density is scaled by the share of draws that are kept.
    """
    # Takes two seconds to import, which a report with given figures does not need.
    from arviz_stats.base import array_stats

    reach = frame.high - frame.low
    near = values[(values > frame.low - reach) & (values < frame.high + reach)]
    if near.size < 20 or np.ptp(near) <= 1e-9 * reach:  # noqa: PLR2004 - nothing to smooth
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        grid, density, _ = array_stats.kde(near, circular=False, bw=bandwidth, grid_len=_GRID)
    if not np.isfinite(density).all():  # a few draws, many times over, have no bandwidth
        return None
    density = density * (near.size / values.size)
    # Close the curve at the ends of its own range, where ArviZ's grid stops.
    grid = np.concatenate(([grid[0]], grid, [grid[-1]]))
    density = np.concatenate(([0.0], density, [0.0]))
    kept = (grid >= frame.low) & (grid <= frame.high)
    return (grid[kept], density[kept]) if kept.any() else None


def deviation(values: FloatArray) -> float:
    """Return the standard deviation of draws whose squares may be too large for numbers."""
    size = float(np.max(np.abs(values))) or 1.0
    return float(np.std(values / size)) * size


def _seed(values: FloatArray, frame: Window, bandwidth: str) -> _Seed:
    inside = float(np.mean(frame.holds(values)))
    curve = kde(values, frame, bandwidth) if inside > 0 else None
    centre, sd = float(np.median(values)), deviation(values)
    return _Seed(curve, centre, sd, inside, pinned=curve is None and inside > 0)


def _seeds(comparison: ModelComparison, method: str, name: str, frame: Window) -> list[_Seed]:
    """One curve per seed; for a sampler with long chains, one per chain."""
    # Silverman's rule suits the near-normal draws of an approximation and is five times faster
    # than ArviZ's default, which resolves the modes of a stuck chain.
    bandwidth = "silverman" if look(method).approximate else "experimental"
    drawn = [run.draws for run in runs_of(comparison, method) if run.draws is not None]
    values = [(d, d.quantity(name)) for d in drawn if name in d.names]
    rows = [row for d, x in values for row in (x if d.long_chains else x.reshape(1, -1))]
    finite = [row[np.isfinite(row)] for row in rows]
    return [_seed(row, frame, bandwidth) for row in finite if row.size]


def _unit(comparison: ModelComparison, method: str) -> str:
    runs = runs_of(comparison, method)
    chained = len(runs) == 1 and runs[0].draws is not None and runs[0].draws.long_chains
    return "chain" if chained else "seed"


def _where(seeds: list[_Seed], unit: str, words: str) -> str:
    """Say how many seeds these are and where; nothing where there are none."""
    places = listed(sorted({number(s.centre) for s in seeds}), at_most=4)
    return f"{count(len(seeds), unit)} {words} {places}." if seeds else ""


def figures(comparison: ModelComparison) -> list[canvas.Figure]:
    """Return one figure per shown quantity."""
    names = shown_quantities(comparison, MOST_TELLING)
    made = [figure(comparison, name) for name in names]
    return [figure for figure in made if figure is not None]


def figure(comparison: ModelComparison, name: str) -> canvas.Figure | None:
    """Return a quantity's figure, a panel a method; None where no run has draws of it."""
    frame = view(comparison, name)
    methods = methods_of(comparison)
    if frame is None or not methods:
        return None
    reference = column(comparison.reference.draws, name)
    shaded = None if reference is None else kde(reference, frame, "experimental")
    drawn = {method: _seeds(comparison, method, name, frame) for method in methods}
    top = _top(shaded, drawn)
    width = panel_width(len(methods))
    drawing, ax = frame_of(shaded, frame, top, (width, _HEIGHT), name)
    panels = []
    for method in methods:
        seeds, unit = drawn[method], _unit(comparison, method)
        runs = len(runs_of(comparison, method))
        high = sum(float(s.curve[1].max()) > top for s in seeds if s.curve is not None)
        missing = runs - len(seeds) if unit == "seed" else 0
        outside = [s for s in seeds if s.inside < _OUTSIDE]
        notes = (
            f"{count(missing, 'run')} of {runs} without draws." if missing > 0 else "",
            _where(outside, unit, f"outside the view: {name} near"),
            _where([s for s in seeds if s.pinned], unit, "with no width, at"),
            f"{count(high, 'peak')} cut." if high else "",
        )
        note = " ".join(n for n in notes if n)
        shown = len(seeds) if unit == "chain" else runs
        title = f"{look(method).title}, {count(shown, unit)}"
        alt = _alt(name, title, reference, seeds, note)
        with canvas.overlay(ax):
            _draw(ax, seeds, top, method)
            panels.append(canvas.panel(drawing, title, method, alt, note, quantity=name))
    total = len(quantity_names(comparison))
    few = f" Drawn: the {MOST_TELLING} of {total} quantities with the largest W1 distance."
    caption = _caption(comparison, shaded=shaded is not None) + (
        few if total > MOST_TELLING else ""
    )
    return canvas.Figure("density", name, caption, tuple(panels))


def _caption(comparison: ModelComparison, *, shaded: bool) -> str:
    if not shaded:
        return "Lines: the density of each seed. There is no reference to shade."
    kind = KINDS[comparison.reference.kind]
    trust = "" if comparison.reference.trusted else ", which is not trusted"
    return f"Shaded: the reference ({kind}{trust}). Lines: a seed or a chain each."


def panel_width(n: int) -> int:
    """Return the natural width of one of ``n`` panels in a row, CSS pixels."""
    return {1: 540, 2: 540, 3: 366, 4: 272}.get(n, 216)


def _top(shaded: Curve | None, drawn: dict[str, list[_Seed]]) -> float:
    """Return a common height: all curves, but at most some times the reference's peak."""
    curves = [s.curve for seeds in drawn.values() for s in seeds if s.curve is not None]
    peaks = [float(c[1].max()) for c in curves]
    if shaded is None:
        return float(np.quantile(peaks, 0.8)) * 1.2 if peaks else 1.0
    reference = float(shaded[1].max())
    sensible = [p for p in peaks if p <= _TALLEST * reference]
    return 1.06 * max([reference, *sensible])


def frame_of(
    shaded: Curve | None, frame: Window, top: float, size: tuple[int, int], label: str
) -> tuple[canvas.Drawing, Axes]:
    """Draw what panels of ``size`` (CSS pixels) share: axes and the reference."""
    width, height = size
    drawing, ax = canvas.axes(width, height, canvas.Margins(bottom=34.0 if label else 20.0))
    if shaded is not None:
        # fill_between would write the level base point by point: half of a panel's bytes. Every
        # other point of a smooth curve is enough for an area without an outline.
        x, y = shaded[0], shaded[1]
        picks = np.unique(np.append(np.arange(0, len(x), 2), len(x) - 1))
        base = np.array([x[-1], x[0]])
        ax.fill(np.append(x[picks], base), np.append(y[picks], [0, 0]), color=REFERENCE_FILL, lw=0)
    ax.set_xlim(frame.low, frame.high)
    ax.set_ylim(0, top)
    ticks = canvas.nice_ticks(frame.low, frame.high, 4 if width < _NARROW else 6)
    canvas.x_axis(ax, ticks, label)
    return drawing, ax


def _draw(ax: Axes, seeds: list[_Seed], top: float, method: str) -> None:
    style = look(method)
    curves = [s.curve for s in seeds if s.curve is not None]
    # How far a peak exceeds the top does not matter, and its digits cost bytes. A seed without
    # any width is a needle too.
    lines = [(x, np.minimum(y, 1.5 * top)) for x, y in curves]
    lines += [(np.array([s.centre, s.centre]), np.array([0, 1.5 * top])) for s in seeds if s.pinned]
    ax.plot(*canvas.broken(lines), color=style.colour, lw=0.9, ls=style.dash, alpha=0.75)
    if not seeds:
        canvas.write_instead(ax, "no draws")


def _alt(name: str, title: str, reference: FloatArray | None, seeds: list[_Seed], note: str) -> str:
    parts = [f"Density of {name}, {title}."]
    if reference is not None:
        middle, sd = number(float(np.median(reference))), number(deviation(reference))
        parts.append(f"Reference, shaded: median {middle}, sd {sd}.")
    inside = [s for s in seeds if s.inside >= _OUTSIDE]
    if inside:
        centres, sds = span([s.centre for s in inside]), span([s.sd for s in inside])
        parts.append(f"Lines: medians {centres}, sds {sds}.")
    return " ".join([*parts, note]).strip()
