"""What the sampler itself reports: divergences, E-BFMI, and hits of the maximum tree depth."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from harness.metrics.chains import FEWEST
from harness.metrics.metric import Metric
from harness.metrics.scene import Scene
from harness.records import Estimate, FloatArray, Rule


def _divergences(stats: Mapping[str, FloatArray]) -> float:
    return float(np.sum(stats["diverging"])) if "diverging" in stats else math.nan


def _ebfmi(stats: Mapping[str, FloatArray]) -> float:
    """Return the smallest E-BFMI of the chains (Betancourt, 2016)."""
    energy = stats.get("energy")
    if energy is None or energy.shape[1] < FEWEST or not np.all(np.isfinite(energy)):
        return math.nan
    from arviz_stats.base import array_stats

    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.min(array_stats.bfmi(energy)))


def _treedepth_hits(stats: Mapping[str, FloatArray], max_depth: float | None) -> float:
    depth = stats.get("tree_depth")
    if depth is None or depth.size == 0 or max_depth is None or not np.all(np.isfinite(depth)):
        return math.nan
    return float(np.mean(depth >= max_depth))


def _divergent(s: Scene, size: str) -> str:
    return f"{size} divergent transition{'' if s.value == 1 else 's'}"


def _cut_short(_: Scene, size: str) -> str:
    return f"{size} of transitions at the maximum tree depth"


DIVERGENCES = Metric(
    id="divergences",
    noun="number of divergent transitions",
    scope="sampler",
    measure=lambda stats, _: Estimate(_divergences(stats), 0.0),
    form="integer",
    rule=Rule(
        0, 20, "above", "a divergent transition marks a region that the sampler could not enter"
    ),
    telling=3,
    clause=_divergent,
    brief=_divergent,
)
EBFMI = Metric(
    id="ebfmi",
    noun="E-BFMI",
    scope="sampler",
    measure=lambda stats, _: Estimate(_ebfmi(stats), 0.0),
    rule=Rule(
        0.3,
        0.2,
        "above",
        "if new momentum changes the energy too little, chains explore the tails too slowly",
        at_least=True,
    ),
    telling=6,
    clause=lambda _, size: f"E-BFMI {size} in the worst chain",
)
TREEDEPTH_HITS = Metric(
    id="treedepth_hits",
    noun="share of transitions at the maximum tree depth",
    scope="sampler",
    measure=lambda stats, depth: Estimate(_treedepth_hits(stats, depth), 0.0),
    form="percent",
    rule=Rule(
        0.01, 0.1, "above", "trajectories that are cut short can make slow chains look converged"
    ),
    telling=7,
    clause=_cut_short,
    brief=_cut_short,
)
