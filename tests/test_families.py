"""Gaussian families against SciPy, finite differences and identities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from harness.records import FloatArray
from harness.vi.families import FAMILIES, Family, FullRank, MeanField

DIMENSION = 4


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    """Return each family in four dimensions."""
    return FAMILIES[request.param](DIMENSION)


def some_phi(family: Family, seed: int = 1) -> FloatArray:
    """Return parameters of moderate size: scales from about .2 to 5."""
    return np.random.default_rng(seed).normal(scale=0.7, size=family.size)


def covariance_of(family: Family, phi: FloatArray) -> FloatArray:
    """Return L Lᵀ, from where the family sends unit vectors."""
    factor = (family.transform(phi, np.eye(DIMENSION)) - family.mean(phi)).T
    return np.asarray(factor @ factor.T)


def differences(
    function: Callable[[FloatArray], FloatArray], phi: FloatArray, h: float = 1e-6
) -> FloatArray:
    """Return central differences of a function of phi, parameters along the last axis."""
    steps = h * np.eye(len(phi))
    ups = [(function(phi + s) - function(phi - s)) / (2 * h) for s in steps]
    return np.stack(ups, axis=-1)


def test_entropy_and_log_density_are_scipys(family: Family) -> None:
    """Both are normalised and in nats: equal to SciPy's multivariate normal of mean and cov."""
    phi = some_phi(family)
    z = np.random.default_rng(2).normal(size=(6, DIMENSION))
    q = stats.multivariate_normal(family.mean(phi), covariance_of(family, phi))
    np.testing.assert_allclose(family.log_density(phi, z), q.logpdf(z), rtol=1e-9)
    assert family.entropy(phi) == pytest.approx(q.entropy(), rel=1e-9)


def test_the_sd_is_the_root_of_the_covariances_diagonal(family: Family) -> None:
    """Sd and covariance agree."""
    phi = some_phi(family)
    expected = np.sqrt(np.diag(covariance_of(family, phi)))
    np.testing.assert_allclose(family.sd(phi), expected, rtol=1e-12)


def test_transformed_noise_has_the_familys_mean_and_covariance(family: Family) -> None:
    """With 20 000 draws every moment is within 5 of its standard errors."""
    phi = some_phi(family)
    n = 20_000
    eps = np.random.default_rng(3).standard_normal((n, DIMENSION))
    z = family.transform(phi, eps)
    sd, covariance = family.sd(phi), covariance_of(family, phi)
    assert np.all(abs(z.mean(axis=0) - family.mean(phi)) < 5 * sd / np.sqrt(n))
    # the variance of a normal's sample covariance is (cᵢᵢ cⱼⱼ + cᵢⱼ²) / n
    error = np.sqrt((np.outer(sd**2, sd**2) + covariance**2) / n)
    assert np.all(abs(np.cov(z.T) - covariance) < 5 * error)


def test_the_slope_is_the_gradient_of_the_log_density_in_z(family: Family) -> None:
    """Central differences in z at the point of eps."""
    phi = some_phi(family)
    eps = np.random.default_rng(5).standard_normal((3, DIMENSION))
    z = family.transform(phi, eps)
    h = 1e-6
    steps = h * np.eye(DIMENSION)
    expected = np.stack(
        [
            (family.log_density(phi, z + s) - family.log_density(phi, z - s)) / (2 * h)
            for s in steps
        ],
        axis=1,
    )
    np.testing.assert_allclose(family.slope(phi, eps), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [1, 3])
def test_pull_back_is_the_gradient_of_the_estimated_elbo(family: Family, n: int) -> None:
    """Central differences of mean log p + entropy at fixed eps, for log p = Σ sin z."""
    phi = some_phi(family)
    eps = np.random.default_rng(6).standard_normal((n, DIMENSION))

    def elbo(at: FloatArray) -> FloatArray:
        return np.asarray(np.sin(family.transform(at, eps)).sum(axis=1).mean() + family.entropy(at))

    slope = np.cos(family.transform(phi, eps))
    found = family.pull_back(phi, eps, slope)
    np.testing.assert_allclose(found, differences(elbo, phi), rtol=1e-5, atol=1e-7)


def test_the_path_gradient_has_no_variance_where_q_is_the_posterior(family: Family) -> None:
    """At q = p the gradient along the path of log p − log q is zero for every single draw."""
    phi = some_phi(family)
    precision = np.linalg.inv(covariance_of(family, phi))
    for seed in range(5):
        eps = np.random.default_rng(seed).standard_normal((1, DIMENSION))
        z = family.transform(phi, eps)
        log_p_slope = -(z - family.mean(phi)) @ precision
        path = family.path(phi, eps, log_p_slope - family.slope(phi, eps))
        np.testing.assert_allclose(path, 0, atol=1e-10)


def test_both_families_start_as_the_same_independent_normals(family: Family) -> None:
    """Mean and log scales may be arrays; nothing is correlated at the start."""
    mu, log_sigma = np.arange(4.0), np.array([0.0, -1, 1, 0.5])
    phi = family.start(mu, log_sigma)
    assert phi.shape == (family.size,)
    np.testing.assert_array_equal(family.mean(phi), mu)
    np.testing.assert_allclose(
        covariance_of(family, phi), np.diag(np.exp(2 * log_sigma)), rtol=1e-12
    )


def test_full_rank_with_a_diagonal_factor_is_mean_field() -> None:
    """Draws and densities agree; the gradients agree in mu and in the logs of the scales."""
    full, mean_field = FullRank(3), MeanField(3)
    mu, log_sigma = [1.0, 2, 3], [0.1, -0.5, 1]
    eps = np.random.default_rng(8).standard_normal((4, 3))
    slope = np.random.default_rng(9).standard_normal((4, 3))
    a, b = full.start(mu, log_sigma), mean_field.start(mu, log_sigma)
    np.testing.assert_allclose(full.transform(a, eps), mean_field.transform(b, eps), rtol=1e-12)
    gradient = full.pull_back(a, eps, slope)
    diagonal = [3, 5, 8]
    expected = mean_field.pull_back(b, eps, slope)
    np.testing.assert_allclose(gradient[[0, 1, 2, *diagonal]], expected, rtol=1e-12)


def test_what_a_family_returns_shares_no_memory_with_phi(family: Family) -> None:
    """A tracker that keeps the mean does not see it change later."""
    phi = some_phi(family)
    assert not np.shares_memory(family.mean(phi), phi)
    assert not np.shares_memory(family.sd(phi), phi)
