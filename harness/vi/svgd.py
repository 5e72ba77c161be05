"""Stein variational gradient descent: particles that a kernel keeps apart.

Liu & Wang, *Stein Variational Gradient Descent* (NeurIPS 2016), algorithm 1. Particles
z₁ … zₙ move along

    φ(zᵢ) = (1/n) Σⱼ [ k(zⱼ, zᵢ) ∇log p(zⱼ) + ∇ⱼ k(zⱼ, zᵢ) ],    k(y, z) = exp(−‖y − z‖²/h),

the direction that lowers KL(q‖p) fastest in the kernel's function space: the first term pulls
particles uphill, the second pushes neighbours apart. With h = median ‖zᵢ − zⱼ‖² / ln n the
kernel's weights of one particle sum to about one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist

from harness.records import FloatArray, Status
from harness.records.text import number, setting
from harness.vi.target import Clock, Fitted, Target, finite_rows

_SUBSET = 300
"""Particles among which the median distance is taken: 44 850 pairs, an error of about 1%."""

_STARTS = 20  # attempts to draw a particle whose density is finite at the start

_MOMENTUM, _MEMORY, _TINY = 0.5, 0.9, 1e-12
"""Adam's decay of the mean and of the square, and its guard against division by zero.

With the usual momentum of 0.9 whole clouds overshoot at first: on the lecture's mixture the left
mode then gets a mass of .13 to .60, depending on step size and seed. With 0.5 it gets .40 to .57
over 24 seeds, near the .51 to .57 that start there: SVGD settles within each mode and hardly
moves mass between them. The square is remembered for ten steps instead of a thousand: initial
gradients are often huge, and on ``beta_unit`` particles were still moving after 300 iterations.
"""

_LARGEST = 1e100  # larger gradients count as missing, because their squares would overflow

_BLOCK = 128
"""Rows of the kernel at a time: 1 MB with 1000 particles, which fits into the second cache."""

STEIN_LIMIT = 0.1  # the largest stein_error of a cloud that has converged


@dataclass(frozen=True, slots=True)
class Settings:
    """How particles are moved."""

    particles: int = 1000  # the work of an iteration grows with its square
    iterations: int = 300  # no early stop: the step size falls over all of them
    step: float = 0.2  # Adam's step size at the start, in units of z; it falls along half a cosine
    jitter: float = 1.0  # particles start as N(0, jitter) on the unconstrained scale
    bandwidth_every: int = 5  # iterations between two updates of the median distance


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What the next step needs: particles ``(particle, dimension)`` and Adam's two moments."""

    z: FloatArray
    mean: FloatArray
    square: FloatArray
    iteration: int = 0


@dataclass(frozen=True, slots=True)
class Info:
    """How a step went: root mean square of φ, number of particles without a gradient, and h."""

    step: float
    bad: int
    bandwidth: float


def start(target: Target, settings: Settings, rng: np.random.Generator) -> State:
    """Return particles from N(0, jitter); those without a finite density are drawn again."""
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

    A particle whose density or gradient is not finite stays in place for this iteration and does
    not act on the others.
    """
    value, gradient = target.log_density_gradient(state.z)
    good = finite_rows(value, gradient) & (np.abs(gradient).max(axis=1) < _LARGEST)
    bad = int(len(good) - np.count_nonzero(good))
    if bad == len(good):
        return state, Info(float("nan"), bad, h)
    phi = np.zeros_like(state.z)
    phi[good] = kernel.direction(state.z[good], gradient[good], h)
    done = state.iteration + 1
    mean = _MOMENTUM * state.mean + (1 - _MOMENTUM) * phi
    square = _MEMORY * state.square + (1 - _MEMORY) * np.square(phi)
    rate = settings.step * 0.5 * (1 + np.cos(np.pi * state.iteration / settings.iterations))
    move = mean / (1 - _MOMENTUM**done)
    move /= np.sqrt(square / (1 - _MEMORY**done)) + _TINY
    move[~good] = 0
    info = Info(float(np.sqrt(np.mean(np.square(phi[good])))), bad, h)
    return State(state.z + rate * move, mean, square, done), info


def svgd(target: Target, settings: Settings, rng: np.random.Generator, clock: Clock) -> Fitted:
    """Move particles through all iterations.

    ``z`` of the result are the particles; there is no ``log_q``, no ELBO and no trace.
    Diagnostics: ``stein_error`` (see :func:`stein_error`), ``step`` (the last root mean square of
    φ), ``bandwidth`` (h), ``iterations`` and ``bad_steps``, the moves skipped because a particle
    had no gradient. Status ``not_converged`` if Stein's identity is violated or a particle has no
    finite density; ``timed_out`` or, if no particle can be moved, ``failed``, both without ``z``.
    """
    state = start(target, settings, rng)
    kernel = Kernel(settings.particles, target.dimension)
    # One subset for the whole run, so that h changes as smoothly as the particles move.
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
            f"they started as N(0, {setting(settings.jitter)}) on the unconstrained scale: "
            "try another jitter"
        )
        return Fitted(None, status="failed", message=why, diagnostics=diagnostics)
    if state.iteration < settings.iterations:
        # A result that a busy machine cut short must not be stored under the same key.
        why = f"out of time after {state.iteration} of {settings.iterations} iterations"
        return Fitted(None, status="timed_out", message=why, diagnostics=diagnostics)
    why = ""
    if not good.all():
        bad = int(len(good) - np.count_nonzero(good))
        why = f"{bad} of {settings.particles} particles have no finite density or gradient"
    elif not error <= STEIN_LIMIT:
        why = (
            f"after {state.iteration} iterations the particles violate Stein's identity by "
            f"{number(error)}, allowed {setting(STEIN_LIMIT)}: they have not converged, or are too "
            f"few for {state.z.shape[1]} dimensions; try more iterations or particles"
        )
    status: Status = "not_converged" if why else "ok"
    return Fitted(state.z, status=status, message=why, diagnostics=diagnostics)


class Kernel:
    """The sums over the kernel, in buffers that are made once.

    The exponents −‖y − z‖²/h of a block of rows are one matrix product of augmented points,
    [2y/h, 1, −‖y‖²/h]·[z, −‖z‖²/h, 1], and the sums are another. k(y, z) = k(z, y), so only
    blocks on and above the diagonal are computed.
    """

    def __init__(self, particles: int, dimension: int) -> None:
        self._rows = np.empty((particles, dimension + 2))
        self._columns = np.empty((particles, dimension + 2))
        self._weights = np.empty((particles, 2 * dimension + 1))
        self._sums = np.empty((particles, 2 * dimension + 1))
        self._block = np.empty(_BLOCK * particles)

    def direction(self, z: FloatArray, gradient: FloatArray, h: float) -> FloatArray:
        """Return φ at particles of shape ``(particle, dimension)``, the same shape.

        ∇ⱼ k(zⱼ, zᵢ) = (2/h) (zᵢ − zⱼ) k(zⱼ, zᵢ), so φ needs only the kernel's products with
        gradients, particles and ones.
        """
        n, d = z.shape
        # Distances do not change, and rounding loses less near zero.
        centred = z - z.mean(axis=0)
        square = np.einsum("ij,ij->i", centred, centred) / h
        rows, columns = self._rows[:n], self._columns[:n]
        np.multiply(centred, 2 / h, out=rows[:, :d])
        rows[:, d] = 1
        rows[:, d + 1] = columns[:, d] = -square
        columns[:, :d] = centred
        columns[:, d + 1] = 1
        weights, sums = self._weights[:n], self._sums[:n]
        weights[:, :d] = gradient
        weights[:, d : 2 * d] = centred
        weights[:, 2 * d] = 1
        sums[:] = 0
        for begin in range(0, n, _BLOCK):
            end = min(begin + _BLOCK, n)
            k = self._block[: (end - begin) * (n - begin)].reshape(end - begin, n - begin)
            np.matmul(rows[begin:end], columns[begin:].T, out=k)
            np.exp(k, out=k)
            sums[begin:end] += k @ weights[begin:]
            if end < n:
                sums[end:] += k[:, end - begin :].T @ weights[begin:end]
        push = centred * sums[:, 2 * d :] - sums[:, d : 2 * d]
        return np.asarray((sums[:, :d] + (2 / h) * push) / n)


def bandwidth(z: FloatArray, particles: int) -> float:
    """Return h = median ‖zᵢ − zⱼ‖² / ln n, in units of z²; 1 if all particles coincide.

    The median is over all pairs of rows of ``z``, all particles or a subset of them; n is the
    number of all ``particles``.
    """
    median = float(np.median(pdist(z, "sqeuclidean")))
    return float(median / np.log(particles)) if median > 0 else 1.0


def stein_error(z: FloatArray, gradient: FloatArray) -> float:
    """Return how far particles are from Stein's identity, without unit.

    Under p, E[∇ log p] = 0 and E[(z − E z) ∂log p/∂z] = −1 in every coordinate. The error is the
    largest violation of either, the first multiplied by the coordinate's sd. On a normal
    posterior it is δ for a cloud shifted by δ sds, and 2 δ for a cloud whose sd has a relative
    error of δ. It cannot detect wrong masses of separate modes: each fulfils the identity alone.
    """
    centred = z - z.mean(axis=0)
    shift = np.abs(gradient.mean(axis=0)) * z.std(axis=0)
    width = np.abs((gradient * centred).mean(axis=0) + 1)
    return float(max(shift.max(), width.max()))
