"""One measure with the facts around it that its words may mention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.records import Estimate, Measure


class WorstPair(NamedTuple):
    """The two quantities whose correlation is most wrong, with both correlations."""

    first: str
    second: str
    own: float
    reference: float


@dataclass(frozen=True, slots=True)
class JudgeContext:
    """What sentences may mention beside the measures; everything may be left out."""

    dimension: int | None = None  # quantities compared; by default counted from the measures
    # For each quantity, its strongest partner in the reference and their correlation.
    correlations: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    pairs: Mapping[int, WorstPair] = field(default_factory=dict)  # by seed
    modes: Mapping[str, int] = field(default_factory=dict)  # of each quantity in the reference
    # For each quantity with several modes, the share of every chain in the leftmost one.
    mode_shares: Mapping[str, Sequence[float]] = field(default_factory=dict)
    title: str = ""  # what the method is called in sentences; by default its id
    factorised: bool = False  # the method's family has no correlations


@dataclass(frozen=True, slots=True)
class Scene:
    """One measure with the figures around it.

    ``own`` and ``theirs`` are the same quantity's other figures in this run and in the
    reference; ``alike`` are this metric's values in all seeds with the same finding, ascending.
    """

    measure: Measure
    own: Mapping[str, Estimate] = field(default_factory=dict)
    theirs: Mapping[str, Estimate] = field(default_factory=dict)
    context: JudgeContext = field(default_factory=JudgeContext)
    alike: Sequence[float] = ()

    @property
    def value(self) -> float:
        """The measured value."""
        return self.measure.value

    @property
    def quantity(self) -> str:
        """The quantity's name; joint metrics concern all."""
        return self.measure.quantity or "all quantities"

    @property
    def method(self) -> str:
        """The method's name in running text."""
        return self.context.title or self.measure.method

    @property
    def pair(self) -> WorstPair | None:
        """The pair of quantities with the worst correlation in this measure's seed."""
        seed = self.measure.seed
        return None if seed is None else self.context.pairs.get(seed)
