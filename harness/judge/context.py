"""What judging one method needs in every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.methods import METHODS, title
from harness.metrics.metric import JudgeContext, Scene
from harness.records import WITHOUT_DRAWS, Estimate, Measure, Rule, RunResult


def for_method(method: str, context: JudgeContext) -> JudgeContext:
    """Return a context with what sentences say of a method."""
    row = METHODS.get(method)
    return replace(context, title=title(method), factorised=row is not None and row.factorised)


def lost(run: RunResult) -> bool:
    """Tell whether a run has no draws to judge."""
    return run.status in WITHOUT_DRAWS or run.draws is None


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """One method's runs and measures, and what they are judged by."""

    method: str
    runs: Sequence[RunResult]
    measures: Sequence[Measure]
    own: Mapping[tuple[int | None, str | None], Mapping[str, Estimate]]  # by seed and quantity
    summaries: Mapping[str, Mapping[str, Estimate]]  # the reference's, by quantity
    rules: Mapping[str, Rule]  # by metric, with the model's own limits
    z: float  # how many standard errors a figure must be beyond a limit
    context: JudgeContext
    reference_draws: int

    def scene(self, m: Measure, alike: Sequence[float] = ()) -> Scene:
        """Return a measure with the same quantity's other figures."""
        own = self.own.get((m.seed, m.quantity), {}) if m.quantity is not None else {}
        return Scene(m, own, self.summaries.get(m.quantity or "", {}), self.context, alike)
