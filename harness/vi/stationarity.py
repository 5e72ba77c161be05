"""Whether a Gaussian is at the top of its ELBO, whatever the optimiser's own steps say.

A rate that falls to zero brings every optimiser to rest, also far from the top. At the top the
ELBO's gradient is zero: with ``z = μ + L ε``, ``E[L' ∇log p]`` and ``E[ε_i (L' ∇log p)_i] + 1``. In
these units its curvature there is about 1 and 2, so the gradient is about the way that is left, in
sds of q and in ln of its scales.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from harness.records import FloatArray
    from harness.vi.target import Target

PAIRS = 200
"""Antithetic pairs of draws that a check takes."""

LIMIT = 0.1
"""The way left, beyond four standard errors, that is no rest: a bias of that size is not close."""

ERRORS = 4.0


class Restlessness(NamedTuple):
    """The largest way left, in sds or ln of a scale, less four of its standard errors."""

    way: float
    words: str
    """What is wrong; empty at rest."""


def restlessness(
    target: Target, mean: FloatArray, factor: FloatArray, rng: np.random.Generator
) -> Restlessness:
    """Return how far q is from the top of its ELBO.

    Parameters
    ----------
    mean, factor
        Of q, shape ``(d,)`` and ``(d, d)``, or ``(d,)`` for sds.
    """
    eps = rng.standard_normal((PAIRS, len(mean)))
    slopes = []
    for sign in (1.0, -1.0):
        step = eps * factor if factor.ndim == 1 else eps @ factor.T
        _, slope = target.log_density_gradient(mean + sign * step)
        slopes.append(slope * factor if factor.ndim == 1 else slope @ factor)
    with np.errstate(invalid="ignore", over="ignore"):
        shift = (slopes[0] + slopes[1]) / 2
        scale = (eps * (slopes[0] - slopes[1]) / 2 + 1) / 2
    if not (np.isfinite(shift).all() and np.isfinite(scale).all()):
        return Restlessness(float("inf"), "the log density of draws of q has no finite gradient")
    ways = []
    for what in (shift, scale):
        error = np.std(what, axis=0, ddof=1) / np.sqrt(PAIRS)
        ways.append(float(np.max(np.abs(what.mean(axis=0)) - ERRORS * error)))
    worst = max(ways)
    if worst <= LIMIT:
        return Restlessness(worst, "")
    unit = "sds of q" if ways[0] >= ways[1] else "in ln of a scale"
    return Restlessness(
        worst, f"the ELBO's gradient says that q is {worst:.2g} {unit} or more from its top"
    )
