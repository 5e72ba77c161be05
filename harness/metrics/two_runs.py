"""How far the summaries of one run are from another's: two runs of one sampler must agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness import metrics
from harness.metrics.summaries import MEAN, Q5, Q95
from harness.records import NO_ESTIMATE, Draws, Estimate, RunResult


class Apart(NamedTuple):
    """How far a summary of one run is from another run's, in sds of the quantity."""

    quantity: str
    figure: str
    one: Estimate
    two: Estimate
    gap: float
    error: float

    @property
    def z(self) -> float:
        """The difference in standard errors; infinite where one of the figures is unknown."""
        return self.gap / self.error if self.error > 0 and math.isfinite(self.gap) else math.inf


def apart(run: RunResult, other: RunResult, names: Sequence[str]) -> list[Apart]:
    """Return how two runs differ in the mean and the 5% and 95% quantiles of each quantity.

    The sd is the larger of the two runs', the robust one where tails stretch it. A quantity that
    a run lacks is infinitely far.
    """
    out = []
    both = [_summarised(r.draws, names) for r in (run, other)]
    for name in names:
        found = [figures[name] for figures in both if name in figures]
        if len(found) < 2:  # noqa: PLR2004 - two runs
            out.append(Apart(name, MEAN.id, NO_ESTIMATE, NO_ESTIMATE, math.inf, math.nan))
            continue
        (one, _), (two, _) = found
        unit = max(unit for _, unit in found)
        for figure in (MEAN.id, Q5.id, Q95.id):
            error = math.hypot(one[figure].mcse, two[figure].mcse) / unit
            gap = abs(one[figure].value - two[figure].value) / unit
            out.append(Apart(name, figure, one[figure], two[figure], gap, error))
    return out


def _summarised(
    draws: Draws | None, names: Sequence[str]
) -> dict[str, tuple[dict[str, Estimate], float]]:
    """Return the summaries and the unit of the quantities that draws have."""
    if draws is None:
        return {}
    there = frozenset(draws.names)
    present = [n for n in names if n in there]
    found = metrics.of_samples(
        lambda sample: (metrics.summaries(sample), sample.unit),
        draws,
        present,
        keep=True,
        arrays=False,
    )
    return dict(zip(present, found, strict=True))
