"""The loop of stochastic variational inference.

Family, objective, optimiser and target are separate pieces; subsampling wraps the target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from harness.records import FloatArray, Status, Trace
from harness.records.text import seconds
from harness.vi.families import Family
from harness.vi.optimisers import Optimiser
from harness.vi.target import Clock, Target

BAD_LIMIT = 100
"""Consecutive steps without a finite value and gradient that end a run.

A single draw from a wide q may leave the support or overflow. A hundred in a row mean that the
density cannot be evaluated around q, and no step will change that.
"""


class Objective(Protocol):
    """An estimate of the ELBO and of its gradient at ``phi``."""

    def __call__(
        self, family: Family, phi: FloatArray, target: Target, rng: np.random.Generator
    ) -> tuple[float, FloatArray]:
        """Return the ELBO, nats, and its gradient, shape ``(family.size,)``."""


class Callback(Protocol):
    """Called after each step. StopIteration ends the run, with its text as the reason."""

    def __call__(self, phi: FloatArray, info: Info) -> None:
        """Look at the parameters after the step and at how the step went."""


class Info(NamedTuple):
    """How one step went; the ELBO and the gradient belong to the parameters before it."""

    iteration: int  # from 1
    elbo: float  # the step's own noisy estimate, nats
    gradient_norm: float
    bad: bool  # whether one of them was not finite and the parameters stayed
    elapsed_s: float  # since the start of the run


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What the next step needs, as plain data."""

    iteration: int  # steps taken, including bad ones
    phi: FloatArray  # variational parameters, shape (size,)
    optimiser: Any
    rng: Mapping[str, Any]  # state of the random number generator's bit_generator
    averaged: int = 0  # the number of averaged iterates; see average_from of fit
    mean_phi: FloatArray | None = None  # their mean


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """The pieces of a run, kept for :func:`refine`."""

    target: Target
    family: Family
    optimiser: Optimiser
    objective: Objective
    callbacks: tuple[Callback, ...] = ()
    average_from: int | None = None
    bad_limit: int = BAD_LIMIT


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The result of a run, complete however it ended."""

    setup: Setup
    state: State  # the state after the last step
    status: Status  # ok; diverged after bad_limit bad steps in a row; timed_out
    words: str  # why the run ended early; empty if it did not
    # For every iteration, shape (state.iteration,): see Info.
    elbo: FloatArray
    gradient_norm: FloatArray
    elapsed_s: FloatArray
    bad_steps: int  # the number of skipped steps

    @property
    def phi(self) -> FloatArray:
        """The mean of the averaged iterates if there are any, else the last iterate."""
        mean = self.state.mean_phi
        return self.state.phi if mean is None else mean


@dataclass(frozen=True, slots=True)
class Reparameterised:
    """The reparameterised gradient from ``draws`` draws of q.

    ELBO = E log p(z) + H(q), with the entropy in closed form (Kucukelbir et al. 2017, eq. 7 to
    9). With ``sticking``, ELBO and gradient are those of log p − log q along the path (Roeder, Wu
    and Duvenaud 2017): also unbiased, and without variance where q is the posterior.
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
    """Return the state before the first step; ``phi`` and the state of ``rng`` are copied.

    Pass a generator that nothing else uses (``rng.spawn(1)[0]``), or numbers are used twice.
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
    objective, draws
        The objective; by default :class:`Reparameterised` with this number of draws.
    clock
        A run that is over its limit after a step ends with the status ``timed_out``.
    average_from
        Average the iterates after this iteration (Polyak and Juditsky 1992): ``n // 2`` for the
        last half.
    bad_limit
        A step whose value or gradient is not finite is skipped; this number in a row ends the run
        with the status ``diverged``.
    """
    setup = Setup(
        target, family, optimiser, objective or Reparameterised(draws), tuple(callbacks),
        average_from, bad_limit,
    )  # fmt: skip
    return _run(setup, state, n, clock or Clock(), 0.0)


def refine(found: Fit, n: int, *, clock: Clock | None = None) -> Fit:
    """Continue a run by up to ``n`` steps; bit for bit the same as one longer run.

    Callbacks keep their memory. A run that a callback stopped continues too. The result has the
    iterations of both, and ``elapsed_s`` leaves out the pause between them.
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


def in_stretches(
    elbo: FloatArray,
    elapsed_s: FloatArray,
    every: int,
    extras: Mapping[str, FloatArray] | None = None,
) -> Trace:
    """Return ELBO estimates and times of every iteration, in stretches of ``every`` iterations.

    ``elbo`` is the mean of a stretch's finite estimates, NaN if there are none; ``iteration`` and
    ``elapsed_s`` belong to its last iteration. The last stretch may be shorter. ``extras`` have
    shape ``(stretch,)``.
    """
    n = len(elbo)
    if n == 0:
        return Trace(elbo, elbo, elbo, dict(extras or {}))
    begins = np.arange(0, n, every)
    ends = np.minimum(begins + every, n)
    finite = np.isfinite(elbo)
    total = np.add.reduceat(np.where(finite, elbo, 0.0), begins)
    count = np.add.reduceat(finite.astype(np.float64), begins)
    means = np.divide(total, count, out=np.full(len(begins), np.nan), where=count > 0)
    return Trace(ends.astype(np.float64), elapsed_s[ends - 1], means, dict(extras or {}))


def _run(setup: Setup, state: State, n: int, clock: Clock, before_s: float) -> Fit:
    """Take up to ``n`` steps, with as little Python per step as possible."""
    family, target, objective = setup.family, setup.target, setup.objective
    optimiser, callbacks, bad_limit = setup.optimiser, setup.callbacks, setup.bad_limit
    advance = getattr(target, "advance", None)
    bits = getattr(np.random, state.rng["bit_generator"])()
    bits.state = state.rng
    rng = np.random.Generator(bits)
    iteration, phi, memory = state.iteration, state.phi, state.optimiser
    averaged, mean_phi = state.averaged, state.mean_phi
    average_from = math.inf if setup.average_from is None else setup.average_from
    begin_s = clock.elapsed_s - before_s
    elbo, norms, elapsed = np.full((3, n), np.nan)
    status: Status = "ok"
    words = ""
    done = bad_steps = in_a_row = 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        while done < n and not words:
            if advance is not None:
                advance(rng)
            value, gradient = objective(family, phi, target, rng)
            # one number tests all entries and is the norm; an overflow of the square is bad too
            norm = math.sqrt(gradient.dot(gradient))
            bad = not (math.isfinite(value) and math.isfinite(norm))
            bad_steps += bad
            in_a_row = in_a_row + 1 if bad else 0
            if not bad:
                memory, update = optimiser.step(memory, gradient)
                phi = phi + update
            iteration += 1
            now_s = clock.elapsed_s
            elbo[done], norms[done], elapsed[done] = value, norm, now_s - begin_s
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
                limit = seconds(clock.limit_s)
                words = f"stopped after the time limit of {limit}, at step {iteration}"
    reached = State(iteration, phi, memory, rng.bit_generator.state, averaged, mean_phi)
    path = elbo[:done], norms[:done], elapsed[:done]
    return Fit(setup, reached, status, words, *path, bad_steps)
