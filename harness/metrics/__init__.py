"""How far draws are from other draws: arrays in, a figure and its Monte Carlo error out.

Every metric is an :class:`~harness.records.Estimate`. Distances are in units of the
reference's standard deviation. Nothing here decides what is far; that is
:mod:`harness.judge`'s. Bad draws never raise and never give a harmless figure: what is not
finite is infinitely far, and what cannot be computed is NaN.
"""

from __future__ import annotations

from harness.metrics.chains import chain_diagnostics, chain_shares
from harness.metrics.correlation import conditional_sds, correlation_gap, correlation_nats
from harness.metrics.funnels import Funnel, funnel, is_funnel
from harness.metrics.joint import Joint, compare_joint
from harness.metrics.modes import Basins, find_basins
from harness.metrics.sample import Sample, prepare, summaries, unusable
from harness.metrics.scalar import compare_quantity, first_mode, seed_spread
from harness.metrics.shape import Shape, marginal_shapes
from harness.metrics.weights import khat, khat_limit
from harness.records import Estimate

__all__ = [
    "Basins",
    "Estimate",
    "Funnel",
    "Joint",
    "Sample",
    "Shape",
    "chain_diagnostics",
    "chain_shares",
    "compare_joint",
    "compare_quantity",
    "conditional_sds",
    "correlation_gap",
    "correlation_nats",
    "find_basins",
    "first_mode",
    "funnel",
    "is_funnel",
    "khat",
    "khat_limit",
    "marginal_shapes",
    "prepare",
    "seed_spread",
    "summaries",
    "unusable",
]
