"""Runs on the bridge: names, generated quantities, failures as results, the same draws again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.methods import METHODS, bridged
from harness.methods.bridged import BridgeTarget, Problem, arrays, on_bridge
from harness.methods.settings import Options
from harness.models import folders
from harness.models.data import to_json, write_data
from harness.records import Program, Reason, RunContext, RunResult, RunSpec, Trace
from harness.stan import CmdStan, bridge
from harness.stan.embedded import EmbeddedModel
from harness.vi.target import Clock, Counted, Fitted

pytestmark = pytest.mark.stan

PROGRAM = """
data { int<lower=1> N; vector[N] y; int fails; }
parameters { vector<lower=0>[2] a; }
transformed parameters { real total = sum(a); }
model { a ~ lognormal(0, 1); y ~ normal(total, 1); }
generated quantities {
  array[2, 1] real twice = {{2 * a[1]}, {2 * a[2]}};
  if (fails == 1 && a[1] > 1) reject("find this in the generated quantities");
}
"""


@pytest.fixture(scope="module")
def program(cmdstan: CmdStan, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Build a program with a vector, a transformed parameter and an array of arrays."""
    file = tmp_path_factory.mktemp("programs") / "positive.stan"
    file.write_text(PROGRAM, encoding="utf-8")
    return Program(file, {}, Path("unused"), cmdstan.path, bridge.library(file, cmdstan))


def run(program: Program, fit: Callable[[Problem[Options]], Fitted], **data: Any) -> RunResult:
    """Run a fit on data written to a file."""
    file = write_data({"N": 2, "y": [1.0, 2.0], "fails": 0, **data})
    spec = RunSpec("positive", "advi", {}, 1, 3)
    row = dataclasses.replace(METHODS["svgd"], options=Options(), fit=on_bridge(fit))
    return row.run(spec, RunContext(program, file, 60.0, 7), Path("unused"))


def given(problem: Problem[Options]) -> Fitted:
    """Return three points as if they had been fitted."""
    z = np.array([[0.0, 0.1], [0.5, -1.0], [-0.3, 0.2]])
    problem.target.log_density_gradient(z)
    return Fitted(z, np.array([0.1, 0.2, 0.3]), words="three points", diagnostics={"kl": 0.5})


def test_draws_have_stans_names_and_everything_the_program_writes(program: Program) -> None:
    """Constrained, with transformed parameters and generated quantities, densities beside them."""
    found = run(program, given)
    assert found.status == "ok"
    assert found.draws is not None
    assert found.draws.names == ("a[1]", "a[2]", "total", "twice[1,1]", "twice[2,1]")
    a = np.exp([[0.0, 0.1], [0.5, -1.0], [-0.3, 0.2]])
    expected = np.column_stack([a, a.sum(axis=1), 2 * a])
    np.testing.assert_allclose(found.draws.values[0], expected, rtol=1e-12)
    assert found.draws.log_p is not None
    assert found.draws.log_q is not None
    assert found.draws.iid
    z = np.log(a)
    log_p = -(z**2).sum(axis=1) / 2 - ((a.sum(axis=1)[:, None] - [1.0, 2.0]) ** 2).sum(axis=1) / 2
    # Both lack and have the same constants: differences between draws are what is known.
    np.testing.assert_allclose(np.diff(found.draws.log_p[0]), np.diff(log_p), rtol=1e-10)
    assert (found.cost.gradient_evaluations, found.cost.log_density_evaluations) == (3, 3)
    assert found.diagnostics["kl"] == 0.5
    assert "three points" in found.console


def test_generated_quantities_that_throw_are_nan_and_the_rest_stays(program: Program) -> None:
    """NaN counts against them in the comparison; parameters keep their draws; Stan's words."""
    found = run(program, given, fails=1)
    assert found.status == "ok"
    assert found.draws is not None
    assert np.isnan(found.draws.values[0, 1, 3:]).all()
    assert np.isfinite(found.draws.values[0, :, :3]).all()
    assert np.isfinite(found.draws.values[0, [0, 2]]).all()
    assert "1 of 3 draws" in found.message
    assert "find this in the generated quantities" in found.message


def test_data_that_do_not_fit_are_a_failed_run(program: Program) -> None:
    """In Stan's words."""
    found = run(program, given, N=3)
    assert (found.status, found.reason) == ("failed", Reason.PROGRAM_ERROR)
    assert "mismatch in the dimensions of y" in found.message


def test_a_time_limit_is_a_result(program: Program) -> None:
    """A timed-out run is a result that counts its evaluations."""

    def slow(problem: Problem[Options]) -> Fitted:
        problem.target.log_density(np.zeros((5, 2)))
        Clock(-1.0).check()
        return given(problem)

    found = run(program, slow)
    assert (found.status, found.reason) == ("timed_out", Reason.TIME_LIMIT)
    assert "--timeout" in found.message
    assert found.cost.log_density_evaluations == 5


def test_a_time_limit_does_not_lose_the_trace(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the fit itself ran out of time, or the writing of its draws did."""
    path = Trace(np.arange(3.0), np.arange(3.0), -np.ones(3))

    def over(problem: Problem[Options]) -> Fitted:
        monkeypatch.setattr(problem.clock, "limit_s", -1.0)
        return Fitted(None, status="timed_out", message="out of time", trace=path)

    def late(problem: Problem[Options]) -> Fitted:
        monkeypatch.setattr(problem.clock, "limit_s", -1.0)
        return dataclasses.replace(given(problem), trace=path)

    for fit in (over, late):
        found = run(program, fit)
        assert found.status == "timed_out"
        assert found.draws is None
        assert found.trace is path


def test_without_a_library_the_reason_is_the_message(program: Program) -> None:
    """A program that cannot be built as a library keeps CmdStan's methods, and says why."""
    broken = dataclasses.replace(program, library=None, library_error="no shared libraries here")
    found = run(broken, given)
    assert found.status == "failed"
    assert found.message == "no shared libraries here"


def test_expensive_draws_get_no_densities_and_that_is_said(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No k-hat rather than minutes for it; the draws and their log q are the same."""
    monkeypatch.setattr(bridged, "WEIGHING_S", 0.0)
    found = run(program, given)
    assert found.draws is not None
    assert found.draws.log_p is None
    assert found.draws.log_q is not None, "q itself can be told from it"
    assert "no k-hat" in found.console


@pytest.mark.parametrize("statement", ["target += mu * sum(y) - mu^2;", "y ~ normal(mu, 1);"])
def test_data_that_the_engine_folds_cost_nothing(tmp_path: Path, statement: str) -> None:
    """A sum of data is a constant; a density that visits every number takes time for it."""
    file = tmp_path / "p.stan"
    code = "data { int N; vector[N] y; } parameters { real mu; } "
    file.write_text(f"{code} model {{ {statement} }}", encoding="utf-8")
    y = np.random.default_rng(1).normal(size=100_000)
    model = EmbeddedModel(file, to_json({"N": len(y), "y": y}).encode())
    visited = 0 if "sum" in statement else len(y)
    expected = bridged.expected_s(file, model, {"N": np.array(len(y)), "y": y})
    assert expected.density == expected.gradient == pytest.approx(1.1e-6 + visited * 2e-9)


def test_one_point_and_many_give_the_same(program: Program) -> None:
    """A single draw takes the bridge's short way; its gradient is a copy that stays."""
    assert program.library is not None
    data = arrays({"N": 2, "y": [1.0, 2.0], "fails": 0, "unused": []})
    target = Counted(BridgeTarget(bridge.BridgeModel(program.library, data)))
    z = np.array([[0.0, 0.1], [0.5, -1.0]])
    values, slopes = target.log_density_gradient(z)
    single = [target.log_density_gradient(z[i : i + 1]) for i in range(2)]
    np.testing.assert_array_equal(np.concatenate([s[0] for s in single]), values)
    np.testing.assert_array_equal(np.concatenate([s[1] for s in single]), slopes)
    assert target.gradients == 4


AGAIN = {
    "dadvi": ("linear_regression", {}),
    "dadvi_lr": ("linear_regression", {}),
    "dadvi_psis": ("linear_regression", {}),
    "advi": ("mixture", {"iterations": 500}),
    "advi_adam": ("linear_regression", {"iterations": 500}),
    "svgd": ("mixture", {"iterations": 20, "particles": 100}),
    "bbvi": ("normal_mean", {"iterations": 200, "variance_draws": 100}),
    "quadrature_kl": ("student_t", {}),
    "cavi": ("inverse_gamma_normal", {}),
    "svi": ("inverse_gamma_normal", {}),
}


@pytest.mark.parametrize("method", AGAIN)
def test_the_same_seed_gives_the_same_draws(method: str, cmdstan: CmdStan, tmp_path: Path) -> None:
    """The draws are equal to the last bit on a busy machine too; `check --exact` needs that."""
    name, options = AGAIN[method]
    model = folders.load(name)
    row = METHODS[method]
    built = bridge.library(model.stan_file, cmdstan) if row.bridge else None
    program = Program(model.stan_file, {}, Path("unused"), cmdstan.path, built)
    spec = RunSpec(name, method, {**row.defaults, **options}, 1, 200)
    context = RunContext(program, model.data_file, 60.0, 12345)
    first, second = (row.run(spec, context, tmp_path) for _ in range(2))
    assert first.draws is not None, first.message
    assert second.draws is not None
    np.testing.assert_array_equal(first.draws.values, second.draws.values)
    other = row.run(spec, context._replace(cmdstan_seed=54321), tmp_path)
    assert other.draws is not None
    assert not np.array_equal(first.draws.values, other.draws.values)


COPIES = """
parameters {{ vector<lower=0>[2] a; }}
transformed parameters {{ real total = sum(a); }}
model {{ a ~ lognormal(0, 1); }}
{}
"""


@pytest.mark.parametrize("generated", ["", "generated quantities { real y = normal_rng(0, 1); }"])
def test_copies_of_a_proposal_are_written_once_unless_something_is_generated(
    tmp_path: Path, generated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every draw has the values of its own point; random numbers are drawn for each."""
    file = tmp_path / "copies.stan"
    file.write_text(COPIES.format(generated), encoding="utf-8")
    model = EmbeddedModel(file)
    z = np.array([[0.5, -1.0], [0.0, 0.1], [0.5, -1.0], [-0.3, 0.2], [0.5, -1.0]])
    target, rng = Counted(BridgeTarget(model)), np.random.default_rng(1)
    expected = bridged.expected_s(file, model, {})
    given = Problem(target, model, {}, Options(), 5, rng, Clock(9), 1, expected)
    written: list[int] = []
    constrain = model.constrain

    def counted(points: Any, **how: Any) -> Any:
        written.append(len(points))
        return constrain(points, **how)

    monkeypatch.setattr(model, "constrain", counted)
    found = bridged._drawn(Fitted(z, proposal=np.array([7, 2, 7, 4, 7])), given)
    assert found.draws is not None
    a = np.exp(z)
    values = found.draws.values[0]
    np.testing.assert_allclose(values[:, :3], np.column_stack([a, a.sum(axis=1)]), rtol=1e-12)
    assert found.draws.copies is not None
    assert found.draws.copies[0].tolist() == [3, 1, 3, 1, 3]
    assert written == [5 if generated else 3]
    assert len(set(values[:, 3:].ravel())) == (5 if generated else 0)
