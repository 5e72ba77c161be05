"""Distances between two samples of several scalars that the marginals do not show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import rankdata

from harness.metrics.sample import CONSTANT, SD_PER_WIDTH, effective_size, prepare
from harness.metrics.scalar import CHANCE, log_ratio
from harness.records import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray

MOST_DRAWS = 10_000
"""More draws than this are thinned: the error is then well under every limit."""

DIRECTIONS = 50
LEVELS = 500
"""How many random directions, and at how many quantiles each is compared."""

FAR_APART = 1e4
"""A ratio of scales beyond which that coordinate is the worst direction, no search needed."""

SINGULAR = 1e-10
"""Directions with less than this share of the largest eigenvalue are identities of the
program (a simplex sums to 1), not directions in which draws vary."""

METRICS = ("corr_error", "worst_direction", "sliced_w1")


class Joint(NamedTuple):
    """A joint metric and what it was found at.

    ``detail`` is ``(i, j, r_q, r_ref)`` for ``corr_error``; ``(i, weight, …)`` for
    ``worst_direction``, the three columns with the largest weights in units of the reference's
    sd; ``(largest distance of one direction,)`` for ``sliced_w1``.
    """

    estimate: Estimate
    detail: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Standardised draws of all columns.

    ``z`` has shape ``(column, chain, draw)``, so that each column lies in one piece;
    ``centre`` and ``scale`` are the columns' medians and robust sds, ``ranks`` their ranks on
    (−½, ½), shape ``(column, chain * draw)``.
    """

    z: FloatArray
    iid: bool
    centre: FloatArray
    scale: FloatArray
    ranks: FloatArray

    @property
    def flat(self) -> FloatArray:
        """All draws of each column, shape ``(column, chain * draw)``."""
        return self.z.reshape(self.z.shape[0], -1)

    def half(self, which: int) -> FloatArray:
        """Return the first or second half of every chain."""
        middle = self.z.shape[2] // 2
        return self.z[:, :, :middle] if which == 0 else self.z[:, :, middle:]

    def worth(self, series: FloatArray) -> float:
        """Return the effective number of draws for the mean of a flat series."""
        shape = self.z.shape[1:]
        return float(series.size) if self.iid else effective_size(series.reshape(shape))


def compare_joint(
    q: FloatArray,
    q_iid: bool,  # noqa: FBT001 (each flag follows its array)
    ref: FloatArray,
    ref_iid: bool,  # noqa: FBT001 (the same)
    rng: np.random.Generator,
) -> dict[str, Joint]:
    """Compare dependence: correlations, the worst linear combination, random projections.

    ``corr_error``
        The largest absolute error of a correlation. Correlations are Spearman's ρ turned into
        the correlation of the normal distribution with that ρ, 2 sin(π ρ / 6), so that heavy
        tails do no harm; a constant column of q correlates with nothing.
    ``worst_direction``
        ln of the ratio of 5-95% widths along the linear combination that is most too wide or
        too narrow. Directions are the extreme generalised eigenvectors of Σ_q against Σ in one
        half of the draws, measured in the other half and averaged over both ways: the largest
        of many noisy ratios would else pass for an error.
    ``sliced_w1``
        The mean over random directions of the Wasserstein distance of projections, in units
        of the reference's sd, less what chance shows.

    Parameters
    ----------
    q, ref
        Draws, shape ``(chain, draw, quantity)``, the same quantities in the same order.
    q_iid, ref_iid
        Whether the draws are independent.
    rng
        For the random directions only.

    Returns
    -------
    dict
        Empty where fewer than two quantities vary in the reference. All infinite where q has a
        draw that is not finite, or one too large to be squared.
    """
    q, ref = (a[:, :: max(1, -(-a.shape[0] * a.shape[1] // MOST_DRAWS))] for a in (q, ref))
    usable = _usable(ref)
    if usable.size < 2:  # noqa: PLR2004 (one quantity has no joint distribution)
        return {}
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        blocks = _blocks(q[:, :, usable], ref[:, :, usable], iid=(q_iid, ref_iid))
        if blocks is None:
            return dict.fromkeys(METRICS, Joint(Estimate(math.inf, 0.0), ()))
        corr = _corr_error(*blocks)
        direction = _worst_direction(*blocks)
        return {
            "corr_error": Joint(
                corr.estimate, (*(int(usable[int(i)]) for i in corr.detail[:2]), *corr.detail[2:])
            ),
            "worst_direction": Joint(direction.estimate, _heaviest(direction.detail, usable)),
            "sliced_w1": _sliced(*blocks, rng),
        }


def _usable(ref: FloatArray) -> NDArray[np.intp]:
    """Return the columns that vary in the reference and are finite."""
    low, high = np.min(ref, axis=(0, 1)), np.max(ref, axis=(0, 1))
    largest = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.flatnonzero(np.isfinite(largest) & (high / 2 - low / 2 > CONSTANT * largest))


def _blocks(
    q: FloatArray, ref: FloatArray, *, iid: tuple[bool, bool]
) -> tuple[_Block, _Block] | None:
    """Put both on the scale of the reference's medians and 5-95% widths; None if q cannot be."""
    k = ref.shape[2]
    theirs = np.ascontiguousarray(np.moveaxis(ref, 2, 0))
    centre, scale, ranks = _order(theirs.reshape(k, -1))
    theirs = (theirs - centre[:, None, None]) / scale[:, None, None]
    own = (np.moveaxis(q, 2, 0) - centre[:, None, None]) / scale[:, None, None]
    if own.size == 0 or not np.all(np.isfinite(own)):
        return None
    own = np.ascontiguousarray(own)
    return (
        _Block(own, iid[0], *_order(own.reshape(k, -1))),
        _Block(theirs, iid[1], np.zeros(k), np.ones(k), ranks),
    )


def _order(columns: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return median, robust sd (the sd where the width is zero) and ranks of each column.

    Equal values share their rank.
    """
    k, n = columns.shape
    order = np.argsort(columns, axis=1)
    ranks = np.empty((k, n))
    steps = np.arange(1.0, n + 1)
    ordered = np.empty((k, n))
    for i in range(k):
        ranks[i, order[i]] = steps
        ordered[i] = columns[i, order[i]]
    tied = np.flatnonzero(np.any(ordered[:, 1:] == ordered[:, :-1], axis=1))
    if tied.size:
        ranks[tied] = rankdata(columns[tied], axis=1)
    low, centre, high = (ordered[:, int(p * (n - 1))] for p in (0.05, 0.5, 0.95))
    scale = (high - low) * SD_PER_WIDTH
    flat = scale == 0
    scale[flat] = np.std(columns[flat], axis=1)
    return centre, scale, (ranks - 0.5) / n - 0.5


def _corr_error(q: _Block, ref: _Block) -> Joint:
    found = [_rank_correlation(b.ranks) for b in (q, ref)]
    error = np.triu(np.abs(found[0] - found[1]), 1)
    i, j = (int(k) for k in np.unravel_index(int(np.argmax(error)), error.shape))
    spread = [
        _corr_mcse(block, i, j, float(c[i, j])) for block, c in zip((q, ref), found, strict=True)
    ]
    estimate = Estimate(float(error[i, j]), math.hypot(*spread))
    return Joint(estimate, (i, j, float(found[0][i, j]), float(found[1][i, j])))


def _rank_correlation(ranks: FloatArray) -> FloatArray:
    length = np.sqrt(np.sum(ranks**2, axis=1))
    unit = ranks / np.where(length == 0, 1.0, length)[:, None]
    return 2 * np.sin(np.pi / 6 * (unit @ unit.T))


def _corr_mcse(block: _Block, i: int, j: int, r: float) -> float:
    """Return the standard error of a correlation, by the influence function of Spearman's ρ.

    12 [u v + E V 1{U ≥ u} + E U 1{V ≥ v}] for ranks centred on 0 (Croux and Dehon, 2010).
    """
    u, v = block.ranks[i], block.ranks[j]
    if np.ptp(u) == 0 or np.ptp(v) == 0:
        return 0.0
    influence = 12 * (u * v + _above(u, v) + _above(v, u))
    slope = math.pi / 3 * math.sqrt(max(1 - (r / 2) ** 2, 0.0))
    return slope * float(np.std(influence)) / math.sqrt(block.worth(influence))


def _above(u: FloatArray, v: FloatArray) -> FloatArray:
    """Return E V 1{U ≥ u} at each draw's u."""
    order = np.argsort(u)
    out = np.empty(u.size)
    out[order] = np.cumsum(v[order][::-1])[::-1] / u.size
    return out


def _worst_direction(q: _Block, ref: _Block) -> Joint:
    k = len(ref.z)
    if min(b.flat.shape[1] // 2 for b in (q, ref)) < k + 2:
        return Joint(Estimate(math.nan, math.nan), ())
    candidates = []
    for fit, test in ((0, 1), (1, 0)):
        directions = _extremes(q, ref, fit)
        candidates.append([(_width_ratio(q, ref, test, d), d) for d in directions])
    averages = []
    for (one, direction), (other, _) in zip(*candidates, strict=True):
        value = (one.value + other.value) / 2
        averages.append((Estimate(value, math.hypot(one.mcse, other.mcse) / 2), direction))
    # A collapsed direction in one half only averages to −∞ as well; ∞ − ∞ is no less wrong.
    worst, direction = max(
        averages, key=lambda a: math.inf if math.isnan(a[0].value) else abs(a[0].value)
    )
    if math.isnan(worst.value):
        worst = Estimate(math.inf, 0.0)
    return Joint(worst, tuple(float(w) for w in direction))


def _width_ratio(q: _Block, ref: _Block, half: int, direction: FloatArray) -> Estimate:
    """Return ln of the ratio of widths of one half of the draws along a direction."""
    own, theirs = (
        prepare(np.tensordot(direction, b.half(half), axes=1), iid=b.iid) for b in (q, ref)
    )
    if not own.finite:
        return Estimate(math.inf, 0.0)
    return log_ratio(
        Estimate(own.width, own.log_width_mcse), Estimate(theirs.width, theirs.log_width_mcse)
    )


def _extremes(q: _Block, ref: _Block, half: int) -> list[FloatArray]:
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


def _covariance(block: _Block, half: int) -> FloatArray:
    """Return the covariance of draws pulled in to five robust sds, to steady heavy tails."""
    reach = 5 * block.scale
    low, high = (block.centre + sign * reach for sign in (-1, 1))
    x = block.half(half)
    x = np.clip(x, low[:, None, None], high[:, None, None]).reshape(len(reach), -1)
    x -= np.mean(x, axis=1)[:, None]
    return np.asarray(x @ x.T) / (x.shape[1] - 1)


def _heaviest(direction: tuple[float, ...], usable: NDArray[np.intp]) -> tuple[float, ...]:
    """Return the three largest weights of a direction with their columns."""
    top = np.argsort(-np.abs(direction))[:3]
    return tuple(x for i in top for x in (int(usable[int(i)]), direction[int(i)]))


def _sliced(q: _Block, ref: _Block, rng: np.random.Generator) -> Joint:
    """Return the mean Wasserstein distance over random directions, by quantiles.

    Quantile functions are compared at the midpoints of 500 levels; the error is that of the
    influence function averaged over directions, which share their draws.
    """
    directions = rng.normal(size=(DIRECTIONS, len(ref.z)))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    levels = (np.arange(LEVELS) + 0.5) / LEVELS
    projected = [directions @ b.flat for b in (q, ref)]
    n, m = (_least_worth(b) for b in (q, ref))
    deviation = np.std(projected[1], axis=1)[:, None]
    if math.isnan(n) or math.isnan(m):
        return Joint(Estimate(math.nan, math.nan), ())
    own, theirs = (_at_levels(p, levels) / deviation for p in projected)
    difference = own - theirs
    # The noise of a quantile is sqrt(u (1 − u) (1/n + 1/m)) times the slope of the function.
    slope = np.gradient((own + theirs) / 2, levels, axis=1)
    s = np.sqrt(levels * (1 - levels) * (1 / n + 1 / m)) * slope
    s = np.maximum(s, np.finfo(float).tiny)
    excess = np.abs(difference) - CHANCE * s * np.exp(-0.5 * (difference / s) ** 2)
    distances = np.mean(excess, axis=1)
    error = math.hypot(
        *(
            _sliced_sd(p / deviation, grid, np.sign(difference)) / math.sqrt(size)
            for p, grid, size in zip(projected, (own, theirs), (n, m), strict=True)
        )
    )
    value = float(np.mean(distances))
    if not (math.isfinite(value) and math.isfinite(error)):
        # Only squares or sums that overflow get here: effective sizes are checked above.
        return Joint(Estimate(math.inf, 0.0), ())
    return Joint(Estimate(value, error), (float(np.max(distances)),))


def _at_levels(projected: FloatArray, levels: FloatArray) -> FloatArray:
    ordered = np.sort(projected, axis=1)
    return ordered[:, (levels * ordered.shape[1]).astype(np.int64)]


def _least_worth(block: _Block) -> float:
    """Return the smallest effective size of the columns' means and squares."""
    if block.iid:
        return float(block.flat.shape[1])
    # NumPy's minimum, unlike Python's, keeps a NaN.
    return float(np.min([effective_size(f(c)) for c in block.z for f in (np.asarray, np.square)]))


def _sliced_sd(projected: FloatArray, grid: FloatArray, sign: FloatArray) -> float:
    """Return the sd of h averaged over directions, h' = sign(Q_q − Q) at each projection."""
    every = max(1, projected.shape[1] // 1000)
    step = np.diff(grid, axis=1) * (sign[:, 1:] + sign[:, :-1]) / 2
    h = np.concatenate([np.zeros((len(grid), 1)), np.cumsum(step, axis=1)], axis=1)
    total = np.zeros(projected[:, ::every].shape[1])
    for x, at, height in zip(projected[:, ::every], grid, h, strict=True):
        total += np.interp(x, at, height)
    return float(np.std(total / len(grid)))
