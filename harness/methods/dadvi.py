"""Deterministic ADVI as methods: mean-field, linear response, and importance-weighted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.methods.bridged import Problem, run_bridged
from harness.records import Method, RunContext, RunResult, RunSpec

if TYPE_CHECKING:
    from harness.vi.target import Fitted

DEFAULTS = {
    # The largest error that base draws may leave: of means in posterior sds, and of ln sd.
    "error": 0.05,
    # Base draws to begin with, and starting points; 0: by what a gradient costs.
    "base_draws": 0,
    "most_base_draws": 8192,
    "starts": 0,
}


def run_dadvi(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:
    """Fit a mean-field (or full-rank) Gaussian; see :mod:`harness.vi.deterministic`."""
    del scratch

    def load() -> Callable[[Problem], Fitted]:
        from harness.methods.dadvi_gaussian import fit_family

        return fit_family

    return run_bridged(spec, context, load)


def run_dadvi_lr(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:
    """Fit a mean-field Gaussian and give it the covariance of linear response."""
    del scratch

    def load() -> Callable[[Problem], Fitted]:
        from harness.methods.dadvi_gaussian import fit_response

        return fit_response

    return run_bridged(spec, context, load)


def run_dadvi_psis(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:
    """Weight draws of linear response's Gaussian by Pareto-smoothed importance sampling."""
    del scratch

    def load() -> Callable[[Problem], Fitted]:
        from harness.methods.dadvi_weighted import fit_weighted

        return fit_weighted

    return run_bridged(spec, context, load)


def run_dadvi_basins(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:
    """Weight draws of a mixture of Gaussians, one for each basin that was found."""
    del scratch

    def load() -> Callable[[Problem], Fitted]:
        from harness.methods.dadvi_weighted import fit_basins

        return fit_basins

    return run_bridged(spec, context, load)


DADVI = Method(
    name="dadvi",
    run=run_dadvi,
    version=1,
    defaults={**DEFAULTS, "family": "meanfield"},
    draws=10_000,
    seeds=5,
    approximate=True,
    bridge=True,
)

DADVI_LR = Method(
    name="dadvi_lr",
    run=run_dadvi_lr,
    version=1,
    # Seconds of conjugate gradients where there are too many parameters for a Hessian.
    defaults={**DEFAULTS, "conjugate_s": 30.0},
    draws=10_000,
    seeds=5,
    approximate=True,
    bridge=True,
    family="fullrank",
)

DADVI_PSIS = Method(
    name="dadvi_psis",
    run=run_dadvi_psis,
    version=1,
    # Proposals for each draw that is wanted, and the seconds that weighing them may take.
    defaults={**DEFAULTS, "proposals": 4.0, "weights_s": 4.0, "conjugate_s": 30.0},
    draws=10_000,
    seeds=5,
    approximate=True,
    bridge=True,
)

DADVI_BASINS = Method(
    name="dadvi_basins",
    run=run_dadvi_basins,
    version=1,
    # More starts than the others take: what none of them finds is missing.
    defaults={**DEFAULTS, "starts": 24, "proposals": 4.0, "weights_s": 4.0},
    draws=10_000,
    seeds=5,
    approximate=True,
    bridge=True,
)
