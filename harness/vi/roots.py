"""Roots of covariances with many parameters: a sparse factor, or a few directions.

They are the roots that :class:`harness.vi.gaussian.Root` describes; no ``(d, d)`` matrix is formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from harness.records import FloatArray

AT_ONCE = 16
"""Right-hand sides of one solution: SuperLU takes seven times as long for each of 500."""


class NotPositiveError(ValueError):
    """A matrix is not positive definite."""


class SparseFactor:
    """A sparse symmetric positive definite matrix H = Pᵀ L D Lᵀ P, factorised by SuperLU.

    Rows are eliminated in an order of minimum degree and never for the size of a pivot, which a
    positive definite matrix does not need.
    """

    def __init__(self, matrix: Any) -> None:
        """Factorise.

        Raises
        ------
        NotPositiveError
            If the matrix is not positive definite.
        """
        try:
            self._lu = splu(
                sparse.csc_matrix(matrix),
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError as error:
            raise NotPositiveError(str(error)) from error
        pivots = np.asarray(self._lu.U.diagonal())
        if not (np.all(pivots > 0) and np.array_equal(self._lu.perm_r, self._lu.perm_c)):
            raise NotPositiveError("not positive definite")
        self._pivots = pivots

    @property
    def log_det(self) -> float:
        """The log determinant of H."""
        return float(np.log(self._pivots).sum())

    @cached_property
    def _root(self) -> Any:
        """Return Pᵀ L √D."""
        root = sparse.csr_matrix(self._lu.L @ sparse.diags(np.sqrt(self._pivots)))
        return root[self._lu.perm_c]

    def solve(self, b: FloatArray) -> FloatArray:
        """Return the solutions of H x = b for rows of ``b``, shape ``(n, size)``."""
        out = np.empty_like(b)
        for i in range(0, len(b), AT_ONCE):
            # Columns that follow each other in memory.
            out[i : i + AT_ONCE] = self._lu.solve(b[i : i + AT_ONCE].T).T
        return out

    def perturbed(self, eps: FloatArray) -> FloatArray:
        """Return vectors with covariance H⁻¹ for rows of standard normals: H x = Pᵀ L √D eps."""
        out = np.empty_like(eps)
        for i in range(0, len(eps), AT_ONCE):
            out[i : i + AT_ONCE] = self._lu.solve(self._root @ eps[i : i + AT_ONCE].T).T
        return out

    def inverse_diagonal(self, chosen: NDArray[np.int_]) -> FloatArray:
        """Return chosen entries of the diagonal of H⁻¹."""
        out = np.empty(len(chosen))
        for i in range(0, len(chosen), AT_ONCE):
            part = chosen[i : i + AT_ONCE]
            unit = np.zeros((len(part), len(self._pivots)))
            each = np.arange(len(part))
            unit[each, part] = 1.0
            out[i : i + AT_ONCE] = self.solve(unit)[each, part]
        return out


@dataclass(frozen=True, eq=False)
class SparseRoot:
    """The root of ``S (H⁻¹)_{first d} S``, H of d or more parameters, sparse.

    A draw solves ``H x = b`` for a ``b`` of covariance H and leaves out all but the first d
    coordinates. With H = [A, B; Bᵀ, C] the squared distance is xᵀAx − (Bᵀx)ᵀ C⁻¹ (Bᵀx).
    """

    scale: FloatArray  # the diagonal of S, shape (d,)
    whole: SparseFactor  # of H
    corner: SparseFactor  # of C
    own: Any  # A, sparse
    across: Any  # B, sparse

    @property
    def size(self) -> int:
        """The number of parameters."""
        return len(self.scale)

    @property
    def inputs(self) -> int:
        """See :class:`harness.vi.gaussian.Root`."""
        return self.size + int(self.across.shape[1])

    @property
    def log_det(self) -> float:
        """See :class:`harness.vi.gaussian.Root`."""
        return 0.5 * (self.corner.log_det - self.whole.log_det) + float(np.log(self.scale).sum())

    @cached_property
    def sd(self) -> FloatArray:
        """See :class:`harness.vi.gaussian.Root`."""
        return self.scale * np.sqrt(self.whole.inverse_diagonal(np.arange(self.size)))

    def times(self, eps: FloatArray) -> FloatArray:
        """See :class:`harness.vi.gaussian.Root`."""
        return np.asarray(self.whole.perturbed(eps)[:, : self.size] * self.scale)

    def square(self, x: FloatArray) -> FloatArray:
        """See :class:`harness.vi.gaussian.Root`."""
        u = x / self.scale
        turned = u @ self.across
        plain = np.einsum("nd,nd->n", u, u @ self.own)
        return np.asarray(plain - np.einsum("nd,nd->n", turned, self.corner.solve(turned)))


@dataclass(frozen=True, eq=False)
class LowRankRoot:
    """The root ``R = S (1 + U diag(stretch − 1) Uᵀ)``, U with orthonormal columns."""

    scale: FloatArray  # the diagonal of S, shape (d,)
    vectors: FloatArray  # U, shape (d, k)
    stretch: FloatArray  # shape (k,)

    @property
    def inputs(self) -> int:
        """See :class:`harness.vi.gaussian.Root`."""
        return len(self.scale)

    @property
    def sd(self) -> FloatArray:
        """See :class:`harness.vi.gaussian.Root`."""
        gained = self.vectors**2 @ (self.stretch**2 - 1)
        return np.asarray(self.scale * np.sqrt(1 + gained))

    @property
    def log_det(self) -> float:
        """See :class:`harness.vi.gaussian.Root`."""
        return float(np.log(self.scale).sum() + np.log(self.stretch).sum())

    def times(self, eps: FloatArray) -> FloatArray:
        """See :class:`harness.vi.gaussian.Root`."""
        along = (eps @ self.vectors) * (self.stretch - 1)
        return np.asarray((eps + along @ self.vectors.T) * self.scale)

    def square(self, x: FloatArray) -> FloatArray:
        """See :class:`harness.vi.gaussian.Root`."""
        u = x / self.scale
        along = u @ self.vectors
        # 1 / stretch² in its directions, 1 in the others.
        less = (along**2) @ (1 - 1 / self.stretch**2)
        return np.asarray(np.einsum("nd,nd->n", u, u) - less)
