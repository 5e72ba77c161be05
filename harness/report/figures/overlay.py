"""Densities of the most telling quantities: one panel a quantity, a few methods over each other."""

from __future__ import annotations

import math

import numpy as np

from harness.metrics import W1
from harness.records import FloatArray, ModelComparison, RunResult
from harness.records.text import number
from harness.report.answers import DEFAULTS
from harness.report.decision import decide_one
from harness.report.figures import canvas
from harness.report.figures.choose import (
    MOST_TELLING,
    column,
    quantity_names,
    runs_of,
    telling,
    view,
)
from harness.report.figures.density import Curve, deviation, frame_of, kde
from harness.report.figures.looks import look
from harness.report.rows import KINDS

METHODS = 4
"""Methods in a panel: more lines cannot be told apart."""

_WIDTH = 330
_HEIGHT = 128
_CUT = 1.5  # how far above the reference's peak the axis reaches for narrower approximations


def drawn_methods(comparison: ModelComparison) -> list[str]:
    """Return the methods to draw: CmdStan's defaults and the best, then others as they stand."""
    rows = [r for r in decide_one(comparison).rows if r.level != "reference"]
    having = [
        r.method for r in rows if any(x.draws is not None for x in runs_of(comparison, r.method))
    ]
    first = [m for m in having if m in DEFAULTS]
    order = list(dict.fromkeys([*having[:1], *first, *having]))
    return order[:METHODS]


def figure(comparison: ModelComparison) -> canvas.Figure | None:
    """Return a panel for each quantity that can be picked, the most telling first; None without."""
    methods = drawn_methods(comparison)
    names = [n for n in telling(comparison) if view(comparison, n) is not None]
    if not methods or not names:
        return None
    panels = [_panel(comparison, name, methods) for name in names]
    total = len(quantity_names(comparison))
    kind = KINDS[comparison.reference.kind]
    trust = "" if comparison.reference.trusted else ", not trusted"
    shaded = comparison.reference.draws is not None
    caption = f"Shaded: {kind}{trust}." if shaded else "There is no reference."
    caption += " Lines: the typical seed."
    if total > MOST_TELLING:
        caption += f" The worst {MOST_TELLING} of {total} quantities."
    return canvas.Figure("overlay", "Densities", caption, tuple(panels), tuple(methods))


def _typical(comparison: ModelComparison, method: str, name: str) -> RunResult | None:
    """Return the run with the median distance in a quantity."""
    runs = [r for r in runs_of(comparison, method) if column(r.draws, name) is not None]
    sizes = {
        m.seed: abs(m.value)
        for m in comparison.measures
        if (m.method, m.metric, m.quantity) == (method, W1.id, name)
    }

    def far(run: RunResult) -> float:
        size = sizes.get(run.spec.seed, math.nan)
        return math.inf if math.isnan(size) else size

    runs.sort(key=far)
    return runs[(len(runs) - 1) // 2] if runs else None


def _panel(comparison: ModelComparison, name: str, methods: list[str]) -> canvas.Panel:
    frame = view(comparison, name)
    assert frame is not None  # noqa: S101 - the caller looked
    reference = column(comparison.reference.draws, name)
    shaded = None if reference is None else kde(reference, frame, "experimental")
    curves: list[tuple[str, Curve]] = []
    said = []
    for method in methods:
        run = _typical(comparison, method, name)
        values = None if run is None else column(run.draws, name)
        if values is None:
            continue
        bandwidth = "silverman" if look(method).approximate else "experimental"
        curve = kde(values, frame, bandwidth)
        if curve is not None:
            curves.append((method, curve))
        said.append(f"{look(method).title}: {_centre(values)}.")
    top = _top(shaded, [c for _, c in curves])
    drawing, ax = frame_of(shaded, frame, top, (_WIDTH, _HEIGHT), "")
    gone = [m for m in methods if m not in {method for method, _ in curves}]
    for method, (x, y) in curves:
        style = look(method)
        cut = np.minimum(y, _CUT * top)
        ax.plot(x, cut, color=style.colour, lw=1.3, ls=style.dash, alpha=0.9)
    about = "" if reference is None else f" Reference, shaded: {_centre(reference)}."
    note = f"Out of view: {', '.join(look(m).title for m in gone)}." if gone else ""
    alt = f"Densities of {name}.{about} {' '.join(said)} {note}".strip()
    return canvas.panel(drawing, name, "", alt, note, quantity=name)


def _centre(values: FloatArray) -> str:
    return f"median {number(float(np.median(values)))}, sd {number(deviation(values))}"


def _top(shaded: Curve | None, curves: list[Curve]) -> float:
    peaks = [float(c[1].max()) for c in curves]
    if shaded is None:
        return 1.06 * max(peaks, default=1.0)
    reference = float(shaded[1].max())
    return 1.06 * max([reference, *(min(p, _CUT * reference) for p in peaks)])
