"""Coordinates in which a posterior is about a standard normal, and densities drawn from in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.linalg import solve_triangular

from harness.vi.deterministic.importance import Defensive
from harness.vi.lanczos import lanczos

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.target import Clock, Target

RANK, DENSE = 80, 300
"""Directions in which low-rank coordinates differ from independent ones: all in few dimensions."""

BASE = 8
"""Points over which a curvature is averaged: that of the density in the middle of q alone would be
far too large or too small where it varies."""

DIFFERENCE = 1e-4
"""Length of the differences of gradients, in sds of q."""

PER_DIMENSION = 20
"""Effective weights for each dimension from which weighted draws give a better covariance than the
curvature: at most some 20% off in any direction."""

CLIPPED = 0.02
"""Share of the weight in either tail of a coordinate that a covariance takes to lie at its edge:
heavy tails have no variance of their own."""

NORMAL_PART = 0.9298
"""Variance of a standard normal so clipped."""

PLAIN, WORTH = 1.15, 3
"""A factor by which a direction may differ from its marginal sd and count as independent: chains
hardly notice. Coordinates of so few others that their number is under this part of the dimension
are kept as those alone, which takes fewer operations."""

MOST_STRETCH = 100.0
"""The most by which a direction is stretched or shortened beyond its mean-field sd."""


class Coordinates(Protocol):
    """``z = mean + L u``."""

    @property
    def mean(self) -> FloatArray:
        """Where ``u`` is 0, shape ``(d,)``."""

    def push(self, u: FloatArray) -> FloatArray:
        """Return ``L u`` for rows of ``u``, shape ``(n, d)``."""

    def spread(self, slope: FloatArray) -> FloatArray:
        """Return ``L Lᵀ slope`` for rows: how gradients change velocities of ``z``."""

    def whiten(self, z: FloatArray) -> FloatArray:
        """Return ``u`` for rows of ``z``."""

    @property
    def log_det(self) -> float:
        """The logarithm of |det L|."""


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Coordinates of a lower-triangular factor, shape ``(d, d)``."""

    mean: FloatArray
    factor: FloatArray
    square: FloatArray = field(init=False)  # L Lᵀ

    def __post_init__(self) -> None:
        """Multiply the factor once."""
        object.__setattr__(self, "square", self.factor @ self.factor.T)

    def push(self, u: FloatArray) -> FloatArray:
        """See :class:`Coordinates`."""
        return np.asarray(u @ self.factor.T)

    def spread(self, slope: FloatArray) -> FloatArray:
        """See :class:`Coordinates`."""
        return np.asarray(slope @ self.square)

    def whiten(self, z: FloatArray) -> FloatArray:
        """See :class:`Coordinates`."""
        return np.asarray(solve_triangular(self.factor, (z - self.mean).T, lower=True).T)

    @property
    def log_det(self) -> float:
        """See :class:`Coordinates`."""
        return float(np.log(np.diag(self.factor)).sum())


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """Coordinates of ``L = diag(sd) (1 + V diag(stretch − 1) Vᵀ)``, V with orthonormal columns."""

    mean: FloatArray
    sd: FloatArray  # shape (d,)
    vectors: FloatArray  # shape (d, k)
    stretch: FloatArray  # shape (k,)

    def push(self, u: FloatArray) -> FloatArray:
        """See :class:`Coordinates`."""
        return np.asarray(self._stretched(u, self.stretch) * self.sd)

    def spread(self, slope: FloatArray) -> FloatArray:
        """See :class:`Coordinates`."""
        return self._stretched(slope * self.sd, self.stretch**2) * self.sd

    def whiten(self, z: FloatArray) -> FloatArray:
        """See :class:`Coordinates`."""
        return self._stretched((z - self.mean) / self.sd, 1 / self.stretch)

    def _stretched(self, x: FloatArray, by: FloatArray) -> FloatArray:
        return np.asarray(x + ((x @ self.vectors) * (by - 1)) @ self.vectors.T)

    @property
    def log_det(self) -> float:
        """See :class:`Coordinates`."""
        return float(np.log(self.sd).sum() + np.log(self.stretch).sum())


def from_covariance(mean: FloatArray, covariance: FloatArray) -> Dense | None:
    """Return the coordinates of a Gaussian, None if its covariance is not positive definite."""
    try:
        factor = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None
    return Dense(mean, factor) if np.isfinite(factor).all() else None


def coordinates_of(mean: FloatArray, factor: FloatArray) -> Coordinates:
    """Return those of a Gaussian with a factor ``(d, d)``, or its diagonal, the sds ``(d,)``."""
    if factor.ndim == 1:
        return LowRank(mean, factor, np.empty((len(mean), 0)), np.empty(0))
    return Dense(mean, factor)


def low_rank(
    target: Target, mean: FloatArray, sd: FloatArray, rng: np.random.Generator, clock: Clock
) -> LowRank:
    """Return coordinates with the curvature of log p, averaged over a mean-field Gaussian.

    Lanczos' method on ``−S E[∇²log p] S``, S the diagonal of sds, finds the directions in which
    that differs most from the identity, which it would be if parameters were independent. Products
    with the Hessian are differences of gradients at ``BASE`` points in antithetic pairs.
    """
    d = len(mean)
    half = rng.standard_normal((BASE // 2, d))
    base = np.concatenate([half, -half])

    def product(v: FloatArray) -> FloatArray:
        clock.check()
        step = DIFFERENCE * v * math.sqrt(d)
        points = mean + sd * np.concatenate([base + step, base - step])
        _, slope = target.log_density_gradient(points)
        both = (slope[BASE:] - slope[:BASE]).mean(axis=0) * sd
        return np.asarray(both / (2 * DIFFERENCE * math.sqrt(d)))

    values, vectors = lanczos(product, d, d if d <= DENSE else RANK, rng)
    chosen = np.isfinite(values) & (values > MOST_STRETCH**-2)
    stretch = np.clip(values[chosen] ** -0.5, 1 / MOST_STRETCH, MOST_STRETCH)
    return LowRank(mean, sd, vectors[:, chosen], stretch)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Coordinates of each region of a posterior, with their shares: a proposal, and a map."""

    each: tuple[Coordinates, ...]
    shares: FloatArray  # shape (part,), sum 1

    def draw(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return draws with a tenth of heavier tails, ``(n, d)``, and their ``log_densities``.

        They are in random order.
        """
        if len(self.each) == 1:
            own = self.each[0]
            u = self._unit.draw(n, rng)
            return own.mean + own.push(u), (self._unit.log_density(u) - own.log_det)[:, None]
        counts = rng.multinomial(n, self.shares)
        drawn = [
            c.mean + c.push(self._unit.draw(int(k), rng))
            for c, k in zip(self.each, counts, strict=True)
        ]
        z = rng.permutation(np.concatenate(drawn))
        return z, self.log_densities(z)

    def log_densities(self, z: FloatArray) -> FloatArray:
        """Return ln of each part's share times its density, shape ``(point, part)``, nats."""
        return np.stack(
            [
                math.log(share) + self._unit.log_density(c.whiten(z)) - c.log_det
                for c, share in zip(self.each, self.shares, strict=True)
            ],
            axis=1,
        )

    def nearest(self, z: FloatArray) -> NDArray[np.intp]:
        """Return the part that most likely made each point, shape ``(point,)``."""
        return np.asarray(np.argmax(self.log_densities(z), axis=1))

    @property
    def _unit(self) -> Defensive:
        d = len(self.each[0].mean)
        return Defensive(np.zeros(d), np.ones(d))


def refined(own: Coordinates, z: FloatArray, weight: FloatArray) -> Coordinates:
    """Return coordinates by weighted draws, or the same where the weights are worth too little."""
    n, d = z.shape
    total = float(weight.sum())
    if not total > 0 or total**2 < PER_DIMENSION * d * float(weight @ weight):
        return own
    u, w = own.whiten(z), weight / total
    order = np.argsort(u, axis=0)
    heap = np.cumsum(w[order], axis=0)
    low, high = (
        np.take_along_axis(u, np.take_along_axis(order, at[None], axis=0), axis=0)
        for at in (
            (heap < CLIPPED).sum(axis=0),
            np.minimum((heap < 1 - CLIPPED).sum(axis=0), n - 1),
        )
    )
    u = np.clip(u, low, high)
    centre = w @ u
    u = (u - centre) * np.sqrt(w)[:, None]
    turned = from_covariance(centre, u.T @ u / NORMAL_PART)
    if turned is None:
        return own
    # L L' of a product of two factors; the product itself need not be triangular.
    wide = own.push(turned.factor.T)
    return from_covariance(own.mean + own.push(centre[None])[0], wide.T @ wide) or own


def ratio_of_stretches(own: Coordinates, other: Coordinates) -> float:
    """Return how many times more one direction of ``own`` is stretched in another's than one is.

    It is 1 for coordinates that differ by one factor, whatever that is.
    """
    d = len(own.mean)
    found = np.linalg.svd(own.whiten(own.mean + other.push(np.eye(d))), compute_uv=False)
    return float(found[0] / found[-1]) if found[-1] > 0 else math.inf


def slender(own: Coordinates) -> Coordinates:
    """Return about the same coordinates in few directions, or the same where they are not few."""
    if not isinstance(own, Dense):
        return own
    d = len(own.mean)
    sd = np.sqrt(np.diag(own.square))
    values, vectors = np.linalg.eigh(own.square / np.outer(sd, sd))
    stretch = np.sqrt(np.maximum(values, 0.0))
    chosen = np.abs(np.log(np.maximum(stretch, 1e-300))) > math.log(PLAIN)
    if not (np.all(sd > 0) and np.all(stretch > 0)) or WORTH * np.count_nonzero(chosen) > d:
        return own
    return LowRank(own.mean, sd, vectors[:, chosen], stretch[chosen])


def located(parts: Sequence[Coordinates], which: NDArray[np.intp], z: FloatArray) -> FloatArray:
    """Return ``u`` of each point in the coordinates of its part, shape ``(point, d)``."""
    if len(parts) == 1:
        return parts[0].whiten(z)
    out = np.empty_like(z)
    for k, own in enumerate(parts):
        mine = which == k
        if mine.any():
            out[mine] = own.whiten(z[mine])
    return out
