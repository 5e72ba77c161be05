"""NUTS where it is told where to start and on which scale: CmdStan does as it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.methods.nuts import NUTS
from harness.models import folders
from harness.records import RunContext, RunResult, RunSpec
from harness.stan import CmdStan, compile_program
from harness.study.store import cmdstan_seed

pytestmark = pytest.mark.stan

Run = Callable[..., RunResult]


@pytest.fixture
def run(cmdstan: CmdStan, tmp_path: Path) -> Run:
    """Return a function that runs NUTS on a lecture model, in ``tmp_path``."""

    def once(name: str, **options: Any) -> RunResult:
        model = folders.load(name)
        spec = RunSpec(name, "nuts", {**NUTS.defaults, **options}, 1, 0)
        assert json.loads(json.dumps(dict(spec.options))) == dict(spec.options)
        program = compile_program(model.stan_file, cmdstan)
        context = RunContext(program, model.data_file, 60.0, cmdstan_seed(spec, "p", "d"))
        return NUTS.run(spec, context, tmp_path)

    return once


def headers(folder: Path) -> list[list[float]]:
    """Return the inverse metric in each chain's CSV, row by row."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        lines = path.read_text(encoding="utf-8").splitlines()
        at = next(i for i, line in enumerate(lines) if "inverse mass matrix" in line)
        rows = []
        for line in lines[at + 1 :]:
            if not line.startswith("# ") or ":" in line:
                break
            rows += [float(x) for x in line[2:].split(",")]
        found.append(rows)
    return found


def test_the_defaults_know_nothing_of_it() -> None:
    """A stored run of NUTS is found again: its spec is what it was."""
    assert set(NUTS.defaults) == {"chains", "warmup", "samples", "adapt_delta", "max_treedepth"}


def test_every_chain_starts_where_it_is_told(run: Run) -> None:
    """In the mixture's modes, 8 of their sds apart, which short chains do not leave."""
    places = [-0.3, 0.5, 0.5, -0.3]
    result = run("mixture", warmup=10, samples=40, inits=[{"x": x} for x in places])
    assert result.draws is not None, result.message
    x = result.draws.quantity("x")
    # Five sds of a mode about it.
    np.testing.assert_allclose(x, np.array(places)[:, None] * np.ones(40), atol=0.5)
    assert np.ptp(x.mean(axis=1)) > 0.5


def test_one_start_is_all_chains_and_may_be_given_in_part(run: Run) -> None:
    """A mapping stands for every chain."""
    result = run("mixture", warmup=10, samples=40, inits={"x": -0.3})
    assert result.draws is not None, result.message
    np.testing.assert_allclose(result.draws.quantity("x"), -0.3, atol=0.5)


def test_the_metric_is_used(run: Run, tmp_path: Path) -> None:
    """With a warm-up too short to adapt the metric, CmdStan writes the one it was given."""
    result = run("linear_regression", warmup=10, samples=20, inv_metric=[0.02, 0.07, 0.01])
    assert result.draws is not None, result.message
    assert headers(tmp_path) == [[0.02, 0.07, 0.01]] * 4


def test_a_dense_metric_is_used(run: Run, tmp_path: Path) -> None:
    """A d × d list is CmdStan's dense metric."""
    metric = [[0.02, -0.03, 0.0], [-0.03, 0.07, 0.0], [0.0, 0.0, 0.01]]
    result = run("linear_regression", warmup=10, samples=20, inv_metric=metric)
    assert result.draws is not None, result.message
    assert headers(tmp_path) == [[x for row in metric for x in row]] * 4


def test_the_leapfrog_steps_are_counted(run: Run) -> None:
    """Steps of the kept iterations are counted; CmdStan does not write those of the warm-up."""
    result = run("normal_mean", warmup=50, samples=30)
    assert result.draws is not None, result.message
    steps = float(result.draws.stats["n_steps"].sum())
    assert result.diagnostics["sampling_leapfrogs"] == steps
    assert steps >= 4 * 30


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"inv_metric": [1.0, 1.0]}, "dims found=(2)"),
        ({"inv_metric": [[1.0, 0.0], [0.0, 1.0]]}, "dims found=(2,2)"),
        ({"inv_metric": [1.0, -1.0, 1.0]}, "positive"),
        ({"inv_metric": 1.0}, "0 dimensions; allowed"),
        ({"inv_metric": [[1.0], [1.0, 2.0]]}, "inhomogeneous"),
        (
            {"inits": {"intercept": 1.0, "slope": 1.0, "sigma": -1.0}},
            "must be greater than or equal to 0",
        ),
        ({"inits": [{"sigma": 1.0}] * 3}, "3 points for 4 chains; allowed: one a chain"),
    ],
)
def test_bad_shapes_are_a_failed_run_with_the_reason(
    run: Run, options: dict[str, Any], words: str
) -> None:
    """The reason has CmdStan's message, or the wrong option and what is allowed."""
    result = run("linear_regression", warmup=10, samples=20, **options)
    assert result.status == "failed"
    assert result.draws is None
    assert words in result.message
