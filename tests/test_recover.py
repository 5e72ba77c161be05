"""The Gaussian of CmdStan's draws, recovered to the last digits or by its moments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.methods import METHODS
from harness.models import folders
from harness.models.data import load_data
from harness.records import FamilyName, RunContext, RunSpec
from harness.stan import CmdStan, bridge, compile_program
from harness.study.store import cmdstan_seed
from harness.vi.recover import recover


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("family", ["meanfield", "fullrank"])
def test_a_gaussian_is_recovered_to_the_last_digits(family: FamilyName, seed: int) -> None:
    """Few draws suffice, far from zero and with very different sds."""
    rng = np.random.default_rng(seed)
    d, n = 5, 60
    factor = np.diag(10.0 ** rng.uniform(-4, 3, d))
    if family == "fullrank":
        factor = factor @ (np.eye(d) + np.tril(rng.normal(size=(d, d)), -1))
    mean = rng.normal(size=d) * np.sqrt(np.diag(factor @ factor.T)) * 100
    eps = rng.standard_normal((n, d))
    found = recover(mean + eps @ factor.T, -0.5 * (eps**2).sum(axis=1), family)
    assert found.exact
    unit = np.sqrt(np.diag(factor @ factor.T))
    np.testing.assert_allclose((found.mean - mean) / unit, 0, atol=1e-8)
    scaled = (found.covariance - factor @ factor.T) / np.outer(unit, unit)
    np.testing.assert_allclose(scaled, 0, atol=1e-8)


def test_too_few_draws_give_moments_and_say_so() -> None:
    """A full-rank q of ten parameters has 76 unknowns."""
    rng = np.random.default_rng(1)
    eps = rng.standard_normal((50, 10))
    found = recover(eps, -0.5 * (eps**2).sum(axis=1), "fullrank")
    assert not found.exact
    assert "50 draws for 66 unknowns" in found.words
    np.testing.assert_allclose(found.covariance, np.cov(eps, rowvar=False))


def test_densities_that_are_no_quadratic_form_are_not_believed() -> None:
    """Draws of a Student-t, constants and q of another family give only moments."""
    rng = np.random.default_rng(2)
    z = rng.standard_normal((400, 3))
    r2 = (z**2).sum(axis=1)
    for log_g in (-2 * np.log1p(r2 / 3), np.zeros(400)):
        found = recover(z, log_g, "meanfield")
        assert not found.exact
        assert found.words
    mixed = z @ np.array([[1, 0.9, 0], [0, 1, 0], [0, 0, 1.0]])
    assert not recover(mixed, -0.5 * r2, "meanfield").exact
    assert recover(mixed, -0.5 * r2, "fullrank").exact


def test_draws_that_are_not_finite_are_refused() -> None:
    """NaN raises."""
    z = np.zeros((10, 1))
    with pytest.raises(ValueError, match="not finite"):
        recover(z, np.full(10, np.nan), "meanfield")
    with pytest.raises(ValueError, match="allowed"):
        recover(z, np.zeros(9), "meanfield")


@pytest.mark.stan
@pytest.mark.parametrize("method", ["meanfield", "fullrank"])
def test_cmdstans_own_gaussian_is_recovered(
    method: FamilyName, cmdstan: CmdStan, tmp_path: Path
) -> None:
    """On the regression the residual is rounding, and q's moments are those of its draws."""
    model = folders.load("linear_regression")
    row = METHODS[method]
    spec = RunSpec(model.name, method, row.defaults, 3, 4000)
    program = compile_program(model.stan_file, cmdstan)
    run = row.run(
        spec, RunContext(program, model.data_file, 60.0, cmdstan_seed(spec, "p", "d")), tmp_path
    )
    assert run.draws is not None, run.message
    assert run.draws.log_q is not None
    target = bridge.BridgeModel(bridge.library(model.stan_file, cmdstan), load_data(model))
    names = run.draws.names
    z = np.array([
        target.unconstrain(dict(zip(names, theta, strict=True))) for theta in run.draws.values[0]
    ])  # fmt: skip
    found = recover(z, run.draws.log_q[0], method)
    assert found.exact, found.words
    assert found.residual < 1e-9
    sd = np.sqrt(np.diag(found.covariance))
    # Five standard errors of a mean and of an sd of 4000 draws.
    np.testing.assert_array_less(np.abs(z.mean(axis=0) - found.mean) / sd, 5 / np.sqrt(4000))
    np.testing.assert_array_less(np.abs(z.std(axis=0) / sd - 1), 5 / np.sqrt(8000))
