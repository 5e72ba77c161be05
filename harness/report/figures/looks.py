"""How a method looks everywhere: one colour, one dash, one marker, one name.

The colours are told apart under the common colour-vision deficiencies, and none of them
stands alone: every panel, label and table cell also names its method in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from harness.methods import METHODS
from harness.methods.method import DOTTED, Dash

INK = "#1f2328"
MUTED = "#667078"
FAINT = "#c9ced3"
REFERENCE_FILL = "#d5d9de"
CLOSE_BAND = "#e4f1e6"


class Look(NamedTuple):
    """Name in words, colour, line style, marker and whether the method approximates."""

    title: str
    colour: str
    dash: Dash
    marker: str
    approximate: bool


_SPARE = ("#5b6770", "#00798c", "#a0522d", "#5a5a9e")
_SPARE_MARKERS = ("<", ">", "d", "H")


def look(method: str) -> Look:
    """Return how a method looks; an unknown name gets a spare colour that its name fixes."""
    if method in METHODS:
        row = METHODS[method]
        return Look(row.title, *row.look, approximate=row.approximate)
    pick = sum(method.encode()) % len(_SPARE)
    return Look(method, _SPARE[pick], DOTTED, _SPARE_MARKERS[pick], approximate=True)


def in_order(methods: Iterable[str], *, nuts_first: bool) -> list[str]:
    """Sort methods as tables (samplers last) or figures (samplers first) show them.

    Known methods keep the order of METHODS; others follow in the order they came.
    """
    names = list(dict.fromkeys(methods))
    known = [name for name in METHODS if name in names]
    fits = [name for name in known if METHODS[name].approximate]
    fits += [name for name in names if name not in METHODS]
    samplers = [name for name in known if not METHODS[name].approximate]
    return [*samplers, *fits] if nuts_first else [*fits, *samplers]
