"""Markov chains: what their diagnostics show."""

from __future__ import annotations

import math
from collections.abc import Callable

from harness.why.causes.row import CauseRow, Evidence, Found, OtherScene


def _by(*metrics: str) -> Callable[[OtherScene], Found | None]:
    """Return a detector of the first diagnostic of these that is off or wrong."""

    def detect(scene: OtherScene) -> Found | None:
        if not scene.chains:
            return None
        for place, finding in enumerate(scene.verdict.findings):
            if finding.measure.metric in metrics and finding.level in {"wrong", "off"}:
                return Found(math.nan, {"finding": finding.sentence}, place)
        return None

    return detect


def _said(e: Evidence) -> str:
    """Write the diagnostic's own sentence."""
    return str(e["finding"])


DO_NOT_MIX = CauseRow(
    "chains do not mix", "chains do not mix", "method", OtherScene, _by("rhat"), _said
)
STAY_IN_ONE_MODE = CauseRow(
    "chains stay in one mode", "chains stay in one mode", "method", OtherScene, _by("chain_modes"),
    _said,
)  # fmt: skip
DIVERGENCES = CauseRow(
    "divergences", "divergences", "method", OtherScene, _by("divergences"), _said
)
SLOW_MIXING = CauseRow(
    "slow mixing", "slow mixing", "method", OtherScene, _by("ess_bulk", "ess_tail", "ebfmi"), _said
)
SHORT_TRAJECTORIES = CauseRow(
    "short trajectories", "short trajectories", "method", OtherScene, _by("treedepth_hits"), _said
)
