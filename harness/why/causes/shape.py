"""Funnel, skew, tails: shapes that no Gaussian has, in what correlation and modes leave of a gap.

The names speak of q: where the posterior's tails are heavier than a Gaussian's, q's are too light.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness import metrics
from harness.records import Estimate
from harness.records.text import number, with_error
from harness.why.causes.row import CauseRow, Evidence, FamilyScene, Found

if TYPE_CHECKING:
    from harness.records.runs import FloatArray

ENOUGH = 0.1
"""Share of what is left of a gap from which a marginal's shape is taken to explain it."""


class _Marginals(NamedTuple):
    """What the marginals' skewness and tails cost a Gaussian, nats, shape ``(d,)``."""

    skew: FloatArray
    tails: FloatArray
    usable: bool

    @property
    def explain(self) -> float:
        """The larger of the two sums."""
        return max(float(self.skew.sum()), float(self.tails.sum()))


def _marginals(scene: FamilyScene) -> _Marginals | None:
    """Return what the marginals show; None without trusted draws."""
    if scene.posterior is None:
        return None
    shapes = scene.posterior.shapes
    skew = np.array([s.skew_nats.value for s in shapes])
    tails = np.array([s.tail_nats.value for s in shapes])
    # A marginal with two modes has no tails to speak of.
    usable = np.isfinite(skew) & np.isfinite(tails) & scene.posterior.unimodal
    return _Marginals(
        np.where(usable, skew, 0.0), np.where(usable, tails, 0.0), usable=bool(usable.any())
    )


def _explained(scene: FamilyScene, kind: str) -> int | None:
    """Return the marginal with the most of a kind, if that kind explains what is left."""
    found = _marginals(scene) if scene.left else None
    if found is None or not found.usable or found.explain < ENOUGH * scene.rest:
        return None
    larger = "skew" if found.skew.sum() >= found.tails.sum() else "tails"
    return int(np.argmax(getattr(found, kind))) if kind == larger else None


def _detect_funnel(scene: FamilyScene) -> Found | None:
    """Find a parameter whose spread depends on another one."""
    if not scene.left or scene.posterior is None:
        return None
    funnel, names = scene.posterior.funnel, scene.posterior.names
    if funnel is None or not metrics.is_funnel(funnel):
        return None
    evidence = {
        "of": names[funnel.of],
        "on": names[funnel.on],
        "ratio": funnel.ratio,
        "wide": funnel.wide,
    }
    return Found(scene.rest, evidence)


def _funnel_sentence(e: Evidence) -> str:
    where = "large" if e["wide"] == "upper" else "small"
    return (
        f"{e['of']} is {with_error(Estimate(*e['ratio']))} times as widely spread where {e['on']} "
        f"is {where} as at its other end; a Gaussian's spread is the same everywhere"
    )


def _detect_skew(scene: FamilyScene) -> Found | None:
    """Find skewed marginals."""
    k = _explained(scene, "skew")
    if k is None or scene.posterior is None:
        return None
    shape = scene.posterior.shapes[k]
    evidence = {
        "of": scene.posterior.names[k],
        "skewness": shape.skewness,
        "l_skewness": shape.l_skewness,
    }
    return Found(scene.rest, evidence)


def _skew_sentence(e: Evidence) -> str:
    return (
        f"on the unconstrained scale {e['of']} has skewness {_figure(e['skewness'])} and "
        f"L-skewness {_figure(e['l_skewness'])}; a Gaussian has 0"
    )


def _figure(pair: Any) -> str:
    value, error = pair
    if not math.isfinite(error):
        return f"{number(value)} (its error is unknown)"
    return with_error(Estimate(value, error))


def _tails(scene: FamilyScene, *, heavy: bool) -> Found | None:
    k = _explained(scene, "tails")
    if k is None or scene.posterior is None:
        return None
    shape = scene.posterior.shapes[k]
    if (shape.tail_excess.value > 0) != heavy:
        return None
    evidence: dict[str, Any] = {"of": scene.posterior.names[k], "l_kurtosis": shape.l_kurtosis}
    if shape.settled:
        evidence["excess_kurtosis"] = shape.excess_kurtosis
    return Found(scene.rest, evidence)


def _detect_light(scene: FamilyScene) -> Found | None:
    """Find marginals of the posterior with tails that are heavier than q's."""
    return _tails(scene, heavy=True)


def _detect_heavy(scene: FamilyScene) -> Found | None:
    """Find marginals of the posterior with tails that are lighter than q's."""
    return _tails(scene, heavy=False)


def _light_sentence(e: Evidence) -> str:
    return _tails_sentence(e, "heavier")


def _heavy_sentence(e: Evidence) -> str:
    return _tails_sentence(e, "lighter")


def _tails_sentence(e: Evidence, than: str) -> str:
    fourth = "a fourth moment that does not settle"
    if "excess_kurtosis" in e:
        fourth = f"excess kurtosis {_figure(e['excess_kurtosis'])}"
    return (
        f"on the unconstrained scale the posterior's tails of {e['of']} are {than} than a "
        f"Gaussian's: {fourth}, L-kurtosis {_figure(e['l_kurtosis'])} where a Gaussian has 0.123"
    )


def _detect_other(scene: FamilyScene) -> Found | None:
    """Say what was looked at in vain; asked last."""
    if not scene.left:
        return None
    found = _marginals(scene)
    if found is None:
        return Found(scene.rest, {"why": "no draws"})
    if not found.usable:
        return Found(scene.rest, {"why": "no marginal"})
    sums = {"skew": float(found.skew.sum()), "tails": float(found.tails.sum())}
    return Found(scene.rest, {"why": "unexplained", **sums})


def _other_sentence(e: Evidence) -> str:
    if e["why"] == "no draws":
        return "correlation and modes do not explain it, and no trusted draws show the shape"
    if e["why"] == "no marginal":
        return "the marginals have several modes, or too few draws to show their shape"
    return (
        "correlation, modes and the marginals' skewness and tails "
        f"({number(e['skew'])} and {number(e['tails'])} nats) do not explain it"
    )


FUNNEL = CauseRow("funnel", "funnel", "family", FamilyScene, _detect_funnel, _funnel_sentence)
SKEW = CauseRow("skew", "skew", "family", FamilyScene, _detect_skew, _skew_sentence)
LIGHT_TAILS = CauseRow(
    "light tails", "tails too light (q)", "family", FamilyScene, _detect_light, _light_sentence
)
HEAVY_TAILS = CauseRow(
    "heavy tails", "tails too heavy (q)", "family", FamilyScene, _detect_heavy, _heavy_sentence
)
OTHER_SHAPE = CauseRow(
    "other shape", "other shape", "family", FamilyScene, _detect_other, _other_sentence
)
