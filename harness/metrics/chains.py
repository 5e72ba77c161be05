"""Diagnostics of Markov chains, from their draws and from the sampler itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Literal

import numpy as np

from harness.metrics.distance import EXACT
from harness.metrics.effective import effective_sizes
from harness.metrics.metric import Column, Metric, Scene
from harness.metrics.sample import Sample
from harness.records import NO_ESTIMATE, Estimate, FloatArray, Rule
from harness.records.text import listed, percent

FEWEST = 8
"""With fewer draws a chain cannot be halved and its halves still have an autocorrelation."""

STUCK = 1.1
"""An R-hat above which chains are not merely slow but in different places."""


def rhat(x: FloatArray) -> float:
    """Return the rank-normalised split R-hat of Vehtari et al. (2021).

    The larger of the R-hats of the ranks and of the ranks of distances from the median, each
    chain cut in halves, so that a single chain has one too. NaN where a draw is not finite,
    where a chain has fewer than eight draws, and where nothing varies. ``x`` has shape
    ``(chain, draw)``.
    """
    return _rhat(Sample(x, iid=False))


def _rhat(own: Sample) -> float:
    if _unusable(own):
        return math.nan
    ranks, distances = own.rhats
    # Chains each stuck at a value of its own have no variance within: infinitely apart.
    # Two values equally far from the median leave no distance to rank: only the first counts.
    return ranks if math.isnan(distances) else max(ranks, distances)


def _unusable(own: Sample) -> bool:
    return not own.finite or own.values.shape[1] < FEWEST or own.sorted[0] == own.sorted[-1]


RHAT = Metric(
    id="rhat",
    noun="R-hat",
    scope="chain",
    measure=lambda own: Estimate(_rhat(own), 0.0),
    digits=4,
    rule=Rule(
        1.01,
        1.1,
        "above",
        "R-hat of converged chains is below 1.01 (Vehtari et al. 2021), or what chance explains at "
        "their ESS, up to 1.05",
    ),
    telling=1,
    brief=lambda s, size: (
        f"{'chains stuck: ' if s.value > STUCK else ''}R-hat {size} for {s.quantity}"
    ),
    column=Column("R-hat", "rank-normalised split R-hat of the NUTS chains"),
)


def _ess(own: Sample, which: Literal["bulk", "tail"]) -> float:
    if _unusable(own):
        return math.nan
    if which == "bulk":
        return own.bulk_worth
    if own.kind != "discrete":
        return min(own.ess_quantile(0.05), own.ess_quantile(0.95))
    # The quantiles of few values are interpolated; here they have to be draws.
    ends = np.quantile(own.sorted, [0.05, 0.95])
    return float(np.min(effective_sizes(np.stack([own.values <= q for q in ends], dtype=float))))


def _row(which: Literal["bulk", "tail"], reason: str, telling: int) -> Metric:
    return Metric(
        id=f"ess_{which}",
        noun=f"{which} ESS",
        scope="chain",
        measure=lambda own: Estimate(_ess(own, which), 0.0),
        form="integer",
        rule=Rule(
            400, 100, "above", f"with fewer effective draws, {reason} not reliable", at_least=True
        ),
        telling=telling,
        brief=lambda s, size: f"{which} ESS {size} for {s.quantity}",
    )


ESS_BULK = _row("bulk", "means and the diagnostics themselves are", 4)
ESS_TAIL = _row("tail", "the 5% and 95% quantiles are", 5)


def chain_shares(own: Sample) -> FloatArray:
    """Return each chain's share of draws in each mode of all chains together.

    Shape ``(chain, mode)``, modes from left to right.
    """
    chains = (np.sort(c[np.isfinite(c)]) for c in own.values)
    return np.array([own.basins.shares(c, own.values.shape[1]) for c in chains])


def chain_modes(own: Sample) -> Estimate:
    """Return by how much chains differ in the share of draws they give to each mode.

    The largest total variation distance between two chains' shares, with the error that the
    chains' own autocorrelation explains. Zero where there is one mode.
    """
    if not own.finite:
        return NO_ESTIMATE
    x = own.values
    if x.shape[0] < 2:  # noqa: PLR2004 (one chain has none to differ from)
        return EXACT
    if own.basins.count == 1:
        return EXACT
    shares = chain_shares(own)
    where = np.searchsorted(own.basins.edges, x, side="right") - 1
    inside = np.stack([where == b for b in range(shares.shape[1])], axis=1, dtype=np.float64)
    worth = effective_sizes(inside[:, :, None])
    errors = np.sqrt(shares * (1 - shares) / worth)
    pairs = list(combinations(range(len(x)), 2))
    apart = [float(np.sum(np.abs(shares[a] - shares[b]))) / 2 for a, b in pairs]
    worst = int(np.argmax(apart))
    a, b = pairs[worst]
    return Estimate(apart[worst], float(np.sum(np.hypot(errors[a], errors[b]))) / 2)


def _left(s: Scene) -> str:
    return listed([percent(share) for share in s.context.mode_shares.get(s.quantity, ())])


def _clause(s: Scene, size: str) -> str:
    if _left(s):
        return f"the chains have {_left(s)} of their draws in the left mode"
    return f"chains differ by {size} in the share of draws that they give to one mode"


def _brief(s: Scene, size: str) -> str:
    if _left(s):
        return f"chains stuck: {_left(s)} of their draws in the left mode of {s.quantity}"
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
        bound_factor=math.inf,
    ),
    telling=2,
    clause=_clause,
    brief=_brief,
)


def _divergences(stats: Mapping[str, FloatArray]) -> float:
    return float(np.mean(stats["diverging"])) if "diverging" in stats else math.nan


def _ebfmi(stats: Mapping[str, FloatArray]) -> float:
    """Return the smallest E-BFMI of the chains (Betancourt, 2016)."""
    energy = stats.get("energy")
    if energy is None or energy.shape[1] < FEWEST or not np.all(np.isfinite(energy)):
        return math.nan
    jumps = np.mean(np.diff(energy, axis=1) ** 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.min(jumps / np.var(energy, axis=1, ddof=1)))


def _treedepth_hits(stats: Mapping[str, FloatArray], max_depth: float | None) -> float:
    depth = stats.get("tree_depth")
    if depth is None or depth.size == 0 or max_depth is None or not np.all(np.isfinite(depth)):
        return math.nan
    return float(np.mean(depth >= max_depth))


def _divergent(_: Scene, size: str) -> str:
    return f"{size} of transitions diverged"


def _cut_short(_: Scene, size: str) -> str:
    return f"{size} of transitions at the maximum tree depth"


DIVERGENCES = Metric(
    id="divergences",
    noun="share of divergent transitions",
    scope="sampler",
    measure=lambda stats, _: Estimate(_divergences(stats), 0.0),
    form="percent",
    rule=Rule(
        0.001,
        0.01,
        "above",
        "a divergent transition marks a region that the sampler could not enter; a reference with "
        "any also needs a second run, with smaller steps, that agrees with it",
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
