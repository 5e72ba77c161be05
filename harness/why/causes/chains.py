"""Markov chains: what their diagnostics show."""

from __future__ import annotations

import math

from harness.why.causes.row import CauseRow, Found, OtherScene, cause


def _row(row_id: str, *metrics: str) -> CauseRow:
    """Return a row that finds the first diagnostic of these that is off or wrong, and quotes it."""

    def detect(scene: OtherScene) -> Found | None:
        if not scene.chains:
            return None
        for place, finding in enumerate(scene.verdict.findings):
            if finding.measure.metric in metrics and finding.level in {"wrong", "off"}:
                return Found(math.nan, {"finding": finding.sentence}, place)
        return None

    return cause(row_id, OtherScene, detect, lambda e: str(e["finding"]))


DO_NOT_MIX = _row("chains do not mix", "rhat")
STAY_IN_ONE_MODE = _row("chains stay in one mode", "chain_modes")
DIVERGENCES = _row("divergences", "divergences")
SLOW_MIXING = _row("slow mixing", "ess_bulk", "ess_tail", "ebfmi")
SHORT_TRAJECTORIES = _row("short trajectories", "treedepth_hits")
