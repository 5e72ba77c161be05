"""What proves a reference wrong: a mode without its draws, or an ELBO above its log evidence."""

from __future__ import annotations

import numpy as np

from harness.methods.bridged import BridgeTarget
from harness.records import Draws, FloatArray, Reference, Refuted
from harness.records.names import stan_name
from harness.records.text import seconds
from harness.stan.density import Density
from harness.vi.deterministic import Basin, Objective, Optimum, StartError, fit
from harness.vi.deterministic.basins import modes_of, settle, valley
from harness.vi.target import Clock, TimeLimitError
from harness.why.posterior import Posterior, posterior_of

VISITED = 4.0
"""Sds of a basin's Gaussian within which a draw is in that basin."""

NEAREST = 8
"""Draws from which a basin is climbed to, by either of two distances."""

NAMED = 3
"""Quantities that say where a mode is."""


def missing_mode(
    optimum: Optimum, posterior: Posterior, draws: Draws, bridged: Density, clock: Clock
) -> Refuted | None:
    """Return the largest separate mode of more than 1% of the mass without a reference draw.

    ``draws`` are the reference's, constrained, ``posterior`` has them unconstrained.

    Raises
    ------
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    few = Objective(optimum.objective.target, optimum.objective.eps[:1], clock)
    modes = modes_of(optimum.basins)
    for basin in sorted(modes, key=lambda b: -b.mass):
        if len(modes) > 1 and not visited(few, basin, posterior):
            mean = basin.theta[: len(basin.theta) // 2]
            return Refuted("mode", basin.elbo, basin.mass, _place(bridged, mean, draws))
    return None


def missing_mode_of(
    reference: Reference, bridged: Density, timeout_s: float
) -> tuple[Refuted | None, str]:
    """Find the modes of a program; return one that a reference misses, and why none was sought."""
    target, rng = BridgeTarget(bridged), np.random.default_rng(0)
    posterior, said = posterior_of(reference, bridged)
    if posterior is None or reference.draws is None:
        return None, "; ".join(said)
    clock = Clock(timeout_s)
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            optimum = fit(target, rng, clock, wanted="meanfield")
            return missing_mode(optimum, posterior, reference.draws, bridged, clock), ""
    except (StartError, TimeLimitError) as error:
        return None, not_sought(error, clock)


def not_sought(error: StartError | TimeLimitError, clock: Clock) -> str:
    """Say why the search for modes came to no end."""
    if isinstance(error, TimeLimitError):
        return f"the search took over {seconds(clock.limit_s)}"
    return f"the search found no start: {error}"


def visited(objective: Objective, basin: Basin, posterior: Posterior) -> bool:
    """Return whether a draw lies in a basin: climbing from it leads there without a valley.

    Close draws are in it in any case. Distances in mean-field sds do not tell: in a correlated
    posterior hardly a draw is within a few of them in all coordinates.
    """
    d = objective.dimension
    step, width = posterior.z - basin.theta[:d], np.exp(basin.theta[d:])
    if np.any(np.all(np.abs(step) < VISITED * width, axis=1)):
        return True
    chosen: dict[int, None] = {}
    for unit in (width, posterior.sd):
        square = np.sum((step / unit) ** 2, axis=1)
        chosen |= dict.fromkeys(np.argsort(square, kind="stable")[:NEAREST].tolist())
    for i in chosen:
        start = np.concatenate([posterior.z[i], basin.theta[d:]])
        end = settle(objective, start, basin.metric, [basin], patient=True)
        if end is not None and not valley(objective.target, basin, end):
            return True
    return False


def _place(bridged: Density, z: FloatArray, draws: Draws) -> tuple[tuple[str, float], ...]:
    """Return the parameters in which a point is farthest from draws, and its values."""
    names = [stan_name(n) for n in bridged.constrained_names(transformed=False)]
    values, _ = bridged.constrain(z[None], transformed=False)
    found = []
    for name, value in zip(names, values[0].tolist(), strict=True):
        if name in draws.names:
            sample = draws.quantity(name)
            found.append((abs(value - sample.mean()) / sample.std(), name, value))
    found.sort(key=lambda f: -f[0])
    return tuple((name, value) for _, name, value in found[:NAMED])
