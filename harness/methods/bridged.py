"""What all methods on a density in process share: program and data, names, counts, time limits.

A method hands a ``fit`` function to :func:`on_bridge`; it gets a :class:`Problem` and returns
a :class:`~harness.vi.target.Fitted` on the unconstrained scale. The rest is done here: draws on
the constrained scale with transformed parameters and generated quantities as CmdStan writes them,
``log_p``, cost, and failures as results.
"""

from __future__ import annotations

import dataclasses
import functools
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from harness.methods.method import Outcome, timed_out
from harness.methods.settings import Options
from harness.models.data import ModelError, kept_data
from harness.records import Cost, Draws, Reason, RunContext, RunSpec
from harness.records.faults import machine_fault
from harness.records.names import kept_places, stan_name
from harness.records.text import combination, listed
from harness.stan import ProgramError
from harness.stan.density import Density, EngineError
from harness.stan.engine import open_density
from harness.stan.work import work_of
from harness.vi.deterministic.importance import copies_of
from harness.vi.deterministic.sizes import least_seconds
from harness.vi.target import Clock, Counted, Fitted, TimeLimitError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.families import Family

Own = TypeVar("Own", bound=Options)
Own_co = TypeVar("Own_co", bound=Options, covariant=True)

SECONDS_A_NUMBER = 2e-9
"""About what a density takes for each number of its data."""

FOLDED_FROM_S = 1e-4
"""Estimated seconds for data beyond which it is looked which of them a density reads at all."""

SLOWER = 20.0
"""A program whose loops and solvers take this many times the seconds of its data is taken to need
them; below, data and parameters are the better estimate."""

AT_ONCE = 500

WEIGHING_S = 5.0
"""Estimated seconds beyond which draws get no densities, and the run no k-hat.

An estimate and not a measurement, so that a busy machine does not decide what is reported.
"""

UNCONSTRAINED = " (unconstrained scale)"
"""What follows places and directions whose parameters have other values on the constrained scale.
"""

RECORDED = 1000
"""At most this many points of a run's path are kept."""


NAMED = 1e-3
"""Part of a direction, relative to the largest, from which a parameter is named."""


class FitError(RuntimeError):
    """A fit that cannot be made, with what was wrong and what to do."""

    def __init__(self, words: str, reason: Reason | None = None) -> None:
        super().__init__(words)
        self.reason = reason


class BridgeTarget:
    """A Stan program as a :class:`~harness.vi.target.Target`: Jacobian and constants included."""

    def __init__(self, model: Density) -> None:
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


def untransformed(model: Density) -> frozenset[str]:
    """Return the parameters that are the same on the unconstrained scale."""
    z = np.random.default_rng(0).uniform(-1, 1, (1, model.dimension))
    values, _ = model.constrain(z, transformed=False)
    names = map(stan_name, model.constrained_names(transformed=False))
    return frozenset(n for n, value in zip(names, values[0], strict=True) if value in z[0])


def along(model: Density, direction: FloatArray) -> dict[str, Any]:
    """Return a direction as plain facts: its terms, and whether they are unconstrained."""
    names = [stan_name(n) for n in model.unconstrained_names()]
    first = direction[np.argmax(np.abs(direction) > NAMED * np.abs(direction).max())]
    terms = [
        (name, round(float(part), 6))
        for name, part in zip(names, direction / first, strict=True)
        if abs(part) > NAMED * abs(direction / first).max()
    ]
    return {"terms": terms, "unconstrained": not untransformed(model) >= {n for n, _ in terms}}


def along_words(directions: Sequence[Mapping[str, Any]]) -> str:
    """Write that log p does not fall along some directions."""
    return f"log p does not fall along {directions_words(directions)}"


def directions_words(directions: Sequence[Mapping[str, Any]]) -> str:
    """Write some directions, the same ones once."""
    said = dict.fromkeys(combination(d["terms"]) for d in directions)
    scale = UNCONSTRAINED if any(d["unconstrained"] for d in directions) else ""
    return f"{listed(list(said), 3)}{scale}"


class Expected(NamedTuple):
    """Seconds that one evaluation of a batch is expected to take."""

    density: float  # by data and parameters; decides whether draws get densities
    gradient: float  # with the program's loops and solvers; decides how much a fit may do


@dataclass(frozen=True, slots=True, eq=False)
class Problem(Generic[Own_co]):
    """What a fit works on."""

    target: Counted
    model: Density
    data: Mapping[str, NDArray[Any]]  # as arrays, for methods that split them by rows
    options: Own_co
    draws: int
    rng: np.random.Generator
    clock: Clock
    seed: int  # of random numbers in "transformed data", for data that are bound again
    expected: Expected
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # as in the run's spec

    def drawn(self, family: Family, phi: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return draws of a Gaussian, unconstrained scale, and their log densities."""
        z = family.transform(phi, self.rng.standard_normal((self.draws, family.dimension)))
        return z, family.log_density(phi, z)


def arrays(data: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return Stan data as arrays; empty ones, whose shape JSON cannot tell, are left out."""
    found = {name: np.asarray(value) for name, value in data.items()}
    return {name: value for name, value in found.items() if value.size}


def expected_s(stan_file: Path, model: Density, data: Mapping[str, NDArray[Any]]) -> Expected:
    """Return about how many seconds evaluations take, from the program and its data alone.

    No clock is looked at, so neither another machine nor a busy one changes what is drawn.
    """
    work = work_of(stan_file, data)
    numbers = sum(value.size for value in data.values())
    if model.engine == "embedded" and SECONDS_A_NUMBER * numbers > FOLDED_FROM_S:
        # The engine computes once what depends on data only.
        numbers = min(numbers, round(work.read))
    density = least_seconds(model.dimension) + SECONDS_A_NUMBER * numbers
    return Expected(density, work.seconds if work.seconds > SLOWER * density else density)


def on_bridge(
    fit: str | Callable[[Problem[Own]], Fitted],
) -> Callable[[RunSpec, RunContext, Path, Own], Outcome]:
    """Return a method's ``fit``: open the program, fit, and make draws of what was found.

    Its ``cost`` counts the points at which the density and the gradient were evaluated; the
    seconds include reading the data, as CmdStan's do. ``fit`` may be the ``module:function`` of
    this package: it is imported when it is needed, and that is not part of the run's seconds.
    """
    return functools.partial(_run, fit)


def _run(
    fit: str | Callable[[Problem[Own]], Fitted],
    spec: RunSpec,
    context: RunContext,
    scratch: Path,
    options: Own,
) -> Outcome:
    del scratch
    if isinstance(fit, str):
        fit = pkgutil.resolve_name(f"harness.methods.{fit}")
        import_module("arviz_stats.base")  # weights need it: seconds, once in a process
    clock = Clock(context.timeout_s)
    target: Counted | None = None
    found: Fitted | None = None

    def cost() -> Cost:
        if target is None:
            return Cost(clock.elapsed_s)
        return Cost(clock.elapsed_s, target.values, target.gradients)

    try:
        data = arrays(kept_data(context.data_file, context.data_hash))
        seed = context.cmdstan_seed
        model = open_density(context.program, context.data_file, data, seed)
        target = Counted(BridgeTarget(model))
        rng = np.random.default_rng(seed)
        expected = expected_s(context.program.stan_file, model, data)
        problem = Problem(
            target, model, data, options, spec.draws, rng, clock, seed, expected, spec.left_out
        )
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = fit(problem)  # type: ignore[operator]
            drawn = _drawn(found, problem)
    except TimeLimitError:
        return timed_out(context, cost(), None if found is None else found.trace)
    except (EngineError, ProgramError, ModelError, FitError) as error:
        if machine_fault(error):
            raise
        reason = error.reason if isinstance(error, FitError) else None
        return Outcome("failed", cost(), str(error), reason)
    unweighed = ""
    if drawn.draws is not None and found.log_q is not None and drawn.draws.log_p is None:
        unweighed = f"no k-hat: the densities of {len(found.log_q)} draws would take too long"
    words = (found.words, unweighed, model.messages())
    return dataclasses.replace(
        drawn,
        cost=cost(),
        trace=found.trace,
        diagnostics=found.diagnostics,
        console="\n".join(w for w in words if w),
    )


def _drawn(found: Fitted, problem: Problem[Options]) -> Outcome:
    """Return the draws of a fit on the constrained scale, and how it ended."""
    ended = Outcome(
        found.status,
        message=found.message,
        reason=found.reason,
        doubts=found.doubts,
        family=found.family,
    )
    if found.z is None:
        return ended
    model = problem.model
    problem.clock.check()
    log_p = found.log_p
    if log_p is None and cheap(problem, len(found.z)):
        log_p = densities(problem, found.z)
    names = tuple(map(stan_name, model.constrained_names(transformed=True, generated=True)))
    own = len(model.constrained_names(transformed=True))
    keep = kept_places(names, problem.left_out)
    generated = keep is None or len(keep) > own
    z, again = found.z, None
    if found.proposal is not None and own == len(names):
        # Without generated quantities, which may be random, copies have the same values.
        _, first, again = np.unique(found.proposal, return_index=True, return_inverse=True)
        z = z[first]
    values, failures = model.constrain(
        z,
        transformed=True,
        generated=generated,
        seed=problem.seed,
        keep=keep if generated else None,
    )
    if again is not None:
        values, failures = values[again], failures[again]
    message = found.message
    bad = np.flatnonzero(failures)
    if len(bad):
        # Generated quantities that throw are NaN, which counts against them and nothing else.
        words = model.last_error()
        values[bad, :own], still = model.constrain(found.z[bad], transformed=True, generated=False)
        if still.any():
            why = f"{int(np.count_nonzero(still))} of {len(found.z)} draws cannot be written"
            return Outcome("failed", message=f"{why}: {model.last_error()}")
        why = f"{len(bad)} of {len(found.z)} draws have no generated quantities: {words}"
        message = f"{message}; {why}" if message else why
    chains = max(found.chains, 1)
    copies = None if found.proposal is None else copies_of(found.proposal)
    stats = {} if copies is None else {"copies": copies[None]}
    draws = Draws(
        names=names if keep is None else tuple(names[i] for i in keep),
        values=values.reshape(chains, -1, values.shape[1]),
        log_p=None if log_p is None else log_p.reshape(chains, -1),
        # Without log p it says nothing of the weights, but from it q itself can be told.
        log_q=None if found.log_q is None else found.log_q[None],
        stats={**stats, **found.stats},
        iid=found.chains == 0,
    )
    return dataclasses.replace(ended, draws=draws, message=message)


def cheap(problem: Problem[Options], draws: int) -> bool:
    """Tell whether this number of draws can have their densities."""
    return draws * problem.expected.density <= WEIGHING_S


def densities(problem: Problem[Options], z: FloatArray, at_once: int = AT_ONCE) -> FloatArray:
    """Return log densities, looking at the clock between some hundreds of them."""
    parts = []
    for i in range(0, len(z), at_once):
        problem.clock.check()
        parts.append(problem.target.log_density(z[i : i + at_once]))
    return np.concatenate(parts)
