"""The records every part of the harness shares: frozen, plain data, no I/O.

Scales are always named: *constrained* is what the Stan program declares, *unconstrained*
is the real line on which ADVI and NUTS work. Densities (``log_p``, ``log_q``) are in nats,
on the unconstrained scale, Jacobian included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records.comparison import (
    Comparison,
    ModelComparison,
)
from harness.records.gaps import (
    Better,
    Cause,
    Explanation,
    Gap,
    Outcome,
    Trial,
    TrialReason,
    VerdictCause,
)
from harness.records.levels import Closeness, Level
from harness.records.models import (
    Claim,
    ClaimResult,
    Model,
    Program,
)
from harness.records.numbers import (
    NO_ESTIMATE,
    Estimate,
)
from harness.records.runs import (
    FAMILY_NAMES,
    WITHOUT_DRAWS,
    Cost,
    Draws,
    FamilyName,
    Reason,
    RunContext,
    RunResult,
    RunSpec,
    Status,
    Trace,
)
from harness.records.verdicts import (
    Finding,
    Measure,
    Reference,
    Rule,
    SeedVerdict,
    Verdict,
)

if TYPE_CHECKING:
    from harness.records.runs import FloatArray as FloatArray
else:

    def __getattr__(name: str) -> object:
        """Load the array type, and with it NumPy, only when it is asked for."""
        if name != "FloatArray":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import numpy as np
        from numpy.typing import NDArray

        return NDArray[np.float64]


__all__ = [
    "FAMILY_NAMES",
    "NO_ESTIMATE",
    "WITHOUT_DRAWS",
    "Better",
    "Cause",
    "Claim",
    "ClaimResult",
    "Closeness",
    "Comparison",
    "Cost",
    "Draws",
    "Estimate",
    "Explanation",
    "FamilyName",
    "Finding",
    "Gap",
    "Level",
    "Measure",
    "Model",
    "ModelComparison",
    "Outcome",
    "Program",
    "Reason",
    "Reference",
    "Rule",
    "RunContext",
    "RunResult",
    "RunSpec",
    "SeedVerdict",
    "Status",
    "Trace",
    "Trial",
    "TrialReason",
    "Verdict",
    "VerdictCause",
]
