"""Logarithms of the ratios of 5-95% widths and of sds; −∞ where q has collapsed to a point."""

from __future__ import annotations

import math

from harness.metrics.distance import distance, log_ratio
from harness.metrics.metric import LARGEST_LOG, Column, Metric, Scene, not_finite
from harness.metrics.missed_mass import MISSED_MASS
from harness.metrics.sample import Sample
from harness.metrics.summaries import Q5, Q95, SD
from harness.records import Estimate, Rule
from harness.records.text import number, with_error

EXPLAINS = 0.5
"""A correlation of at least this size is given as the reason why a factorised q is narrow."""

ONE_QUANTITY = 0.995
"""Beyond this correlation two names stand for one quantity, which explains nothing."""

A_MODE = 0.05
"""Where a mode of this mass is missed, that is why q is narrow."""

SAME = math.log(1.1)
"""The sd ratio is given instead of the width ratio if the two differ by less than this."""


def width_ratio(own: Sample, ref: Sample) -> Estimate:
    """Return ln of the ratio of the 5-95% widths."""
    return log_ratio(
        Estimate(own.width, own.log_width_mcse), Estimate(ref.width, ref.log_width_mcse)
    )


@distance
def _log_sd(own: Sample, ref: Sample) -> Estimate:
    return log_ratio(Estimate(own.sd, own.log_sd_mcse), Estimate(ref.sd, ref.log_sd_mcse))


def _sd_ratio(s: Scene) -> float | None:
    """Return the ratio of the sds if it says the same as the ratio of the widths."""
    own, theirs = s.own.get(SD.id), s.theirs.get(SD.id)
    if own is None or theirs is None or not (own.value > 0 and theirs.value > 0):
        return None
    ratio = own.value / theirs.value
    same = math.isfinite(ratio) and abs(math.log(ratio) - s.value) < SAME
    return ratio if same else None


def _named(s: Scene) -> tuple[str, float]:
    ratio = _sd_ratio(s)
    width = math.exp(min(s.value, LARGEST_LOG))
    return ("5-95% width", width) if ratio is None else ("sd", ratio)


def _figures(s: Scene, name: str) -> str:
    if name == "sd":
        return f" ({number(s.own[SD.id].value)} against {with_error(s.theirs[SD.id])})"
    if all(q.id in figures for q in (Q5, Q95) for figures in (s.own, s.theirs)):
        own, theirs = (f[Q95.id].value - f[Q5.id].value for f in (s.own, s.theirs))
        return f" ({number(own)} against {number(theirs)})"
    return ""


def _clause(s: Scene, _: str) -> str:
    if s.value == -math.inf:
        sd = s.theirs.get(SD.id)
        against = f" where the sd is {with_error(sd)}" if sd is not None else ""
        return f"{s.method} has collapsed to a single point{against}"
    if s.value == math.inf:
        return not_finite(s)
    name, ratio = _named(s)
    text = f"{s.method}'s {name} is {number(ratio)} of the reference's{_figures(s, name)}"
    partner = s.context.correlations.get(s.quantity)
    missed = s.own.get(MISSED_MASS.id)
    if (
        partner is not None
        and s.context.factorised
        and s.value < 0
        and EXPLAINS <= abs(partner[1]) <= ONE_QUANTITY
        and (missed is None or missed.value <= A_MODE)
    ):
        first, second = sorted((s.quantity, partner[0]))
        text += f", because {first} and {second} correlate at {number(partner[1])}"
    return text


def _brief(s: Scene, _: str) -> str:
    if s.value == -math.inf:
        return f"{s.quantity} collapsed to a point"
    if s.value == math.inf:
        return f"draws of {s.quantity} not finite"
    name, ratio = _named(s)
    return f"{name} of {s.quantity} {number(ratio)} of the reference's"


def _change(before: Scene | None, after: Scene) -> str:
    """Give the ratio of sds where it says the same as that of the widths both times."""
    scenes = [after] if before is None else [after, before]
    ratios = [r for r in map(_sd_ratio, scenes) if r is not None]
    name = "sd"
    if len(ratios) < len(scenes):
        name, ratios = "5-95% width", [math.exp(min(s.value, LARGEST_LOG)) for s in scenes]
    was = "unknown" if before is None else number(ratios[1])
    return f"{name} of {after.quantity} {number(ratios[0])} of the reference's instead of {was}"


WIDTH = Metric(
    id="log_width_ratio",
    noun="ratio of the 5-95% widths",
    scope="quantity",
    kinds=("continuous", "heavy"),
    measure=distance(width_ratio),
    log=True,
    rule=Rule(
        math.log(1.15),
        math.log(1.5),
        "both",
        "intervals 1.5 times too wide or too narrow do not have their nominal coverage",
    ),
    telling=9,
    clause=_clause,
    brief=_brief,
    change=_change,
    column=Column("width ×", "width from the 5% to the 95% quantile, over the reference's"),
)
LOG_SD_RATIO = Metric(
    id="log_sd_ratio",
    noun="ratio of the sds",
    scope="quantity",
    kinds=("continuous", "heavy"),
    measure=_log_sd,
    log=True,
)
