"""NUTS as a reference on programs that cost it its trust for little, or for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.models import folders
from harness.models.data import write_data
from harness.records import ModelComparison
from harness.study import comparing
from harness.study.plan import Plan

pytestmark = pytest.mark.stan

BOUNDARY = """
parameters { real<lower=0> mu; }
model { mu ~ normal(-1, 1); }
"""

SPIKE = """
parameters { real<lower=0> g; }
model { g ~ gamma(0.3, 1); }
"""

RIDGE = """
parameters { real a; real b; }
model { a ~ normal(0, 100); b ~ normal(0, 100); 1 ~ normal(a + b, 0.1); }
"""

EIGHT_SCHOOLS = """
data { int J; vector[J] y; vector<lower=0>[J] sigma; }
parameters { real mu; real<lower=0> tau; vector[J] raw; }
transformed parameters { vector[J] theta = mu + tau * raw; }
model { mu ~ normal(0, 5); tau ~ cauchy(0, 5); raw ~ std_normal(); y ~ normal(theta, sigma); }
"""

SCHOOLS = {
    "J": 8,
    "y": [28, 8, -3, 7, -1, 1, 18, 12],
    "sigma": [15, 10, 16, 11, 9, 11, 10, 18],
}


def compared(
    folder: Path, text: str, data: dict[str, Any] | None = None, **more: Any
) -> ModelComparison:
    """Compare a program's fits with NUTS."""
    (folder / "p.stan").write_text(text, encoding="utf-8")
    model = folders.user_model(folder / "p.stan", None if data is None else write_data(data))
    asked = {"methods": ("dadvi_lr", "nuts"), "seeds": 1, "explain": False, "figures": False}
    (found,) = comparing.compare(Plan((model,), **{**asked, **more}))[0].models
    assert found.error is None
    return found


@pytest.mark.parametrize("text", [BOUNDARY, SPIKE])
def test_a_boundary_costs_no_reference(fresh_results: Path, tmp_path: Path, text: str) -> None:
    """What diverges at adapt_delta 0.8 is made again, and the record says so."""
    assert fresh_results.is_dir()
    found = compared(tmp_path, text, options={"nuts": {"adapt_delta": 0.7}})
    reference = found.reference
    assert reference.trusted, reference.why
    assert len(reference.attempts) > 1
    assert reference.attempts[0].divergences
    assert any("NUTS was made again with adapt_delta 0.95" in note for note in found.notes)
    (nuts,) = (r for r in found.runs if r.spec.method == "nuts")
    assert nuts.spec.options["adapt_delta"] > 0.7
    assert all(v.level != "unknown" for v in found.verdicts)


@pytest.mark.slow
def test_a_ridge_gets_deeper_trees_and_more_draws(fresh_results: Path, tmp_path: Path) -> None:
    """Its ESS is under 200 after 4 × 1000, with 42% of trajectories cut short."""
    assert fresh_results.is_dir()
    found = compared(tmp_path, RIDGE)
    assert found.reference.trusted, found.reference.why
    assert found.reference.attempts[0].trusted is False


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_eight_schools_end_in_verdicts(fresh_results: Path, tmp_path: Path, seed: int) -> None:
    """Non-centred, with every seed, whatever a lengthened NUTS meets."""
    assert fresh_results.is_dir()
    methods = ("dadvi_lr", "dadvi_psis", "nuts")
    found = compared(tmp_path, EIGHT_SCHOOLS, SCHOOLS, methods=methods, first_seed=seed)
    assert found.reference.trusted, found.reference.why
    assert all(v.level != "unknown" for v in found.verdicts)
