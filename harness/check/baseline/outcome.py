"""What a check found, as plain records for the terminal, JUnit, Markdown and annotations."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness.check.baseline.change import ALPHA, CHANGED, SAME, UNDECIDED, Change, exit_code

BUDGET = 4
"""Where a difference is undecided, up to this many times the baseline's seeds are run."""


class AddedSeeds(NamedTuple):
    """More seeds of a method were run than the baseline has."""

    method: str
    taken: int
    before: int


class WideMargins(NamedTuple):
    """Some figures of a method have wider margins than usual; the widest is named."""

    method: str
    figures: int
    margin: float
    name: str
    quantity: str


class LeftOut(NamedTuple):
    """Figures of a method that are not compared: summary, quantity and reason of each."""

    method: str
    figures: tuple[tuple[str, str, str], ...]


class NoMoments(NamedTuple):
    """A method is compared by its level and its shares of seeds only."""

    method: str
    why: str


Note = AddedSeeds | WideMargins | LeftOut | NoMoments
"""What else a reader should know."""


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """One model compared with its baseline."""

    model: str
    changes: tuple[Change, ...]
    """Every figure that was compared, with its conclusion."""
    reasons: tuple[str, ...] = ()
    """What else is different, one sentence each: program, data, options, versions."""
    diff: str = ""
    """A unified diff of the program's text; empty where it did not change."""
    notes: tuple[Note, ...] = ()
    error: str | None = None
    """Why the model could not be checked."""
    path: Path | None = None
    """The baseline's file; where there was none, the candidate that was written."""
    candidate: bool = False
    """Whether a candidate was written because there was no baseline."""
    identical: bool = False
    """Whether every draw is that of the baseline, to the last digit."""

    @property
    def exit_code(self) -> int:
        """0 same, 1 changed, 2 undecided or not checked."""
        code = exit_code(self.changes)
        return UNDECIDED if self.error is not None and code != CHANGED else code


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """A whole check."""

    models: tuple[ModelCheck, ...]
    alpha: float = ALPHA
    """Family-wise error of the whole check."""
    exact: bool = False
    """Whether equality to the last digit was asked for."""
    budget: int = BUDGET
    """How many times the baseline's seeds could be run."""
    command: str = ""
    date: dt.date | None = None
    seconds: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 if every model is the same, 1 if one changed, else 2; nothing checked is 2."""
        codes = {m.exit_code for m in self.models}
        if CHANGED in codes:
            return CHANGED
        return SAME if codes == {SAME} else UNDECIDED

    @property
    def tests(self) -> int:
        """How many figures have a p-value: the size of the family."""
        return sum(c.p is not None for m in self.models for c in m.changes)
