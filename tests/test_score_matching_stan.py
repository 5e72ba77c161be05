"""``lowrank`` and ``bam`` on Stan programs: priced, judged, explained, and their failures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.methods import METHODS
from harness.models.data import write_data
from harness.records import Program, Reason, RunContext, RunResult, RunSpec
from harness.stan import embedded

pytestmark = [
    pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-"),
    pytest.mark.usefixtures("isolated_cache"),
]

BOTH = ("lowrank", "bam")

CORRELATED = """
data { real r; }
parameters { vector[2] x; }
model { x ~ multi_normal([1, 0]', [[1, r], [r, 1]]); }
"""
FUNNEL = """
parameters { real v; vector[9] x; }
model { v ~ normal(0, 3); x ~ normal(0, exp(v / 2)); }
"""
NONE = "generated quantities { real y = 1; }"

R = 0.95


def run(
    method: str,
    code: str,
    folder: Path,
    *,
    limit_s: float = 60.0,
    seed: int = 1,
    options: Mapping[str, Any] | None = None,
    **data: Any,
) -> RunResult:
    """Run a method on a program in the embedded engine."""
    (folder / "m.stan").write_text(code, encoding="utf-8")
    row = METHODS[method]
    spec = RunSpec("m", method, {**row.defaults, **(options or {})}, seed, 4000)
    program = Program(folder / "m.stan", {}, embedded=True)
    file = write_data(data) if data else None
    return row.run(spec, RunContext(program, file, limit_s, seed), folder)


@pytest.mark.parametrize("method", BOTH)
def test_a_correlated_normal_is_found_and_priced(method: str, tmp_path: Path) -> None:
    """Moments by 5 standard errors, KL of 0, gradients counted; the same seed, the same draws."""
    found, again, other = (run(method, CORRELATED, tmp_path, seed=s, r=R) for s in (1, 1, 2))
    assert (found.status, found.message) == ("ok", "")
    assert found.draws is not None
    assert again.draws is not None
    assert other.draws is not None
    z = found.draws.values[0]
    assert np.abs(z.mean(axis=0) - [1, 0]).max() < 5 / np.sqrt(4000)
    assert abs(np.corrcoef(z.T)[0, 1] - R) < 5 * (1 - R**2) / np.sqrt(4000)
    assert abs(found.diagnostics["kl"]) < 0.001
    assert found.diagnostics["change"] < 0.05
    assert found.cost.gradient_evaluations is not None
    assert 2000 < found.cost.gradient_evaluations < 5000
    assert found.cost.seconds > 0
    assert found.trace is not None
    np.testing.assert_array_equal(z, again.draws.values[0])
    assert not np.array_equal(z, other.draws.values[0])


@pytest.mark.parametrize("method", BOTH)
def test_a_funnel_is_not_called_converged(method: str, tmp_path: Path) -> None:
    """The updates do not settle."""
    found = run(method, FUNNEL, tmp_path)
    assert found.status == "not_converged"
    assert found.reason is Reason.NOT_SETTLED


def test_weights_doubt_a_fit_that_has_settled(tmp_path: Path) -> None:
    """Without factors q has no correlation: a difference is 2.2 times too wide."""
    code = CORRELATED.replace("model", "transformed parameters { real y = x[1] - x[2]; } model")
    found = run("lowrank", code, tmp_path, options={"rank": 0}, r=0.8)
    assert found.status == "not_converged"
    assert found.diagnostics["change"] < 0.05
    assert found.reason is Reason.MOVED
    assert [(d.reason, d.quantity) for d in found.doubts] == [(Reason.MOVED, "y")]
    assert "weighted by p/q" in found.message


@pytest.mark.parametrize("method", BOTH)
def test_what_cannot_be_fitted_fails_in_words(method: str, tmp_path: Path) -> None:
    """No parameters, no density at any start, too little time."""
    found = run(method, NONE, tmp_path)
    assert (found.status, found.message) == ("failed", "the program has no parameters")
    found = run(method, 'parameters { real x; } model { reject("no"); }', tmp_path)
    assert found.status == "failed"
    assert "starting points" in found.message
    found = run(method, CORRELATED, tmp_path, limit_s=1e-6, r=R)
    assert (found.status, found.draws) == ("timed_out", None)


def test_a_full_covariance_has_a_limit(tmp_path: Path) -> None:
    """With 301 parameters it is refused, and ``lowrank`` named, which fits them."""
    code = "data { int N; } parameters { vector[N] x; } model { x ~ normal(0, 1); }"
    found = run("bam", code, tmp_path, N=301)
    assert found.status == "failed"
    assert found.message.startswith("301 parameters are too many for a full covariance")
    assert "lowrank" in found.message
    assert run("lowrank", code, tmp_path, N=301).status == "ok"


@pytest.mark.slow
def test_both_are_judged_and_explained(tmp_path: Path) -> None:
    """Both pass against exact draws, and their distance from the best Gaussian is 0 nats."""
    file = tmp_path / "pair.stan"
    file.write_text(CORRELATED, "utf-8")
    draws = np.random.default_rng(7).multivariate_normal([1, 0], [[1, R], [R, 1]], (4, 5000))
    found = harness.compare(
        file, {"r": R}, methods=BOTH, seeds=1, quick=True, why=True, jobs=1, reference={"x": draws}
    )
    (model,) = found.comparison.models
    assert {v.method: v.level for v in model.verdicts} == dict.fromkeys(BOTH, "pass")
    assert model.explanation is not None
    gaps = model.explanation.gaps
    assert {(g.method, g.family) for g in gaps} == {(m, "fullrank") for m in BOTH}
    assert max(abs(g.optimiser_gap.value) for g in gaps) < 0.005
