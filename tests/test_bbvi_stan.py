"""Score-function gradients on Stan programs, and how much noisier they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.methods.bbvi import BBVI
from harness.models import folders
from harness.models.data import load_data
from harness.records import Program, RunContext, RunResult, RunSpec
from harness.stan.bridge import library
from harness.study.store import cmdstan_seed
from harness.vi.stationarity import PAIRS

if TYPE_CHECKING:
    from harness.stan import CmdStan

pytestmark = pytest.mark.stan


def run(name: str, cmdstan: CmdStan, seed: int = 1, **options: Any) -> RunResult:
    """Run the method on one of the lecture's models."""
    model = folders.load(name)
    spec = RunSpec(name, "bbvi", {**BBVI.defaults, **options}, seed, 4000)
    program = Program(
        model.stan_file, {}, Path("unused"), Path("unused"), library(model.stan_file, cmdstan)
    )
    context = RunContext(program, model.data_file, 60.0, cmdstan_seed(spec, "p", "d"))
    return BBVI.run(spec, context, Path("unused"))


def test_the_mean_of_a_normal_is_found_without_its_gradient(cmdstan: CmdStan) -> None:
    """The posterior N(Σx/(N+1), 1/√(N+1)) by 4 standard errors of the draws and 0.02 sds."""
    data = load_data(folders.load("normal_mean"))
    n, total = len(data["x"]), float(np.sum(data["x"]))
    sd = 1 / np.sqrt(n + 1)
    for seed in (1, 2, 3):
        found = run("normal_mean", cmdstan, seed)
        assert (found.status, found.message) == ("ok", "")
        assert found.draws is not None
        m = found.draws.quantity("m")[0]
        assert abs(m.mean() - total / (n + 1)) / sd < 4 / np.sqrt(4000) + 0.02
        assert abs(np.log(m.std() / sd)) < 4 / np.sqrt(8000) + 0.02


def test_the_regression_ends_near_the_mean_field_optimum(cmdstan: CmdStan) -> None:
    """Sds sigma/√(Σxᵢ²) of the coefficients, within 5% and 4 errors of the draws."""
    data = load_data(folders.load("linear_regression"))
    x = np.column_stack([np.ones(len(data["x"])), data["x"]])
    beta, *_ = np.linalg.lstsq(x, np.asarray(data["y"]), rcond=None)
    found = run("linear_regression", cmdstan)
    assert found.draws is not None
    sigma = found.draws.quantity("sigma")[0]
    # Under q, E[1/sigma²] stands for the noise's precision.
    sd = 1 / np.sqrt(np.mean(sigma**-2.0) * (x**2).sum(axis=0))
    values = found.draws.values[0][:, :2]
    assert np.max(np.abs(values.mean(axis=0) - beta) / sd) < 4 / np.sqrt(4000) + 0.1
    assert np.max(np.abs(np.log(values.std(axis=0) / sd))) < 4 / np.sqrt(8000) + 0.05
    assert found.trace is not None
    assert len(found.trace.elbo) == 1000


def test_the_variances_stand_among_the_diagnostics(cmdstan: CmdStan) -> None:
    """At one q: reparameterised < controlled score < a tenth of the plain score."""
    found = run("linear_regression", cmdstan, iterations=1500)
    total = {
        name: found.diagnostics[f"variance.{name}"]
        for name in (
            "reparameterised", "score", "score_control", "score_rao_blackwell", "score_both",
        )
    }  # fmt: skip
    for controlled, plain in (("score_control", "score"), ("score_both", "score_rao_blackwell")):
        assert total["reparameterised"] < total[controlled] < 0.1 * total[plain]
    for name, value in total.items():
        assert 0 < found.diagnostics[f"variance_error.{name}"] < 0.5 * value


def test_no_gradient_is_asked_for_but_by_the_comparison(cmdstan: CmdStan) -> None:
    """Only the variance comparison and the convergence check use gradients; the steps do not."""
    found = run("normal_mean", cmdstan, iterations=50)
    assert found.cost.gradient_evaluations == 20_000 + 2 * PAIRS


def test_an_unknown_estimator_is_a_failed_run(cmdstan: CmdStan) -> None:
    """With the names that are allowed."""
    found = run("normal_mean", cmdstan, estimator="best")
    assert found.status == "failed"
    assert "estimator is 'best'; allowed: score_both, score" in found.message
