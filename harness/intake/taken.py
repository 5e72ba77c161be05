"""What was taken: one fit's draws, and what is known of how they came about."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.records import Draws

Kind = Literal["unknown", "exact", "sampler", "approximation", "weighted", "point"]
"""What made draws. Of plain arrays and of most files it is not known; ``weighted`` draws were
resampled by the log weights that they came with."""


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
