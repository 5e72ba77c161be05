"""Sums over particles: the direction of SVGD, its bandwidth, and Stein's identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import pdist

if TYPE_CHECKING:
    from harness.records import FloatArray

_BLOCK = 128
"""Rows of the kernel at a time: with 1000 particles 1 MB, which stays in the second cache."""


class Kernel:
    """The sums over the kernel, in buffers that are made once.

    The exponents −‖y − z‖²/h of a block of rows are one matrix product of augmented points,
    [2y/h, 1, −‖y‖²/h]·[z, −‖z‖²/h, 1], and the sums another one. k(y, z) = k(z, y), so only
    blocks on and above the diagonal are made.
    """

    def __init__(self, particles: int, dimension: int) -> None:
        self._rows = np.empty((particles, dimension + 2))
        self._columns = np.empty((particles, dimension + 2))
        self._weights = np.empty((particles, 2 * dimension + 1))
        self._sums = np.empty((particles, 2 * dimension + 1))
        self._block = np.empty(_BLOCK * particles)

    def direction(self, z: FloatArray, gradient: FloatArray, h: float) -> FloatArray:
        """Return φ at particles of shape ``(particle, dimension)``, the same shape.

        ∇ⱼ k(zⱼ, zᵢ) = (2/h) (zᵢ − zⱼ) k(zⱼ, zᵢ), so that φ needs only the kernel's products with
        the gradients, the particles and ones.
        """
        n, d = z.shape
        # Distances do not change, and far from zero less is lost to rounding.
        centred = z - z.mean(axis=0)
        square = np.einsum("ij,ij->i", centred, centred) / h
        rows, columns = self._rows[:n], self._columns[:n]
        np.multiply(centred, 2 / h, out=rows[:, :d])
        rows[:, d] = 1
        rows[:, d + 1] = columns[:, d] = -square
        columns[:, :d] = centred
        columns[:, d + 1] = 1
        weights, sums = self._weights[:n], self._sums[:n]
        weights[:, :d] = gradient
        weights[:, d : 2 * d] = centred
        weights[:, 2 * d] = 1
        sums[:] = 0
        for begin in range(0, n, _BLOCK):
            end = min(begin + _BLOCK, n)
            k = self._block[: (end - begin) * (n - begin)].reshape(end - begin, n - begin)
            np.matmul(rows[begin:end], columns[begin:].T, out=k)
            np.exp(k, out=k)
            sums[begin:end] += k @ weights[begin:]
            if end < n:
                sums[end:] += k[:, end - begin :].T @ weights[begin:end]
        push = centred * sums[:, 2 * d :] - sums[:, d : 2 * d]
        return np.asarray((sums[:, :d] + (2 / h) * push) / n)


def bandwidth(z: FloatArray, particles: int) -> float:
    """Return h = median ‖zᵢ − zⱼ‖² / ln n, with the median over all pairs of ``z``.

    Parameters
    ----------
    z
        Shape ``(any number, dimension)``: all particles, or a subset of them.
    particles
        n, the number of all particles.

    Returns
    -------
    float
        In units of z²; 1 where the median is zero, that is, all particles in one place.
    """
    median = float(np.median(pdist(z, "sqeuclidean")))
    return float(median / np.log(particles)) if median > 0 else 1.0


def stein_error(z: FloatArray, gradient: FloatArray) -> float:
    """Return how far particles are from Stein's identity, without unit.

    Under p, E[∇ log p] = 0 and E[(z − E z) ∂log p/∂z] = −1 in every coordinate. The largest of
    both violations is returned, the first times the coordinate's sd. On a normal posterior a
    cloud δ sds beside it has δ, one whose sd is wrong by a share δ has 2 δ. It says nothing of
    the mass of separate modes: each of them fulfils the identity by itself.

    Parameters
    ----------
    z, gradient
        Shape ``(particle, dimension)``.
    """
    centred = z - z.mean(axis=0)
    shift = np.abs(gradient.mean(axis=0)) * z.std(axis=0)
    width = np.abs((gradient * centred).mean(axis=0) + 1)
    return float(max(shift.max(), width.max()))
