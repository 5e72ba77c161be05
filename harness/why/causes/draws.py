"""Weights, particles, families that are not Gaussian: what their own runs say."""

from __future__ import annotations

import math

from harness.methods import METHODS
from harness.records.text import number, setting
from harness.why.causes.row import Evidence, Found, OtherScene, cause

KHAT = 0.7
"""Weighted draws beyond it are unreliable, however many there are (Vehtari et al. 2024)."""


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
    """Find weights with too heavy a tail, in the worst seed."""
    khat = max((r.diagnostics.get("khat", -math.inf) for r in scene.with_draws), default=-math.inf)
    if scene.chains or scene.found or not khat > KHAT:
        return None
    return Found(math.nan, {"khat": khat, "message": _message(scene)})


def _weights_sentence(e: Evidence) -> str:
    words = f"k-hat is {number(e['khat'])} in the worst seed, above {setting(KHAT)}"
    return f"{words}; {e['message']}" if e["message"] else words


def _detect_doubt(scene: OtherScene) -> Found | None:
    """Take a run's own message where nothing else is known; asked last."""
    message = _message(scene)
    if scene.chains or scene.found or not message:
        return None
    return Found(math.nan, {"message": message})


def _message(scene: OtherScene) -> str:
    return next((r.message for r in scene.with_draws if r.message), "")


TRUNCATED = cause(
    "truncated normal", OtherScene, _detect_truncated, _truncated_sentence, gap="family"
)
WEIGHTS = cause("weights", OtherScene, _detect_weights, _weights_sentence)
OWN_DOUBT = cause("its own doubt", OtherScene, _detect_doubt, lambda e: str(e["message"]))
