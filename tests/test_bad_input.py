"""Bad programs and data, with real CmdStan: each has a clear message, and the rest is compared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.models import folders
from harness.records import Model, ModelComparison
from harness.report.html.program import program
from harness.study import comparing
from harness.study.plan import Plan
from harness.why.words import cause_in_short, cause_sentences

pytestmark = pytest.mark.stan

GOOD = "parameters { real m; } model { m ~ normal(0, 1); }\n"

SHAPES = """
parameters {
  simplex[3] w;
  cov_matrix[2] Sigma;
  vector[0] nothing;
}
model {
  w ~ dirichlet(rep_vector(3, 3));
  Sigma ~ inv_wishart(8, diag_matrix(rep_vector(1, 2)));
}
generated quantities {
  real constant = 3;
  real broken = not_a_number();
  matrix[2, 2] half = Sigma / 2;
}
"""

THROWS = """
parameters { real m; }
model { m ~ normal(0, 1); }
generated quantities {
  if (m > 1) reject("too large: ", m);
}
"""

PROGRAMS: Mapping[str, tuple[str, Any, str]] = {
    "good": (GOOD, {}, ""),
    "syntax": ("parameters { real m } model { }\n", {}, "syntax.stan', line 1"),
    "missing": ("data { int N; } " + GOOD, {}, "'N' is not in missing.json"),
    "bound": ("data { real<lower=0> s; } " + GOOD, {"s": -1}, "s is -1, but must be greater"),
    "impossible": (
        "parameters { real m; } model { target += negative_infinity(); }\n", {}, "does not start",
    ),
    "empty": ("model { }\n", {}, "no parameters"),
    "random": (
        "transformed data { real y = normal_rng(0, 1); } " + GOOD,
        {}, "draws random numbers (`real y = normal_rng(0, 1);`), so that every run would fit",
    ),
    "scalar": ("data { array[1] real y; } " + GOOD, {"y": 0.7}, "write [0.7]"),
}  # fmt: skip


def write(folder: Path, name: str, program: str, data: Any) -> Model:
    """Write a program and its data, and return them as a user's own model."""
    (folder / f"{name}.stan").write_text(program)
    (folder / f"{name}.json").write_text(json.dumps(data))
    return folders.user_model(folder / f"{name}.stan", folder / f"{name}.json")


@pytest.fixture(scope="module")
def compared(
    fresh_results: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, ModelComparison]:
    """Compare all bad programs and a good one together."""
    assert fresh_results.is_dir()
    folder = tmp_path_factory.mktemp("programs")
    models = [write(folder, name, text, data) for name, (text, data, _) in PROGRAMS.items()]
    models.append(write(folder, "shapes", SHAPES, {}))
    models.append(write(folder, "throws", THROWS, {}))
    (folder / "latin.stan").write_bytes(b"// caf\xe9\n" + GOOD.encode())
    models.append(folders.user_model(folder / "latin.stan", None))
    plan = Plan(tuple(models), methods=("meanfield",), seeds=2)
    return {m.model.name: m for m in comparing.compare(plan)[0].models}


def test_one_bad_model_does_not_take_the_others_down(
    compared: Mapping[str, ModelComparison],
) -> None:
    """A good program among bad ones is compared as if it were alone."""
    good = compared["good"]
    assert good.error is None
    assert good.reference.trusted
    assert [v.method for v in good.verdicts] == ["meanfield"]
    assert good.verdicts[0].level in {"pass", "warn", "fail", "unknown"}


@pytest.mark.parametrize("name", [n for n in PROGRAMS if n != "good"])
def test_what_is_wrong_with_a_model_is_said_in_its_own_words(
    compared: Mapping[str, ModelComparison], name: str
) -> None:
    """The user sees the message of stanc or CmdStan, and there is no verdict."""
    model = compared[name]
    assert model.error is not None
    assert PROGRAMS[name][2] in model.error
    assert model.verdicts == ()


def test_latin_1_in_a_comment_costs_nothing(compared: Mapping[str, ModelComparison]) -> None:
    """Stan reads bytes; reports show what is no UTF-8 as replaced."""
    model = compared["latin"]
    assert model.error is None
    assert model.verdicts
    assert "caf\N{REPLACEMENT CHARACTER}" in program(model.model.stan_file).html


def test_generated_quantities_that_throw_do_not_read_as_a_failed_fit(
    compared: Mapping[str, ModelComparison],
) -> None:
    """CmdStan's ADVI then leaves a few draws at most, which tell nothing of the fit."""
    (verdict,) = compared["throws"].verdicts
    words = (verdict.headline, cause_in_short(verdict), *verdict.notes, *cause_sentences(verdict))
    said = " ".join(map(str, words))
    assert "left no draws: the fit ended, its generated quantities failed" in said
    assert verdict.causes[0].cause.name == "generated quantities throw"
    assert "too large" in said
    assert "line 5" in said
    assert "runs failed" not in said
    assert "failed runs" not in said


def test_matrices_simplexes_and_useless_quantities(
    compared: Mapping[str, ModelComparison],
) -> None:
    """Names keep their indices; constant, NaN and repeated ones are listed, not compared."""
    model = compared["shapes"]
    assert model.error is None
    quantities = {m.quantity for m in model.measures if m.metric == "bias"}
    assert {"w[1]", "Sigma[1,1]", "Sigma[2,1]", "Sigma[2,2]"} <= quantities
    assert not quantities & {"constant", "broken", "Sigma[1,2]", "half[2,2]"}
    told = " ".join(model.notes)
    assert "constant" in told
    assert "broken" in told
    assert "Sigma[1,2] (Sigma[2,1])" in told
    assert all(math.isfinite(m.value) for m in model.measures if m.metric == "corr_error")


def test_nothing_but_bad_models_is_an_error(fresh_results: Path, tmp_path: Path) -> None:
    """Where nothing can be run, an error gives the reasons, and no empty report is written."""
    assert fresh_results.is_dir()
    model = write(tmp_path, "syntax", *PROGRAMS["syntax"][:2])
    with pytest.raises(comparing.NothingToRunError, match=r"syntax\.stan"):
        comparing.compare(Plan((model,)))


def test_a_damaged_entry_is_computed_again_and_editing_reruns_one_model(
    fresh_results: Path, tmp_path: Path
) -> None:
    """A flipped byte repeats one run; a changed program repeats its own runs and no others."""
    one = write(tmp_path, "one", f"// of this test alone\n{GOOD}", {})
    two = write(tmp_path, "two", "parameters { real k; } model { k ~ normal(1, 2); }\n", {})
    plan = Plan((one, two), methods=("meanfield",), seeds=2, explain=False)

    def runs_made() -> int:
        return int(comparing.compare(plan)[0].provenance["runs_made"])

    # Each model has two seeds, NUTS as the reference and short chains as its witness.
    assert runs_made() == 8
    assert runs_made() == 0
    entry = next(
        p
        for p in (fresh_results / "results").glob("*/*/result.json")
        if '"model": "one"' in p.read_text()
    )
    arrays = entry.with_name("arrays.bin")
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 255
    arrays.write_bytes(content)
    assert runs_made() == 1
    two.stan_file.write_text(two.stan_file.read_text() + "// edited\n")
    assert runs_made() == 4


def test_a_run_that_takes_too_long_is_a_result(fresh_results: Path, tmp_path: Path) -> None:
    """With too short a time limit, runs are timed_out and the method does not pass."""
    assert fresh_results.is_dir()
    model = write(tmp_path, "good", GOOD, {})
    plan = Plan((model,), methods=("meanfield_tuned",), seeds=1, timeout_s=0.05, explain=False)
    comparison, _ = comparing.compare(plan)
    statuses = {r.spec.method: r.status for r in comparison.models[0].runs}
    assert statuses["meanfield_tuned"] == "timed_out"
    assert comparison.models[0].verdicts[0].level in {"fail", "unknown"}
    patient = Plan((model,), methods=("meanfield_tuned",), seeds=1, explain=False)
    comparison, _ = comparing.compare(patient)
    assert {r.status for r in comparison.models[0].runs} <= {"ok", "not_converged", "diverged"}


def test_from_python(fresh_results: Path, tmp_path: Path) -> None:
    """``harness.compare`` gives a table, verdicts, draws as DataTrees and a report."""
    assert fresh_results.is_dir()
    stan = tmp_path / "line.stan"
    stan.write_text(
        "data { int N; vector[N] y; } parameters { real m; } model { y ~ normal(m, 1); }\n"
    )
    data = {"N": 3, "y": np.array([0.5, 1.0, 1.5])}
    result = harness.compare(stan, data, methods=["nuts", "meanfield"], seeds=2)
    assert set(result.verdicts) == {"nuts", "meanfield"}
    assert result.verdicts["nuts"].level == "reference"
    assert {"bias", "log_width_ratio"} <= set(result.table["metric"])
    tree = result.draws["meanfield"]
    assert tree["posterior"]["m"].shape == (1, 10_000)
    assert result.draws["nuts"]["posterior"]["m"].shape == (4, 1000)
    assert result.draws["meanfield", 2]["posterior"]["m"].shape == (1, 10_000)
    with pytest.raises(KeyError, match="no run 'fullrank'"):
        result.draws["fullrank"]
    assert result.to_html(tmp_path / "r.html").stat().st_size > 10_000


def test_a_program_that_times_itself_leaves_nothing_behind(
    fresh_results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CmdStan writes profile.csv where it is started, which is not the user's folder."""
    assert fresh_results.is_dir()
    program = tmp_path / "timed.stan"
    program.write_text('parameters { real m; } model { profile("p") { m ~ normal(0, 1); } }\n')
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    result = harness.compare("../timed.stan", methods=["meanfield", "nuts"], seeds=1, why=False)
    assert result.comparison.models[0].reference.trusted
    assert not list(here.iterdir())
