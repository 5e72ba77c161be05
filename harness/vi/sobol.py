"""Scrambled Sobol normals in antithetic pairs: the base draws of both ELBO estimates."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from harness.records import FloatArray

WHITEN_FROM = 1
"""Pairs per dimension from which the whole second moment is matched. Points that are as many as
dimensions become orthogonal, and have about the length of a normal's; with fewer only the scales
can be matched."""

_BITS = 30  # of each coordinate
_TINY = 2.0**-32  # half of Sobol's smallest step keeps every point of the cube away from infinity


def scrambled_normals(dimension: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Return one scramble of Sobol normals, shape ``(count, dimension)``, moments not matched."""
    # Half a second, which a comparison that finds all its runs stored need not wait.
    from scipy.stats import qmc

    if dimension <= qmc.Sobol.MAXDIM:
        cube = _scrambled(dimension, count, rng)
    else:
        cube = rng.random((count, dimension))
    return np.asarray(ndtri(np.clip(cube, _TINY, 1 - _TINY)), dtype=np.float64)


def _scrambled(dimension: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Return the points of ``qmc.Sobol(dimension, scramble=True, seed=rng)``, to the last bit.

    The scramble of Matoušek (1998), a random triangular matrix and a shift for each coordinate, is
    linear in the bits of a point. Few points have few bits: SciPy scrambles all that there could
    be, which takes five times as long.
    """
    rng = rng.spawn(1)[0]
    powers = 2 ** np.arange(_BITS, dtype=np.uint32)
    shift = rng.integers(2, size=(dimension, _BITS), dtype=np.uint32) @ powers
    matrix = rng.integers(2, size=(dimension, _BITS, _BITS), dtype=np.uint32)
    used = max(count - 1, 1).bit_length()
    matrix = np.tril(matrix[:, :, :used])
    diagonal = np.arange(used)
    matrix[:, diagonal, diagonal] = 1
    column = np.einsum("dpk,p->dk", matrix, powers[::-1])
    points = _plain(dimension, count)
    scrambled = np.tile(shift, (count, 1))
    for k in range(used):
        bit = (points >> np.uint32(_BITS - 1 - k)) & np.uint32(1)
        scrambled ^= bit * column[:, k]
    return np.asarray(scrambled * 2.0**-_BITS)


@functools.lru_cache(maxsize=4)
def _plain(dimension: int, count: int) -> NDArray[np.uint32]:
    """Return Sobol points without a scramble, as whole numbers of ``_BITS`` bits."""
    from scipy.stats import qmc

    cube = qmc.Sobol(dimension, scramble=False).random(count)
    return np.asarray(cube * 2**_BITS, dtype=np.uint32)


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
