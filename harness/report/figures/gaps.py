"""Where the divergence comes from: a bar per run, its family gap and its optimiser gap in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from harness.records import FloatArray, Gap, ModelComparison
from harness.records.text import clip, count, number, span
from harness.report.figures import canvas
from harness.report.figures.looks import CLOSE_BAND, INK, MUTED, in_order, look

CLOSE = 0.005
"""Nats; the cost of a mean 0.1 sd off, which is the limit of *close*. Smaller parts are dots."""

_FAMILY = "#33475b"
_OPTIMISER = "#d08a1d"  # they differ in lightness too: one is twice as dark as the other
_BREAK = "white"
_THICK = {_FAMILY: 3.6, _OPTIMISER: 3.6, _BREAK: 1.3, INK: 0.7}
"""Points of the lines: bars, breaks in those that are cut, whiskers; later ones lie on top."""

_LEAST = 0.02
_REACH = 10.0  # the axis ends at the largest sum within this many times what a reader came to see
_WIDTH = 566
_ROW = 6.0  # CSS pixels of a run
_SPACE = 9.0  # between methods: a label of one row fits
_LEGEND = 20.0
_MAXIMAL_NAME = 24
_LISTED = 2
_WHISKER = 2.0  # standard errors
_VISIBLE = 2.0  # pixels from which a whisker is drawn
_BAND_TO = 40 * CLOSE

Line = tuple[FloatArray, FloatArray]


class _Scale(NamedTuple):
    """The axis from 0 to ``end`` nats; ``px`` is what one CSS pixel is worth."""

    end: float
    px: float


def by_method(comparison: ModelComparison) -> dict[str, tuple[Gap, ...]]:
    """Return each method's gaps in the order of figures, smallest sum first, unknown ones last."""
    if comparison.explanation is None:
        return {}
    ordered = sorted(comparison.explanation.gaps, key=lambda g: (math.isnan(kl := g.kl.value), kl))
    methods = in_order((g.method for g in comparison.explanation.gaps), nuts_first=True)
    return {m: tuple(g for g in ordered if g.method == m) for m in methods}


def figure(comparison: ModelComparison) -> canvas.Figure | None:
    """Return the figure, or None without an explanation or gaps."""
    found = by_method(comparison)
    gaps = [g for several in found.values() for g in several]
    if not gaps:
        return None
    end = axis_end(gaps)
    words = {m: beyond_words(several, end) for m, several in found.items()}
    names = {m: clip(look(m).title, _MAXIMAL_NAME) for m in found}
    margins = canvas.Margins(
        left=12 + canvas.widest_px(names.values()),
        right=12 + canvas.widest_px(words.values()),
        top=_LEGEND,
    )
    deep = sum(_ROW * len(several) + _SPACE for several in found.values())
    height = round(deep + margins.top + margins.bottom)
    drawing, ax = canvas.axes(_WIDTH, height, margins)
    scale = _Scale(end, end / (_WIDTH - margins.left - margins.right))
    ax.set_xlim(0, end)
    ax.set_ylim(deep, 0)
    if end <= _BAND_TO:
        ax.axvspan(0, CLOSE, color=CLOSE_BAND, lw=0)
    ax.axvline(0, color=MUTED, lw=0.6)
    middles = _draw(ax, found, scale)
    canvas.named_axis(ax, "y", list(middles.values()), [names[m] for m in middles])
    canvas.x_axis(ax, canvas.nice_ticks(0, end, 5), "nats")
    _legend(ax, scale)
    for method, y in middles.items():
        if words[method]:
            # Bars that are cut or unknown are the last of their method.
            last = sum(not _whole(g, end) for g in found[method])
            at = y + _ROW * (len(found[method]) - last) / 2
            canvas.write(ax, end + 6 * scale.px, at, words[method])
    note = _note(gaps, end)
    alt = f"Family gap and optimiser gap in nats. {_alt(found)} {note}".strip()
    title = f"KL(q ‖ p) of {count(len(gaps), 'run')}, {count(len(found), 'method')}"
    panel = canvas.panel(drawing, title, "", alt, note)
    caption = (
        "The divergence of every run from the posterior, in two parts: the family gap (dark), which"
        " even the best member of its family has, and the optimiser gap (light), which this run"
        " adds. A bar per seed, the smallest first; the line at its end reaches two standard errors"
        f" to either side. A dot is a part under {number(CLOSE, 1)} nats, the cost of a mean that"
        " is 0.1 sd off."
    )
    return canvas.Figure("gap", "Where the divergence comes from", caption, (panel,))


def axis_end(gaps: Sequence[Gap]) -> float:
    """Return where the axis ends, nats.

    Readers want to see the largest family gap, or the typical sum of those that are not close to
    zero if that is larger; sums up to ten times as large are drawn in full. Runaways are cut: on
    their scale nothing else would be visible.
    """
    families = [g.family_gap.value for g in gaps if math.isfinite(g.family_gap.value)]
    sums = [_known(g) for g in gaps]
    telling = [s for s in sums if math.isfinite(s) and s >= CLOSE]
    wanted = max([_LEAST, *families, *([median(telling)] if telling else [])])
    shown = [s for s in telling if s <= _REACH * wanted]
    # The largest bar ends short of the edge: it is visibly not cut.
    return max([_LEAST, *families, *shown]) * 1.04


def _known(gap: Gap) -> float:
    """Return the sum of the parts that are known."""
    parts = (gap.family_gap.value, gap.optimiser_gap.value)
    return sum(p for p in parts if not math.isnan(p))


def _unknown(gap: Gap) -> str:
    family, optimiser = math.isnan(gap.family_gap.value), math.isnan(gap.optimiser_gap.value)
    if family and optimiser:
        return "both gaps"
    return "family gap" if family else "optimiser gap" if optimiser else ""


def _whole(gap: Gap, end: float) -> bool:
    return _known(gap) <= end and not _unknown(gap)


def beyond_words(gaps: Sequence[Gap], end: float) -> str:
    """Return the words beside a method's bars: figures of those that are cut, unknown gaps."""
    cut = sorted(_known(g) for g in gaps if _known(g) > end)
    finite = [c for c in cut if math.isfinite(c)]
    parts = []
    if len(finite) <= _LISTED:
        parts += [number(f, 3) for f in finite]
    else:
        parts.append(f"{len(finite)} seeds {span(finite, 3)}")
    if infinite := len(cut) - len(finite):
        parts.append("∞" if infinite == 1 else f"{infinite} seeds ∞")
    unknown = [w for w in map(_unknown, gaps) if w]
    for what in dict.fromkeys(unknown):
        times = unknown.count(what)
        parts.append(f"? {what}" + (f" ({times} seeds)" if times > 1 else ""))
    return ", ".join(parts)


class _Marks(NamedTuple):
    """What is drawn of all runs, by colour: a path of lines and one of dots."""

    lines: dict[str, list[Line]]
    dots: dict[str, list[tuple[float, float]]]


def _draw(ax: Axes, found: dict[str, tuple[Gap, ...]], scale: _Scale) -> dict[str, float]:
    """Draw all runs; return the middle of each method's rows."""
    marks = _Marks({colour: [] for colour in _THICK}, {})
    middles = {}
    top = 0.0
    for method, gaps in found.items():
        for i, gap in enumerate(gaps):
            _mark(marks, gap, top + _SPACE / 2 + (i + 0.5) * _ROW, scale)
        middles[method] = top + _SPACE / 2 + len(gaps) * _ROW / 2
        top += _SPACE + len(gaps) * _ROW
    for colour, lines in marks.lines.items():
        if lines:
            (path,) = ax.plot(*canvas.broken(lines), color=colour, solid_capstyle="butt")
            path.set_linewidth(_THICK[colour])
            path.get_path().should_simplify = False
    for colour, places in marks.dots.items():
        canvas.dots(ax, places, colour, size=3.2)
    return middles


def _mark(marks: _Marks, gap: Gap, y: float, scale: _Scale) -> None:
    """Add one run: its two parts end to end, cut at the axis' end, and its error."""
    f, o = (_length(p.value) for p in (gap.family_gap, gap.optimiser_gap))
    first, last = min(f, scale.end), min(f + o, scale.end)
    if f >= CLOSE:
        marks.lines[_FAMILY].append(_line(0, first, y))
    if o >= CLOSE and first < scale.end:
        marks.lines[_OPTIMISER].append(_line(first, last, y))
    for place, colour in _dots(gap, first):
        marks.dots.setdefault(colour, []).append((place + scale.px * 2, y))
    if f + o > scale.end:
        at = scale.end - 12 * scale.px
        for x in (at, at + 4 * scale.px):
            marks.lines[_BREAK].append((np.array([x, x + 3 * scale.px]), np.array([y + 3, y - 3])))
    elif not _unknown(gap):
        reach = _WHISKER * gap.kl.mcse
        if reach > _VISIBLE * scale.px:
            low, high = max(gap.kl.value - reach, 0.0), min(gap.kl.value + reach, scale.end)
            marks.lines[INK].append(_line(low, high, y))


def _length(value: float) -> float:
    """Return the length of a bar; none for what is unknown or, by Monte Carlo error, below zero."""
    return 0.0 if math.isnan(value) else max(value, 0.0)


def _dots(gap: Gap, first: float) -> list[tuple[float, str]]:
    """Return places and colours of the parts that were measured and are close to zero."""
    f, o = (abs(p.value) < CLOSE for p in (gap.family_gap, gap.optimiser_gap))
    if f and o:
        return [(0.0, INK)]
    if f:
        return [(0.0, _FAMILY)]
    return [(first, _OPTIMISER)] if o else []


def _line(start: float, end: float, y: float) -> Line:
    return np.array([start, end]), np.array([y, y])


def _legend(ax: Axes, scale: _Scale) -> None:
    """Name the two parts above the bars."""
    at = 0.0
    for colour, words in ((_FAMILY, "family gap"), (_OPTIMISER, "optimiser gap")):
        xs = [at * scale.px, (at + 14) * scale.px]
        ax.plot(xs, [-8, -8], color=colour, lw=5, clip_on=False, solid_capstyle="butt")
        canvas.write(ax, (at + 18) * scale.px, -8, words)
        at += 18 + canvas.width_px(words) + 14


def _note(gaps: Sequence[Gap], end: float) -> str:
    """Return what the bars do not show: what is cut, unknown or below zero."""
    cut = sum(_known(g) > end for g in gaps)
    unknown = sum(bool(_unknown(g)) for g in gaps)
    silent = sum(math.isnan(g.kl.mcse) and _whole(g, end) for g in gaps)
    below = sum(min(g.family_gap.value, g.optimiser_gap.value) <= -CLOSE for g in gaps)
    parts = (
        (cut, f"{count(cut, 'bar is', 'bars are')} cut at {number(end)} nats."),
        (unknown, f"{count(unknown, 'run has', 'runs have')} an unknown gap (?)."),
        (silent, f"{count(silent, 'run has', 'runs have')} an unknown error."),
        (below, f"{count(below, 'run has', 'runs have')} a gap below zero, which is not drawn."),
    )
    return " ".join(words for n, words in parts if n)


def _alt(found: dict[str, tuple[Gap, ...]]) -> str:
    return " ".join(
        f"{look(method).title}, {count(len(gaps), 'seed')}:"
        f" family {_spread([g.family_gap.value for g in gaps])};"
        f" optimiser {_spread([g.optimiser_gap.value for g in gaps])}."
        for method, gaps in found.items()
    )


def _spread(values: Sequence[float]) -> str:
    """Return the range of the known values and the number of the others."""
    known = [0.0 if abs(v) < CLOSE else v for v in values if not math.isnan(v)]
    missing = len(values) - len(known)
    parts = [span(known)] if known else []
    return ", ".join([*parts, f"{missing} unknown"] if missing else parts)
