"""What is not the same, as rows of plain strings: first what the rest follows from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from harness.check.baseline.change import Change, Conclusion, ModelCheck, Part
from harness.check.show import words
from harness.records.text import clip, one_line

_ORDER: tuple[Conclusion, ...] = ("changed", "inconclusive", "same")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure that is not the same; every text is on one line.

    ``figure`` is empty where a whole quantity or method is missing or new; ``numeric`` tells
    whether both sides are numbers with errors.
    """

    conclusion: Conclusion
    model: str
    method: str
    quantity: str
    figure: str
    old: str
    new: str
    difference: str
    interval: str
    evidence: str
    note: str
    numeric: bool = True

    @property
    def address(self) -> str:
        """``meanfield / x / mean``: where in the model the figure stands."""
        return " / ".join(part for part in (self.method, self.quantity, self.figure) if part)

    @property
    def sides(self) -> str:
        """``1.0240 ± 0.0031 → 1.1340 ± 0.0030``; empty where neither side has a word."""
        return f"{self.old} → {self.new}" if self.old or self.new else ""

    @property
    def lines(self) -> list[str]:
        """Everything about the figure, for readers without a table."""
        told = ", ".join(part for part in (self.told, self.evidence) if part)
        return [line for line in (self.sides, told, self.note) if line]

    @property
    def told(self) -> str:
        """The difference with its interval."""
        return f"{self.difference} {self.interval}".strip()


_FOLLOWS: dict[Part, int] = {
    "summary": 2, "share": 3, "fault": 4, "level": 4, "cause": 4, "causes": 4,
}  # fmt: skip
"""Parts that follow from others: summaries from a reference or lost runs, levels from summaries."""


def _gravity(change: Change, reference: str) -> tuple[int, int, bool, int, float]:
    """Order by what follows from what.

    What is missing comes first, then what has no figure; of the figures those of the reference,
    the posterior itself, before those of the methods, by the multiples of their error; then shares
    of seeds, levels and causes, which follow from them.
    """
    place, stage = _ORDER.index(change.conclusion), _FOLLOWS.get(change.part, 1)
    other = change.method != reference
    if change.kind != "moved":
        return place, 0, other, 0, 0.0
    unknown = math.isnan(change.sds)
    return place, stage, other, 0 if unknown else 1, 0.0 if unknown else -abs(change.sds)


def rows(check: ModelCheck, *conclusions: Conclusion) -> list[Row]:
    """Return a model's rows; of all conclusions but ``same`` if none is named.

    A model without a baseline has none: nothing was compared.
    """
    if check.candidate:
        return []
    wanted = conclusions or ("changed", "inconclusive")
    found = [c for c in check.changes if c.conclusion in wanted]
    return [_row(c) for c in sorted(found, key=lambda c: _gravity(c, check.reference))]


def _row(change: Change) -> Row:
    old, new = words.sides(change)
    shift, interval = words.difference(change)
    return Row(
        conclusion=change.conclusion,
        model=one_line(change.model),
        method=one_line(change.method),
        quantity=one_line(change.quantity),
        figure=one_line(words.figure(change)),
        old=one_line(old),
        new=one_line(new),
        difference=shift,
        interval=interval,
        evidence=words.evidence(change),
        note=one_line(words.reason(change)),
        numeric=change.part == "summary",
    )


def pick(tables: Sequence[Sequence[Row]], most: int) -> list[Sequence[Row]]:
    """Return the first rows of each table, ``most`` in all, taking the tables in turn.

    A model in which everything moved then does not hide the others.
    """
    taken = [0] * len(tables)
    left = min(most, sum(len(t) for t in tables))
    while left > 0:
        for i, table in enumerate(tables):
            if taken[i] < len(table) and left > 0:
                taken[i] += 1
                left -= 1
    return [table[:n] for table, n in zip(tables, taken, strict=True)]


HEADINGS = ("quantity", "figure", "old ± error", "new ± error", "difference", "evidence", "note")
_WIDEST = 120


def plain(found: Sequence[Row], most: int = 200) -> str:
    """Return rows as aligned text, for readers of XML and of pytest's output."""
    lines: list[tuple[str, ...]] = [("", *HEADINGS)]
    cells = attrgetter("quantity", "figure", "old", "new", "told", "evidence", "note")
    lines += [(words.CONCLUSIONS[row.conclusion], *cells(row)) for row in found[:most]]
    lines = [tuple(clip(cell, _WIDEST) for cell in line[:-1]) + line[-1:] for line in lines]
    used = [i for i in range(len(lines[0])) if any(line[i] for line in lines[1:])]
    widths = [max(len(line[i]) for line in lines) for i in used]
    text = [
        "  ".join(line[i].ljust(w) for i, w in zip(used, widths, strict=True)).rstrip()
        for line in lines
    ]
    if len(found) > most:
        text.append(f"… and {len(found) - most} more")
    return "\n".join(text)
