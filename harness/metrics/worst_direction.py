"""ln of the ratio of 5-95% widths along the most wrong linear combination of the quantities.

Directions are the extreme generalised eigenvectors of Σ_q against Σ in one half of the draws,
measured in the other half and averaged over both ways: otherwise the largest of many noisy
ratios would pass for an error.
"""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.distance import INFINITE, log_ratio
from harness.metrics.joint import Block, Joint, jointly
from harness.metrics.metric import Metric, not_finite
from harness.metrics.sample import prepare
from harness.metrics.scene import Scene
from harness.records import NO_ESTIMATE, Estimate, FloatArray, Rule

FAR_APART = 1e4
"""With a larger ratio of scales, that coordinate itself is the worst direction."""

SINGULAR = 1e-10
"""Directions with less than this share of the largest eigenvalue are identities of the
program (a simplex sums to 1), not directions in which draws vary."""


def _worst_direction(_: Joint, q: Block, ref: Block) -> Estimate:
    k = len(ref.z)
    if min(b.flat.shape[1] // 2 for b in (q, ref)) < k + 2:
        return NO_ESTIMATE
    by_half = [
        [_width_ratio(q, ref, test, d) for d in _extremes(q, ref, fit)]
        for fit, test in ((0, 1), (1, 0))
    ]
    averages = [
        Estimate((one.value + other.value) / 2, math.hypot(one.mcse, other.mcse) / 2)
        for one, other in zip(*by_half, strict=True)
    ]
    # A direction that has collapsed in one half averages to −∞; ∞ − ∞ is no less wrong.
    worst = max(averages, key=lambda e: math.inf if math.isnan(e.value) else abs(e.value))
    return INFINITE if math.isnan(worst.value) else worst


def _width_ratio(q: Block, ref: Block, half: int, direction: FloatArray) -> Estimate:
    """Return ln of the ratio of widths of one half of the draws along a direction."""
    own, theirs = (
        prepare(np.tensordot(direction, b.half(half), axes=1), iid=b.iid) for b in (q, ref)
    )
    if not own.finite:
        return INFINITE
    return log_ratio(
        Estimate(own.width, own.log_width_mcse), Estimate(theirs.width, theirs.log_width_mcse)
    )


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


def _clause(s: Scene, size: str) -> str:
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
    clause=_clause,
    brief=lambda _, size: f"a linear combination {size} times as wide",
)
