"""The reference's probability of the modes that q misses, and q's share of the leftmost one."""

from __future__ import annotations

import math

from harness.metrics.bias import BIAS
from harness.metrics.distance import distance
from harness.metrics.metric import Column, Metric, Scene
from harness.metrics.sample import Sample
from harness.records import Estimate, Rule
from harness.records.text import number, span

HELD = 0.25
"""A mode counts as missed if the approximation holds less than this share of its mass."""

ALL_OF_IT = 0.99
"""A missed mass above this is the whole posterior, apart from rounding."""


def missed_mass(q: Sample, ref: Sample) -> Estimate:
    """Return the reference's probability of the modes that q misses.

    Its error has two parts: that of the reference's share p of a missed mode, and, where q's
    share is near the quarter of p that decides, p times the sd of that decision.
    """
    from scipy.special import ndtr

    basins = ref.basins
    own = basins.shares(ref.sorted, ref.n)
    theirs = basins.shares(q.finite_sorted, q.n)
    value = variance = 0.0
    n, m = _or_count(q), _or_count(ref)
    for p, share in zip(own.tolist(), theirs.tolist(), strict=True):
        # An empty basin still has an error: as if it held one more draw.
        held = max(share, 1 / n)
        error = math.sqrt(held * (1 - min(share, 1.0)) / n + HELD**2 * p * (1 - p) / m)
        doubt = float(ndtr(-abs(share - HELD * p) / error)) if error > 0 else 0.0
        variance += p**2 * doubt * (1 - doubt)
        if share < HELD * p:
            value += p
            variance += p * (1 - p) / m
    known = not (math.isnan(n) or math.isnan(m))
    return Estimate(value, math.sqrt(variance) if known else math.nan)


def _first_mode(own: Sample, ref: Sample) -> Estimate | None:
    """Return q's probability of the reference's leftmost mode, None where there is one mode."""
    if ref.constant or ref.basins.count == 1:
        return None
    share = float(ref.basins.shares(own.finite_sorted, own.n)[0])
    n = _or_count(own)
    # A share of 0 or 1 in the draws is not certain: half a draw more on either side.
    near = (share * n + 0.5) / (n + 1)
    return Estimate(share, math.sqrt(near * (1 - near) / n))


def _or_count(sample: Sample) -> float:
    """Return the effective size of shares; where that is unknown, the number of draws.

    Only for samples with draws that are not finite, all of whose other figures are infinite.
    """
    return sample.ess_overall if sample.finite else float(sample.n)


def _off(s: Scene) -> float:
    """Return by how many sds the mean is off if everything is missed, otherwise 0."""
    error = s.own.get(BIAS.id)
    if not s.value > ALL_OF_IT or error is None or math.isnan(error.value):
        return 0.0
    return abs(error.value)


def _clause(s: Scene, size: str) -> str:
    if s.value > ALL_OF_IT:
        off = f": its mean is {number(_off(s))} sd off" if _off(s) else ""
        return f"{s.method} has almost no draws where the posterior's mass lies{off}"
    modes = s.context.modes.get(s.quantity, 0)
    of = f" (the posterior has {modes} modes)" if modes > 1 else ""
    return f"{s.method} misses modes that hold {size} of the posterior's mass{of}"


def _brief(s: Scene, _: str) -> str:
    modes = s.context.modes.get(s.quantity, 0)
    if math.isfinite(_off(s)) and _off(s):
        return f"nowhere near {s.quantity}: mean {number(_off(s))} sd off"
    lost = f"misses {span(s.alike or [s.value])} of {s.quantity}'s mass"
    return f"holds one mode of two: {lost}" if modes == 2 else lost  # noqa: PLR2004


MISSED_MASS = Metric(
    id="missed_mass",
    noun="mass in missed modes",
    scope="quantity",
    kinds=("continuous", "heavy"),
    # Draws that are not finite lie in no mode: this is a probability, never infinite.
    measure=distance(missed_mass, apart=Estimate(1.0, 0.0)),
    rule=Rule(
        0.01, 0.05, "above", "every mode is an explanation of the data, and this one is left out"
    ),
    telling=8,
    tie=_off,
    by_seed=True,
    clause=_clause,
    brief=_brief,
    column=Column("missed", "reference mass in modes that the method does not hold"),
    hide_zeros=True,
)
FIRST_MODE = Metric(
    id="first_mode",
    noun="share of the leftmost mode",
    scope="quantity",
    kinds=("continuous", "heavy"),
    measure=_first_mode,
)
