"""What a run is expected to take, before it is made: which go first, and the time left."""

from __future__ import annotations

from harness.methods import METHODS, makes
from harness.records import EngineName, Model, RunSpec
from harness.study.plan import QUICK

UNKNOWN_WORK = 10_000.0
"""Gradients that a method is assumed to need if its options do not say."""


def expected_work(spec: RunSpec) -> float:
    """Estimate a run's relative length: its number of gradients, if that is known beforehand."""
    if "grad_samples" in spec.options:
        return float(spec.options["iter"]) * float(spec.options["grad_samples"])
    if makes(spec.method) == "approximation":
        return float(spec.options.get("iterations", UNKNOWN_WORK))
    chains = float(spec.options.get("chains", 1))
    iterations = float(spec.options.get("warmup", 0)) + float(spec.options.get("samples", 0))
    # About fifteen leapfrog steps an iteration.
    return 15 * chains * iterations


def cheap(spec: RunSpec, engine: EngineName | None) -> bool:
    """Tell whether a run ends in seconds, compiles nothing, and so is made first."""
    return spec.method in QUICK and engine == "embedded"


RUN_S, BUILD_S, JUDGE_S = 0.5, 14.0, 2.0
"""Seconds of a run beside its gradients, of a build, of an analysis; for the time left only."""

_GRADIENT_S, _STEP_S, _BYTE_S, _READ_S = 2e-6, 1e-4, 2e-10, 3e-7

_EARLY = 0.2
"""Part of its iterations at which CmdStan's ADVI stops, about."""


def expected_seconds(spec: RunSpec, model: Model) -> float:
    """Estimate the seconds of a run, roughly; for the time left only."""
    size, row = data_size(model), METHODS.get(spec.method)
    if spec.method in QUICK or (row is not None and row.rebinds):
        return RUN_S + _READ_S * size
    each = (_STEP_S if "iterations" in spec.options else _GRADIENT_S) + _BYTE_S * size
    part = _EARLY if row is not None and row.kind == "CmdStan's ADVI" else 1.0
    return RUN_S + part * expected_work(spec) * each


def data_size(model: Model) -> int:
    """Return the size of the data in bytes."""
    return 0 if model.data_file is None else model.data_file.stat().st_size
