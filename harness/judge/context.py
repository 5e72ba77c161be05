"""What surrounds a measure: the figures and facts that its sentence may mention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.methods import title

if TYPE_CHECKING:
    from harness.records import Estimate, Measure


@dataclass(frozen=True, slots=True)
class JudgeContext:
    """What sentences may mention beyond the measures; all of it may be left out.

    Attributes
    ----------
    dimension
        How many quantities are compared; by default counted from the measures.
    correlations
        For each quantity its strongest partner in the reference and their correlation.
    pairs
        For each seed the pair with the worst correlation: ``(name, name, r_q, r_ref)``.
    modes
        How many modes each quantity has in the reference.
    mode_shares
        For NUTS, each quantity's share of draws in its leftmost mode, chain by chain.
    """

    dimension: int | None = None
    correlations: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    pairs: Mapping[int, tuple[str, str, float, float]] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    mode_shares: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scene:
    """One measure with the figures around it."""

    measure: Measure
    own: Mapping[str, Estimate]
    theirs: Mapping[str, Estimate]
    context: JudgeContext

    @property
    def quantity(self) -> str:
        """The quantity's name; joint metrics concern all."""
        return self.measure.quantity or "all quantities"

    @property
    def method(self) -> str:
        """The method's name as in running text."""
        return title(self.measure.method)

    @property
    def pair(self) -> tuple[str, str, float, float] | None:
        """The pair of quantities whose correlation is worst in this measure's seed."""
        return self.context.pairs.get(self.measure.seed) if self.measure.seed is not None else None
