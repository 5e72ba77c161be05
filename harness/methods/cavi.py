"""CAVI and SVI for ``inverse_gamma_normal``, of :mod:`harness.vi.cavi` and ``svi`` there.

Their updates are derived by hand for this one model, so no gradient is needed and the Stan
program is not run: these rows read the model's data and draw from q(m) q(s).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.methods.method import DASHED, SOLID, Look, Method, Outcome, timed_out
from harness.methods.settings import Options, between, real, whole
from harness.models.data import ModelError, kept_data
from harness.records import Cost, Draws, Model, Reason, RunContext, RunSpec
from harness.records.text import count
from harness.vi.target import Clock

if TYPE_CHECKING:
    from harness.methods.bridged import Own
    from harness.records import FloatArray
    from harness.vi.cavi import Fit

    Fitter = Callable[[FloatArray, Own, np.random.Generator, Clock], Fit]

ONLY = "inverse_gamma_normal"


@dataclass(frozen=True)
class CaviOptions(Options):
    """The most iterations; the fit stops earlier if nothing changes by more than the tolerance."""

    iterations: int = whole(1000, 1)
    tolerance: float = real(1e-12)


@dataclass(frozen=True)
class SviOptions(Options):
    """The options, as in :class:`harness.vi.svi.Schedule`."""

    batch: int = whole(10, 1)
    iterations: int = whole(2000, 1)
    kappa: float = between(1.0, 0.5, 1.0, closed=True)
    tau: float = real(1.0, least=1)
    every: int = whole(10, 1)


def _cavi(x: FloatArray, options: CaviOptions, rng: np.random.Generator, clock: Clock) -> Fit:
    """Update q(m) and q(s) in turn until nothing changes."""
    from harness.vi.cavi import cavi, summarise

    del rng
    return cavi(summarise(x), clock, options.iterations, options.tolerance)


def _svi(x: FloatArray, options: SviOptions, rng: np.random.Generator, clock: Clock) -> Fit:
    """Follow natural gradients of minibatches."""
    from harness.vi.svi import Schedule, svi

    return svi(x, Schedule(**options.plain()), rng, clock)


def _fit_with(
    fit: Fitter[Own], spec: RunSpec, context: RunContext, scratch: Path, options: Own
) -> Outcome:
    """Read the data, fit, draw."""
    from harness.vi import cavi

    del scratch
    clock = Clock(context.timeout_s)
    try:
        given = kept_data(context.data_file, context.data_hash)
        if set(given) != {"N", "x"}:
            held = sorted(given) or "nothing"
            raise ValueError(f"the data hold {held}; {spec.method} needs {ONLY}'s N, x")
        x = np.asarray(given["x"], dtype=np.float64)
        data = cavi.summarise(x)
        rng = np.random.default_rng(context.cmdstan_seed)
        found = fit(x, options, rng, clock)
        s, m = cavi.sample(found.q, spec.draws, rng)
    except (ModelError, ValueError) as error:
        return Outcome("failed", Cost(clock.elapsed_s), f"{spec.method} cannot be run: {error}")
    if clock.over and not found.converged:
        return timed_out(context, Cost(clock.elapsed_s), found.trace)
    words = f"not at rest after {count(found.iterations, 'iteration')}"
    elbo = float(found.trace.elbo[-1])
    return Outcome(
        "ok" if found.converged else "not_converged",
        Cost(clock.elapsed_s),
        "" if found.converged else words,
        None if found.converged else Reason.ITERATION_LIMIT,
        draws=Draws(
            names=("s", "m"),
            values=np.stack([s, m], axis=-1)[None],
            log_p=cavi.log_density(data, s, m)[None],
            log_q=cavi.log_density_q(found.q, s, m)[None],
        ),
        trace=found.trace,
        diagnostics={
            "iterations": float(found.iterations),
            "elbo": elbo,
            "kl": cavi.log_evidence(data) - elbo,
            "m_mean": found.q.mean,
            "m_variance": found.q.variance,
            "s_shape": found.q.shape,
            "s_scale": found.q.scale,
        },
    )


def _unfit(title: str, model: Model) -> str | None:
    said = f"{title} is derived by hand for {ONLY}; {model.name} would need updates of its own"
    return None if model.reference == ONLY else said


# Few seeds: only the draws of q are random, and SVI's batches.
_row = functools.partial(Method, kind="conjugate", repairable=False)

CAVI = _row(
    name="cavi",
    title="CAVI",
    what="coordinate ascent, derived by hand for inverse_gamma_normal",
    fit=functools.partial(_fit_with, _cavi),
    options=CaviOptions(),
    look=Look("#5a5a9e", SOLID, "8"),
    unfit=functools.partial(_unfit, "CAVI"),
)

SVI = _row(
    name="svi",
    title="SVI",
    what="natural gradients on batches, derived by hand for inverse_gamma_normal",
    fit=functools.partial(_fit_with, _svi),
    options=SviOptions(),
    look=Look("#37377a", DASHED, "1"),
    unfit=functools.partial(_unfit, "SVI"),
)
