"""Bulk and tail effective sample size."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from harness.metrics.metric import Metric
from harness.metrics.rhat import FEWEST
from harness.records import Estimate, FloatArray, Rule


def _ess(x: FloatArray, method: Literal["bulk", "tail"]) -> float:
    if x.shape[1] < FEWEST or not np.all(np.isfinite(x)) or np.ptp(x) == 0:
        return math.nan
    from arviz_stats.base import array_stats

    scaled = (x - np.median(x)) / np.max(np.abs(x - np.median(x)))
    if method == "bulk":
        return float(array_stats.ess(scaled, method="bulk"))
    return float(array_stats.ess(scaled, method="tail", prob=(0.05, 0.95)))


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
