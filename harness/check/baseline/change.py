"""One figure of a baseline beside the same figure now."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.records.numbers import NO_ESTIMATE, Estimate

Conclusion = Literal["same", "changed", "inconclusive"]
"""What a regression check says of one figure."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of a baseline beside the same figure now.

    Attributes
    ----------
    model, method, quantity, what
        Which figure: ``what`` is a summary (``mean``, ``sd``, ``q5``, …), ``level``, a share
        of seeds, or what is missing. ``method`` and ``quantity`` may be empty.
    kind
        ``moved`` for figures that both sides have; ``missing`` and ``new`` for those of one
        side; ``unusable`` for one that is not a number, or could not be had.
    old, new
        Values with their standard errors, in the quantity's own unit.
    difference, interval, margin
        New less old with its 95% interval and the difference that counts in practice, in
        posterior sds for locations, as ln of a ratio for scales, as a share for shares.
    sds
        The difference in joint standard errors.
    p
        Of "the difference is no larger than the margin"; None where there is nothing to test.
    note
        One sentence where figures do not speak for themselves.
    """

    model: str
    method: str
    quantity: str
    what: str
    kind: Literal["moved", "missing", "new", "unusable"]
    conclusion: Conclusion
    old: Estimate = NO_ESTIMATE
    new: Estimate = NO_ESTIMATE
    difference: float = math.nan
    interval: tuple[float, float] = (-math.inf, math.inf)
    margin: float = math.nan
    sds: float = math.nan
    p: float | None = None
    was: str = ""
    """What stood there, where it is no number: a level, say."""
    now: str = ""
    note: str = ""

    @property
    def cell(self) -> str:
        """The figure's address: ``mixture / meanfield / x / mean``."""
        return " / ".join(p for p in (self.model, self.method, self.quantity, self.what) if p)
