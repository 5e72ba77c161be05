"""Minibatch ADVI of Stan programs: the lecture's large data, and programs without a scale."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.methods.bridged import BridgeTarget, arrays
from harness.methods.minibatch import MINIBATCH
from harness.models import folders
from harness.models.data import load_data
from harness.models.exact import SAMPLERS
from harness.records import Program, RunContext, RunResult, RunSpec
from harness.stan.bridge import BridgeModel, library
from harness.vi.families import MeanField
from harness.vi.minibatch import fit
from harness.vi.subsampling import Subsampled, split_of
from harness.vi.target import Clock

if TYPE_CHECKING:
    from harness.records import Model
    from harness.stan import CmdStan

pytestmark = pytest.mark.stan

FORGETFUL = """
data {
  int<lower=1> N;
  vector[N] y;
  real<lower=0> likelihood_scale;
}
parameters {
  real mu;
}
model {
  mu ~ normal(0, 10);
  y ~ normal(mu, 1);
}
"""


def run(
    stan_file: Path,
    file: Path,
    data_file: Path | None,
    batch: Any,
    draws: int = 1000,
    **options: Any,
) -> RunResult:
    """Run the method on a library, as the harness does."""
    spec = RunSpec(
        stan_file.stem, "minibatch", {**MINIBATCH.defaults, "batch": batch, **options}, 1, draws
    )
    program = Program(stan_file, {}, Path("unused"), Path("unused"), file)
    return MINIBATCH.run(spec, RunContext(program, data_file, 120.0, 20_191), Path("unused"))


@pytest.fixture(scope="module")
def regression(cmdstan: CmdStan) -> tuple[Model, Path]:
    """Build the regression with 50 000 rows."""
    model = folders.load("large_regression")
    return model, library(model.stan_file, cmdstan)


def test_the_wide_data_are_fitted_from_zero_by_default_settings(cmdstan: CmdStan) -> None:
    """All 100 means within 0.02 posterior sds, all 200 sds of q within 10%."""
    model = folders.load("wide_normal")
    data = arrays(load_data(model))
    bridge = BridgeModel(library(model.stan_file, cmdstan), data)
    target = Subsampled(BridgeTarget(bridge), bridge.rebind, data, split_of(model.batch, data))
    rng = np.random.default_rng(1)
    target.check(rng)
    found = fit(target, MeanField(200).start(np.zeros(200)), rng, Clock())
    assert found.status == "ok"
    assert found.phi is not None
    sd = data["y"].std(axis=0, ddof=1) / np.sqrt(40_000)
    # A posteriori the log of a column's sd is normal with sd 1/√(2N), to about 1/N of it.
    log_sd = np.full(100, 1 / np.sqrt(80_000))
    assert np.max(np.abs(found.phi[:100] - data["y"].mean(axis=0)) / sd) < 0.02
    assert np.max(np.abs(found.phi[200:] - np.log(np.r_[sd, log_sd]))) < np.log(1.1)
    draws = SAMPLERS["wide_normal"](data, 4000, rng)["sd"]
    error = log_sd / np.sqrt(len(draws))
    # Skewness moves the best Gaussian's mean by less than the 0.02 sds added here.
    gap = np.abs(found.phi[100:200] - np.log(draws).mean(axis=0))
    assert np.all(gap < 4 * error + 0.02 * log_sd)


def test_the_large_regression_has_the_mean_field_optimum(regression: tuple[Model, Path]) -> None:
    """Means and sds 1/√Λᵢᵢ of the coefficients, from the run's draws; log p is of all rows."""
    model, file = regression
    found = run(model.stan_file, file, model.data_file, model.batch, 4000)
    assert (found.status, found.message) == ("ok", "")
    assert found.draws is not None
    data = arrays(load_data(model))
    x = np.column_stack([np.ones(len(data["y"])), data["x"]])
    beta, *_ = np.linalg.lstsq(x, data["y"], rcond=None)
    sigma = (data["y"] - x @ beta).std()
    sd = sigma / np.sqrt((x**2).sum(axis=0))
    values = found.draws.values[0][:, :3]
    # 4 standard errors of 4000 draws, beside the fit's own 0.02 sds and 10%.
    assert np.max(np.abs(values.mean(axis=0) - beta) / sd) < 4 / np.sqrt(4000) + 0.02
    assert np.max(np.abs(np.log(values.std(axis=0) / sd))) < 4 / np.sqrt(8000) + np.log(1.1)
    bridge = BridgeModel(file, data)
    theta = dict(zip(found.draws.names, found.draws.values[0, 0], strict=True))
    z = bridge.unconstrain({
        "intercept": theta["intercept"],
        "slope": [theta["slope[1]"], theta["slope[2]"]],
        "sigma": theta["sigma"],
    })  # fmt: skip
    assert found.draws.log_p is not None
    np.testing.assert_allclose(bridge.log_density(z[None]).value, found.draws.log_p[0, :1])
    assert found.draws.log_q is not None
    gap = found.draws.log_p[0] - found.draws.log_q[0]
    elbo, error = found.diagnostics["elbo"], found.diagnostics["elbo_error"]
    assert abs(gap.mean() - elbo) < 4 * np.hypot(error, gap.std() / np.sqrt(len(gap)))


def test_the_mean_of_a_stan_programs_shard_gradients_is_the_full_gradient(
    regression: tuple[Model, Path],
) -> None:
    """They agree over one epoch, up to rounding."""
    model, file = regression
    data = arrays(load_data(model))
    bridge = BridgeModel(file, data)
    target = Subsampled(BridgeTarget(bridge), bridge.rebind, data, split_of(model.batch, data))
    rng = np.random.default_rng(2)
    z = 0.3 * rng.normal(size=(3, target.dimension))
    whole = target.log_density_gradient(z)[1]
    mean = np.zeros_like(whole)
    for shard in target.epoch(rng):
        target.see(shard)
        mean += target.log_density_gradient(z)[1] * len(shard) / target.rows
    np.testing.assert_allclose(mean, whole, rtol=1e-9)


def test_a_program_that_forgets_the_scale_is_a_failed_run(cmdstan: CmdStan, tmp_path: Path) -> None:
    """It declares the scale and does not use it."""
    stan_file = tmp_path / "forgetful.stan"
    stan_file.write_text(FORGETFUL, encoding="utf-8")
    refused(stan_file, cmdstan, {"N": 6, "y": [1.5, 2, 3, 2, 1, 0]}, ["y"])


def test_a_program_that_does_not_know_the_scale_is_a_failed_run(cmdstan: CmdStan) -> None:
    """Stan accepts a scale among the data that the program does not declare."""
    model = folders.load("linear_regression")
    refused(model.stan_file, cmdstan, load_data(model), ["x", "y"])


def refused(
    stan_file: Path, cmdstan: CmdStan, data: Mapping[str, Any], rows: Sequence[str]
) -> None:
    """Check that a program is refused although its data have a scale."""
    with TemporaryDirectory() as folder:
        data_file = Path(folder) / "data.json"
        data_file.write_text(json.dumps({**data, "likelihood_scale": 1}), encoding="utf-8")
        batch = {"rows": list(rows), "size": "N", "scale": "likelihood_scale"}
        found = run(stan_file, library(stan_file, cmdstan), data_file, batch, rows=4)
    assert found.status == "failed"
    assert "does not multiply its likelihood by it" in found.message
    assert found.draws is None


def test_a_model_without_a_batch_table_is_refused(regression: tuple[Model, Path]) -> None:
    """It is refused before it runs, and a run anyway fails."""
    model, file = regression
    assert MINIBATCH.unfit(model) is None
    assert "no [batch] table" in (MINIBATCH.unfit(folders.load("mixture")) or "")
    found = run(model.stan_file, file, model.data_file, None)
    assert found.status == "failed"
    assert "does not say how to split its data" in found.message
