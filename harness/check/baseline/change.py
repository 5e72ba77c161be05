"""What a check found, as plain records: figures then and now, models, and the whole check."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.records.numbers import NO_ESTIMATE, Estimate

if TYPE_CHECKING:
    from harness.check.baseline.form import Figure

Conclusion = Literal["same", "changed", "inconclusive"]
"""What a regression check says of one figure."""

Part = Literal[
    "model", "baseline", "reference", "method", "quantity",
    "level", "causes", "kind", "moments", "runs", "draws", "all",
    "share", "fault", "cause", "summary",
]  # fmt: skip
"""What a figure is of. The last row has names: shares of seeds, metrics, causes, summaries."""

Reason = Literal[
    "judged otherwise", "as seeds differ", "no common level",
    "no figure before", "no figure now", "no error", "constants differ",
    "runs lost", "other kind", "none comparable", "nothing comparable", "too few draws",
]  # fmt: skip
"""Why a conclusion is what it is, where the figures do not show it."""

ALPHA = 1e-4
"""The family-wise error of a whole check: one false alarm in ten thousand."""

SAME, CHANGED, UNDECIDED = 0, 1, 2
"""Exit codes."""


@dataclass(frozen=True, slots=True)
class Margins:
    """What counts in practice: sds of the quantity for locations, ln of a ratio for the sd."""

    location: float = 0.1
    scale: float = math.log(1.1)

    def of(self, what: str, old: Figure | None = None) -> float:
        """Return a summary's margin: the baseline's where its error needs a wider one.

        The 5% and 95% quantiles have twice a location's margin, as they have twice its limit.
        """
        usual = {"sd": self.scale, "mean": self.location, "q50": self.location}
        own = 0.0 if old is None or old.margin is None else old.margin
        return max(usual.get(what, 2 * self.location), own)


USUAL = Margins()


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of a baseline and the same figure now, in the quantity's own unit."""

    model: str
    method: str
    quantity: str
    """As ``method``, empty where the figure is of something larger."""
    part: Part
    kind: Literal["moved", "missing", "new", "unusable"]
    """Both sides have the figure, one of them, or it is not a number."""
    conclusion: Conclusion
    name: str = ""
    """The summary (``mean``, ``q5``, …), the share, metric or cause, or the seed of ``draws``."""
    old: Estimate = NO_ESTIMATE
    new: Estimate = NO_ESTIMATE
    difference: float = math.nan
    """New less old: in posterior sds for locations, as ln of a ratio for scales, as a share for
    shares; so are its 95% interval, and the margin that counts in practice."""
    interval: tuple[float, float] = (-math.inf, math.inf)
    margin: float = math.nan
    sds: float = math.nan
    """The difference in joint standard errors."""
    p: float | None = None
    """Of "the difference is no larger than the margin"; None where there is nothing to test."""
    chance: float | None = None
    """The p-value of "there is no difference at all", of a summary that has an error."""
    was: str = ""
    now: str = ""
    """The two sides where they are not numbers: levels, say."""
    reason: Reason | None = None
    """Why, where the figures do not show it; ``detail`` is what the reason is about."""
    detail: str = ""


def conclude(changes: Sequence[Change], alpha: float = ALPHA) -> list[Change]:
    """Call ``changed`` what Holm's procedure rejects, over everything that has a p-value.

    Holm 1979, *A simple sequentially rejective multiple test procedure*: the probability of
    one false rejection among them is at most ``alpha``, however they depend on each other.
    """
    rejected = _rejected([c.p for c in changes], alpha)
    return [replace(c, conclusion="changed") if i in rejected else c for i, c in enumerate(changes)]


def conclude_at_once(changes: Sequence[Change], alpha: float = ALPHA) -> list[Change]:
    """Conclude where no second look will decide what the first one cannot.

    A summary with an error, or a share, has changed if it differs by more than its margin and
    chance cannot explain that it differs at all; otherwise it is the same. So whatever the number
    of figures and the noise of their errors, the probability of a false alarm is at most
    ``alpha``. Whether the draws are enough to find a change is not asked here.
    """
    ps = [c.p if c.part == "share" else c.chance for c in changes]
    rejected = _rejected(ps, alpha)
    out = list(changes)
    for i, (change, p) in enumerate(zip(changes, ps, strict=True)):
        if p is not None:
            moved = i in rejected and not abs(change.difference) <= change.margin
            out[i] = replace(change, conclusion="changed" if moved else "same")
    return out


def _rejected(ps: Sequence[float | None], alpha: float) -> set[int]:
    """Return the positions that Holm's procedure rejects."""
    tested = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    out = set()
    for rank, (p, i) in enumerate(tested):
        if not p <= alpha / (len(tested) - rank):
            break
        out.add(i)
    return out


def exit_code(changes: Iterable[Change]) -> int:
    """Return 0 for the same, 1 for changed, 2 where that is undecided or nothing was compared."""
    conclusions = {c.conclusion for c in changes}
    if "changed" in conclusions:
        return CHANGED
    return SAME if conclusions == {"same"} else UNDECIDED


BUDGET = 4
"""Where a difference is undecided, up to this many times the baseline's seeds are run."""


ENOUGH_SEEDS = 10
"""Seeds with which a baseline's shares can decide, and its means mostly have a small error."""


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


class NewMethod(NamedTuple):
    """A method that every program gets by now, and that was none when the baseline was written."""

    method: str


class NoMoments(NamedTuple):
    """A method is compared by its level and its shares of seeds only: of that many seeds."""

    method: str
    why: str
    seeds: int


Note = AddedSeeds | WideMargins | LeftOut | NewMethod | NoMoments
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
    reference: str = ""
    """The method whose draws were the baseline's reference; empty where no method made them."""
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
