"""Masses of regions: a bridge from each region's own Gaussian to the posterior there.

Weights of draws of a mixture give the masses, too, but where a region bends their error hangs on
few of them. A bridge (Meng and Wong 1996) also has draws of chains in the region, so that none of
its terms is large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.vi.bridge_sampling import bridged
from harness.vi.short_chains.hmc import chains_at, transition
from harness.vi.short_chains.starts import distinct, inside, values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records import FloatArray
    from harness.vi.short_chains.coordinates import Coordinates, Parts
    from harness.vi.short_chains.starts import Weighted
    from harness.vi.target import Clock, Target

CHAINS, FEWEST = 256, 64
"""Chains in each region, and the fewest that tell its mass."""

BURN, DRAWS = 10, 10
"""Transitions that are thrown away, and that are kept."""

PROPOSALS = 8192
"""Draws of each region's Gaussian."""

EFFECTIVE = 0.3
"""About the effective draws in a draw of short chains; a wrong guess costs precision alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Masses:
    """Shares of the posterior, shape ``(region,)``, with their standard errors."""

    shares: FloatArray
    errors: FloatArray  # infinite where a bridge has none

    @property
    def error(self) -> float:
        """The largest standard error of a share."""
        return float(self.errors.max())


def bridged_masses(
    target: Target,
    parts: Parts,
    maps: Sequence[Coordinates],
    found: Weighted,
    step: float,
    rng: np.random.Generator,
    clock: Clock,
) -> Masses:
    """Return the share of each region by chains that start at weighted draws there.

    Points belong to the region of the part that most likely made them. ``maps`` are coordinates of
    each region, in which its chains move and its Gaussian is a standard normal.

    Raises
    ------
    harness.vi.target.TimeLimitError
        If the clock runs out.
    """
    count = len(maps)
    even = found.with_shares(np.full(count, 1 / count), 0.0)
    chosen = distinct(even, count * CHAINS, rng)
    at = chains_at(target, found.z[chosen], found.part[chosen])
    z, value = [], []
    for i in range(BURN + DRAWS):
        at, _ = transition(target, maps, at, step, rng, clock)
        if i >= BURN:
            z.append(at.z)
            value.append(at.value)
    kept, log_p = np.concatenate(z), np.concatenate(value)
    chain = np.tile(np.arange(len(at.z)), DRAWS)
    region = parts.nearest(kept)
    log_z, error = np.empty(count), np.empty(count)
    for k, own in enumerate(maps):
        mine = region == k
        one = type(parts)((own,), np.ones(1))
        drawn, density = one.draw(PROPOSALS, rng)
        there = values(target, drawn, clock)
        there = np.where(inside(parts, drawn, k), there, -np.inf)
        if len(np.unique(chain[mine])) < FEWEST or not np.isfinite(there).any():
            log_z[k], error[k] = math.nan, math.inf
            continue
        evidence = bridged(
            log_p[mine] - one.log_densities(kept[mine])[:, 0],
            there - density[:, 0],
            EFFECTIVE,
            chain[mine],
        )
        log_z[k], error[k] = evidence.value, evidence.error
    if not (np.isfinite(log_z).all() and np.isfinite(error).all()):
        return Masses(np.full(count, math.nan), np.full(count, math.inf))
    share = np.exp(log_z - log_z.max())
    share /= share.sum()
    # d ln s_k = d ln Z_k − Σ s_j d ln Z_j
    change = share[:, None] * (np.eye(count) - share)
    return Masses(share, np.sqrt((change**2) @ error**2))
