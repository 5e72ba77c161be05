"""How a method looks everywhere: one colour, one dash, one marker, one name.

The colours are told apart under the common colour-vision deficiencies, and none of them
stands alone: every panel, label and table cell also names its method in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from harness.records.method_titles import title

INK = "#1f2328"
MUTED = "#667078"
FAINT = "#c9ced3"
REFERENCE_FILL = "#d5d9de"
CLOSE_BAND = "#e4f1e6"

Dash = str | tuple[float, tuple[float, ...]]

_DASHED: Dash = (0.0, (4.0, 1.6))
_DOTTED: Dash = (0.0, (1.2, 1.4))


class Look(NamedTuple):
    """Name in words, colour, line style, marker and whether the method approximates."""

    title: str
    colour: str
    dash: Dash
    marker: str
    approximate: bool


_DRAWN: tuple[tuple[str, str, Dash, str, bool], ...] = (
    ("nuts", "#1769aa", "-", "o", False),
    ("meanfield", "#d1492e", "-", "s", True),
    ("fullrank", "#1f8a5f", "-", "D", True),
    ("meanfield_tuned", "#8a2414", _DASHED, "v", True),
    ("fullrank_tuned", "#0b5a43", _DASHED, "^", True),
    ("dadvi", "#b0307a", "-", "p", True),
    ("dadvi_lr", "#7d1f56", _DASHED, "h", True),
    ("dadvi_psis", "#4f1237", _DOTTED, "*", True),
    ("dadvi_basins", "#7a1fa2", _DASHED, "$b$", True),
    ("advi", "#8a6a00", "-", "P", True),
    ("advi_fullrank", "#5e4800", _DASHED, "X", True),
    ("advi_adam", "#b07d2b", "-", "3", True),
    ("advi_sgd", "#a0522d", _DOTTED, "<", True),
    ("minibatch", "#00798c", "-", ">", True),
    ("bbvi", "#5b6770", _DASHED, "d", True),
    ("svgd", "#7a4aa3", "-", "H", True),
    ("cavi", "#5a5a9e", "-", "8", True),
    ("svi", "#37377a", _DASHED, "1", True),
    ("quadrature_mse", "#2f6f9f", _DASHED, "2", True),
    ("quadrature_kl", "#3d6b1f", "-", "|", True),
    ("quadrature_truncated", "#86501c", _DOTTED, "4", True),
)

LOOKS: dict[str, Look] = {
    name: Look(title(name), colour, dash, marker, approximate=approximate)
    for name, colour, dash, marker, approximate in _DRAWN
}

_SPARE = ("#5b6770", "#00798c", "#a0522d", "#5a5a9e")
_SPARE_MARKERS = ("<", ">", "d", "H")


def look(method: str) -> Look:
    """Return how a method looks; an unknown name gets a spare colour that its name fixes."""
    if method in LOOKS:
        return LOOKS[method]
    pick = sum(method.encode()) % len(_SPARE)
    return Look(method, _SPARE[pick], _DOTTED, _SPARE_MARKERS[pick], approximate=True)


def in_order(methods: Iterable[str], *, nuts_first: bool) -> list[str]:
    """Sort methods as tables (NUTS last) or figures (NUTS first) show them.

    Known methods keep the order of :data:`LOOKS`; others follow in the order they came.
    """
    names = list(dict.fromkeys(methods))
    known = [name for name in LOOKS if name in names and name != "nuts"]
    others = [name for name in names if name not in LOOKS]
    nuts = ["nuts"] if "nuts" in names else []
    return [*nuts, *known, *others] if nuts_first else [*known, *others, *nuts]
