"""How far a quantity moved from its own draws: the judge's figures with errors of pairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.metrics.bias import BIAS, MEDIAN, TAIL
from harness.metrics.sample import QUANTILES, Sample
from harness.metrics.width import WIDTH
from harness.records import Estimate

if TYPE_CHECKING:
    from harness.records import FloatArray


def moved(before: FloatArray, after: FloatArray, copies: FloatArray) -> dict[str, Estimate]:
    """Return how far draws differ from where chains took them, by the id of a metric.

    The draws after the move take the place of a reference, and the signs are those of the draws
    before. Both vary together, so that errors are those of each chain's difference of influence
    functions, that of the unit included. Distances are in the unit of the draws after. Where draws
    spread, the posterior may be wider again by as much, so that this unit is multiplied by their
    widening: heavy tails and bent ridges are slow, and draws that start in none of them show no
    memory of it.

    Parameters
    ----------
    before
        Draws at which chains started, shape ``(chain,)``.
    after
        Later draws of the same chains, shape ``(chain, draw)``.
    copies
        How many of the chains started at the same draw, shape ``(chain,)``.

    Returns
    -------
    dict of str to Estimate
        Errors of the mean (of the median where the mean is unknown), of the 5–95% width and of the
        outer quantiles. Empty where the quantity is constant, discrete or not finite.
    """
    own, theirs = Sample(before[None], iid=True), Sample(after.T, iid=True)
    judged = own.finite and theirs.finite and not own.constant
    if not (judged and theirs.kind in {"continuous", "heavy"}):
        return {}
    ends, starts = _influences(theirs, after), _influences(own, before[:, None])
    unit = theirs.unit * max(1.0, theirs.width / own.width)

    def error(influence: FloatArray) -> float:
        influence = influence - influence.mean()
        return math.sqrt(float(copies @ influence**2)) / len(influence)

    widths = [
        (influence["q95"] - influence["q5"]) / sample.width
        for influence, sample in ((starts, own), (ends, theirs))
    ]
    # The unit is a width, and has an error of its own.
    of_unit = widths[1] if theirs.width <= own.width else 2 * widths[1] - widths[0]

    def distance(size: float, influence: FloatArray) -> Estimate:
        return Estimate(size / unit, error(influence - size * of_unit) / unit)

    gaps = {
        name: distance(own.quantiles[name] - theirs.quantiles[name], starts[name] - ends[name])
        for name in QUANTILES
    }
    tail = max((gaps["q5"], gaps["q95"]), key=lambda e: abs(e.value))
    ratio = Estimate(math.log(own.width / theirs.width), error(widths[0] - widths[1]))
    found = {WIDTH.id: ratio, TAIL.id: tail}
    if theirs.kind == "heavy":
        return {MEDIAN.id: gaps["q50"], **found}
    means = before - after.mean(axis=1)
    return {BIAS.id: distance(float(means.mean()), means), **found}


def _influences(sample: Sample, values: FloatArray) -> dict[str, FloatArray]:
    """Return each chain's mean influence on each quantile, values ``(chain, draw)``."""
    return {
        name: (p - (values <= sample.quantiles[name])).mean(axis=1) * sample.sparsity[name]
        for name, p in QUANTILES.items()
    }
