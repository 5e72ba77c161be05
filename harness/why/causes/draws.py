"""Chains, weights, particles, families that are not Gaussian: what their own runs say."""

from __future__ import annotations

import math

from harness.methods import METHODS
from harness.records import Reason
from harness.records.text import number, percent
from harness.why.causes.row import CauseRow, Evidence, Found, OtherScene, cause


def _detect_truncated(scene: OtherScene) -> Found | None:
    """Read the divergence that a truncated normal's fit computes itself."""
    known = scene.runs[0].diagnostics if scene.runs else {}
    row = METHODS.get(scene.verdict.method)
    if row is None or row.other_family != TRUNCATED.id or "kl" not in known:
        return None
    return Found(known["kl"], {"nats": known["kl"]})


def _truncated_sentence(e: Evidence) -> str:
    return f"the best truncated normal is {number(e['nats'], 3)} nats from the posterior"


def _detect_weights(scene: OtherScene) -> Found | None:
    """Find weights that are worth too few draws, in the worst seed."""
    doubted = [r for r in scene.with_draws if r.reason is Reason.WEIGHTS]
    if scene.chains or scene.found or not doubted:
        return None
    known = [r.diagnostics["weight_ess"] / r.diagnostics["proposals"] for r in doubted]
    return Found(
        math.nan, {"share": min(known), "message": doubted[known.index(min(known))].message}
    )


def _weights_sentence(e: Evidence) -> str:
    words = f"the weights are worth {percent(e['share'])} of the proposals in the worst seed"
    return f"{words}; {e['message']}" if e["message"] else words


def _detect_doubt(scene: OtherScene) -> Found | None:
    """Take a run's own message where nothing else is known; asked last."""
    message = _message(scene)
    if scene.chains or scene.found or not message:
        return None
    return Found(math.nan, {"message": message})


def _message(scene: OtherScene) -> str:
    return next((r.message for r in scene.with_draws if r.message), "")


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
TRUNCATED = cause(
    "truncated normal", OtherScene, _detect_truncated, _truncated_sentence, gap="family"
)
WEIGHTS = cause("weights", OtherScene, _detect_weights, _weights_sentence)
OWN_DOUBT = cause("its own doubt", OtherScene, _detect_doubt, lambda e: str(e["message"]))
