"""Variances of gradient estimators at one q: a dot each, on a logarithmic axis."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from harness.records import ModelComparison, RunResult
from harness.records.text import count, number
from harness.report.figures import canvas
from harness.report.figures.choose import methods_of, runs_of
from harness.report.figures.looks import FAINT, look

_ROW = 26
_WIDTH = 620

ESTIMATORS: tuple[tuple[str, str], ...] = (
    ("score", "score function, plain"),
    ("score_control", "score function, control variates"),
    ("score_rao_blackwell", "score function, Rao–Blackwell"),
    ("score_both", "score function, both"),
    ("reparameterised", "reparameterised"),
)
"""Diagnostics ``variance.NAME`` of a run, and what they are called."""


class Row(NamedTuple):
    """An estimator: the variance of a one-draw gradient, summed over q's parameters."""

    title: str
    variance: float
    error: float
    """Over seeds; NaN for one."""
    ratio: float
    """To the reparameterised gradient's."""


def rows(comparison: ModelComparison) -> tuple[str, int, tuple[Row, ...]]:
    """Return the method that measured variances, its number of seeds and a row an estimator."""
    for method in methods_of(comparison):
        runs = [r for r in runs_of(comparison, method) if "variance.score" in r.diagnostics]
        if runs:
            # An estimator whose variance is unknown stays: it was measured.
            names = {k for r in runs for k in r.diagnostics}
            found = [_row(runs, n, words) for n, words in ESTIMATORS if f"variance.{n}" in names]
            return method, len(runs), tuple(found)
    return "", 0, ()


def _row(runs: list[RunResult], name: str, words: str) -> Row:
    values = np.array([r.diagnostics.get(f"variance.{name}", math.nan) for r in runs])
    base = np.array([r.diagnostics.get("variance.reparameterised", math.nan) for r in runs])
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return Row(words, float(np.mean(values)), error, float(np.mean(values) / np.mean(base)))


def figure(comparison: ModelComparison) -> canvas.Figure | None:
    """Return the figure, or None where no run measured the variances."""
    method, seeds, every = rows(comparison)
    # The table beside the figure has those that a logarithmic axis cannot show.
    found = [r for r in every if math.isfinite(r.variance) and r.variance > 0]
    if not found:
        return None
    height = _ROW * len(found) + 40
    left = 16 + canvas.widest_px(r.title for r in found)
    drawing, ax = canvas.axes(_WIDTH, height, canvas.Margins(left=left, right=110, top=6))
    values = np.array([r.variance for r in found])
    low, high = math.floor(np.log10(values.min())), math.ceil(np.log10(values.max()))
    ax.set_xscale("log")
    ax.set_xlim(10.0**low, 10.0**high)
    ax.set_ylim(len(found) - 0.5, -0.5)
    canvas.named_axis(ax, "y", list(range(len(found))), [r.title for r in found])
    decades = list(range(low, high + 1, max(1, (high - low) // 6)))
    ticks, label = [10.0**d for d in decades], "variance of a one-draw gradient, nats²"
    canvas.named_axis(ax, "x", ticks, [number(t, 1) for t in ticks], label, figures=True)
    for y, row in enumerate(found):
        ax.plot([10.0**low, row.variance], [y, y], color=FAINT, lw=1.0)
        text = f"{number(row.variance)}  ×{number(row.ratio)}"
        canvas.write(ax, 10.0**high * 1.08, y, text)
    places = [(r.variance, float(y)) for y, r in enumerate(found)]
    canvas.dots(ax, places, look(method).colour, size=6.0)
    alt = "; ".join(f"{r.title}: {number(r.variance)}, {number(r.ratio)} times" for r in found)
    panel = canvas.panel(drawing, "one draw a gradient", method, f"Variances: {alt}.")
    caption = (
        "Variance of the ELBO's gradient from a single draw, summed over q's parameters, at the"
        f" mean-field fit ({count(seeds, 'seed')}). The factor compares it with the"
        " reparameterised gradient, which needs the gradient of the log density; the others need"
        " only its value."
    )
    return canvas.Figure("variance", "Variance of gradient estimators", caption, (panel,))
