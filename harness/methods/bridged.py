"""What all methods on the bridge share: the program with its data, names, counts, time limits.

A method hands a ``fit`` function to :func:`run_bridged`; it gets a :class:`Problem` and returns
a :class:`~harness.vi.target.Fitted` on the unconstrained scale. The rest is done here: draws on
the constrained scale with transformed parameters and generated quantities as CmdStan writes them,
``log_p``, cost, and failures as results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.models.data import ModelError, kept_data
from harness.records import Cost, Draws, RunContext, RunResult, RunSpec, Status, Trace
from harness.records.names import stan_name
from harness.stan.bridge import BridgeError, BridgeModel
from harness.vi.target import Clock, Counted, Fitted, TimeLimitError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray


SECONDS_A_NUMBER = 2e-9
"""About what a density takes for each number of its data."""

AT_ONCE = 500

WEIGHING_S = 5.0
"""Seconds, by that estimate, beyond which draws get no densities, and the run no k-hat.

An estimate and not a measurement, so that a busy machine does not decide what is reported.
"""


class FitError(RuntimeError):
    """A fit that cannot be made, with what was wrong and what to do."""


class BridgeTarget:
    """A Stan program as a :class:`~harness.vi.target.Target`: Jacobian and constants included."""

    def __init__(self, model: BridgeModel) -> None:
        """Wrap an opened model."""
        self.model = model
        self.dimension = model.dimension
        self._point = model.at_point()

    def log_density(self, z: FloatArray) -> FloatArray:
        """See :class:`~harness.vi.target.Target`."""
        return self.model.log_density(z).value

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See :class:`~harness.vi.target.Target`."""
        if len(z) == 1:
            # A loop of single draws spends most of its time on the way there: own buffers.
            self._point.z[:] = z[0]
            value = self._point()
            return np.array([value]), self._point.gradient[None].copy()
        found = self.model.log_density_gradient(z)
        assert found.gradient is not None  # noqa: S101 - it was asked for
        return found.value, found.gradient


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What a fit works on."""

    target: Counted
    model: BridgeModel
    data: Mapping[str, NDArray[Any]]
    """The program's data as arrays, for methods that split them by rows."""
    options: Mapping[str, Any]
    draws: int
    rng: np.random.Generator
    clock: Clock
    seed: int
    """Of random numbers in ``transformed data``, for data that are bound again."""


def arrays(data: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return Stan data as arrays; empty ones, whose shape JSON cannot tell, are left out."""
    found = {name: np.asarray(value) for name, value in data.items()}
    return {name: value for name, value in found.items() if value.size}


def run_bridged(
    spec: RunSpec, context: RunContext, load: Callable[[], Callable[[Problem], Fitted]]
) -> RunResult:
    """Open the program, fit, and make draws of what was found.

    Parameters
    ----------
    load
        Imports and returns the ``fit`` function; importing is not part of the run's seconds.

    Returns
    -------
    RunResult
        ``cost`` counts the points at which the density and the gradient were evaluated; the
        seconds include reading the data, as CmdStan's do.
    """
    fit = load()
    library = context.program.library
    if library is None:
        why = context.program.library_error or "the program was not built as a library"
        return _ended(spec, context, "failed", why, 0.0)
    begin = time.perf_counter()
    clock = Clock(context.timeout_s)
    target: Counted | None = None
    found: Fitted | None = None
    try:
        given = kept_data(context.data_file, context.data_hash)
        data = arrays(given)
        model = BridgeModel(library, data, context.cmdstan_seed)
        target = Counted(BridgeTarget(model))
        rng = np.random.default_rng(context.cmdstan_seed)
        seed = context.cmdstan_seed
        problem = Problem(target, model, data, dict(spec.options), spec.draws, rng, clock, seed)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = fit(problem)
            numbers = sum(value.size for value in data.values())
            draws, status, message = _draws(found, problem, numbers)
    except TimeLimitError:
        limit = f"stopped after the time limit of {context.timeout_s:g} s; a longer one: --timeout"
        seconds = time.perf_counter() - begin
        trace = None if found is None else found.trace
        return _ended(spec, context, "timed_out", limit, seconds, target, trace)
    except (BridgeError, ModelError, FitError) as error:
        return _ended(spec, context, "failed", str(error), time.perf_counter() - begin, target)
    return RunResult(
        spec=spec,
        key="",
        status=status,
        message=message,
        draws=draws,
        trace=found.trace,
        diagnostics={"cmdstan_seed": context.cmdstan_seed, **found.diagnostics},
        cost=_cost(time.perf_counter() - begin, target),
        versions=context.program.versions,
        console="\n".join(
            w for w in (found.words, _unweighed(found, draws), model.messages()) if w
        ),
    )


def _draws(found: Fitted, problem: Problem, numbers: int) -> tuple[Draws | None, Status, str]:
    """Return the draws of a fit on the constrained scale, and how the run ended."""
    if found.z is None:
        return None, found.status, found.message
    cheap = len(found.z) * numbers * SECONDS_A_NUMBER <= WEIGHING_S
    model = problem.model
    problem.clock.check()
    log_p = _densities(problem, found.z) if cheap else None
    values, failures = model.constrain(found.z, transformed=True, generated=True, seed=problem.seed)
    message = found.message
    bad = np.flatnonzero(failures)
    if len(bad):
        # Generated quantities that throw are NaN, which counts against them and nothing else.
        words = model.last_error()
        own, still = model.constrain(found.z[bad], transformed=True, generated=False)
        if still.any():
            why = f"{int(np.count_nonzero(still))} of {len(found.z)} draws cannot be written"
            return None, "failed", f"{why}: {model.last_error()}"
        values[bad, : own.shape[1]] = own
        why = f"{len(bad)} of {len(found.z)} draws have no generated quantities: {words}"
        message = f"{message}; {why}" if message else why
    names = model.constrained_names(transformed=True, generated=True)
    # Without log p it says nothing of the weights, but from it q itself can be told.
    log_q = found.log_q
    draws = Draws(
        names=tuple(stan_name(n) for n in names),
        values=values[None],
        log_p=None if log_p is None else log_p[None],
        log_q=None if log_q is None else log_q[None],
    )
    return draws, found.status, message


def _densities(problem: Problem, z: FloatArray) -> FloatArray:
    """Return log densities, looking at the clock between some hundreds of them."""
    parts = []
    for i in range(0, len(z), AT_ONCE):
        problem.clock.check()
        parts.append(problem.target.log_density(z[i : i + AT_ONCE]))
    return np.concatenate(parts)


def _unweighed(found: Fitted, draws: Draws | None) -> str:
    if draws is None or found.log_q is None or draws.log_p is not None:
        return ""
    return f"no k-hat: the densities of {len(found.log_q)} draws would take too long"


def _cost(seconds: float, target: Counted | None) -> Cost:
    if target is None:
        return Cost(seconds)
    return Cost(seconds, target.values, target.gradients)


def _ended(
    spec: RunSpec,
    context: RunContext,
    status: Status,
    message: str,
    seconds: float,
    target: Counted | None = None,
    trace: Trace | None = None,
) -> RunResult:
    return RunResult(
        spec=spec,
        key="",
        status=status,
        message=message,
        draws=None,
        trace=trace,
        diagnostics={"cmdstan_seed": context.cmdstan_seed},
        cost=_cost(seconds, target),
        versions=context.program.versions,
    )
