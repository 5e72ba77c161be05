"""Scrambled Sobol normals in antithetic pairs: the base draws of both ELBO estimates."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from harness.records import FloatArray

WHITEN_FROM = 1
"""Pairs per dimension from which the whole second moment is matched. Points that are as many as
dimensions become orthogonal, and have about the length of a normal's; with fewer only the scales
can be matched."""

_TINY = 2.0**-32  # half of Sobol's smallest step keeps every point of the cube away from infinity


def scrambled_normals(dimension: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Return one scramble of Sobol normals, shape ``(count, dimension)``, moments not matched."""
    # Half a second, which a comparison that finds all its runs stored need not wait.
    from scipy.stats import qmc

    if dimension <= qmc.Sobol.MAXDIM:
        cube = qmc.Sobol(dimension, scramble=True, seed=rng).random(count)
    else:
        cube = rng.random((count, dimension))
    return np.asarray(ndtri(np.clip(cube, _TINY, 1 - _TINY)), dtype=np.float64)


def antithetic_normals(dimension: int, size: int, rng: np.random.Generator) -> FloatArray:
    """Return one scramble and its negatives, shape ``(size, dimension)``, moments not matched."""
    half = scrambled_normals(dimension, max(size // 2, 1), rng)
    return np.concatenate([half, -half])


def base_block(dimension: int, size: int, rng: np.random.Generator) -> FloatArray:
    """Return one scramble in antithetic pairs with matched second moments, ``(size, dimension)``.

    All odd moments vanish. With ``size / 2 >= dimension`` the second moment is exactly the
    identity, and the ELBO of any quadratic log density is exact; otherwise only the diagonal of
    the second moment is matched.

    Raises
    ------
    ValueError
        If ``size`` is not a power of two of at least 4: only then are Sobol points balanced.
    """
    if size < 4 or size & (size - 1):  # noqa: PLR2004
        raise ValueError(f"{size} base draws; allowed: 4, 8, 16, …, powers of two")
    pairs = size // 2
    half = scrambled_normals(dimension, pairs, rng)
    if pairs >= WHITEN_FROM * dimension:
        eigenvalues, vectors = np.linalg.eigh(half.T @ half / pairs)
        # The symmetric root moves the points least.
        half = half @ (vectors / np.sqrt(eigenvalues)) @ vectors.T
    else:
        half = half / np.sqrt(np.mean(half**2, axis=0))
    return np.concatenate([half, -half])


def base_blocks(dimension: int, blocks: int, size: int, rng: np.random.Generator) -> FloatArray:
    """Return independent scrambles, shape ``(block, draw, dimension)``; see :func:`base_block`."""
    return np.stack([base_block(dimension, size, rng) for _ in range(blocks)])
