"""Proposals whose width depends on one coordinate, as the posterior's does in a hierarchy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.records import FloatArray
from harness.vi.deterministic.importance import Defensive, Weights
from harness.vi.gaussian import scaled, whitened

RELATED = 0.5
"""Correlation of a coordinate with the squared length of all others from which it sets the width.

By chance 300 coordinates have one of .2. On effects of groups with their log sd it is .6 to .8.
"""

LEAST_SHARE, LEAST_ESS, LARGEST = 0.1, 100.0, 0.05
"""Effective share and size of weights that a width may be learnt from, and their largest weight."""

MOST = math.log(2)
"""The largest change of ln width, so that far draws get no absurd one."""


@dataclass(frozen=True, slots=True, eq=False)
class Funnel:
    """A proposal that is wider in all other coordinates where one of them is larger.

    ``z = m + L u`` with ``u_k = e_k`` and ``u_j = e_j exp(s)`` for all other j, where e is a draw
    of ``around`` in its own coordinates and ``s = level + slope u_k``, at most ``MOST`` in size.
    The density of u is that of e times ``exp(−(d − 1) s)``. Neal's funnel (2003, *Annals of
    Statistics* 31) is of this form.
    """

    around: Defensive
    which: int  # k
    level: float
    slope: float

    def drawn(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return draws ``(n, d)`` and log densities by ``around`` and by this, ``(2, n)``."""
        e = self.around.units(n, rng)
        s = self._log_scale(e[:, self.which])
        u = e * np.exp(s)[:, None]
        u[:, self.which] = e[:, self.which]
        z = self.around.mean + scaled(u, self.around.factor)
        own = self.around.at_length(np.einsum("nd,nd->n", e, e)) - (e.shape[1] - 1) * s
        return z, np.stack([self.around.at_length(np.einsum("nd,nd->n", u, u)), own])

    def log_density(self, z: FloatArray) -> FloatArray:
        """Return the log density, shape ``(point,)``, nats."""
        u = _coordinates(self.around, z)
        own = u[:, self.which] ** 2
        s = self._log_scale(u[:, self.which])
        length = own + (np.einsum("nd,nd->n", u, u) - own) * np.exp(-2 * s)
        return np.asarray(self.around.at_length(length) - (u.shape[1] - 1) * s)

    def _log_scale(self, at: FloatArray) -> FloatArray:
        return np.clip(self.level + self.slope * at, -MOST, MOST)


def funnel_of(around: Defensive, z: FloatArray, weights: Weights) -> Funnel | None:
    """Return the funnel that weighted draws ``(n, d)`` of a proposal show, None if they show none.

    The coordinate is the one with the largest correlation with the others' squared length; log
    width is then its weighted least-squares line.
    """
    d = z.shape[1]
    worth = weights.ess >= max(LEAST_ESS, LEAST_SHARE * len(z)) and weights.largest <= LARGEST
    if not worth or d < 2 or not isinstance(around.factor, np.ndarray):  # noqa: PLR2004
        return None
    weight, u = weights.weight, _coordinates(around, z)
    square = u**2
    length = square.sum(axis=1)[:, None] - square
    u_off, length_off = u - weight @ u, length - weight @ length
    size = np.sqrt((weight @ u_off**2) * (weight @ length_off**2))
    related = np.abs(weight @ (u_off * length_off)) / size
    which = int(np.argmax(related))
    # NaN is no evidence either.
    if not related[which] >= RELATED:
        return None
    off, width = u_off[:, which], 0.5 * np.log(length[:, which] / (d - 1))
    slope = float(weight @ (off * width) / (weight @ off**2))
    level = float(weight @ width - slope * (weight @ u[:, which]))
    return Funnel(around, which, level, slope)


def _coordinates(around: Defensive, z: FloatArray) -> FloatArray:
    """Return points in the proposal's own coordinates, ``(point, d)``."""
    assert isinstance(around.factor, np.ndarray)  # noqa: S101 - roots have no funnel
    return whitened(z - around.mean, around.factor)
