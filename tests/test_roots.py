"""Roots of covariances that are not written out, and the sparse Hessians they come from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from targets import Normal

from harness.vi import deterministic
from harness.vi.deterministic import Settings
from harness.vi.deterministic.sparse import Full, Sparsity, find_sparsity
from harness.vi.gaussian import draws, log_normal
from harness.vi.roots import NotPositiveError, SparseFactor, SparseRoot
from harness.vi.target import Clock


def chain(d: int) -> Normal:
    """Return a normal whose precision is tridiagonal."""
    precision = np.diag(np.full(d, 2.2)) - np.eye(d, k=1) - np.eye(d, k=-1)
    return Normal(np.linspace(-1, 1, d), np.linalg.inv(precision))


def test_a_chain_is_fitted_by_a_sparse_hessian_exactly() -> None:
    """Sds, draws and densities are those of the posterior, and no matrix is formed."""
    target = chain(40)
    settings = Settings(dense_limit=10, seconds=1e-6)
    found = deterministic.fit(target, np.random.default_rng(1), Clock(), settings)
    root = found.root
    assert isinstance(root, SparseRoot)
    assert found.covariance is None
    rows = root.times(np.eye(root.inputs))
    np.testing.assert_allclose(rows.T @ rows, target.covariance, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(root.sd**2, np.diag(target.covariance), rtol=1e-4)
    z = draws(20, found.mean, root, np.random.default_rng(2))
    expected = target.log_density(z)
    np.testing.assert_allclose(log_normal(z, found.mean, root), expected, atol=1e-2)


def test_zeros_are_found_only_where_they_are() -> None:
    """A chain needs three differences, a hyperparameter one more, a full matrix all."""
    rng = np.random.default_rng(3)
    target = chain(40)
    found = find_sparsity(target, rng.standard_normal((4, 40)), np.ones(40))
    assert isinstance(found, Sparsity)
    assert found.colours == 3
    precision = np.array(target.precision)
    precision[0, 2:] = precision[2:, 0] = 0.01
    arrow = Normal(np.zeros(40), np.linalg.inv(precision))
    found = find_sparsity(arrow, rng.standard_normal((4, 40)), np.ones(40))
    assert isinstance(found, Sparsity)
    assert found.colours == 4
    full = Normal(np.zeros(40), np.eye(40) + 0.5)
    assert isinstance(find_sparsity(full, rng.standard_normal((4, 40)), np.ones(40)), Full)


def test_a_matrix_that_is_not_positive_definite_is_refused() -> None:
    """Indefinite and singular ones have no root."""
    for matrix in (np.array([[1.0, 2.0], [2.0, 1.0]]), np.zeros((2, 2))):
        with pytest.raises(NotPositiveError):
            SparseFactor(sparse.csc_matrix(matrix))
