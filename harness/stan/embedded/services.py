"""Stan's own algorithms in the embedded engine: ADVI, NUTS, Pathfinder, Laplace, L-BFGS.

These are Stan's C++ services on the engine's densities, so a seed means what it means in CmdStan
of the same version. Three things differ, and callers must know them: the density lacks the
constants that ``~`` drops, unless the program is the rewritten one; Pathfinder has single paths
only, because the engine refuses Stan 2.40's way of combining them; and a service may run only in
the thread that loaded the library, where Stan's autodiff stack lives.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.records.names import stan_name
from harness.stan import console
from harness.stan.embedded.calls import (
    ERROR_BYTES,
    LBFGS,
    LaplaceOptions,
    Line,
    OptimizeOptions,
    PathfinderOptions,
    ServiceError,
    ServiceTimeoutError,
    VariationalOptions,
    address,
    argument,
    changed,
    filled,
    owned,
    said,
    serve,
    stopping,
    text_of,
)
from harness.stan.embedded.library import MetricOptions, SampleOptions, SampleReport

if TYPE_CHECKING:
    from harness.records import FamilyName, FloatArray
    from harness.stan.embedded.model import EmbeddedModel

STATISTICS = ("lp", "accept_stat", "stepsize", "treedepth", "n_leapfrog", "divergent", "energy")
"""The engine's columns of a NUTS draw, in its order."""

METRICS = ("unit_e", "diag_e", "dense_e")

_Progress = ctypes.CFUNCTYPE(
    None, ctypes.c_int32, ctypes.c_int64, ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p
)


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What a service returned: rows as CmdStan's CSV has them.

    ``values`` has shape ``(chain, draw, column)``, constrained scale, with transformed parameters
    and generated quantities; densities are ``(chain, draw)``, nats, unconstrained scale with
    Jacobian.
    """

    names: tuple[str, ...]
    values: FloatArray
    log_p: FloatArray
    log_q: FloatArray | None = None
    stats: Mapping[str, FloatArray] = field(default_factory=dict)
    unconstrained: FloatArray | None = None
    lines: tuple[Line, ...] = ()
    printed: str = ""
    """What the program printed."""

    @property
    def text(self) -> str:
        """What was printed, as CmdStan's console has it."""
        return text_of(self.lines)


class Mode(NamedTuple):
    """Where the optimiser ended."""

    z: FloatArray
    """Shape ``(d,)``, unconstrained scale."""
    log_p: float
    iterations: int | None
    gradients: int | None
    lines: tuple[Line, ...]


def variational(
    model: EmbeddedModel, family: FamilyName, seed: int, draws: int, limit_s: float, **more: Any
) -> Served:
    """Run Stan's ADVI; ``more`` are its options by Stan's names.

    Raises
    ------
    ServiceError
        If it fails, with Stan's words; ServiceTimeoutError after ``limit_s`` seconds.
    """
    algorithm = 0 if family == "meanfield" else 1
    options = changed(
        filled(model, VariationalOptions, "stanli_variational"),
        seed=seed, algorithm=algorithm, output_samples=draws, **more,
    )  # fmt: skip
    names = _names(model)
    mean, values = np.full(len(names), np.nan), np.full((draws, len(names)), np.nan)
    log_p, log_q = np.full(draws, np.nan), np.full(draws, np.nan)
    outputs = (mean, values, log_p, log_q)
    found = serve(model, "stanli_variational", (ctypes.byref(options), *outputs), limit_s)
    return Served(names, values[None], log_p[None], log_q[None], {}, None, *found)


def pathfinder(
    model: EmbeddedModel, seed: int, path: int, draws: int, limit_s: float, **more: Any
) -> Served:
    """Run a single path of Stan's Pathfinder, the one that has this number in a run of several.

    Raises as :func:`variational`.
    """
    options = changed(
        filled(model, PathfinderOptions, "stanli_pathfinder"),
        seed=seed, chain_id=path, num_paths=1, num_draws=draws, num_psis_draws=draws, refresh=1,
        **more,
    )  # fmt: skip
    names = _names(model)
    values = np.full((draws, len(names)), np.nan)
    log_p, log_q, paths = (np.full(draws, np.nan) for _ in range(3))
    written = ctypes.c_int64(0)
    outputs = (values, log_p, log_q, paths, ctypes.byref(written))
    found = serve(model, "stanli_pathfinder", (ctypes.byref(options), *outputs), limit_s)
    n = written.value
    return Served(names, values[None, :n], log_p[None, :n], log_q[None, :n], {}, None, *found)


def optimize(model: EmbeddedModel, seed: int, limit_s: float, **more: Any) -> Mode:
    """Climb log p, Jacobian included, by Stan's L-BFGS.

    The optimiser prints nothing, cannot be stopped, and does not say whether it ended at its
    iteration limit. Pathfinder climbs the same path, and does all three: it goes first, with a
    single draw at each step. Raises as :func:`variational`.
    """
    begin = time.perf_counter()
    climb = {name: more[name] for name in (*LBFGS, "history_size", "init_radius") if name in more}
    if "iter" in more:
        climb["max_lbfgs_iters"] = more["iter"]
    try:
        lines = pathfinder(model, seed, 1, 1, limit_s, num_elbo_draws=1, **climb).lines
    except ServiceTimeoutError:
        raise
    except ServiceError as error:
        # A path without a usable Gaussian is still a path.
        lines = error.lines
    took = time.perf_counter() - begin
    if 2 * took > limit_s:
        raise ServiceTimeoutError("the optimiser would end after the time limit", lines)
    climbed = console.read_pathfinder(text_of(lines), 1).get(1)
    options = filled(model, OptimizeOptions, "stanli_optimize")
    changed(options, seed=seed, chain_id=1, jacobian=1, **more)
    z = np.full(model.dimension, np.nan)
    log_p = ctypes.c_double(np.nan)
    words = ctypes.create_string_buffer(ERROR_BYTES)
    with owned(model):
        failed = model.library.call["stanli_optimize"](
            ctypes.c_void_p(model.handle), ctypes.byref(options), address(z), None,
            ctypes.byref(log_p), words, ctypes.c_size_t(ERROR_BYTES),
        )  # fmt: skip
    if failed or not np.isfinite(z).all():
        raise ServiceError(said(words) or "the optimiser found no finite point", lines)
    if climbed is None:
        return Mode(z, log_p.value, None, None, lines)
    return Mode(z, log_p.value, climbed.iterations, climbed.gradients, lines)


def laplace(
    model: EmbeddedModel,
    mode: FloatArray,
    seed: int,
    draws: int,
    limit_s: float,
    *,
    calculate_lp: bool = True,
) -> Served:
    """Draw from Stan's Laplace approximation at a mode, ``(d,)`` on the unconstrained scale.

    Stan differences ``2 d + 1`` gradients for the Hessian. Raises as :func:`variational`.
    """
    options = filled(model, LaplaceOptions, "stanli_laplace")
    changed(options, seed=seed, draws=draws, calculate_lp=calculate_lp)
    names = _names(model)
    values = np.full((draws, len(names)), np.nan)
    log_p, log_q = np.full(draws, np.nan), np.full(draws, np.nan)
    z = np.ascontiguousarray(mode, dtype=np.float64)
    outputs = (z, values, log_p, log_q)
    found = serve(model, "stanli_laplace_sample", (ctypes.byref(options), *outputs), limit_s)
    return Served(names, values[None], log_p[None], log_q[None], {}, None, *found)


def sample(
    model: EmbeddedModel,
    seed: int,
    limit_s: float,
    *,
    chains: int,
    samples: int,
    inits: FloatArray | None = None,
    inv_metric: FloatArray | None = None,
    **more: Any,
) -> Served:
    """Run Stan's NUTS, its chains one after the other.

    ``inits`` are unconstrained points, ``(chain, d)``; ``inv_metric`` is ``(d,)`` or ``(d, d)``.
    A row whose generated quantities throw is NaN; ``unconstrained`` still has its point. Raises as
    :func:`variational`.
    """
    options = filled(model, SampleOptions, "stanli_sample")
    changed(options, seed=seed, chains=chains, samples=samples, num_threads=1, **more)
    metric = filled(model, MetricOptions, "stanli_metric")
    kept = []  # buffers that the engine reads while it runs
    if inits is not None:
        kept.append(np.ascontiguousarray(inits, dtype=np.float64))
        options.inits = kept[-1].ctypes.data
    if inv_metric is not None:
        kept.append(np.ascontiguousarray([inv_metric] * chains, dtype=np.float64))
        metric.inv_metric = kept[-1].ctypes.data
        metric.metric = METRICS.index("diag_e" if np.ndim(inv_metric) == 1 else "dense_e")
    d, names = model.dimension, _names(model)
    z = np.full((chains, samples, d), np.nan)
    stats = np.full((chains, samples, len(STATISTICS)), np.nan)
    values = np.full((chains, samples, len(names)), np.nan)
    reports = (SampleReport * chains)()
    progress = _Progress()  # none
    before = (ctypes.byref(options), ctypes.byref(metric), ctypes.c_int(0), z, stats, values)
    words = ctypes.create_string_buffer(ERROR_BYTES)
    stopped = ctypes.c_int(0)
    with owned(model), stopping(limit_s) as stopper:
        failed = model.library.call["stanli_sample_multi_metric"](
            ctypes.c_void_p(model.handle), *map(argument, before), progress, None, stopper.poll,
            None, ctypes.byref(stopped), reports, words, ctypes.c_size_t(ERROR_BYTES),
        )  # fmt: skip
    stopper.check(stopped.value, ())
    if failed:
        raise ServiceError(said(words))
    by_name = dict(zip(STATISTICS, np.moveaxis(stats, -1, 0), strict=True))
    return Served(names, values, by_name["lp"], stats=by_name, unconstrained=z)


def _names(model: EmbeddedModel) -> tuple[str, ...]:
    """Return the columns of a row, in Stan's form."""
    return tuple(map(stan_name, model.constrained_names(transformed=True, generated=True)))
