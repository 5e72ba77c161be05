"""The loop of stochastic variational inference: one step after the other, and nothing lost.

Family, objective, optimiser and target are pieces of their own; subsampling wraps the target,
tracking is a callback. :class:`State` is what the next step needs, :class:`Info` what one only
looks at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from harness.records import Status, Trace
from harness.vi.target import Clock, Target

if TYPE_CHECKING:
    from harness.records import FloatArray
    from harness.vi.families import Family
    from harness.vi.optimisers import Optimiser

BAD_LIMIT = 100
"""Steps without a finite value and gradient, one after the other, that end a run.

A single draw from a wide q may leave the support or overflow; a hundred in a row say that q
itself is where the density cannot be evaluated, and no step will ever leave.
"""


class Objective(Protocol):
    """An estimate of the ELBO and of its gradient at ``phi``."""

    def __call__(
        self, family: Family, phi: FloatArray, target: Target, rng: np.random.Generator
    ) -> tuple[float, FloatArray]:
        """Return the ELBO, nats, and its gradient, shape ``(family.size,)``."""


class Callback(Protocol):
    """What is called after each step; raising StopIteration ends the run, its words are kept."""

    def __call__(self, phi: FloatArray, info: Info) -> None:
        """Look at the parameters after the step and at how the step went."""


class Info(NamedTuple):
    """How one step went.

    ``iteration`` counts from 1, ``elbo`` is the step's own noisy estimate in nats; both it and
    ``gradient_norm`` belong to the parameters before the step. ``bad`` says that one of them was
    not finite: the parameters then stay. ``elapsed_s`` is since the start of the run.
    """

    iteration: int
    elbo: float
    gradient_norm: float
    bad: bool
    elapsed_s: float


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What the next step needs, as plain data.

    Attributes
    ----------
    iteration
        Steps taken, the bad ones included.
    phi
        Variational parameters, shape ``(size,)``.
    optimiser
        The optimiser's own state.
    rng
        State of the random number generator's ``bit_generator``.
    averaged, mean_phi
        How many iterates are in the running mean, and the mean; see ``average_from``.
    """

    iteration: int
    phi: FloatArray
    optimiser: Any
    rng: Mapping[str, Any]
    averaged: int = 0
    mean_phi: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """The pieces of a run: what :func:`refine` uses again."""

    target: Target
    family: Family
    optimiser: Optimiser
    objective: Objective
    callbacks: tuple[Callback, ...] = ()
    average_from: int | None = None
    bad_limit: int = BAD_LIMIT


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How far a run came.

    Attributes
    ----------
    state
        Where it stands, whatever the end.
    status
        ``ok``; ``diverged`` after ``bad_limit`` bad steps in a row; ``timed_out``.
    words
        Why it ended before its last iteration; empty if it did not.
    elbo, gradient_norm, elapsed_s
        Of every iteration, shape ``(state.iteration,)``: see :class:`Info`.
    bad_steps
        How many steps were skipped.
    """

    setup: Setup
    state: State
    status: Status
    words: str
    elbo: FloatArray
    gradient_norm: FloatArray
    elapsed_s: FloatArray
    bad_steps: int

    @property
    def phi(self) -> FloatArray:
        """The mean of the averaged iterates where there are any, else the last iterate."""
        mean = self.state.mean_phi
        return self.state.phi if mean is None else mean


@dataclass(frozen=True, slots=True)
class Reparameterised:
    """The reparameterised gradient from ``draws`` draws of q.

    ELBO = E log p(z) + H(q), the entropy in closed form (Kucukelbir et al. 2017, eq. 7 to 9).
    With ``sticking`` both the ELBO and the gradient are of log p − log q along the path only
    (Roeder, Wu and Duvenaud 2017): as unbiased, and without variance where q is the posterior.
    """

    draws: int = 1
    sticking: bool = False

    def __call__(
        self, family: Family, phi: FloatArray, target: Target, rng: np.random.Generator
    ) -> tuple[float, FloatArray]:
        """See :class:`Objective`."""
        eps = rng.standard_normal((self.draws, family.dimension))
        z = family.transform(phi, eps)
        value, slope = target.log_density_gradient(z)
        if self.sticking:
            value = value - family.log_density(phi, z)
            gradient = family.path(phi, eps, slope - family.slope(phi, eps))
            return float(np.add.reduce(value)) / self.draws, gradient
        # a reduction over one value costs as much as the whole step of a small optimiser
        mean = float(value[0]) if self.draws == 1 else float(np.add.reduce(value)) / self.draws
        return mean + family.entropy(phi), family.pull_back(phi, eps, slope)


def start(optimiser: Optimiser, phi: FloatArray, rng: np.random.Generator) -> State:
    """Return the state before the first step.

    Parameters
    ----------
    phi
        From :meth:`~harness.vi.families.Family.start`; copied.
    rng
        Its state is copied. Give one that nothing else draws from (``rng.spawn(1)[0]``), or the
        same numbers are used twice.
    """
    return State(0, phi.copy(), optimiser.init(len(phi)), rng.bit_generator.state)


def fit(
    target: Target,
    family: Family,
    optimiser: Optimiser,
    state: State,
    n: int,
    *,
    objective: Objective | None = None,
    draws: int = 1,
    callbacks: Sequence[Callback] = (),
    clock: Clock | None = None,
    average_from: int | None = None,
    bad_limit: int = BAD_LIMIT,
) -> Fit:
    """Take ``n`` steps, or fewer if something ends the run.

    Parameters
    ----------
    target
        If it has a method ``advance(rng)``, that is called before every step: minibatches.
    state
        From :func:`start`; not changed.
    objective
        :class:`Reparameterised` with ``draws`` draws, unless given.
    callbacks
        Called in their order after every step, with the parameters and :class:`Info`.
    clock
        A run that is over its limit after a step ends with the status ``timed_out``.
    average_from
        Iterates after this iteration are averaged (Polyak and Juditsky 1992): ``n // 2`` for the
        last half.
    bad_limit
        A step whose value or gradient is not finite is skipped; this many in a row end the run
        with the status ``diverged``.

    Returns
    -------
    Fit
        Whatever the end, with every iteration up to it.
    """
    pieces = Setup(
        target, family, optimiser, objective or Reparameterised(draws), tuple(callbacks),
        average_from, bad_limit,
    )  # fmt: skip
    return _run(pieces, state, n, clock or Clock(), 0.0)


def refine(found: Fit, n: int, *, clock: Clock | None = None) -> Fit:
    """Continue a run by up to ``n`` steps: n + m steps are, to the last bit, m refined by n.

    Callbacks go on with what they remember. A run that a callback stopped goes on as well.

    Returns
    -------
    Fit
        With the iterations of both; ``elapsed_s`` leaves out what passed between them.
    """
    before = float(found.elapsed_s[-1]) if len(found.elapsed_s) else 0.0
    more = _run(found.setup, found.state, n, clock or Clock(), before)
    return replace(
        more,
        elbo=np.concatenate([found.elbo, more.elbo]),
        gradient_norm=np.concatenate([found.gradient_norm, more.gradient_norm]),
        elapsed_s=np.concatenate([found.elapsed_s, more.elapsed_s]),
        bad_steps=found.bad_steps + more.bad_steps,
    )


def trace(found: Fit, every: int, extras: Mapping[str, FloatArray] | None = None) -> Trace:
    """Return a run's path in stretches of ``every`` iterations.

    Parameters
    ----------
    extras
        Arrays of shape ``(stretch,)``, put beside the ELBO.

    Returns
    -------
    Trace
        ``elbo`` is the mean of a stretch's finite estimates, NaN where there is none;
        ``iteration`` and ``elapsed_s`` are of its last iteration. The last stretch may be shorter.
    """
    n = found.state.iteration
    begins = np.arange(0, n, every)
    ends = np.minimum(begins + every, n)
    if n == 0:
        empty = np.empty(0)
        return Trace(empty, empty, empty, dict(extras or {}))
    finite = np.isfinite(found.elbo)
    total = np.add.reduceat(np.where(finite, found.elbo, 0.0), begins)
    count = np.add.reduceat(finite.astype(np.float64), begins)
    elbo = np.divide(total, count, out=np.full(len(begins), np.nan), where=count > 0)
    return Trace(ends.astype(np.float64), found.elapsed_s[ends - 1], elbo, dict(extras or {}))


def _run(pieces: Setup, state: State, n: int, clock: Clock, before_s: float) -> Fit:
    """Take up to ``n`` steps; what Python does per step is kept short on purpose."""
    family, target, objective = pieces.family, pieces.target, pieces.objective
    optimiser, callbacks, bad_limit = pieces.optimiser, pieces.callbacks, pieces.bad_limit
    advance = getattr(target, "advance", None)
    rng = _generator(state.rng)
    iteration, phi, memory = state.iteration, state.phi, state.optimiser
    averaged, mean_phi = state.averaged, state.mean_phi
    average_from = math.inf if pieces.average_from is None else pieces.average_from
    begin_s = clock.elapsed_s - before_s
    elbo, norms, seconds = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    status: Status = "ok"
    words = ""
    done = bad_steps = in_a_row = 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        while done < n and not words:
            if advance is not None:
                advance(rng)
            value, gradient = objective(family, phi, target, rng)
            # one number for "all finite" and for the norm; overflow of the square is bad too
            norm = math.sqrt(gradient.dot(gradient))
            bad = not (math.isfinite(value) and math.isfinite(norm))
            if bad:
                bad_steps += 1
                in_a_row += 1
            else:
                in_a_row = 0
                memory, update = optimiser.step(memory, gradient)
                phi = phi + update
            iteration += 1
            now_s = clock.elapsed_s
            elbo[done], norms[done], seconds[done] = value, norm, now_s - begin_s
            done += 1
            if iteration > average_from:
                averaged += 1
                mean_phi = phi if mean_phi is None else mean_phi + (phi - mean_phi) / averaged
            try:
                if callbacks:
                    info = Info(iteration, value, norm, bad, now_s - begin_s)
                    for callback in callbacks:
                        callback(phi, info)
            except StopIteration as stop:
                words = str(stop) or f"stopped by a callback at iteration {iteration}"
            if in_a_row >= bad_limit:
                status = "diverged"
                words = (
                    f"the last {in_a_row} of {iteration} steps had no finite log density and "
                    "gradient; try a smaller learning rate or another start"
                )
            elif now_s > clock.limit_s:
                status = "timed_out"
                words = f"stopped after the time limit of {clock.limit_s:g} s, at step {iteration}"
    reached = State(iteration, phi, memory, rng.bit_generator.state, averaged, mean_phi)
    return Fit(pieces, reached, status, words, elbo[:done], norms[:done], seconds[:done], bad_steps)


def _generator(state: Mapping[str, Any]) -> np.random.Generator:
    """Return a generator that goes on from a state."""
    bits = getattr(np.random, state["bit_generator"])()
    bits.state = state
    return np.random.Generator(bits)
