"""ln of the width ratio of the linear combination in which q is most wrong.

The marginals hide it. Up to 300 quantities, every combination is looked at; of more, those of a few
dozen directions (:meth:`harness.metrics.joint.Joint.basis`).
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from harness.metrics.block import Block
from harness.metrics.distance import INFINITE
from harness.metrics.joint import Joint, jointly
from harness.metrics.metric import Metric, Scene, not_finite
from harness.metrics.sample import prepare
from harness.metrics.width import width_ratio
from harness.records import NO_ESTIMATE, Estimate, FloatArray, Rule

FAR_APART = 1e4
"""With a larger ratio of scales, that coordinate itself is the worst direction."""

SINGULAR = 1e-10
"""Directions with less than this share of the largest eigenvalue are identities of the
program (a simplex sums to 1), not directions in which draws vary."""


def _worst_direction(joint: Joint, q: Block, ref: Block) -> Estimate:
    """Return ln of the width ratio along the most wrong linear combination.

    Directions are the extreme generalised eigenvectors of Σ_q against Σ in one half of the draws,
    measured in the other half and averaged over both ways: otherwise the largest of many noisy
    ratios would pass for an error.
    """
    by_half = []
    for fit, test in ((0, 1), (1, 0)):
        basis = joint.basis(fit)
        k = len(ref.z) if basis is None else len(basis)
        if min(b.half(fit)[0].size for b in (q, ref)) < k + 2:
            return NO_ESTIMATE
        found = _extremes(q, ref, fit, basis)
        by_half.append([_along(q, ref, test, d) for d in found])
    averages = [
        Estimate((one.value + other.value) / 2, math.hypot(one.mcse, other.mcse) / 2)
        for one, other in zip(*by_half, strict=True)
    ]
    # A direction that has collapsed in one half averages to −∞; ∞ − ∞ is no less wrong.
    worst = max(averages, key=lambda e: math.inf if math.isnan(e.value) else abs(e.value))
    return INFINITE if math.isnan(worst.value) else worst


def _along(q: Block, ref: Block, half: int, direction: FloatArray) -> Estimate:
    """Return ln of the ratio of widths of one half of the draws along a direction."""
    own, theirs = (prepare(_projected(b, half, direction), iid=b.iid) for b in (q, ref))
    return width_ratio(own, theirs) if own.finite else INFINITE


def _projected(block: Block, half: int, direction: FloatArray) -> FloatArray:
    """Return half the draws along a direction, shape ``(chain, draw)``."""

    def flat(part: slice) -> FloatArray:
        x = block.half(half, part)
        return x.reshape(len(x), -1)

    shape = block.half(half, slice(0, 1)).shape[1:]
    return block.projected(direction[None], flat).reshape(shape)


def _extremes(q: Block, ref: Block, half: int, basis: FloatArray | None) -> list[FloatArray]:
    """Return the directions in which q is narrowest and widest relative to the reference.

    They are combinations of the rows of ``basis``, or any where it is None.
    """
    ratio = q.scale / ref.scale
    if not (np.min(ratio) > 1 / FAR_APART and np.max(ratio) < FAR_APART):
        axes = np.eye(len(ratio))
        return [axes[int(np.argmin(ratio))], axes[int(np.argmax(ratio))]]
    own, theirs = (_covariance(b, half, basis) for b in (q, ref))
    values, vectors = np.linalg.eigh(theirs)
    keep = values > SINGULAR * values[-1]
    whiten = vectors[:, keep] / np.sqrt(values[keep])
    _, rotated = np.linalg.eigh(whiten.T @ own @ whiten)
    combined = whiten @ rotated[:, [0, -1]]
    found: FloatArray = combined if basis is None else basis.T @ combined
    return [d / np.linalg.norm(d) for d in found.T]


def _covariance(block: Block, half: int, basis: FloatArray | None) -> FloatArray:
    if basis is None:
        x = block.clipped(half)
    else:
        x = block.projected(basis, partial(block.clipped, half)).astype(np.float64)
    return np.asarray(x @ x.T / (x.shape[1] - 1))


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
