"""The largest absolute error of a correlation.

Correlations are Spearman's ρ turned into the correlation of the normal distribution with that ρ,
2 sin(π ρ / 6), so that heavy tails do no harm; a constant column of q correlates with nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.metrics.block import Block, Columns
from harness.metrics.joint import Joint, jointly
from harness.metrics.metric import Metric, Scene, WorstPair, unless_infinite
from harness.records import Estimate, FloatArray, Rule
from harness.records.text import number


def _worst(joint: Joint) -> tuple[int, int]:
    """Return the two paired quantities whose correlation is most wrong, in the first draws."""
    own, theirs = joint.correlations
    error = np.triu(np.abs(own[0] - theirs[0]), 1)
    i, j = np.unravel_index(int(np.argmax(error)), error.shape)
    return int(i), int(j)


def _corr_error(joint: Joint, q: Block, ref: Block) -> Estimate:
    i, j = _worst(joint)
    own, theirs = (float(c[-1][i, j]) for c in joint.correlations)
    pair = joint.reference.paired[[i, j]]
    error = math.hypot(_corr_mcse(q, pair, own), _corr_mcse(ref, pair, theirs))
    # Of very many pairs, the second half of the draws measures what the first half chose.
    parts = len(joint.correlations[0])
    return Estimate(abs(own - theirs), error * math.sqrt(parts))


def worst_pair(joint: Joint, names: Sequence[str]) -> WorstPair | None:
    """Return the two quantities whose correlation is most wrong, None where there is no pair."""
    if joint.columns.size < 2 or joint.blocks is None:  # noqa: PLR2004 (a pair)
        return None
    i, j = _worst(joint)
    own, theirs = (float(c[-1][i, j]) for c in joint.correlations)
    first, second = (names[int(joint.columns[k])] for k in joint.reference.paired[[i, j]])
    return WorstPair(first, second, own, theirs)


def _corr_mcse(block: Block, pair: Columns, r: float) -> float:
    """Return the standard error of a correlation, by the influence function of Spearman's ρ.

    12 [u v + E V 1{U ≥ u} + E U 1{V ≥ v}] for ranks centred on 0 (Croux and Dehon, 2010).
    """
    u, v = block.ranks(pair)
    if np.ptp(u) == 0 or np.ptp(v) == 0:
        return 0.0
    influence = 12 * (u * v + _above(u, v) + _above(v, u))
    slope = math.pi / 3 * math.sqrt(max(1 - (r / 2) ** 2, 0.0))
    return slope * float(np.std(influence)) / math.sqrt(block.worth(influence))


def _above(u: FloatArray, v: FloatArray) -> FloatArray:
    """Return E V 1{U ≥ u} at each draw's u."""
    order = np.argsort(u)
    out = np.empty(u.size)
    out[order] = np.cumsum(v[order][::-1])[::-1] / u.size
    return out


@unless_infinite
def _clause(s: Scene, size: str) -> str:
    if s.pair is None:
        return f"{s.method} has a correlation wrong by {size}"
    a, b, own, theirs = s.pair
    return (
        f"{a} and {b} correlate at {number(own)} in {s.method} and at {number(theirs)} in the "
        "reference"
    )


def _brief(s: Scene, size: str) -> str:
    if s.pair is None or not math.isfinite(s.value):
        return f"a correlation off by {size}"
    a, b, own, theirs = s.pair
    return f"correlation of {a} and {b} {number(own)}, not {number(theirs)}"


CORR_ERROR = Metric(
    id="corr_error",
    noun="largest error of a correlation",
    scope="joint",
    measure=jointly(_corr_error),
    rule=Rule(
        0.1,
        0.3,
        "above",
        "sums and differences of quantities inherit the error of their correlation",
    ),
    telling=13,
    clause=_clause,
    brief=_brief,
)
