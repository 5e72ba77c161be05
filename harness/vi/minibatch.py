"""Mean-field ADVI on batches of rows.

The *approach* is plain stochastic ADVI: Adam on the reparameterised gradient of one batch after
the other. It ends some posterior sds away, because a batch of B of n rows shifts the gradient's
zero by about √(n/B) of them. The *refinement* removes that noise with a control variate (SVRG;
Johnson and Zhang 2013): with an anchor z₀ and the gradients g_B of a batch and g of all rows,
g_B(z) − g_B(z₀) + g(z₀) is unbiased, and only the batch's curvature adds noise. Means move in
units of q's sds, so that one rate fits any scale.

Each stage of the refinement is twice as long as the one before and has a new anchor, until the
averages of two stages agree in the means *and* in the sds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.records import FloatArray, Status, Trace
from harness.records.text import number, setting
from harness.vi import loop
from harness.vi.families import Family, MeanField
from harness.vi.optimisers import Adam, Optimiser
from harness.vi.subsampling import Subsampled
from harness.vi.target import Clock, Target

_ARRIVED = 0.5
"""The approach ends when no mean's gradients have a mean sign above this over a window: single
batches can then hardly improve it. By chance the mean sign is 0.1 in a window of 80 steps, and
0.4 in the worst of 100 means. Signs, because the gradients' sizes fall by orders of magnitude."""

_FASTER = 1.5  # factor of the rate from one window to the next, so that any distance can be covered

_APPROACH_MEMORY = 0.95
"""Adam's beta2 in the approach. With 0.999 the first gradients, orders of magnitude larger than
the last ones, would slow it down for thousands of steps."""

_REFINE_MEMORY = 0.99

_STRETCH = 1.4
"""The cosine of a stage's rate ends at 1/1.4 of its length, at a fifth of the first rate. With
lower rates the averaged iterates would be too correlated."""

_RECORDED = 1000  # the largest number of points of the trace


@dataclass(frozen=True, slots=True)
class Settings:
    """How the fit is made; only the first rate is in units of the parameters."""

    approach_rate: float = 0.1  # Adam's rate at the start, on the unconstrained scale
    # Steps of a window, rounded up to whole epochs, and the largest number of windows in the
    # approach. Each window's rate is half as large again as the one before.
    window_steps: int = 80
    windows: int = 40
    landing_steps: int = 240  # steps, rounded up to whole epochs, in which the rate then falls to 0
    # Pairs of base draws, steps of the first stage (rounded up to whole epochs), and Adam's rate at
    # its start, in sds of q and in log sd.
    refine_pairs: int = 2
    refine_steps: int = 150
    refine_rate: float = 0.1
    # Two stages agree if no mean differs by more than the first, in sds of q, and no log sd by more
    # than the second.
    tolerance_mean: float = 0.02
    tolerance_log_sd: float = 0.04
    stages: int = 7  # the most there may be


@dataclass(frozen=True, slots=True, eq=False)
class MinibatchFit:
    """The result."""

    phi: FloatArray | None  # [mu, log sigma]; None if there is nothing to keep
    status: Status
    message: str
    trace: Trace  # unbiased estimates of the ELBO, nats, averaged over stretches of steps
    diagnostics: Mapping[str, float]


@dataclass(slots=True, eq=False)
class Paired:
    """The path gradient from pairs of base draws ±eps, with or without an anchor.

    At z = mu + sigma eps the gradient of log p − log q along the path is unbiased, and without
    noise where q is p (Roeder, Wu and Duvenaud 2017). Where log p is quadratic, a pair removes
    the noise of eps from the means' gradient and the batch's slope from that of the scales.
    """

    pairs: int = 1
    anchor: tuple[FloatArray, float, FloatArray] | None = None  # point, value, gradient
    signs: FloatArray | float = 0.0  # the sum of the signs of the means' gradients so far
    steps: int = 0

    def __call__(
        self, family: Family, phi: FloatArray, target: Target, rng: np.random.Generator
    ) -> tuple[float, FloatArray]:
        """Return an estimate of the ELBO, nats, and its gradient, shape ``(size,)``."""
        d = family.dimension
        half = rng.standard_normal((self.pairs, d))
        eps = np.concatenate([half, -half])
        z = family.transform(phi, eps)
        log_q = family.log_density(phi, z)
        if self.anchor is None:
            value, slope = target.log_density_gradient(z)
        else:
            point, whole_value, whole_slope = self.anchor
            value, slope = target.log_density_gradient(np.concatenate([z, point[None]]))
            value = value[:-1] - value[-1] + whole_value
            slope = slope[:-1] - slope[-1] + whole_slope
        gradient = family.path(phi, eps, slope - family.slope(phi, eps))
        self.signs = self.signs + np.sign(gradient[:d])
        self.steps += 1
        return float(np.mean(value - log_q)), gradient

    @property
    def persistence(self) -> float:
        """The largest absolute mean sign of a mean's gradients: 1 if it always moved one way."""
        return float(np.max(np.abs(self.signs))) / self.steps


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """An optimiser in other units: parameters divided by ``unit``."""

    optimiser: Optimiser
    unit: FloatArray

    def init(self, size: int) -> Any:
        """See :meth:`harness.vi.optimisers.Optimiser.init`."""
        return self.optimiser.init(size)

    def step(self, state: Any, gradient: FloatArray) -> tuple[Any, FloatArray]:
        """See :meth:`harness.vi.optimisers.Optimiser.step`."""
        state, update = self.optimiser.step(state, self.unit * gradient)
        return state, self.unit * update


class _EndedError(RuntimeError):
    """A part of the fit ended badly."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True, eq=False)
class _Run:
    """One fit in progress."""

    target: Subsampled
    rng: np.random.Generator
    clock: Clock
    settings: Settings
    begin_s: float
    parts: list[tuple[float, loop.Fit]] = field(default_factory=list)
    """The loop's results, each with its first second."""

    @property
    def steps(self) -> int:
        return sum(len(part.elbo) for _, part in self.parts)

    def climb(
        self, phi: FloatArray, optimiser: Optimiser, objective: Paired, steps: int, memory: Any
    ) -> loop.Fit:
        """Take the steps; the result's phi is the average of the last half, in whole epochs."""
        shards = self.target.shards
        begin = self.clock.elapsed_s - self.begin_s
        state = loop.start(optimiser, phi, self.rng.spawn(1)[0])
        if memory is not None:
            state = replace(state, optimiser=memory)
        part = loop.fit(
            self.target, MeanField(self.target.dimension), optimiser, state, steps,
            objective=objective, clock=self.clock,
            average_from=steps - max(1, steps // shards // 2) * shards,
        )  # fmt: skip
        self.parts.append((begin, part))
        if part.status != "ok":
            raise _EndedError(part.status, part.words)
        return part

    def whole_epochs(self, steps: int) -> int:
        """Round a number of steps up."""
        return -(-steps // self.target.shards) * self.target.shards

    def trace(self) -> Trace:
        """Return the path in at most :data:`_RECORDED` stretches."""
        empty: FloatArray = np.empty(0)
        values = np.concatenate([empty, *(part.elbo for _, part in self.parts)])
        elapsed = np.concatenate([empty, *(begin + part.elapsed_s for begin, part in self.parts)])
        return loop.in_stretches(values, elapsed, max(1, -(-len(values) // _RECORDED)))


def fit(
    target: Subsampled,
    phi: FloatArray,
    rng: np.random.Generator,
    clock: Clock,
    settings: Settings | None = None,
) -> MinibatchFit:
    """Maximise the ELBO of a mean-field Gaussian over batches of rows, from ``[mu, log sigma]``.

    The target's rows passed :meth:`~harness.vi.subsampling.Subsampled.check`; it sees all rows
    afterwards. The status is ``not_converged`` if the last two stages differ by more than the
    tolerances; ``diverged`` without finite gradients, and ``timed_out``, both without ``phi``.
    """
    run = _Run(target, rng, clock, settings or Settings(), clock.elapsed_s)
    settings = run.settings
    status: Status = "not_converged"
    # The largest change of a mean, in sds, and of a log sd.
    message, stages, moved = "", 0, (math.nan, math.nan)
    found: FloatArray | None = None
    try:
        found = _approach(run, phi)
        while status != "ok" and stages < settings.stages:
            now = _refine(run, found, settings.refine_steps << stages)
            d, change = target.dimension, np.abs(now - found)
            moved = float(np.max(change[:d] * np.exp(-now[d:]))), float(np.max(change[d:]))
            found = now
            stages += 1
            agree = moved[0] <= settings.tolerance_mean and moved[1] <= settings.tolerance_log_sd
            # The first stage has no other stage to agree with.
            if stages > 1 and agree:
                status = "ok"
        if status != "ok":
            message = (
                f"after {run.steps} steps the last two stages differ by {number(moved[0])} sds in "
                f"a mean and {number(moved[1])} in a log sd; allowed: "
                f"{setting(settings.tolerance_mean)} and {setting(settings.tolerance_log_sd)}; try "
                "larger batches or more stages"
            )
    except _EndedError as ended:
        found, status, message = None, ended.status, str(ended)
    target.see_all()
    diagnostics = {
        "iterations": float(run.steps),
        "epochs": run.steps / target.shards,
        "batch_rows": float(target.batch),
        "stages": float(stages),
        "mean_change": moved[0],
        "log_sd_change": moved[1],
        "skipped_steps": float(sum(part.bad_steps for _, part in run.parts)),
        "seconds_fit": clock.elapsed_s - run.begin_s,
    }
    return MinibatchFit(found, status, message, run.trace(), diagnostics)


def elbo(
    target: Target, phi: FloatArray, pairs: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the ELBO and its standard error, nats, from pairs of base draws ±eps.

    The mean of log p − log q, both at the draw, hardly varies where q is close to p.
    """
    family = MeanField(target.dimension)
    eps = rng.standard_normal((pairs, target.dimension))
    z = family.transform(phi, np.concatenate([eps, -eps]))
    ratio = (target.log_density(z) - family.log_density(phi, z)).reshape(2, pairs).mean(axis=0)
    return float(ratio.mean()), float(ratio.std(ddof=1) / math.sqrt(pairs))


def _approach(run: _Run, phi: FloatArray) -> FloatArray:
    """Run plain stochastic ADVI until it no longer travels, then let the rate fall to 0."""
    settings = run.settings
    steps, rate, memory = run.whole_epochs(settings.window_steps), settings.approach_rate, None
    for _ in range(settings.windows):
        objective = Paired()
        adam = Adam(rate, beta2=_APPROACH_MEMORY)
        part = run.climb(phi, adam, objective, steps, memory)
        phi, memory = part.state.phi, part.state.optimiser
        if objective.persistence < _ARRIVED:
            break
        rate *= _FASTER
    steps = run.whole_epochs(settings.landing_steps)
    adam = Adam(rate, beta2=_APPROACH_MEMORY, decay_steps=steps)
    return run.climb(phi, adam, Paired(), steps, None).phi


def _refine(run: _Run, phi: FloatArray, steps: int) -> FloatArray:
    """Run one stage with the control variate; return the average over its last half."""
    settings, d = run.settings, run.target.dimension
    point = phi[:d]
    run.target.see_all()
    value, slope = run.target.log_density_gradient(point[None])
    if not (np.isfinite(value).all() and np.isfinite(slope).all()):
        raise _EndedError("diverged", f"no finite gradient of all rows after {run.steps} steps")
    steps = run.whole_epochs(steps)
    adam = Adam(settings.refine_rate, beta2=_REFINE_MEMORY, decay_steps=math.ceil(_STRETCH * steps))
    unit = np.concatenate([np.exp(phi[d:]), np.ones(d)])
    objective = Paired(settings.refine_pairs, (point, float(value[0]), slope[0]))
    return run.climb(phi, Scaled(adam, unit), objective, steps, None).phi
