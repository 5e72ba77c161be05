"""By how much chains differ in the share of draws that they give to each mode."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from harness.metrics.distance import EXACT
from harness.metrics.metric import Metric
from harness.metrics.sample import effective_size, prepare
from harness.metrics.scene import Scene
from harness.records import NO_ESTIMATE, Estimate, FloatArray, Rule
from harness.records.text import listed, percent


def chain_shares(x: FloatArray) -> FloatArray:
    """Return each chain's share of draws in each mode of all chains together.

    Parameters
    ----------
    x
        Shape ``(chain, draw)``.

    Returns
    -------
    array
        Shape ``(chain, mode)``, modes from left to right.
    """
    basins = prepare(x, iid=False).basins
    return np.array([basins.shares(np.sort(c[np.isfinite(c)]), c.size) for c in x])


def chain_modes(x: FloatArray) -> Estimate:
    """Return by how much chains differ in the share of draws they give to each mode.

    The largest total variation distance between two chains' shares, with the error that the
    chains' own autocorrelation explains. Zero where there is one mode.
    """
    if x.size == 0 or not np.all(np.isfinite(x)):
        return NO_ESTIMATE
    if x.shape[0] < 2:  # noqa: PLR2004 (one chain has none to differ from)
        return EXACT
    basins = prepare(x, iid=False).basins
    if basins.count == 1:
        return EXACT
    shares = np.array([basins.shares(np.sort(c), c.size) for c in x])
    errors = np.empty(shares.shape)
    where = np.searchsorted(basins.edges, x, side="right") - 1
    for c, b in np.ndindex(shares.shape):
        inside = (where[c] == b).astype(np.float64)
        worth = effective_size(inside[None, :])
        errors[c, b] = math.sqrt(shares[c, b] * (1 - shares[c, b]) / worth)
    pairs = list(combinations(range(len(x)), 2))
    apart = [float(np.sum(np.abs(shares[a] - shares[b]))) / 2 for a, b in pairs]
    worst = int(np.argmax(apart))
    a, b = pairs[worst]
    return Estimate(apart[worst], float(np.sum(np.hypot(errors[a], errors[b]))) / 2)


def _shares(s: Scene) -> str:
    return listed([percent(share) for share in s.context.mode_shares.get(s.quantity, ())])


def _clause(s: Scene, size: str) -> str:
    if _shares(s):
        return f"the chains have {_shares(s)} of their draws in the left mode"
    return f"chains differ by {size} in the share of draws that they give to one mode"


def _brief(s: Scene, size: str) -> str:
    if _shares(s):
        return f"chains stuck: {_shares(s)} of their draws in the left mode of {s.quantity}"
    return f"chains stuck: they differ by {size} in the modes of {s.quantity}"


CHAIN_MODES = Metric(
    id="chain_modes",
    noun="difference between chains in the modes",
    scope="chain",
    measure=chain_modes,
    rule=Rule(
        0.05,
        0.05,
        "above",
        "chains that weight the modes differently have not moved between them",
        unsure_factor=math.inf,
    ),
    telling=2,
    clause=_clause,
    brief=_brief,
)
