"""Seeds come from content: what a program, a model or a folder is called changes no figure."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.models import folders
from harness.records import ModelComparison
from harness.study import comparing
from harness.study.plan import Plan
from harness.study.pool import Pool

PROGRAM = """
data { int N; vector[N] y; }
parameters { real m; real<lower=0> s; }
model { y ~ normal(m, s); m ~ normal(0, 10); s ~ normal(0, 5); }
"""

RUNS = 6
"""Two methods with two seeds each, NUTS and short chains."""

NAMES = ("first/one", "second/another name", "third/one")

pytestmark = pytest.mark.stan


def compared(root: Path, name: str, **more: Any) -> tuple[ModelComparison, int]:
    """Compare the program under a name; return it and how many runs were made."""
    program = root / f"{name}.stan"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(PROGRAM, encoding="utf-8")
    data = program.with_suffix(".json")
    data.write_text('{"N": 5, "y": [1.2, 0.3, 2.2, 1.9, 0.4]}', encoding="utf-8")
    model = folders.user_model(program, data)
    plan = Plan((model,), methods=("meanfield", "dadvi"), seeds=2, figures=False, **more)
    comparison, _ = comparing.compare(plan)
    (found,) = comparison.models
    assert found.model.name == found.runs[0].spec.model
    return found, int(comparison.provenance["runs_made"])


def figures(found: ModelComparison) -> list[Any]:
    """Return what was found, without names and seconds."""
    assert found.explanation is not None
    explained = found.explanation
    return [
        [repr((m.method, m.seed, m.quantity, m.metric, m.value, m.mcse)) for m in found.measures],
        [(v.method, v.level) for v in found.verdicts],
        repr(explained.log_evidence),
        [repr((g.method, g.seed, g.family_gap, g.optimiser_gap)) for g in explained.gaps],
    ]


def test_three_names_have_the_same_figures(fresh_results: Path, tmp_path: Path) -> None:
    """Each is run anew; then each finds the others' runs."""
    # Another test of this file may have made them.
    shutil.rmtree(fresh_results / "results", ignore_errors=True)
    found = []
    for name in NAMES:
        one, made = compared(tmp_path, name)
        assert made == RUNS
        found.append(figures(one))
        shutil.rmtree(fresh_results / "results")
    assert found[0] == found[1] == found[2]
    assert compared(tmp_path, NAMES[0])[1] == RUNS
    again, made = compared(tmp_path, NAMES[1])
    assert made == 0
    assert again.model.name == "another name"
    assert figures(again) == found[0]


def test_the_same_comparison_again_runs_nothing(
    fresh_results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even an analysis, though the program was loaded the first time and not the second."""
    shutil.rmtree(fresh_results / "results", ignore_errors=True)
    first, _ = compared(tmp_path, NAMES[0], remedies=True)
    monkeypatch.setattr(Pool, "submit", lambda *_, **__: pytest.fail("something was run"))
    again, made = compared(tmp_path, NAMES[0], remedies=True)
    assert made == 0
    assert figures(again) == figures(first)


def test_another_first_seed_has_other_figures(fresh_results: Path, tmp_path: Path) -> None:
    """``--seed`` shifts the seeds of all methods, NUTS included."""
    assert fresh_results.is_dir()
    first, _ = compared(tmp_path, NAMES[0], explain=False)
    other, made = compared(tmp_path, NAMES[0], explain=False, first_seed=11)
    assert made == RUNS
    assert {r.spec.seed for r in other.runs} == {11, 12}
    means, shifted = ({m.value for m in f.measures if m.metric == "mean"} for f in (first, other))
    assert len(means) > 0
    assert not means & shifted
