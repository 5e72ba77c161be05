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
    """One figure of a baseline and the same figure now.

    Attributes
    ----------
    model, method, quantity, part, name
        Which figure. ``method`` and ``quantity`` may be empty; ``name`` is the summary
        (``mean``, ``q5``, …), the share, metric or cause, or the seed of ``draws``.
    kind
        ``moved`` for figures that both sides have; ``missing`` and ``new`` for those of one
        side; ``unusable`` for one that is not a number.
    old, new
        Values with their standard errors, in the quantity's own unit.
    difference, interval, margin
        New less old with its 95% interval, and the difference that counts in practice: in
        posterior sds for locations, as ln of a ratio for scales, as a share for shares.
    sds
        The difference in joint standard errors.
    p
        Of "the difference is no larger than the margin"; None where there is nothing to test.
    was, now
        The two sides where they are not numbers: levels, say.
    reason, detail
        Why, where the figures do not show it, and what the reason is about.
    """

    model: str
    method: str
    quantity: str
    part: Part
    kind: Literal["moved", "missing", "new", "unusable"]
    conclusion: Conclusion
    name: str = ""
    old: Estimate = NO_ESTIMATE
    new: Estimate = NO_ESTIMATE
    difference: float = math.nan
    interval: tuple[float, float] = (-math.inf, math.inf)
    margin: float = math.nan
    sds: float = math.nan
    p: float | None = None
    was: str = ""
    now: str = ""
    reason: Reason | None = None
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
