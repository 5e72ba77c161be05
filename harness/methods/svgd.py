"""SVGD on a Stan program: see :mod:`harness.vi.svgd`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.methods.bridged import FitError, Problem, run_bridged
from harness.records import Method, RunContext, RunResult, RunSpec

if TYPE_CHECKING:
    from harness.vi.target import Fitted


def run_svgd(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:  # noqa: ARG001
    """Move particles by SVGD on the unconstrained scale."""
    return run_bridged(spec, context, _load)


def _load() -> Callable[[Problem], Fitted]:
    from harness.vi.svgd import Settings, deliver, svgd

    def fit(problem: Problem) -> Fitted:
        """Run SVGD; the draws are the particles.

        Raises
        ------
        FitError
            For options that cannot be run.
        """
        try:
            settings = Settings(**problem.options)
        except (TypeError, ValueError) as error:
            msg = f"svgd cannot be run: {error}"
            raise FitError(msg) from error
        found = svgd(problem.target, settings, problem.rng, problem.clock)
        if found.z is None:
            return found
        return dataclasses.replace(found, z=deliver(found.z, problem.draws, problem.rng))

    return fit


SVGD = Method(
    "svgd",
    run_svgd,
    1,
    {"particles": 1000, "iterations": 300, "step": 0.2, "jitter": 1.0},
    draws=1000,
    seeds=5,
    approximate=True,
    bridge=True,
    extends=False,
)
"""1000 particles and 300 iterations are the lecture's; its step is plain SGD's, .01."""
