"""How a method looks everywhere: one colour, one dash, one marker, one name.

The colours are told apart under the common colour-vision deficiencies, and none of them
stands alone: every panel, label and table cell also names its method in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

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


LOOKS: dict[str, Look] = {
    "nuts": Look("NUTS", "#1769aa", "-", "o", approximate=False),
    "meanfield": Look("mean-field", "#d1492e", "-", "s", approximate=True),
    "fullrank": Look("full-rank", "#1f8a5f", "-", "D", approximate=True),
    "meanfield_tuned": Look("tuned mean-field", "#8a2414", _DASHED, "v", approximate=True),
    "fullrank_tuned": Look("tuned full-rank", "#0b5a43", _DASHED, "^", approximate=True),
    "pathfinder": Look("Pathfinder", "#7a4aa3", "-", "P", approximate=True),
    "laplace": Look("Laplace", "#8a6a00", "-", "X", approximate=True),
    "dadvi": Look("deterministic ADVI", "#b0307a", "-", "p", approximate=True),
    "dadvi_lr": Look("DADVI linear response", "#7d1f56", _DASHED, "h", approximate=True),
    "dadvi_psis": Look("DADVI with PSIS", "#4f1237", _DOTTED, "*", approximate=True),
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
