"""What was taken: one fit's draws, and what is known of how they came about."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.records import Draws

if TYPE_CHECKING:
    from harness.records import FloatArray

Kind = Literal["unknown", "exact", "sampler", "approximation", "weighted", "point"]
"""What made draws. Of plain arrays and of most files it is not known; ``weighted`` draws were
resampled by the log weights that they came with."""


DISTINCT = 10
"""Different draws from which on two equal chains are copies: no two chains meet so often."""


class DrawsError(ValueError):
    """Draws that cannot be read: what was found, and what is allowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """One fit that somebody else made."""

    draws: Draws
    source: str
    """What was handed over, for people: ``CmdStanVB``, ``DataTree``, a file's name."""
    kind: Kind = "unknown"
    method: str = ""
    """What made it, as the methods' table and CmdStan call it: ``meanfield``, ``optimize``;
    empty where that is not known."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options that the file tells, under CmdStan's names."""
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    """Scalars of the run: ``eta`` of ADVI, ``weight_ess`` of weighted draws."""
    seconds: float = math.nan
    """Of all its chains together; NaN where they are not told."""
    doubt: str = ""
    """Why the fit, or its weights, are not believed; empty where nothing speaks against them."""

    def __post_init__(self) -> None:
        """Refuse copies of a chain, which R-hat and effective sizes would take for evidence."""
        __tracebackhide__ = True
        if both := copied(self.draws.values):
            one, two = both
            msg = (
                f"{self.source}: chains {one} and {two} are the same draws; copies of a chain are "
                "no further chains, so give each once"
            )
            raise DrawsError(msg)


def copied(chains: Iterable[FloatArray]) -> tuple[int, int] | None:
    """Return the numbers, from 1, of the first two chains or runs with the same draws.

    Each has shape ``(draw, quantity)``. Equal ones with fewer than ``DISTINCT`` different draws may
    be chance.
    """
    seen: dict[bytes, int] = {}
    for number, chain in enumerate(chains, start=1):
        content = hashlib.sha256(chain.tobytes()).digest()
        if content in seen and len(np.unique(chain, axis=0)) >= DISTINCT:
            return seen[content], number
        seen.setdefault(content, number)
    return None
