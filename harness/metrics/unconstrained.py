"""The 1-Wasserstein distance of all parameters together, in Pathfinder's form."""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.distance import INFINITE
from harness.metrics.metric import Metric
from harness.records import NO_ESTIMATE, Estimate, FloatArray

BATCH, BATCHES = 100, 10
"""Draws on either side of one distance, and how many distances are averaged."""


def chosen(count: int) -> list[int]:
    """Return the evenly spaced draws, of ``count``, that are compared."""
    return [int(i) for i in np.linspace(0, count - 1, min(BATCH * BATCHES, count))]


def _w1(own: FloatArray, reference: FloatArray) -> Estimate | None:
    """Return the mean distance of batches of 100 draws, by optimal assignment.

    ``W1 = min over permutations π of the mean of ‖z_i − ζ_π(i)‖``, Euclidean, as Zhang et al.
    (2022), *Pathfinder*, JMLR 23(306), compare 100 approximate draws with the reference's. Two
    samples of one posterior are some distance apart, too: see ``by_chance``.

    Parameters
    ----------
    own, reference
        Draws on the unconstrained scale, shape ``(draw, parameter)``.

    Returns
    -------
    Estimate or None
        In units of the unconstrained scale, with the standard error of the batches' mean; infinite
        where a draw of the method is not finite, NaN where the reference has too few that are.
        None where the method has too few draws.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    reference = reference[np.isfinite(reference).all(axis=1)]
    batches = min(len(own), len(reference)) // BATCH
    if len(own) // BATCH < 2:  # noqa: PLR2004 - the fewest that have an error
        return None
    if batches < 2:  # noqa: PLR2004
        return NO_ESTIMATE
    if not np.isfinite(own).all():
        return INFINITE
    found = []
    for i in range(batches):
        cost = cdist(own[i::batches][:BATCH], reference[i::batches][:BATCH])
        found.append(float(cost[linear_sum_assignment(cost)].mean()))
    return Estimate(float(np.mean(found)), float(np.std(found, ddof=1)) / math.sqrt(batches))


def by_chance(reference: FloatArray) -> Estimate:
    """Return the distance that batches of the reference have from each other."""
    return _w1(reference[::2], reference[1::2]) or NO_ESTIMATE


UNCONSTRAINED_W1 = Metric(
    id="unconstrained_w1",
    noun="Wasserstein distance of all parameters on the unconstrained scale",
    scope="unconstrained",
    measure=_w1,
)
