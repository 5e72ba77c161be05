"""Logarithms of the ratios of 5-95% widths and of sds; −∞ where q has collapsed to a point."""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.distance import INFINITE, distance, log_ratio
from harness.metrics.joint import Block, Joint, jointly
from harness.metrics.metric import LARGEST_LOG, Column, Metric, Scene, not_finite
from harness.metrics.missed_mass import MISSED_MASS
from harness.metrics.sample import Sample, prepare
from harness.metrics.summaries import Q5, Q95, SD
from harness.records import NO_ESTIMATE, Estimate, FloatArray, Rule
from harness.records.text import number, with_error

EXPLAINS = 0.5
"""A correlation of at least this size is given as the reason why a factorised q is narrow."""

ONE_QUANTITY = 0.995
"""Beyond this correlation two names stand for one quantity, which explains nothing."""

A_MODE = 0.05
"""Where a mode of this mass is missed, that is why q is narrow."""

SAME = math.log(1.1)
"""The sd ratio is given instead of the width ratio if the two differ by less than this."""


def _width_ratio(own: Sample, ref: Sample) -> Estimate:
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
    measure=distance(_width_ratio),
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
    id="log_sd_ratio", noun="ratio of the sds", scope="quantity", measure=_log_sd, log=True
)


FAR_APART = 1e4
"""With a larger ratio of scales, that coordinate itself is the worst direction."""

SINGULAR = 1e-10
"""Directions with less than this share of the largest eigenvalue are identities of the
program (a simplex sums to 1), not directions in which draws vary."""


def _worst_direction(_: Joint, q: Block, ref: Block) -> Estimate:
    """Return ln of the width ratio along the most wrong linear combination.

    Directions are the extreme generalised eigenvectors of Σ_q against Σ in one half of the draws,
    measured in the other half and averaged over both ways: otherwise the largest of many noisy
    ratios would pass for an error.
    """
    k = len(ref.z)
    if min(b.flat.shape[1] // 2 for b in (q, ref)) < k + 2:
        return NO_ESTIMATE
    by_half = [
        [_along(q, ref, test, d) for d in _extremes(q, ref, fit)] for fit, test in ((0, 1), (1, 0))
    ]
    averages = [
        Estimate((one.value + other.value) / 2, math.hypot(one.mcse, other.mcse) / 2)
        for one, other in zip(*by_half, strict=True)
    ]
    # A direction that has collapsed in one half averages to −∞; ∞ − ∞ is no less wrong.
    worst = max(averages, key=lambda e: math.inf if math.isnan(e.value) else abs(e.value))
    return INFINITE if math.isnan(worst.value) else worst


def _along(q: Block, ref: Block, half: int, direction: FloatArray) -> Estimate:
    """Return ln of the ratio of widths of one half of the draws along a direction."""
    own, theirs = (
        prepare(np.tensordot(direction, b.half(half), axes=1), iid=b.iid) for b in (q, ref)
    )
    return _width_ratio(own, theirs) if own.finite else INFINITE


def _extremes(q: Block, ref: Block, half: int) -> list[FloatArray]:
    """Return the directions in which q is narrowest and widest relative to the reference."""
    ratio = q.scale / ref.scale
    if not (np.min(ratio) > 1 / FAR_APART and np.max(ratio) < FAR_APART):
        axes = np.eye(len(ratio))
        return [axes[int(np.argmin(ratio))], axes[int(np.argmax(ratio))]]
    values, vectors = np.linalg.eigh(_covariance(ref, half))
    keep = values > SINGULAR * values[-1]
    whiten = vectors[:, keep] / np.sqrt(values[keep])
    _, rotated = np.linalg.eigh(whiten.T @ _covariance(q, half) @ whiten)
    found = whiten @ rotated[:, [0, -1]]
    return [d / np.linalg.norm(d) for d in found.T]


def _covariance(block: Block, half: int) -> FloatArray:
    """Return the covariance of draws clipped to five robust sds, because of heavy tails."""
    reach = 5 * block.scale
    low, high = (block.centre + sign * reach for sign in (-1, 1))
    x = block.half(half)
    x = np.clip(x, low[:, None, None], high[:, None, None]).reshape(len(reach), -1)
    x -= np.mean(x, axis=1)[:, None]
    return np.asarray(x @ x.T) / (x.shape[1] - 1)


def _direction(s: Scene, size: str) -> str:
    if s.value == math.inf:
        return not_finite(s)
    if s.value == -math.inf:
        return f"in some linear combination {s.method} has collapsed to a single point"
    return f"in its worst linear combination {s.method} is {size} times as wide as the reference"


WORST_DIRECTION = Metric(
    id="worst_direction",
    noun="width ratio of the worst linear combination",
    scope="joint",
    measure=jointly(_worst_direction),
    log=True,
    rule=Rule(
        math.log(1.15),
        math.log(1.5),
        "both",
        "some linear combination is that wrong, even if each quantity alone looks right",
    ),
    telling=14,
    clause=_direction,
    brief=lambda _, size: f"a linear combination {size} times as wide",
)
