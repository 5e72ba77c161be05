"""The table of claims: what the lecture says, what was measured, whether it holds."""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.records import ClaimResult
from harness.records.text import estimate

_OUTCOMES = {
    True: ("pass", "holds"),
    False: ("fail", "does not hold"),
    None: ("unknown", "could not be measured"),
}


class Row(NamedTuple):
    """A claim with its outcome; the figure stands for a sentence that is missing."""

    claim: ClaimResult
    figure: str
    level: str
    word: str


def row(claim: ClaimResult) -> Row:
    """Return a claim as the table shows it."""
    level, word = _OUTCOMES[claim.holds]
    silent = not claim.sentence and not math.isnan(claim.measured)
    figure = estimate(claim.measured, claim.error) if silent else ""
    return Row(claim, figure, level, word)


def line(rows: tuple[Row, ...]) -> str:
    """Return how many claims hold, do not hold, or could not be measured."""
    words = [word for _, word in _OUTCOMES.values()]
    counts = {word: sum(c.word == word for c in rows) for word in words}
    plural = {"holds": "hold", "does not hold": "do not hold"}
    return ", ".join(f"{n} {plural.get(w, w) if n > 1 else w}" for w, n in counts.items() if n)
