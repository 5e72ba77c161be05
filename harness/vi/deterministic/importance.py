"""Pareto-smoothed importance sampling of a posterior with Gaussians as proposals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.records import FloatArray
from harness.vi.gaussian import LOG_TWO_PI, Factor, inputs, log_determinant, scaled, square

Khat = Callable[[FloatArray, FloatArray], float]
"""k-hat from log p and log q, each ``(draw,)``; infinite if the weights degenerate."""

PER_DRAW = 4
"""Effective weights per delivered draw.

Draws resampled from that many weights hardly repeat. The error that they share through the
weights makes means at most √(1 + 1/4) − 1 = 12% less certain than independence suggests; in fact
less, because systematic resampling takes without replacement.
"""

FEWEST = 100

FAR_NATS = 2000.0
"""k-hat ignores how far below the largest log p a draw lies beyond this, because it judges
rounding errors by the range of log p."""

SHARE, NU = 0.1, 2.0
"""Share and degrees of freedom of the heavy-tailed part of the proposals.

Tails lighter than the posterior's would leave means without a finite error: two degrees of freedom
are enough for every posterior that has a variance.
"""

LEAST_SHARE, LARGEST = 0.05, 0.01
"""Weights are believed if their ESS is this share of the proposals, and none is a larger share.

Of 32 runs on posteriors that were not used to set them, these limits trusted 22, none of them
wrong, and refused none that was close. k-hat separated nothing there.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Smoothed weights, with k-hat and effective sample size."""

    weight: FloatArray  # shape (draw,); they sum to 1
    khat: float
    ess: float
    outside: int  # draws at which the posterior has no finite density

    @property
    def trusted(self) -> bool:
        """Whether they are many enough to correct q: see ``LEAST_SHARE`` and ``LARGEST``."""
        return self.ess >= LEAST_SHARE * len(self.weight) and self.largest <= LARGEST

    @property
    def largest(self) -> float:
        """The largest weight."""
        return float(self.weight.max())


def smoothed_weights(log_p: FloatArray, log_q: FloatArray, khat: Khat) -> Weights:
    """Return Pareto-smoothed weights p / q (Vehtari et al. 2024, JMLR 25).

    Log densities, in nats, may lack a constant. A draw with log p = −∞ has weight 0. A NaN makes
    k-hat infinite, because p is then unknown.
    """
    from arviz_stats.base import array_stats

    unknown = np.isnan(log_p) | (log_p == np.inf)
    outside = ~np.isfinite(log_p)
    inside = ~outside
    weight = np.zeros(len(log_p))
    if inside.sum() < 2:  # noqa: PLR2004
        return Weights(np.full(len(log_p), 1 / len(log_p)), math.inf, 0.0, int(outside.sum()))
    log_w = log_p[inside] - log_q[inside]
    log_w -= log_w.max()
    # Draws far below the peak have no weight, but would hide differences among the others.
    top = np.maximum(log_p[inside], log_p[inside].max() - FAR_NATS)
    k = math.inf if unknown.any() else khat(top, log_q[inside])
    if math.isfinite(k) and np.ptp(log_w) > 1e-9:  # noqa: PLR2004 - equal weights have no tail
        # ArviZ expects log likelihoods, the inverse weights, and negates its input.
        smooth, _ = array_stats.psislw(-log_w)
        if smooth[np.argmin(log_w)] > smooth[np.argmax(log_w)]:
            raise RuntimeError(
                "arviz_stats.psislw no longer negates its input: the weights would be those of q/p"
            )
        log_w = np.asarray(smooth)
    found = np.exp(log_w - log_w.max())
    weight[inside] = found / found.sum()
    return Weights(weight, k, float(1 / np.sum(weight**2)), int(outside.sum()))


class Proposal(Protocol):
    """The density that draws come from and are weighted against."""

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Return draws, shape ``(n, d)``."""

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the log density, shape ``(point,)``, nats."""


@dataclass(frozen=True, slots=True, eq=False)
class Defensive:
    """A Gaussian and a Student-t: ``(1 − SHARE) N(m, LL') + SHARE t_NU(m, LL')``.

    Weights against it are at most 1 / (1 − SHARE) times those against the Gaussian. If the
    posterior has heavier tails than the Gaussian, the t keeps the weights bounded (Hesterberg
    1995, *Technometrics* 37). ``mean`` and ``factor`` are those of a
    :class:`~harness.vi.gaussian.Gaussian`.
    """

    mean: FloatArray
    factor: Factor

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Return draws, shape ``(n, d)``."""
        return np.asarray(self.mean + scaled(self._units(n, rng), self.factor))

    def drawn(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return draws, shape ``(n, d)``, with their log densities, shape ``(n,)``, nats."""
        unit = self._units(n, rng)
        moved = scaled(unit, self.factor)
        if isinstance(self.factor, np.ndarray):
            # The density of m + L u needs only the length of u: no system of equations is solved.
            length = np.einsum("nd,nd->n", unit, unit)
        else:
            length = square(moved, self.factor)
        return np.asarray(self.mean + moved), self._log_density(length)

    def _units(self, n: int, rng: np.random.Generator) -> FloatArray:
        unit = rng.standard_normal((n, inputs(self.factor)))
        heavy = rng.random(n) < SHARE
        unit[heavy] /= np.sqrt(rng.chisquare(NU, size=(int(heavy.sum()), 1)) / NU)
        return unit

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the log density, shape ``(point,)``, nats."""
        return self._log_density(square(z - self.mean, self.factor))

    def _log_density(self, distance: FloatArray) -> FloatArray:
        """Return the log density at points whose squared Mahalanobis distances are given."""
        d = len(self.mean)
        log_det = log_determinant(self.factor)
        normal = -0.5 * distance - log_det - 0.5 * d * LOG_TWO_PI
        student = (
            math.lgamma((NU + d) / 2)
            - math.lgamma(NU / 2)
            - 0.5 * d * math.log(NU * math.pi)
            - log_det
            - 0.5 * (NU + d) * np.log1p(distance / NU)
        )
        both = np.logaddexp(math.log1p(-SHARE) + normal, math.log(SHARE) + student)
        return np.asarray(both)


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Several proposals with their shares, which sum to 1."""

    parts: tuple[Defensive, ...]
    shares: tuple[float, ...]

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Return draws, shape ``(n, d)``, in random order."""
        counts = rng.multinomial(n, self.shares)
        drawn = [p.draw(int(c), rng) for p, c in zip(self.parts, counts, strict=True)]
        return np.asarray(rng.permutation(np.concatenate(drawn)))

    def drawn(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return draws, shape ``(n, d)``, with their log densities, shape ``(n,)``, nats."""
        z = self.draw(n, rng)
        return z, self.log_density(z)

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the log density, shape ``(point,)``, nats."""
        each = [
            math.log(s) + p.log_density(z) for p, s in zip(self.parts, self.shares, strict=True)
        ]
        return np.asarray(np.logaddexp.reduce(np.stack(each), axis=0))


def systematic(weight: FloatArray, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return ``count`` indices, each i about ``count · weight[i]`` times, in random order."""
    edges = np.cumsum(weight)
    edges /= edges[-1]
    index = np.searchsorted(edges, (np.arange(count) + rng.random()) / count, side="right")
    # The permutation removes the order of the weighted draws.
    return np.asarray(rng.permutation(np.minimum(index, len(weight) - 1)))


def delivered(wanted: int, ess: float) -> int:
    """Return how many resampled draws may count as independent."""
    return min(wanted, max(FEWEST, round(ess / PER_DRAW)))
