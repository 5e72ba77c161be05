"""Diagnostics of Markov chains, from their draws and from the sampler itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Literal

import numpy as np

from harness.metrics.distance import EXACT
from harness.metrics.metric import Column, Metric, Scene
from harness.metrics.modes import Basins
from harness.metrics.sample import effective_size, prepare
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
    if _unusable(x):
        return math.nan
    from arviz_stats.base import array_stats

    middle = x.shape[1] // 2
    halves = np.concatenate([x[:, :middle], x[:, -middle:]])
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        folded = np.abs(halves - np.median(halves))
        # Ranking first and then asking ArviZ for the plain R-hat also serves a single chain,
        # for which its own rank-normalised one returns NaN.
        both = [float(array_stats.rhat(_normal(h), method="identity")) for h in (halves, folded)]
    # Chains each stuck at a value of its own have no variance within: infinitely apart.
    # Two values equally far from the median leave no distance to rank: only the first counts.
    return both[0] if math.isnan(both[1]) else max(both)


def _unusable(x: FloatArray) -> bool:
    return x.shape[1] < FEWEST or not np.all(np.isfinite(x)) or np.ptp(x) == 0


def _normal(x: FloatArray) -> FloatArray:
    from scipy.special import ndtri
    from scipy.stats import rankdata

    ranks = rankdata(x, axis=None).reshape(x.shape)
    return np.asarray(ndtri((ranks - 0.375) / (x.size + 0.25)))


RHAT = Metric(
    id="rhat",
    noun="R-hat",
    scope="chain",
    measure=lambda x: Estimate(rhat(x), 0.0),
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


def _ess(x: FloatArray, method: Literal["bulk", "tail"]) -> float:
    if _unusable(x):
        return math.nan
    from arviz_stats.base import array_stats

    centred = x - np.median(x)
    prob = (0.05, 0.95) if method == "tail" else None
    return float(array_stats.ess(centred / np.max(np.abs(centred)), method=method, prob=prob))


def _row(which: Literal["bulk", "tail"], reason: str, telling: int) -> Metric:
    return Metric(
        id=f"ess_{which}",
        noun=f"{which} ESS",
        scope="chain",
        measure=lambda x: Estimate(_ess(x, which), 0.0),
        form="integer",
        rule=Rule(
            400, 100, "above", f"with fewer effective draws, {reason} not reliable", at_least=True
        ),
        telling=telling,
        brief=lambda s, size: f"{which} ESS {size} for {s.quantity}",
    )


ESS_BULK = _row("bulk", "means and the diagnostics themselves are", 4)
ESS_TAIL = _row("tail", "the 5% and 95% quantiles are", 5)


def chain_shares(x: FloatArray) -> FloatArray:
    """Return each chain's share of draws in each mode of all chains together.

    Chains have shape ``(chain, draw)``, shares ``(chain, mode)``, modes from left to right.
    """
    return _shares(x, prepare(x, iid=False).basins)


def _shares(x: FloatArray, basins: Basins) -> FloatArray:
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
    shares = _shares(x, basins)
    errors = np.empty(shares.shape)
    where = np.searchsorted(basins.edges, x, side="right") - 1
    for c, b in np.ndindex(shares.shape):
        worth = effective_size((where[c : c + 1] == b).astype(np.float64))
        errors[c, b] = math.sqrt(shares[c, b] * (1 - shares[c, b]) / worth)
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
    from arviz_stats.base import array_stats

    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.min(array_stats.bfmi(energy)))


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
