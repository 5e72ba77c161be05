"""What a whole check says: which differences chance cannot explain, and the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.check.baseline.change import Change

ALPHA = 1e-4
"""The family-wise error of a whole check: one false alarm in ten thousand."""

SAME, CHANGED, UNDECIDED = 0, 1, 2
"""Exit codes."""


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
    """Return 0 for the same, 1 for changed, 2 where it could not be told, or nothing was seen."""
    conclusions = {c.conclusion for c in changes}
    if "changed" in conclusions:
        return CHANGED
    return SAME if conclusions == {"same"} else UNDECIDED
