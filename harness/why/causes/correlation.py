"""Correlation: the family has independent parameters, and the posterior's are dependent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness import metrics
from harness.records import Estimate
from harness.records.text import number
from harness.why.causes.row import COUNTS, SHARE, Evidence, FamilyScene, Found, cause, figure

AGREES = 0.1
"""Log ratio of sds up to which a prediction has come true."""


def _detect(scene: FamilyScene) -> Found | None:
    """Compare the best full-rank Gaussian with the best mean-field one."""
    closer, gap = scene.correlation, scene.gap
    unknown = math.isnan(gap.value)
    if scene.family == "meanfield" and closer is None and scene.widened is not None:
        of, times = scene.widened
        return Found(math.nan, {"widened": of, "times": times})
    if scene.family != "meanfield" or closer is None or (unknown and not scene.alone):
        return None
    if not closer.value - 2 * closer.mcse > max(COUNTS, SHARE * gap.value):
        return None
    evidence: dict[str, Any] = {"closer": closer, "gap": gap}
    full = scene.fullrank_gap
    if full is not None and math.isfinite(full.value):
        evidence["fullrank"] = Estimate(max(full.value, 0.0), full.mcse)
    nats = closer.value if unknown else min(closer.value, gap.value)
    return Found(nats, evidence | _pair(scene))


def _pair(scene: FamilyScene) -> dict[str, Any]:
    """Return the strongest correlation, and the narrowest sd that correlation alone explains."""
    posterior = scene.posterior
    if posterior is None or len(posterior.names) == 1:
        return {}
    corr = np.atleast_2d(np.corrcoef(posterior.z, rowvar=False))
    np.fill_diagonal(corr, 0.0)
    i, j = np.unravel_index(int(np.argmax(np.abs(corr))), corr.shape)
    names = posterior.names
    pair: dict[str, Any] = {"pair": (names[i], names[j]), "r": float(corr[i, j])}
    try:
        predicted = metrics.conditional_sds(posterior.covariance) / posterior.sd
    except ValueError:
        return pair
    ratio = scene.best.q.sd / posterior.sd
    # Where something else narrows it too, the prediction is no evidence.
    agree = np.abs(np.log(ratio / predicted)) < AGREES
    if not agree.any():
        return pair
    k = int(np.argmin(np.where(agree, predicted, np.inf)))
    sd = {"sd_of": names[k], "sd": float(ratio[k]), "predicted": float(predicted[k])}
    return pair | sd


def _sentence(e: Evidence) -> str:
    if "widened" in e:
        return (
            f"linear response's sd of {e['widened']} is {number(e['times'])} times this "
            "Gaussian's; what that costs in nats is not known"
        )
    words = f"the best full-rank Gaussian is {figure(e['closer'])} nats closer"
    if "fullrank" in e:
        left, gap = figure(e["fullrank"]), figure(e["gap"])
        words = f"the best full-rank Gaussian is {left} nats from the posterior, this one {gap}"
        if left == "0":
            words = f"the best full-rank Gaussian is the posterior; this one is {gap} nats away"
    if "pair" in e:
        words += "; {} and {} have correlation ".format(*e["pair"]) + number(e["r"])
    if "sd_of" in e:
        words += (
            f"; this Gaussian's sd of {e['sd_of']} is {number(e['sd'])} of the posterior's, and "
            f"correlation alone (1/√Λᵢᵢ) predicts {number(e['predicted'])}"
        )
    return words


CORRELATION = cause("correlation", FamilyScene, _detect, _sentence)
