"""The records every part of the harness shares: frozen, plain data, no I/O.

Scales are always named: *constrained* is what the Stan program declares, *unconstrained*
is the real line on which ADVI and NUTS work. Densities (``log_p``, ``log_q``) are in nats,
on the unconstrained scale, Jacobian included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records.gaps import Better as Better
from harness.records.gaps import Cause as Cause
from harness.records.gaps import Explanation as Explanation
from harness.records.gaps import Gap as Gap
from harness.records.gaps import Outcome as Outcome
from harness.records.gaps import Refuted as Refuted
from harness.records.gaps import Trial as Trial
from harness.records.gaps import TrialReason as TrialReason
from harness.records.gaps import VerdictCause as VerdictCause
from harness.records.levels import Closeness as Closeness
from harness.records.levels import Level as Level
from harness.records.models import Claim as Claim
from harness.records.models import ClaimResult as ClaimResult
from harness.records.models import Model as Model
from harness.records.models import Program as Program
from harness.records.numbers import NO_ESTIMATE as NO_ESTIMATE
from harness.records.numbers import Estimate as Estimate
from harness.records.runs import FAMILY_NAMES as FAMILY_NAMES
from harness.records.runs import STAN as STAN
from harness.records.runs import WITHOUT_DRAWS as WITHOUT_DRAWS
from harness.records.runs import Cost as Cost
from harness.records.runs import Doubt as Doubt
from harness.records.runs import Draws as Draws
from harness.records.runs import EngineName as EngineName
from harness.records.runs import FamilyName as FamilyName
from harness.records.runs import Reason as Reason
from harness.records.runs import RunContext as RunContext
from harness.records.runs import RunResult as RunResult
from harness.records.runs import RunSpec as RunSpec
from harness.records.runs import Status as Status
from harness.records.runs import Trace as Trace
from harness.records.verdicts import CHOICES as CHOICES
from harness.records.verdicts import SAMPLED_BY as SAMPLED_BY
from harness.records.verdicts import Attempt as Attempt
from harness.records.verdicts import Comparison as Comparison
from harness.records.verdicts import Disagreement as Disagreement
from harness.records.verdicts import Evidence as Evidence
from harness.records.verdicts import Finding as Finding
from harness.records.verdicts import Measure as Measure
from harness.records.verdicts import ModelComparison as ModelComparison
from harness.records.verdicts import Reference as Reference
from harness.records.verdicts import Rule as Rule
from harness.records.verdicts import SeedVerdict as SeedVerdict
from harness.records.verdicts import Standing as Standing
from harness.records.verdicts import Verdict as Verdict

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
