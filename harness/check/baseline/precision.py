"""How precise the error of a summary is itself, and the margin that it allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from harness.metrics.sample import QUANTILES, Sample
from harness.records import Estimate

if TYPE_CHECKING:
    from harness.check.baseline.form import Figure, Kind

_SURE = 0.9999
"""The chance that two runs of the same thing are found to be the same."""

HEAVY = 0.12
"""If the shape of the tails, less half its standard error, is larger, an sd has no error worth
stating. At 1/4 the variance of the squares is infinite; Student's t with three degrees of freedom
has 1/3, which 4000 draws show in all but a few cases in a hundred."""

FEWEST_FAR = 10
"""With fewer draws far out, the shape of the tails is unknown."""


def room(freedom: float) -> float:
    """Return how many of its own errors a figure's margin must be.

    Two runs of the same thing, each with this error, are then found to be the same in 9999 of
    10 000 cases: the margin covers the difference's likely size and half of its 95% interval.
    """
    return math.sqrt(2) * float(stdtrit(freedom, _SURE) + stdtrit(freedom, 0.975))


def freedom(kind: Kind, ess: float) -> float:
    """Return the degrees of freedom of a standard error that comes from draws.

    An effective size is itself an estimate: by Geyer's sequences with a window of five
    autocorrelation times its relative variance is about 20 / ess, that of a variance with
    ess / 10 degrees of freedom.
    """
    return max(ess / 10 if kind == "chains" else ess - 1, 1.0)


def freedoms_of(sample: Sample, figures: Mapping[str, Figure]) -> Mapping[str, float]:
    """Return the precision of each summary's error, as degrees of freedom.

    An error from the mean of n squares has 2 n over their squared relative spread: few if a
    handful of draws from a heavy tail make up most of it, and none if other runs may have still
    heavier ones. An error of a quantile comes from the density there, and that from the draws
    nearby.
    """
    sd = figures["sd"]
    if not (sample.finite and sd.value > 0 and sd.mcse > 0):
        return {}
    with np.errstate(over="ignore", invalid="ignore"):
        squares = ((sample.values - sample.mean) / sd.value) ** 2
        squares = (squares - squares.mean()) ** 2
        relative = float(np.var(squares) / np.mean(squares) ** 2)
    found = {"mean": 0.5 * (sd.value / sd.mcse) ** 2, "sd": 2 * sd.ess / relative}
    for what, p in QUANTILES.items():
        ess = figures[what].ess
        found[what] = ess * max(0.3 * min(p, 1 - p), 2 * math.sqrt(p * (1 - p) / ess))
    kind: Kind = "independent" if sample.iid else "chains"
    found = {
        what: max(min(own, freedom(kind, figures[what].ess)), 1.0) for what, own in found.items()
    }
    shape = tail_shape(sample)
    return found if shape.value - shape.mcse / 2 < HEAVY else found | {"sd": 0.0}


def tail_shape(sample: Sample) -> Estimate:
    """Return the shape of the generalised Pareto distribution of both tails together.

    Zero for exponential tails, less for lighter ones, 1 / 3 for Student's t with three degrees
    of freedom. By the probability-weighted moments of the tenth of draws farthest from the
    median (Hosking and Wallis 1987, *Parameter and quantile estimation for the generalized
    Pareto distribution*); the error is that for exponential tails and independent draws.
    Infinite if fewer than ten draws lie there, and minus infinity if a tenth of the draws have
    the largest value.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        far = np.sort(np.abs(sample.sorted - sample.quantiles["q50"]))
        size = far.size // 10
        threshold = far[-size - 1] if size else math.inf
        # If a quantity takes few values, many draws may lie at the threshold itself.
        excess = far[far > threshold]
        if excess.size < FEWEST_FAR:
            same = excess.size == 0 and size >= FEWEST_FAR
            return Estimate(-math.inf if same else math.inf, 0.0)
        excess = (excess - threshold) / far[-1]
        above = 1 - (np.arange(1, excess.size + 1) - 0.35) / excess.size
        mean = float(np.mean(excess))
        slope = mean - 2 * float(np.mean(above * excess))
    return Estimate(-math.inf if slope <= 0 else 2 - mean / slope, math.sqrt(4 / 3 / excess.size))
