"""Shapes that no Gaussian has, in what correlation and modes leave of a gap.

The names speak of q: where the posterior's tails are heavier than a Gaussian's, q's are too light.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import metrics
from harness.records import Estimate
from harness.records.text import number, percent, with_error
from harness.why.causes.row import COUNTS, CauseRow, Evidence, FamilyScene, Found

if TYPE_CHECKING:
    from harness.why.posterior import Posterior

CURVED, CURVED_LEFT = 0.1, 0.01
"""Share of a parameter's variance about a straight line that the other's square must explain; and
the least of it that must be left."""

ARMS = 2.3
"""Kurtosis below which a parameter has two arms where the other one is far out: a normal has 3, and
a funnel's mouth more. Both are wide there."""

ENOUGH = 0.1
"""Share of what is left of a gap from which a marginal's shape is taken to explain it."""


def _shape(scene: FamilyScene) -> tuple[str, dict[str, Any]]:
    """Return the id of the shape that explains what is left, and its evidence."""
    posterior = scene.posterior
    if posterior is None:
        return "other shape", {"why": "no draws"}
    names, funnel = posterior.names, posterior.funnel
    curve = _curve(posterior)
    arms = curve is not None and curve["arms"]
    if funnel is not None and metrics.is_funnel(funnel) and not arms:
        pair = {"of": names[funnel.of], "on": names[funnel.on]}
        return "funnel", {**pair, "ratio": funnel.ratio, "wide": funnel.wide}
    return _marginal(scene, posterior) if curve is None else ("curved", curve)


def _marginal(scene: FamilyScene, posterior: Posterior) -> tuple[str, dict[str, Any]]:
    """Return the shape of a marginal that explains what is left, and its evidence."""
    names, shapes = posterior.names, posterior.shapes
    nats = np.array([(s.skew_nats.value, s.tail_nats.value) for s in shapes])
    # A marginal with two modes has no tails to speak of.
    usable = np.isfinite(nats).all(axis=1) & posterior.unimodal
    if not usable.any():
        return "other shape", {"why": "no marginal"}
    nats = np.where(usable[:, None], nats, 0.0)
    skew, tails = nats.sum(axis=0).tolist()
    if not max(skew, tails) > max(COUNTS, ENOUGH * scene.rest):
        return "other shape", {"why": "unexplained", "skew": skew, "tails": tails}
    k = int(np.argmax(nats[:, 0 if skew >= tails else 1]))
    of, found = names[k], shapes[k]
    if skew >= tails:
        return "skew", {"of": of, "skewness": found.skewness, "l_skewness": found.l_skewness}
    evidence: dict[str, Any] = {"of": of, "l_kurtosis": found.l_kurtosis}
    if found.settled:
        evidence["excess_kurtosis"] = found.excess_kurtosis
    # The posterior's heavy tails make q's too light.
    return ("light tails" if found.tail_excess.value > 0 else "heavy tails"), evidence


def _curve(posterior: Posterior) -> dict[str, Any] | None:
    """Return the parameter that follows another one's square most closely, if one does.

    On normal scores, which heavy tails and skewness do not disturb: the squared correlation of
    what straight lines in ``on`` leave of ``of`` and of the square of ``on``.
    """
    n, d = posterior.z.shape
    from scipy import stats  # slow, and an analysis that is stored needs none

    x = stats.norm.ppf((stats.rankdata(posterior.z, axis=0) - 0.5) / n)
    square = x**2 - 1
    correlation = np.corrcoef(x, rowvar=False).reshape(d, d)
    left = np.sqrt(np.maximum(1 - correlation**2, CURVED_LEFT))
    share = (square.T @ x / n / square.std(axis=0)[:, None] / left) ** 2
    share[~posterior.unimodal] = share[:, ~posterior.unimodal] = 0.0
    np.fill_diagonal(share, 0.0)
    on, of = np.unravel_index(int(np.argmax(share)), share.shape)
    most = float(share[on, of])
    if not math.sqrt(most) - 4 / math.sqrt(posterior.effective) > math.sqrt(CURVED):
        return None
    far = np.argsort(-np.sign(square[:, on] @ x[:, of]) * x[:, of])[: n // 3]
    arms = bool(stats.kurtosis(posterior.z[far, on], fisher=False) < ARMS)
    names = {"of": posterior.names[of], "on": posterior.names[on]}
    return {**names, "share": min(most, 1.0), "arms": arms}


def _row(name: str, title: str, sentence: Callable[[Evidence], str]) -> CauseRow:
    def detect(scene: FamilyScene) -> Found | None:
        # Without log Z a shape can still be seen, but not that something else is missing.
        unknown = scene.alone and math.isnan(scene.gap.value) and name != "other shape"
        found, evidence = _shape(scene) if scene.left or unknown else ("", {})
        return Found(scene.rest, evidence) if found == name else None

    return CauseRow(name, title, "family", FamilyScene, detect, sentence)


def _figure(pair: Sequence[float]) -> str:
    value, error = pair
    if not math.isfinite(error):
        return f"{number(value)} (its error is unknown)"
    return with_error(Estimate(value, error))


def _funnel_sentence(e: Evidence) -> str:
    where = "large" if e["wide"] == "upper" else "small"
    return (
        f"{e['of']} is {_figure(e['ratio'])} times as widely spread where {e['on']} is {where} as "
        "at its other end; a Gaussian's spread is the same everywhere"
    )


def _curved_sentence(e: Evidence) -> str:
    return (
        f"the square of {e['on']} explains {percent(e['share'])} of what a straight line leaves of "
        f"{e['of']}: the posterior is bent, and a Gaussian's lines are straight"
    )


def _skew_sentence(e: Evidence) -> str:
    return (
        f"on the unconstrained scale {e['of']} has skewness {_figure(e['skewness'])} and "
        f"L-skewness {_figure(e['l_skewness'])}; a Gaussian has 0"
    )


def _tails_sentence(than: str) -> Callable[[Evidence], str]:
    def sentence(e: Evidence) -> str:
        fourth = "a fourth moment that does not settle"
        if "excess_kurtosis" in e:
            fourth = f"excess kurtosis {_figure(e['excess_kurtosis'])}"
        return (
            f"on the unconstrained scale the posterior's tails of {e['of']} are {than} than a "
            f"Gaussian's: {fourth}, L-kurtosis {_figure(e['l_kurtosis'])} where a Gaussian has "
            "0.123"
        )

    return sentence


def _other_sentence(e: Evidence) -> str:
    if e["why"] == "no draws":
        return "correlation and modes do not explain it, and no trusted draws show the shape"
    if e["why"] == "no marginal":
        return "the marginals have several modes, or too few draws to show their shape"
    return (
        "correlation, modes and the marginals' skewness and tails "
        f"({number(e['skew'])} and {number(e['tails'])} nats) do not explain it"
    )


FUNNEL = _row("funnel", "funnel", _funnel_sentence)
BANANA = _row("curved", "banana", _curved_sentence)
SKEW = _row("skew", "skew", _skew_sentence)
LIGHT_TAILS = _row("light tails", "tails too light (q)", _tails_sentence("heavier"))
HEAVY_TAILS = _row("heavy tails", "tails too heavy (q)", _tails_sentence("lighter"))
OTHER_SHAPE = _row("other shape", "other shape", _other_sentence)
