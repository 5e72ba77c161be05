"""Whether a Gaussian is at an optimum of its ELBO, whatever the optimiser's own steps suggest.

A rate that falls to zero stops every optimiser, even far from the optimum. At the optimum the
ELBO's gradient is zero: with ``z = μ + L ε`` it consists of ``E[Lᵀ ∇log p]`` and
``E[ε_i (Lᵀ ∇log p)_i] + 1``. In these units the curvature there is about 1 and 2, so the gradient
approximates the remaining distance, in sds of q and in logs of its scales.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness.records import FloatArray
from harness.records.text import number
from harness.vi.gaussian import pulled_back, scaled
from harness.vi.target import Target

PAIRS = 200  # antithetic pairs of draws in a check

LIMIT = 0.1
"""The largest distance, beyond four standard errors, at an optimum: a larger bias is not close."""

ERRORS = 4.0


class Restlessness(NamedTuple):
    """The largest remaining distance, in sds or log scales, less four of its standard errors."""

    way: float
    words: str  # what is wrong; empty at an optimum


def restlessness(
    target: Target, mean: FloatArray, factor: FloatArray, rng: np.random.Generator
) -> Restlessness:
    """Return how far a q with this mean and factor L is from the optimum of its ELBO."""
    eps = rng.standard_normal((PAIRS, len(mean)))
    step = scaled(eps, factor)
    up, down = (
        pulled_back(target.log_density_gradient(z)[1], factor) for z in (mean + step, mean - step)
    )
    with np.errstate(invalid="ignore", over="ignore"):
        shift = (up + down) / 2
        scale = (eps * (up - down) / 2 + 1) / 2
    if not (np.isfinite(shift).all() and np.isfinite(scale).all()):
        return Restlessness(float("inf"), "the log density of draws of q has no finite gradient")
    ways = []
    for what in (shift, scale):
        error = np.std(what, axis=0, ddof=1) / np.sqrt(PAIRS)
        ways.append(float(np.max(np.abs(what.mean(axis=0)) - ERRORS * error)))
    worst = max(ways)
    if worst <= LIMIT:
        return Restlessness(worst, "")
    where = "sds of q" if ways[0] >= ways[1] else "in the log of a scale"
    return Restlessness(
        worst,
        f"the ELBO's gradient shows that q is at least {number(worst)} {where} from the optimum",
    )
