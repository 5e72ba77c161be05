"""The variance of gradient estimators at one q: a dot each, on a logarithmic axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.records.text import count, number
from harness.report.figures.canvas import (
    FONT_PT,
    Figure,
    Margins,
    Panel,
    axes,
    dots,
    named_axis,
    svg,
    widest_px,
)
from harness.report.figures.choose import methods_of, runs_of
from harness.report.figures.looks import FAINT, INK, look

if TYPE_CHECKING:
    from harness.records import ModelComparison, RunResult

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
            # An estimator without a variance stays, as "not a number": it was measured.
            names = {k for r in runs for k in r.diagnostics}
            found = [_row(runs, n, words) for n, words in ESTIMATORS if f"variance.{n}" in names]
            return method, len(runs), tuple(found)
    return "", 0, ()


def _row(runs: list[RunResult], name: str, words: str) -> Row:
    values = np.array([r.diagnostics.get(f"variance.{name}", math.nan) for r in runs])
    base = np.array([r.diagnostics.get("variance.reparameterised", math.nan) for r in runs])
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return Row(words, float(np.mean(values)), error, float(np.mean(values) / np.mean(base)))


def figure(comparison: ModelComparison) -> Figure | None:
    """Return the figure, or None where no run measured the variances."""
    method, seeds, every = rows(comparison)
    # The table beside the figure has those that a logarithmic axis cannot show.
    found = [r for r in every if math.isfinite(r.variance) and r.variance > 0]
    if not found:
        return None
    height = _ROW * len(found) + 40
    left = 16 + widest_px(r.title for r in found)
    drawing, ax = axes(_WIDTH, height, Margins(left=left, right=110, top=6))
    values = np.array([r.variance for r in found])
    low, high = math.floor(np.log10(values.min())), math.ceil(np.log10(values.max()))
    ax.set_xscale("log")
    ax.set_xlim(10.0**low, 10.0**high)
    ax.set_ylim(len(found) - 0.5, -0.5)
    named_axis(ax, "y", list(range(len(found))), [r.title for r in found])
    decades = list(range(low, high + 1, max(1, (high - low) // 6)))
    named_axis(ax, "x", [10.0**d for d in decades], [_power(d) for d in decades])
    ax.set_xlabel("variance of a one-draw gradient, nats²", fontsize=FONT_PT, color=INK)
    for y, row in enumerate(found):
        ax.plot([10.0**low, row.variance], [y, y], color=FAINT, lw=1.0)
        text = f"{number(row.variance)}  ×{number(row.ratio)}"
        ax.text(10.0**high * 1.08, y, text, fontsize=FONT_PT, color=INK, va="center")
    dots(ax, values, np.arange(len(found), dtype=float), look(method).colour, size=6.0)
    alt = "; ".join(f"{r.title}: {number(r.variance)}, {number(r.ratio)} times" for r in found)
    panel = Panel(
        "one draw a gradient", method, svg(drawing), f"Variances: {alt}.", _WIDTH, height, ""
    )
    caption = (
        "The variance of the ELBO's gradient from a single draw, summed over q's parameters, all"
        f" at one q (the mean-field fit; {count(seeds, 'seed')}). The factor is to the"
        " reparameterised gradient, which needs the log density's own gradient; the others need"
        " only its value."
    )
    return Figure("variance", "Variance of gradient estimators", caption, (panel,))


def _power(exponent: int) -> str:
    return "1" if exponent == 0 else "10" + str(exponent).translate(_RAISED)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
