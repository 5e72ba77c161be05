"""One figure of a baseline and now, and what a whole check concludes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.records.numbers import NO_ESTIMATE, Estimate

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
    "runs lost", "other kind", "none comparable", "nothing comparable",
]  # fmt: skip
"""Why a conclusion is what it is, where the figures do not show it."""

ALPHA = 1e-4
"""The family-wise error of a whole check: one false alarm in ten thousand."""

SAME, CHANGED, UNDECIDED = 0, 1, 2
"""Exit codes."""


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
    tested = sorted((c.p, i) for i, c in enumerate(changes) if c.p is not None)
    out = list(changes)
    for rank, (p, i) in enumerate(tested):
        if not p <= alpha / (len(tested) - rank):
            break
        out[i] = replace(changes[i], conclusion="changed")
    return out


def exit_code(changes: Iterable[Change]) -> int:
    """Return 0 for the same, 1 for changed, 2 where that is undecided or nothing was compared."""
    conclusions = {c.conclusion for c in changes}
    if "changed" in conclusions:
        return CHANGED
    return SAME if conclusions == {"same"} else UNDECIDED
