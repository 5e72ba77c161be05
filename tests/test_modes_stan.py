"""Modes that NUTS's chains miss together, in Stan programs on the embedded engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.methods import METHODS
from harness.records import Program, Reason, RunContext, RunResult, RunSpec

K = 4.5
"""Standard errors allowed."""

TWO = """
data { int N; vector[N] y; }
parameters { real a; vector[18] u; real b; }
model {
  target += log_mix(0.3, normal_lpdf(a | -4, .5) + normal_lpdf(u | 0, .5),
                         normal_lpdf(a | 4, 1) + normal_lpdf(u | 0, 1));
  b ~ normal(0, 2);
  y ~ normal(b, 1);
}
"""
"""Nothing leads from the wide mode to the narrow one: NUTS's chains agree in one of them."""


def ran(folder: Path, method: str, seed: int) -> RunResult:
    """Run a method on ``TWO``."""
    row = METHODS[method]
    (folder / "m.stan").write_text(TWO, encoding="utf-8")
    (folder / "m.json").write_text(json.dumps({"N": 4, "y": [0.3, -0.2, 1.1, 0.5]}))
    program = Program(folder / "m.stan", {}, embedded=True)
    spec = RunSpec("m", method, dict(row.defaults), seed, row.draws)
    return row.run(spec, RunContext(program, folder / "m.json", 300.0, seed), folder)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_modes_are_found_with_their_masses(tmp_path: Path, seed: int) -> None:
    """The mixture of basins holds .3 of the narrow mode, within the error of its weights."""
    found = ran(tmp_path, "dadvi_basins", seed)
    assert found.status == "ok", found.message
    assert found.draws is not None
    assert found.diagnostics["basins"] == 2
    a = found.draws.values[..., found.draws.names.index("a")]
    error = np.sqrt(0.3 * 0.7 / min(a.size, found.diagnostics["weight_ess"]))
    assert abs(np.mean(a < 0) - 0.3) < K * error * np.sqrt(2)


@pytest.mark.parametrize("method", ["dadvi", "dadvi_lr", "dadvi_psis"])
def test_a_fit_of_one_mode_is_doubted(tmp_path: Path, method: str) -> None:
    """A Gaussian holds one of them, and the run says that there is another."""
    found = ran(tmp_path, method, 1)
    assert found.status == "not_converged"
    assert found.reason is Reason.OTHER_BASINS
    assert found.diagnostics["other_mass"] == pytest.approx(0.3, abs=0.02)
