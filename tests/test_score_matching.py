"""Batch and match, full and patched, against its equations and against normals in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import targets
from numpy.typing import NDArray
from scipy import linalg, stats
from targets import Density, Normal

from harness.records import FloatArray, Reason
from harness.vi import batch_and_match, score_matching
from harness.vi.batch_and_match import Matched, Settings
from harness.vi.deterministic import StartError
from harness.vi.gaussian import Gaussian
from harness.vi.low_rank import DENSE_LIMIT, LowRank, patched
from harness.vi.target import Clock, Counted, Target, TimeLimitError


def full(target: Target, seed: int = 1, **options: float) -> Matched[Gaussian]:
    """Fit any covariance with the defaults, or other settings."""
    settings = Settings(**options)  # type: ignore[arg-type]
    return batch_and_match.full_rank(target, np.random.default_rng(seed), Clock(60), settings)


def low(target: Target, rank: int = 10, seed: int = 1, **options: float) -> Matched[LowRank]:
    """Fit a low-rank covariance."""
    settings = Settings(**options)  # type: ignore[arg-type]
    return batch_and_match.low_rank(target, rank, np.random.default_rng(seed), Clock(60), settings)


def factors(d: int, k: int, seed: int = 3) -> LowRank:
    """Return a low-rank Gaussian away from the origin, with sds of several sizes."""
    rng = np.random.default_rng(seed)
    return LowRank(rng.normal(size=d), np.exp(rng.normal(size=d)), rng.normal(size=(d, k)))


def gaussian(mean: FloatArray, covariance: FloatArray) -> Gaussian:
    """Return the Gaussian with a mean and a covariance."""
    return Gaussian(mean, np.asarray(np.linalg.cholesky(covariance), dtype=np.float64))


def distance(q: Gaussian | LowRank, truth: Normal) -> float:
    """Return the largest error of a mean in sds, or of the log of a marginal or conditional sd."""
    exact = gaussian(truth.mean, truth.covariance)
    own = q if isinstance(q, Gaussian) else gaussian(q.mean, q.covariance)
    return score_matching.change(own, exact)


def batch(d: int, n: int) -> tuple[FloatArray, FloatArray]:
    """Return draws and scores that have nothing to do with each other."""
    rng = np.random.default_rng(d)
    return rng.normal(size=(n, d)), rng.normal(size=(n, d)) + 0.3


@pytest.mark.parametrize("n", [3, 40])
@pytest.mark.parametrize("rate", [0.3, 10.0])
def test_an_update_solves_the_papers_equation(n: int, rate: float) -> None:
    """Σ U Σ + Σ = V with U and V as they are written, and the mean's formula, to 1e-9."""
    d = 5
    q = gaussian(np.arange(d) / d, targets.any_covariance(d, np.random.default_rng(0)))
    z, g = batch(d, n)
    found = score_matching.match(q, z, g, rate)
    share, off = rate / (1 + rate), q.mean - z.mean(axis=0)
    u = rate * np.cov(g.T, bias=True) + share * np.outer(g.mean(axis=0), g.mean(axis=0))
    v = q.covariance + rate * np.cov(z.T, bias=True) + share * np.outer(off, off)
    s = found.covariance
    np.testing.assert_allclose(s @ u @ s + s, v, rtol=1e-9, atol=1e-9)
    mean = q.mean / (1 + rate) + share * (s @ g.mean(axis=0) + z.mean(axis=0))
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9)
    assert np.allclose(found.factor, np.tril(found.factor))
    assert (np.diag(found.factor) > 0).all()


@pytest.mark.parametrize("n", [3, 40])
def test_the_patched_update_is_the_full_one_where_the_rank_suffices(n: int) -> None:
    """With d − 1 factors the patch changes nothing: both updates agree."""
    d = 5
    start = factors(d, d - 1)
    z, g = batch(d, n)
    whole = gaussian(start.mean, start.covariance)
    expected = score_matching.match(whole, z, g, 2.0)
    found = score_matching.match_and_patch(start, z, g, 2.0, steps=2000)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-8)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=2e-3, atol=2e-3)


def test_a_normal_is_a_fixed_point_whatever_the_batch() -> None:
    """From two draws on, in eight dimensions, neither update moves away from it."""
    truth = targets.any_normal(8, 1)
    q = gaussian(truth.mean, truth.covariance)
    z = q.draw(2, np.random.default_rng(2))
    _, g = truth.log_density_gradient(z)
    assert score_matching.change(score_matching.match(q, z, g, 10.0), q) < 1e-9
    own = factors(8, 2)
    of = Normal(own.mean, own.covariance)
    z = own.draw(2, np.random.default_rng(2))
    new = score_matching.match_and_patch(own, z, of.log_density_gradient(z)[1], 10.0)
    assert score_matching.change(new, own) < 1e-6


def test_the_low_rank_gaussian_is_scipys() -> None:
    """Density, sds and conditional sds without a matrix of d × d; draws by 5 standard errors."""
    q = factors(6, 2)
    rng = np.random.default_rng(4)
    z = q.draw(20_000, rng)
    exact = stats.multivariate_normal(q.mean, q.covariance)
    np.testing.assert_allclose(q.log_density(z[:50]), exact.logpdf(z[:50]), rtol=1e-10)
    np.testing.assert_allclose(q.sd, np.sqrt(np.diag(q.covariance)))
    precision = np.linalg.inv(q.covariance)
    np.testing.assert_allclose(q.conditional_sd, 1 / np.sqrt(np.diag(precision)))
    assert np.abs((z.mean(axis=0) - q.mean) / q.sd).max() < 5 / math.sqrt(len(z))
    assert np.abs(np.log(z.std(axis=0) / q.sd)).max() < 5 / math.sqrt(2 * len(z))


@pytest.mark.parametrize("d", [12, DENSE_LIMIT + 20])
def test_the_patch_finds_the_factors_of_a_covariance_that_has_them(d: int) -> None:
    """From a diagonal start, by all eigenvectors and by Lanczos: Ψ and Λ Λᵀ to 0.1%."""
    truth = factors(d, 3)
    s = truth.covariance
    start = LowRank(np.zeros(d), np.diag(s).copy(), np.full((d, 3), 0.1))
    found = patched(start, truth.mean, lambda a: s @ a, np.diag(s).copy(), steps=2000)
    # The sum of squared errors: one Ψ may be vague where a factor explains nearly all.
    error = np.linalg.norm(found.covariance - s) / np.linalg.norm(s)
    assert error < 1e-3
    np.testing.assert_allclose(found.sd**2, np.diag(s), rtol=1e-9)


def test_the_patch_keeps_variances_it_cannot_explain() -> None:
    """With too few factors the marginal sds are still those of S, and Ψ is stationary."""
    s = targets.any_covariance(10, np.random.default_rng(5))
    start = LowRank(np.zeros(10), np.diag(s).copy(), np.full((10, 1), 0.1))
    found = patched(start, np.zeros(10), lambda a: s @ a, np.diag(s).copy(), steps=2000)
    np.testing.assert_allclose(found.sd**2, np.diag(s), rtol=1e-9)
    inverse = np.linalg.inv(found.covariance)
    # The likelihood's gradient in the loadings: (Σ⁻¹ − Σ⁻¹ S Σ⁻¹) Λ = 0.
    slope = (inverse - inverse @ s @ inverse) @ found.loadings
    assert np.abs(slope).max() < 1e-2 * np.abs(inverse @ found.loadings).max()


@pytest.mark.parametrize("d", [1, 2, 10, 50, 200])
def test_any_normal_is_recovered(d: int) -> None:
    """To 0.1% of an sd, with the default tolerance of 5%: a check's update meets it."""
    truth = targets.any_normal(d, 1)
    target = Counted(truth)
    found = full(target)
    assert (found.status, found.message) == ("ok", "")
    assert found.q is not None
    assert distance(found.q, truth) < 1e-3
    assert found.change < Settings().tolerance
    assert target.gradients < 6000


@pytest.mark.parametrize(("d", "k"), [(50, 3), (200, 5)])
@pytest.mark.parametrize("spare", [0, 5])
def test_factors_are_recovered(d: int, k: int, spare: int) -> None:
    """A normal of rank k to 0.2% of an sd, with as many factors or more."""
    own = factors(d, k)
    truth = Normal(own.mean, own.covariance)
    found = low(truth, k + spare)
    assert (found.status, found.message) == ("ok", "")
    assert found.q is not None
    assert distance(found.q, truth) < 2e-3


def test_too_few_factors_keep_the_marginal_sds() -> None:
    """At 50 dimensions and ten factors of 50: sds within 5%, where mean field's are far off."""
    truth = targets.ill_conditioned(50)
    found = low(truth)
    assert found.status == "ok"
    assert found.q is not None
    sd = np.sqrt(np.diag(truth.covariance))
    assert np.abs(np.log(found.q.sd / sd)).max() < 0.1
    assert np.abs(np.log(1 / np.sqrt(np.diag(truth.precision)) / sd)).max() > 0.5


@pytest.mark.parametrize("name", ["logistic", "student"])
def test_other_posteriors_have_their_own_fixed_point(name: str) -> None:
    """Var(Σ g) = Σ in one dimension, by quadrature, to the tolerance; it is not the ELBO's."""
    target = {"logistic": targets.logistic(), "student": targets.student()}[name]
    found = full(target, most_batch=2**16, tolerance=0.01)
    assert found.status == "ok"
    assert found.q is not None
    sd = found.q.sd[0]
    eps, weight = np.polynomial.hermite_e.hermegauss(80)
    _, g = target.log_density_gradient(sd * eps[:, None])
    # In units of the log sd: half of the relative error of a variance.
    assert 0.5 * abs(sd**2 * np.average(g[:, 0] ** 2, weights=weight) - 1) < 0.05
    assert abs(found.q.mean[0]) < 0.05 * sd


def test_seeds_are_reproducible() -> None:
    """One seed gives the same q to the last bit, two seeds others."""
    first, again, other = (low(targets.banana(), seed=s) for s in (1, 1, 2))
    assert first.q is not None
    assert again.q is not None
    assert other.q is not None
    np.testing.assert_array_equal(first.q.mean, again.q.mean)
    np.testing.assert_array_equal(first.q.loadings, again.q.loadings)
    assert not np.array_equal(first.q.mean, other.q.mean)


@pytest.mark.parametrize("fit", [full, low])
def test_a_funnel_is_no_fixed_point(fit: object) -> None:
    """Its updates never settle; the message says what an update still changes."""
    assert callable(fit)
    found = fit(targets.funnel(10))
    assert found.status == "not_converged"
    assert found.reason is Reason.NOT_SETTLED
    assert "an update still changes means by more than 0.05 sd" in found.message


@pytest.mark.parametrize("fit", [full, low])
def test_too_few_iterations_are_not_enough(fit: object) -> None:
    """One iteration from a start that is far off does not pass for a fit."""
    assert callable(fit)
    found = fit(targets.ill_conditioned(30), iterations=1)
    assert found.status == "not_converged"
    assert found.reason is Reason.NOT_SETTLED


@pytest.mark.parametrize("fit", [full, low])
def test_an_improper_posterior_widens_q_without_end(fit: object) -> None:
    """Flat in one direction: no q, and the reason."""
    assert callable(fit)
    flat = Density(2, lambda z: (-0.5 * z[:, 0] ** 2, np.column_stack([-z[:, 0], 0 * z[:, 1]])))
    found = fit(flat)
    assert (found.status, found.q) == ("diverged", None)
    assert "may be improper" in found.message


@pytest.mark.parametrize("nothing", [-math.inf, math.nan])
@pytest.mark.parametrize("fit", [full, low])
def test_draws_without_a_density_are_not_left_out_in_silence(fit: object, nothing: float) -> None:
    """A normal cut at half an sd: q fits what is left of the batch, and says so."""
    assert callable(fit)
    found = fit(targets.cut(targets.standard(2), 0.5, nothing))
    assert found.status == "not_converged"
    assert found.reason is Reason.NO_FINITE_DRAWS
    assert "of q's draws have no finite density" in found.message


def blind(after: int) -> Density:
    """Return a normal that cannot be evaluated after some points."""
    seen = 0

    def function(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        nonlocal seen
        seen += len(z)
        nothing: NDArray[np.float64] = np.full(len(z), np.nan)
        if seen > after:
            return nothing, np.full_like(z, np.nan)
        return -0.5 * (z**2).sum(axis=1), -z

    return Density(2, function)


@pytest.mark.parametrize("fit", [full, low])
def test_a_density_that_is_lost_ends_the_fit(fit: object) -> None:
    """Every update fails: no q, and the reason."""
    assert callable(fit)
    found = fit(blind(after=200))
    assert (found.status, found.q, found.reason) == ("diverged", None, Reason.DIVERGING)
    assert "no finite density and gradient" in found.message


@pytest.mark.parametrize("fit", [full, low])
def test_without_a_start_there_is_no_fit(fit: object) -> None:
    """No starting point has a density."""
    assert callable(fit)
    with pytest.raises(StartError, match="none of"):
        fit(blind(after=0))


def test_the_clock_ends_a_fit() -> None:
    """No result that a busy machine cut short."""
    with pytest.raises(TimeLimitError):
        batch_and_match.full_rank(
            targets.standard(2), np.random.default_rng(1), Clock(0.0), Settings()
        )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_update_from_numbers_that_are_not_finite_is_refused(bad: float) -> None:
    """LAPACK might never return from them."""
    z, g = batch(3, 10)
    g[0, 0] = bad
    with pytest.raises(score_matching.UpdateError):
        score_matching.match(Gaussian(np.zeros(3), np.eye(3)), z, g, 1.0)
    with pytest.raises(score_matching.UpdateError):
        score_matching.match_and_patch(factors(3, 1), z, g, 1.0)


def test_the_path_is_the_elbo_of_each_iteration() -> None:
    """It ends at log Z, which a normal's ELBO is, by 5 standard errors of a batch."""
    truth = targets.standard(3, log_z=2.0)
    found = full(Density(3, truth.log_density_gradient), iterations=50)
    trace = found.trace
    assert len(trace.elbo) == found.iterations == len(trace.elapsed_s)
    assert trace.elbo[-1] == pytest.approx(2.0, abs=0.05)
    assert linalg.norm(found.q.mean) < 1e-3  # type: ignore[union-attr]
