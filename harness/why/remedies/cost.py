"""What a trial would take, guessed from the runs that there are, and seconds in words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from harness.records import RunResult, RunSpec
from harness.why.remedies.changes import CMDSTAN

LONGER = 3
"""How many times the iterations of its present runs CmdStan's ADVI is allowed for in a guess."""

UNKNOWN_GRADIENTS = 10_000
"""Gradients that a method is taken to need where its options do not tell."""


def gradients(spec: RunSpec, present: Sequence[RunResult] = ()) -> float:
    """Return about how many gradients a run takes, as its options say.

    CmdStan's stop by their tolerance: with one that is no tighter than that of the present runs
    they are taken to need at most three times as many iterations as those.
    """
    options = spec.options
    if spec.method in CMDSTAN:
        iterations = float(options["iter"])
        took = [
            r.diagnostics["iterations"]
            for r in present
            if "iterations" in r.diagnostics
            and r.spec.options.get("tol_rel_obj", math.inf) <= options["tol_rel_obj"]
        ]
        if took:
            iterations = min(iterations, LONGER * statistics.median(took))
        return iterations * float(options["grad_samples"])
    if "iterations" in options and "gradient_draws" in options:
        return float(options["iterations"]) * float(options["gradient_draws"])
    return float(UNKNOWN_GRADIENTS)


def expected_s(
    spec: RunSpec, present: Sequence[RunResult], there: Sequence[RunResult] = ()
) -> float:
    """Return about how many seconds one run takes, by those of the runs that there are.

    By seconds a gradient where these are counted; otherwise, and at least for methods whose
    gradients are not known beforehand, what the present runs take.
    """
    runs = there or present
    seconds = statistics.median(r.cost.seconds for r in runs)
    rates = [
        r.cost.seconds / r.cost.gradient_evaluations for r in runs if r.cost.gradient_evaluations
    ]
    return statistics.median(rates) * gradients(spec, present) if rates else seconds


def duration(seconds: float) -> str:
    """Write seconds for people: ``0.05 s``, ``12 s``, ``3 min``, ``1.5 h``."""
    if math.isnan(seconds):
        return "an unknown time"
    if seconds < 100:  # noqa: PLR2004
        return f"{max(float(f'{seconds:.2g}'), 0.001):g} s"
    if seconds < 6000:  # noqa: PLR2004
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
