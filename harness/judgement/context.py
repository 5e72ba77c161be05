"""What judging one method needs in every step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.judgement.rules import Cell, closeness
from harness.methods import METHODS, title
from harness.metrics.errors import critical_z
from harness.metrics.metric import JudgeContext, Scene
from harness.records import (
    WITHOUT_DRAWS,
    Closeness,
    Estimate,
    Level,
    Measure,
    Reference,
    Rule,
    RunResult,
)


def for_method(method: str, context: JudgeContext) -> JudgeContext:
    """Return a context with what sentences say of a method."""
    row = METHODS.get(method)
    return replace(context, title=title(method), factorised=row is not None and row.factorised)


def z_of(context: JudgeContext, names: Collection[str]) -> Callable[[str | None], float]:
    """Return what gives the critical z of a quantity's group.

    Generated quantities are a group of their own, so that thousands of them do not blunt the
    judgement of the parameters; joint metrics belong to the parameters.
    """
    generated = context.generated & set(names)
    own = critical_z((context.dimension or len(names)) - len(generated))
    theirs = critical_z(len(generated))
    return lambda quantity: theirs if quantity in generated else own


def lost_level(run: RunResult) -> Level:
    """Return the level of a seed without draws; what the machine ended is no fault of a method."""
    return "unknown" if run.status == "killed" else "fail"


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
    # By quantity, how many standard errors a figure must be beyond a limit.
    z_of: Callable[[str | None], float]
    typical: Mapping[Cell, float]  # the mean size of a figure over seeds
    context: JudgeContext
    reference: Reference

    def level(self, m: Measure, rule: Rule) -> Closeness:
        """Return what a figure means under a rule, with the other seeds' figures."""
        typical = self.typical.get((m.method, m.quantity, m.metric))
        return closeness(m, rule, self.z_of(m.quantity), typical)

    def scene(self, m: Measure, alike: Sequence[float] = ()) -> Scene:
        """Return a measure with the same quantity's other figures."""
        own = self.own.get((m.seed, m.quantity), {}) if m.quantity is not None else {}
        return Scene(m, own, self.summaries.get(m.quantity or "", {}), self.context, alike)
