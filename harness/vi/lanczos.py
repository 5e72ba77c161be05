"""Lanczos' method: eigenvectors of a symmetric matrix known by its products only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.records import FloatArray


def lanczos(
    product: Callable[[FloatArray], FloatArray], d: int, rank: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return Ritz values ``(k,)``, smallest first, and vectors ``(d, k)`` of a symmetric matrix.

    ``rank`` products with vectors of length 1 are made; fewer where an invariant space is complete
    or a product is not finite. The vectors are orthonormal.
    """
    basis = np.zeros((rank, d))
    images = np.zeros((rank, d))
    v = rng.standard_normal(d)
    made = 0
    for k in range(rank):
        # Twice, because once leaves rounding in what was subtracted.
        for _ in range(2):
            v = v - basis[:k].T @ (basis[:k] @ v)
        size = float(np.linalg.norm(v))
        if not size > 1e-10:  # noqa: PLR2004 - an invariant space is complete
            break
        basis[k] = v / size
        images[k] = product(basis[k])
        if not np.isfinite(images[k]).all():
            break
        v = images[k]
        made = k + 1
    basis, images = basis[:made], images[:made]
    small = basis @ images.T
    values, turned = np.linalg.eigh(0.5 * (small + small.T))
    return np.asarray(values), np.asarray(basis.T @ turned)
