"""Stein variational gradient descent: particles that a kernel keeps apart.

Liu & Wang, *Stein Variational Gradient Descent* (NeurIPS 2016), algorithm 1. Particles
z₁ … zₙ move along

    φ(zᵢ) = (1/n) Σⱼ [ k(zⱼ, zᵢ) ∇log p(zⱼ) + ∇ⱼ k(zⱼ, zᵢ) ],    k(y, z) = exp(−‖y − z‖²/h),

the direction that lowers KL(q‖p) fastest in the kernel's function space: the first term pulls
them uphill, the second pushes neighbours apart. h = median ‖zᵢ − zⱼ‖² / ln n, so that the
kernel's weights of one particle sum to about one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.stein import Kernel, bandwidth, stein_error
from harness.vi.target import Clock, Fitted, Target, finite_rows

if TYPE_CHECKING:
    from harness.records import FloatArray, Status

_SUBSET = 300
"""Particles among which the median distance is taken: 44 850 pairs; its error is about 1%."""

_STARTS = 20
"""How often particles are drawn anew where the density cannot be evaluated at the start."""

_MOMENTUM, _MEMORY, _TINY = 0.5, 0.9, 1e-12
"""Adam's decay of the mean and of the square, and what keeps it from dividing by zero.

With the usual 0.9 whole clouds overshoot on the way in: on the lecture's mixture the left mode's
mass is then .13 to .60, by step size and seed. With 0.5 it is .40 to .57 over 24 seeds, near
the .51 to .57 that start there: SVGD settles each mode and hardly moves mass between them.
The square is remembered for ten steps, not a thousand: gradients of the start are often huge,
and on ``beta_unit`` particles were still on their way after 300 iterations.
"""

_LARGEST = 1e100
"""A gradient beyond counts as none."""

STEIN_LIMIT = 0.1
"""Largest :func:`~harness.vi.stein.stein_error` of a cloud that arrived."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How particles are moved.

    Attributes
    ----------
    particles
        How many; the work of an iteration grows with the square.
    iterations
        How many steps are made, all of them: the step size falls over their whole length.
    step
        Adam's step size at the start, in units of z; it falls to zero as half a cosine.
    jitter
        Particles start as N(0, jitter) on the unconstrained scale, in every coordinate.
    bandwidth_every
        Iterations between two looks at the median distance.
    """

    particles: int = 1000
    iterations: int = 300
    step: float = 0.2
    jitter: float = 1.0
    bandwidth_every: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        ValueError
            With the name of the setting, what it is and what is allowed.
        """
        least = {"particles": 2, "iterations": 1, "bandwidth_every": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                msg = f"{name} is {getattr(self, name)}; allowed: at least {low}"
                raise ValueError(msg)
        for name in ("step", "jitter"):
            if not 0 < getattr(self, name) < np.inf:
                msg = f"{name} is {getattr(self, name)}; allowed: positive"
                raise ValueError(msg)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What the next step needs: particles ``(particle, dimension)`` and Adam's two moments."""

    z: FloatArray
    mean: FloatArray
    square: FloatArray
    iteration: int = 0


@dataclass(frozen=True, slots=True)
class Info:
    """What is only looked at: the root mean square of φ, particles without a gradient, h."""

    step: float
    bad: int
    bandwidth: float


def start(target: Target, settings: Settings, rng: np.random.Generator) -> State:
    """Return particles at N(0, jitter); those without a finite density are drawn again."""
    z = settings.jitter * rng.standard_normal((settings.particles, target.dimension))
    for _ in range(_STARTS):
        again = np.flatnonzero(~np.isfinite(target.log_density(z)))
        if not again.size:
            break
        z[again] = settings.jitter * rng.standard_normal((again.size, target.dimension))
    return State(z, np.zeros_like(z), np.zeros_like(z))


def step(
    target: Target, state: State, settings: Settings, kernel: Kernel, h: float
) -> tuple[State, Info]:
    """Move every particle once, along Adam's average of φ.

    A particle whose density or gradient is not finite stays where it is for this iteration and
    pushes and pulls no other one.
    """
    value, gradient = target.log_density_gradient(state.z)
    # Where squares overflow, averages would be lost for good.
    good = finite_rows(value, gradient) & (np.abs(gradient).max(axis=1) < _LARGEST)
    bad = int(len(good) - np.count_nonzero(good))
    if bad == len(good):
        return state, Info(float("nan"), bad, h)
    phi = np.zeros_like(state.z)
    if bad:
        phi[good] = kernel.direction(state.z[good], gradient[good], h)
    else:
        phi = kernel.direction(state.z, gradient, h)
    done = state.iteration + 1
    mean = _MOMENTUM * state.mean + (1 - _MOMENTUM) * phi
    square = _MEMORY * state.square + (1 - _MEMORY) * np.square(phi)
    rate = settings.step * 0.5 * (1 + np.cos(np.pi * state.iteration / settings.iterations))
    move = mean / (1 - _MOMENTUM**done)
    move /= np.sqrt(square / (1 - _MEMORY**done)) + _TINY
    if bad:
        move[~good] = 0
    info = Info(float(np.sqrt(np.mean(np.square(phi[good])))), bad, h)
    return State(state.z + rate * move, mean, square, done), info


def svgd(target: Target, settings: Settings, rng: np.random.Generator, clock: Clock) -> Fitted:
    """Move particles until the iterations are over.

    Returns
    -------
    Fitted
        ``z`` are the particles. There is no ``log_q`` and no ELBO, so no trace. Diagnostics:
        ``stein_error`` (of :mod:`harness.vi.stein`), ``step`` (the last root mean square of φ),
        ``bandwidth`` (h), ``iterations`` and ``bad_steps``, the moves that were left out because
        a particle had no gradient. Status ``not_converged`` if Stein's identity is violated, time
        is over, or a particle sits where the density cannot be evaluated; ``failed``, without
        ``z``, if none can be moved.
    """
    state = start(target, settings, rng)
    kernel = Kernel(settings.particles, target.dimension)
    # One subset for the whole run: h then moves as smoothly as the particles do.
    subset = rng.permutation(settings.particles)[:_SUBSET]
    info = Info(float("nan"), 0, 1.0)
    bad_steps = 0
    while state.iteration < settings.iterations and not clock.over:
        h = info.bandwidth
        if state.iteration % settings.bandwidth_every == 0:
            h = bandwidth(state.z[subset], settings.particles)
        state, info = step(target, state, settings, kernel, h)
        bad_steps += info.bad
        if info.bad == settings.particles:
            break
    value, gradient = target.log_density_gradient(state.z)
    good = finite_rows(value, gradient)
    error = stein_error(state.z[good], gradient[good]) if good.any() else float("nan")
    diagnostics = {
        "iterations": float(state.iteration),
        "stein_error": error,
        "step": info.step,
        "bandwidth": info.bandwidth,
        "bad_steps": float(bad_steps),
    }
    if not good.any() or info.bad == settings.particles:
        why = (
            f"no particle has a finite density and gradient after {state.iteration} iterations; "
            f"they started as N(0, {settings.jitter:g}) on the unconstrained scale: "
            "try another jitter"
        )
        return Fitted(None, status="failed", message=why, diagnostics=diagnostics)
    if state.iteration < settings.iterations:
        # What a busy machine cut short is not to be found again under the same key.
        why = f"out of time after {state.iteration} of {settings.iterations} iterations"
        return Fitted(None, status="timed_out", message=why, diagnostics=diagnostics)
    why = _complaint(state, int(len(good) - np.count_nonzero(good)), error, settings)
    status: Status = "not_converged" if why else "ok"
    return Fitted(state.z, status=status, message=why, diagnostics=diagnostics)


def _complaint(state: State, bad: int, error: float, settings: Settings) -> str:
    """Return what is wrong with the particles at the end, or nothing."""
    if bad:
        return f"{bad} of {settings.particles} particles have no finite density or gradient"
    if not error <= STEIN_LIMIT:
        return (
            f"after {state.iteration} iterations the particles violate Stein's identity by "
            f"{error:.2g}, allowed {STEIN_LIMIT:g}: they have not arrived, or are too few for "
            f"{state.z.shape[1]} dimensions; try more iterations or particles"
        )
    return ""


def deliver(z: FloatArray, draws: int, rng: np.random.Generator) -> FloatArray:
    """Return the particles, or a random subset if fewer draws are wanted; none twice.

    More draws than particles there are not: copies would look like more than is known.
    """
    if draws >= len(z):
        return z
    return np.asarray(z[rng.permutation(len(z))[:draws]])
