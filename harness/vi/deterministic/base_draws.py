"""Fixed base draws: scrambled Sobol normals in antithetic pairs with matched second moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

if TYPE_CHECKING:
    from harness.records import FloatArray

WHITEN_FROM = 2
"""Pairs per dimension from which the whole second moment is matched.

With fewer, whitening would bend the points too much and only the scales are matched.
"""

_TINY = 2.0**-32
"""Half of Sobol's smallest step: no point of the cube is mapped to infinity."""


def base_block(dimension: int, size: int, rng: np.random.Generator) -> FloatArray:
    """Return one independent scramble of base draws.

    The second half are the first half's negatives, so that all odd moments vanish. The second
    moment is the identity exactly where ``size / 2 >= 2 dimension`` (then the ELBO of any
    quadratic log density is exact), else only its diagonal is.

    Parameters
    ----------
    size
        Number of draws, a power of two and at least 4: Sobol points are balanced only then.

    Returns
    -------
    ndarray, shape ``(size, dimension)``

    Raises
    ------
    ValueError
        If ``size`` is no power of two, or smaller than 4.
    """
    if size < 4 or size & (size - 1):  # noqa: PLR2004
        msg = f"{size} base draws; allowed: 4, 8, 16, …, powers of two"
        raise ValueError(msg)
    pairs = size // 2
    half = scrambled_normals(dimension, pairs, rng)
    if pairs >= WHITEN_FROM * dimension:
        eigenvalues, vectors = np.linalg.eigh(half.T @ half / pairs)
        # The symmetric root moves the points least.
        half = half @ (vectors / np.sqrt(eigenvalues)) @ vectors.T
    else:
        half = half / np.sqrt(np.mean(half**2, axis=0))
    return np.concatenate([half, -half])


def scrambled_normals(dimension: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Return one scramble of Sobol normals, shape ``(count, dimension)``; moments as they come."""
    if dimension <= qmc.Sobol.MAXDIM:
        cube = qmc.Sobol(dimension, scramble=True, seed=rng).random(count)
    else:
        cube = rng.random((count, dimension))
    return np.asarray(ndtri(np.clip(cube, _TINY, 1 - _TINY)), dtype=np.float64)


def base_blocks(dimension: int, blocks: int, size: int, rng: np.random.Generator) -> FloatArray:
    """Return independent scrambles, shape ``(block, draw, dimension)``."""
    return np.stack([base_block(dimension, size, rng) for _ in range(blocks)])
