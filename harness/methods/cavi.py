"""CAVI and SVI for ``inverse_gamma_normal``, of :mod:`harness.vi.cavi` and ``svi`` there.

Their updates are derived by hand for this one model, so no gradient is needed and the Stan
program is not run: these rows read the model's data and draw from q(m) q(s).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.models.data import ModelError, kept_data
from harness.records import Cost, Draws, Method, Model, RunContext, RunResult, RunSpec, Status
from harness.vi.target import Clock

if TYPE_CHECKING:
    from harness.records import FloatArray
    from harness.vi.cavi import Fit

    Fitter = Callable[[FloatArray, Mapping[str, Any], np.random.Generator, Clock], Fit]

ONLY = "inverse_gamma_normal"


def run_cavi(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:  # noqa: ARG001
    """Update q(m) and q(s) in turn until nothing changes."""
    from harness.vi import cavi

    def fit(
        x: FloatArray,
        options: Mapping[str, Any],
        rng: np.random.Generator,  # noqa: ARG001 - one signature for both
        clock: Clock,
    ) -> Fit:
        return cavi.cavi(cavi.summarise(x), clock, **options)

    return _run(spec, context, fit)


def run_svi(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:  # noqa: ARG001
    """Follow natural gradients of minibatches."""
    from harness.vi import svi

    def fit(
        x: FloatArray, options: Mapping[str, Any], rng: np.random.Generator, clock: Clock
    ) -> Fit:
        return svi.svi(x, svi.Schedule(**options), rng, clock)

    return _run(spec, context, fit)


def _run(spec: RunSpec, context: RunContext, fit: Fitter) -> RunResult:
    """Read the data, fit, draw."""
    from harness.vi import cavi

    clock = Clock(context.timeout_s)
    seeds = {"cmdstan_seed": context.cmdstan_seed}
    try:
        given = kept_data(context.data_file, context.data_hash)
        if set(given) != {"N", "x"}:
            msg = f"the data hold {sorted(given) or 'nothing'}; {spec.method} needs {ONLY}'s N, x"
            raise ValueError(msg)
        x = np.asarray(given["x"], dtype=np.float64)
        data = cavi.summarise(x)
        rng = np.random.default_rng(context.cmdstan_seed)
        found = fit(x, dict(spec.options), rng, clock)
        s, m = cavi.sample(found.q, spec.draws, rng)
    except (ModelError, TypeError, ValueError) as error:
        return RunResult(
            spec, "", "failed", f"{spec.method} cannot be run: {error}", None, None, seeds,
            Cost(clock.elapsed_s), context.program.versions,
        )  # fmt: skip
    draws = Draws(
        names=("s", "m"),
        values=np.stack([s, m], axis=-1)[None],
        log_p=cavi.log_density(data, s, m)[None],
        log_q=cavi.log_density_q(found.q, s, m)[None],
    )
    elbo = float(found.trace.elbo[-1])
    status: Status = "ok" if found.converged else "not_converged"
    message = ""
    if not found.converged:
        message = f"not at rest after {found.iterations} iterations"
        if clock.over:
            message = f"out of time after {found.iterations} iterations; a longer one: --timeout"
            return RunResult(
                spec, "", "timed_out", message, None, found.trace, seeds,
                Cost(clock.elapsed_s), context.program.versions,
            )  # fmt: skip
    diagnostics = {
        **seeds,
        "iterations": float(found.iterations),
        "elbo": elbo,
        "kl": cavi.log_evidence(data) - elbo,
        "m_mean": found.q.mean,
        "m_variance": found.q.variance,
        "s_shape": found.q.shape,
        "s_scale": found.q.scale,
    }
    return RunResult(
        spec, "", status, message, draws, found.trace, diagnostics, Cost(clock.elapsed_s),
        context.program.versions,
    )  # fmt: skip


def unfit_cavi(model: Model) -> str | None:
    """Say why CAVI cannot be used on a model."""
    return _unfit("CAVI is", model)


def unfit_svi(model: Model) -> str | None:
    """Say why SVI cannot be used on a model."""
    return _unfit("SVI is", model)


def _unfit(who: str, model: Model) -> str | None:
    if model.reference == ONLY:
        return None
    return f"{who} derived by hand for {ONLY}; {model.name} would need updates of its own"


CAVI = Method(
    "cavi",
    run_cavi,
    1,
    {"iterations": 1000, "tolerance": 1e-12},
    draws=10_000,
    seeds=5,
    approximate=True,
    unfit=unfit_cavi,
)
"""Few seeds: nothing is random but the draws of q."""

SVI = Method(
    "svi",
    run_svi,
    1,
    {"batch": 10, "iterations": 2000, "kappa": 1.0, "tau": 1.0, "every": 10},
    draws=10_000,
    seeds=5,
    approximate=True,
    unfit=unfit_svi,
)
