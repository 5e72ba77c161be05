"""One method on the bench: all that judging it needs in every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.judge.context import JudgeContext, Scene

if TYPE_CHECKING:
    from harness.records import Estimate, Measure, Rule, RunResult


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What judging one method needs in every step."""

    method: str
    runs: Sequence[RunResult]
    measures: Sequence[Measure]
    own: Mapping[tuple[int | None, str | None], Mapping[str, Estimate]]
    summaries: Mapping[str, Mapping[str, Estimate]]
    rules: Mapping[str, Rule]
    z: float
    context: JudgeContext
    reference_draws: int

    def scene(self, m: Measure) -> Scene:
        """Return a measure with the same quantity's summaries, its own and the reference's."""
        own = self.own.get((m.seed, m.quantity), {}) if m.quantity is not None else {}
        return Scene(m, own, self.summaries.get(m.quantity or "", {}), self.context)
