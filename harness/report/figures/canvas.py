"""Small SVG panels from matplotlib, without pyplot, and made small enough for one page.

A figure of the report is a set of panels, usually one per method, which the page lays out in a
grid. Titles and notes are text of the page, so that they cannot lie over a curve.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MplFigure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from harness.records import FloatArray
from harness.records.text import fixed, number
from harness.report.figures import compact
from harness.report.figures.looks import INK, MUTED

Drawing = MplFigure
PX_PER_INCH = 96.0
FONT_PT = 8.0
_TICK = 2.5  # points
_FIGURES = "figures"  # marks an axis of figures; compact drops it from the image
_UNKNOWN_EM = 1.0  # a character that the report's font lacks, as wide as any

Kind = Literal[
    "gap", "overlay", "density", "quantile", "pair", "elbo", "tracks", "variance", "chains", "cost"
]


class Scale(NamedTuple):
    """An axis with figures: where it lies in the image and what its ends mean."""

    which: str
    """``x`` or ``y``."""
    name: str
    """Its label; empty where the panel's title names it."""
    start: float
    """Where its lower value is, as a share of the image's width from the left or height from the
    top; so is ``end`` for the upper."""
    end: float
    low: float
    high: float
    logarithmic: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """One image with what the page writes around it."""

    title: str
    """In words, usually the method's name and its number of seeds."""
    method: str
    """Whose colour the title takes; empty for none."""
    svg: str
    """The image, an element for the page, whose font it takes."""
    alt: str
    """What is seen, with its figures."""
    width: int
    """Natural size in CSS pixels, as ``height``."""
    height: int
    note: str = ""
    """A sentence under the title: what lies outside the view, what was cut."""
    quantity: str = ""
    """The one quantity that is drawn; empty where there are several or none."""
    scales: tuple[Scale, ...] = ()
    """Axes whose values a reader can read off."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels that belong together, with a title and a caption; ``kind`` says where they go."""

    kind: Kind
    title: str
    caption: str
    panels: tuple[Panel, ...]
    methods: tuple[str, ...] = ()
    """Methods that every panel shows, where a legend has to name them."""

    def _repr_html_(self) -> str:
        """Return the panels side by side for a notebook, with their words."""
        shown = "".join(
            f'<figure style="margin:0;width:{p.width}px;max-width:100%">'
            f"<figcaption>{escape(p.title)} <small>{escape(p.note)}</small></figcaption>"
            f'<div role="img" aria-label="{escape(p.alt)}">{p.svg}</div></figure>'
            for p in self.panels
        )
        return (
            '<div style="background:#fff;color:#1f2328;font:13px sans-serif;padding:8px">'
            f"<b>{escape(self.title)}</b><p>{escape(self.caption)}</p>"
            f'<div style="display:flex;flex-wrap:wrap;gap:12px">{shown}</div></div>'
        )


@cache
def _advances() -> dict[str, float]:
    """Return the widths of the report's characters, in units of the font size."""
    file = resources.files("harness.report").joinpath("font", "advances.json")
    found: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return {character: width for alike, width in found.items() for character in alike}


def width_px(words: str, points: float = FONT_PT) -> float:
    """Return the width of ``words`` in the report's own font, CSS pixels."""
    advances = _advances()
    ems = sum(advances.get(character, _UNKNOWN_EM) for character in words)
    return ems * points * PX_PER_INCH / 72


def widest_px(words: Iterable[str]) -> float:
    """Return the width of the widest label, CSS pixels; 0 where there is none."""
    return max(map(width_px, words), default=0.0)


@dataclass(frozen=True, slots=True)
class Margins:
    """Room around the axes, CSS pixels."""

    left: float = 8.0
    right: float = 8.0
    top: float = 6.0
    bottom: float = 34.0


def panel(
    drawing: Drawing, title: str, method: str, alt: str, note: str = "", *, quantity: str = ""
) -> Panel:
    """Return what is drawn now as a panel; later strokes do not change it."""
    width, height = (round(inches * PX_PER_INCH) for inches in drawing.get_size_inches())
    svg, scales = compact.svg(drawing), _scales(drawing)
    return Panel(title, method, svg, alt, width, height, note, quantity, scales)


def _scales(drawing: Drawing) -> tuple[Scale, ...]:
    """Return the axes of figures of a drawing with one pair of axes; of others none."""
    if len(drawing.axes) != 1:
        return ()
    (ax,) = drawing.axes
    box, found = ax.get_position(), []
    for which, axis, ends in (
        ("x", ax.xaxis, (box.x0, box.x1)),
        ("y", ax.yaxis, (1 - box.y0, 1 - box.y1)),
    ):
        if axis.get_gid() == _FIGURES:
            low, high = (float(v) for v in axis.get_view_interval())
            log = axis.get_scale() == "log"
            found.append(Scale(which, axis.get_label_text(), *ends, low, high, log))
    return tuple(found)


def axes(width: int, height: int, margins: Margins) -> tuple[Drawing, Axes]:
    """Return an empty figure of ``width`` × ``height`` CSS pixels and its only axes."""
    figure = MplFigure(figsize=(width / PX_PER_INCH, height / PX_PER_INCH))
    figure.patch.set_visible(False)
    box = (
        margins.left / width,
        margins.bottom / height,
        1 - (margins.left + margins.right) / width,
        1 - (margins.top + margins.bottom) / height,
    )
    ax = figure.add_axes(box)
    ax.patch.set_visible(False)
    for side, spine in ax.spines.items():
        spine.set(visible=side == "bottom", color=MUTED, linewidth=0.6)
    ax.yaxis.set_major_locator(NullLocator())
    return figure, ax


@contextmanager
def overlay(ax: Axes) -> Iterator[None]:
    """On leaving, remove what was drawn inside.

    Panels of one figure share frame and ticks, which take longer to make than the curves: the
    frame is made once, and each method is drawn over it in turn.
    """
    before = set(ax.get_children())
    yield
    for artist in ax.get_children():
        if artist not in before:
            artist.remove()


def nice_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Return round tick positions within ``[low, high]``."""
    ticks = MaxNLocator(nbins=wanted, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(t) for t in ticks if low <= t <= high]


def tick_words(ticks: Sequence[float]) -> list[str]:
    """Return tick labels with equal decimals and a true minus sign."""
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    largest = max((abs(t) for t in ticks), default=0.0)
    # Beyond this plain numbers do not fit; but labels must differ from each other.
    if largest >= 1e5 or (step < 1e-4 and largest < 1e-3):  # noqa: PLR2004
        return [number(t, 2) for t in ticks]
    decimals = next((d for d in range(7) if abs(round(step, d) - step) < step * 1e-6), 7)
    return [fixed(t, decimals) for t in ticks]


def scaled(
    width: int, height: int, low: float, high: float, *, right: float, label: str = ""
) -> tuple[Drawing, Axes]:
    """Return axes with a scale on the left and as much room as its labels need."""
    ticks = nice_ticks(low, high, 5)
    left = (32 if label else 14) + widest_px(tick_words(ticks))
    drawing, ax = axes(width, height, Margins(left=left, right=right))
    ax.spines["left"].set_visible(True)
    ax.set_ylim(low, high)
    named_axis(ax, "y", ticks, tick_words(ticks), label, length=_TICK, figures=True)
    return drawing, ax


def x_axis(ax: Axes, ticks: Sequence[float], label: str) -> None:
    """Put ticks and a label under axes that have their limits; a tick that would be cut goes."""
    box, (low, high) = ax.get_position(), ax.get_xlim()
    width = ax.figure.bbox.width / ax.figure.dpi * PX_PER_INCH
    kept = []
    for tick, word in zip(ticks, tick_words(ticks), strict=True):
        at = width * (box.x0 + (tick - low) / (high - low) * box.width)
        half = width_px(word) / 2 + 1
        if half <= at <= width - half:
            kept.append(tick)
    kept = kept or list(ticks)
    named_axis(ax, "x", kept, tick_words(kept), label, length=_TICK, figures=True)


def named_axis(
    ax: Axes,
    which: str,
    ticks: Sequence[float],
    names: Sequence[str],
    label: str = "",
    *,
    length: float = 0.0,
    figures: bool = False,
) -> None:
    """Put words at fixed positions along the axis ``which``, with tick marks of a ``length``.

    ``figures`` says that places between them have a meaning, which readers may ask for.
    """
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_gid(_FIGURES if figures else None)
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_ticklabels(list(names))
    axis.set_tick_params(labelsize=FONT_PT, length=length, width=0.6, color=MUTED, labelcolor=MUTED)
    if label:
        axis.set_label_text(label, fontsize=FONT_PT, color=INK)
        axis.labelpad = 1.5


def write(ax: Axes, x: float, y: float, words: str, *, colour: str = INK) -> None:
    """Write a label of ordinary size, its left end half-way up at a place of the data."""
    ax.text(x, y, words, color=colour, size=FONT_PT, va="center")


def write_instead(ax: Axes, words: str) -> None:
    """Write in the middle why nothing is drawn."""
    middle = ax.transAxes
    ax.text(0.5, 0.5, words, color=MUTED, size=FONT_PT, transform=middle, ha="center")


def broken(lines: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Join curves into one path with gaps: one SVG element instead of one per seed."""
    if not lines:
        return np.empty(0), np.empty(0)
    gap = np.array([np.nan])
    xs = [part for x, _ in lines for part in (np.asarray(x, dtype=float), gap)]
    ys = [part for _, y in lines for part in (np.asarray(y, dtype=float), gap)]
    return np.concatenate(xs[:-1]), np.concatenate(ys[:-1])


def dots(ax: Axes, places: Iterable[tuple[float, float]], colour: str, *, size: float) -> None:
    """Draw round points as one path of zero-length strokes, some ten bytes a point."""
    xs, ys = broken([(np.array([x, x]), np.array([y, y])) for x, y in places])
    (line,) = ax.plot(xs, ys, color=colour, lw=size, solid_capstyle="round")
    line.get_path().should_simplify = False


def thin(values: NDArray[np.float64], at_most: int) -> NDArray[np.float64]:
    """Return at most ``at_most`` values, evenly spaced along the first axis."""
    if len(values) <= at_most:
        return values
    picks = np.linspace(0, len(values) - 1, at_most).round().astype(int)
    return np.asarray(values[picks])


def envelope(x: FloatArray, y: FloatArray, bins: int) -> tuple[FloatArray, FloatArray]:
    """Thin a jagged line to the lowest and highest point of each of ``bins`` stretches.

    Evenly spaced points would miss the spikes, which readers look for.
    """
    if len(x) <= 2 * bins:
        return x, y
    stretches = np.array_split(np.arange(len(x)), bins)
    ends = [s[find(y[s])] for s in stretches for find in (np.argmin, np.argmax)]
    picks = np.unique([0, len(x) - 1, *ends])
    return x[picks], y[picks]
