"""An answer without a compiler: `--quick`, and comparisons on a machine that has no CmdStan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.stan import embedded

pytestmark = pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")

PROGRAM = """
data { int<lower=0> J; array[J] real y; array[J] real<lower=0> sigma; }
parameters { real mu; real<lower=0> tau; vector[J] z; }
transformed parameters { vector[J] theta = mu + tau * z; }
model {
  mu ~ normal(0, 5); tau ~ normal(0, 5); z ~ std_normal();
  y ~ normal(theta, sigma);
}
generated quantities { real highest = max(theta); }
"""

DATA = {"J": 4, "y": [28.0, 8.0, -3.0, 7.0], "sigma": [15.0, 10.0, 16.0, 11.0]}

WITHOUT_POSIX = """
import os, signal, sys

for module, names in (
    (os, ("setsid", "nice", "killpg", "fork", "getuid", "sched_getaffinity")),
    (signal, ("SIGKILL", "SIGALRM", "alarm", "setitimer")),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
sys.modules["fcntl"] = sys.modules["resource"] = None
"""

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a user's folder with a program and its data."""
    (tmp_path / "my.stan").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "my.json").write_text(json.dumps(DATA), encoding="utf-8")
    return tmp_path


@pytest.fixture
def harness(folder: Path) -> Command:
    """Return what runs the command where there is no CmdStan, and nothing on the PATH."""
    empty = folder / "empty"
    empty.mkdir()

    def call(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        root = str(Path(__file__).parents[1])
        env = {
            "PATH": str(empty),
            "HOME": str(empty),
            "HARNESS_CACHE": str(folder / "cache"),
            # Without fcntl, other processes cannot see that a folder for temporary files is in use.
            "TMPDIR": str(empty),
            "PYTHONPATH": os.pathsep.join([str(folder / "site"), root]),
            "COLUMNS": "160",
            **more,
        }
        command = [sys.executable, "-m", "harness", *words]
        return subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
        )

    return call


FUNNEL = """
parameters { real v; vector[9] x; }
model { v ~ normal(0, 3); x ~ normal(0, exp(v / 2)); }
"""


def results(folder: Path, name: str = "my") -> dict[str, Any]:
    """Return what a comparison wrote."""
    text = (folder / "reports" / name / "results.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def test_quick_needs_no_compiler(harness: Command, folder: Path) -> None:
    """A table of verdicts that rest on short chains."""
    done = harness("compare", "my.stan", "my.json", "--quick")
    assert done.returncode == 0, done.stderr
    (model,) = results(folder)["models"]
    assert {run["engine"] for run in model["runs"]} == {"embedded"}
    assert "nuts" not in {run["method"] for run in model["runs"]}
    assert (model["reference"]["kind"], model["reference"]["trusted"]) == ("ensemble", True)
    by = {v["method"]: v for v in model["verdicts"]}
    assert by["dadvi"]["level"] in {"warn", "fail"}, "mean field misses dependence"
    assert by["dadvi_psis"]["level"] == "pass"
    assert by["short_chains"]["level"] == "reference"
    assert {v["evidence"] for v in by.values()} == {"ensemble"}


def test_quick_without_a_reference_says_who_agrees_with_whom(
    harness: Command, folder: Path
) -> None:
    """No verdict is a pass, methods are measured against one of them, and there is a next step.

    Mean field is wrong by what short chains move its draws by: v has the sd 3.
    """
    (folder / "my.stan").write_text(FUNNEL, encoding="utf-8")
    done = harness("compare", "my.stan", "--quick")
    assert done.returncode == 0, done.stderr
    assert "next: harness compare my.stan" in done.stdout
    (model,) = results(folder)["models"]
    said = {v["method"]: (v["level"], v["evidence"]) for v in model["verdicts"]}
    assert said["dadvi"] == ("fail", "movement")
    assert set(said.values()) <= {("unknown", "none"), ("warn", "movement"), ("fail", "movement")}
    (dadvi,) = (v for v in model["verdicts"] if v["method"] == "dadvi")
    # The search takes the funnel's mouth and neck for two regions.
    assert dadvi["headline"].startswith(
        ("wrong by at least a factor of", "wrong in its own region")
    )
    assert "its draws," in done.stdout  # the cell breaks after the comma
    assert all(s["beside"] for s in model["standings"])


def test_quick_judges_against_an_exact_posterior(harness: Command, folder: Path) -> None:
    """Verdicts are decided where the model has independent draws of its posterior."""
    done = harness("compare", "normal_mean", "--quick", "--quiet")
    assert done.returncode == 0, done.stderr
    (model,) = results(folder, "normal_mean")["models"]
    levels = {v["method"]: v["level"] for v in model["verdicts"]}
    assert levels["dadvi_lr"] == levels["dadvi_psis"] == "pass"
    assert model["standings"] == []


def test_quick_calls_nothing_that_only_posix_has(harness: Command, folder: Path) -> None:
    """Without setsid, nice, killpg, SIGKILL, fcntl and resource, as on Windows, it runs too."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WITHOUT_POSIX, encoding="utf-8")
    done = harness("compare", "my.stan", "my.json", "--quick", "--methods", "dadvi_lr,dadvi_psis")
    assert done.returncode == 0, done.stderr
    assert "DADVI + PSIS" in done.stdout


def test_a_whole_comparison_without_cmdstan(harness: Command, folder: Path) -> None:
    """NUTS runs embedded and is the reference; what differs is said, and methods are decided."""
    done = harness("compare", "my.stan", "my.json", "--methods", "dadvi,dadvi_psis", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert "there is no CmdStan: NUTS and ADVI are those of stanli" in done.stderr
    (model,) = results(folder)["models"]
    assert model["reference"]["kind"] == "nuts"
    assert {run["engine"] for run in model["runs"]} == {"embedded"}
    levels = {v["method"]: v["level"] for v in model["verdicts"]}
    assert levels["dadvi"] in {"warn", "fail"}
    assert levels["dadvi_psis"] == "pass"
    versions = results(folder)["provenance"]["versions"]
    assert "embedded" in versions
    assert "cmdstan" not in versions


def test_what_the_engine_refuses_needs_a_compiler(harness: Command, folder: Path) -> None:
    """In the engine's words; there is no verdict, and the exit code is that of an error."""
    program = (
        "parameters { real x; } model { x ~ normal(0, 1); target += get_real(to_complex(x, 0)); }"
    )
    (folder / "my.stan").write_text(program, encoding="utf-8")
    done = harness("compare", "my.stan", "--quick")
    assert done.returncode == 2
    assert "needs a compiler" in done.stderr
    assert "harness doctor --install" in done.stderr


def test_an_error_in_the_program_is_no_lack_of_a_compiler(harness: Command, folder: Path) -> None:
    """It is told in the words of Stan's compiler."""
    (folder / "my.stan").write_text("parameters { real x } model { }", encoding="utf-8")
    done = harness("compare", "my.stan", "--quick")
    assert done.returncode == 2
    assert "yntax error" in done.stderr
    assert "needs a compiler" not in done.stderr


@pytest.mark.parametrize(
    ("declared", "data", "said"),
    [
        ("int<lower=1> n;", {"n": 0}, "the data do not fit the program: n is 0, but must be"),
        (
            "int n; vector[n] y;",
            {"n": 3, "y": [1.0, 2.0]},
            "the data do not fit the program: y has size 2, but is declared with size 3",
        ),
        (
            'int n; } transformed data { if (n < 5) reject("five at least, got ", n);',
            {"n": 2},
            "transformed data stops with these data: five at least, got 2",
        ),
        (
            "int n; matrix[2, n + 1] X; array[2] cov_matrix[n] Y;",
            {
                "n": 2,
                "X": [[1, 2], [3, 4], [5, 6]],
                "Y": [[[1, 0], [0, 1]], [[2, 0], [0, 2]]],
            },
            "my: 'X' in my.json has size 3 × 2, but is declared with size 2 × 3",
        ),
        ("int n; vector[n] y;", {"n": -1, "y": []}, "a declared size is negative or too large"),
        ("int n; array[n, 2] int y;", {"n": -1, "y": []}, "a declared size is negative or too"),
        (
            'vector[2] y; } transformed data { if (is_nan(y[2])) reject("a hole");',
            {"y": [1.0, float("nan")]},
            "transformed data stops with these data: a hole",
        ),
    ],
)
def test_wrong_data_are_no_lack_of_a_compiler(
    harness: Command, folder: Path, declared: str, data: dict[str, object], said: str
) -> None:
    """What a bound, a size or the program itself refuses is said of the data."""
    program = f"data {{ {declared} }} parameters {{ real a; }} model {{ a ~ normal(0, 1); }}"
    (folder / "my.stan").write_text(program, encoding="utf-8")
    (folder / "my.json").write_text(json.dumps(data), encoding="utf-8")
    done = harness("compare", "my.stan", "my.json", "--quick")
    assert done.returncode == 2
    assert said in done.stderr
    assert "compiler" not in done.stderr


def test_a_scale_without_end_is_named_as_improper(harness: Command, folder: Path) -> None:
    """Log p grows along log s, so nothing that was fitted means anything; stderr has no warning."""
    program = "parameters { real<lower=0> s; real x; } model { x ~ normal(0, 1); }"
    (folder / "my.stan").write_text(program, encoding="utf-8")
    done = harness("compare", "my.stan", "--quick", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "does not fall along s" in done.stdout
    assert done.stdout.startswith("No method can be used: the posterior is improper.")
    assert "no reference: " not in done.stdout.partition("reference: none")[0]
    assert done.stderr == ""
    levels = {v["method"]: v["level"] for v in results(folder)["models"][0]["verdicts"]}
    assert {levels[m] for m in ("dadvi", "dadvi_lr", "dadvi_psis")} == {"fail"}


def test_a_number_beyond_the_largest_is_no_lack_of_a_compiler(
    harness: Command, folder: Path
) -> None:
    """Python reads 1e400 as infinity; Stan reads nothing."""
    program = "data { real y; } parameters { real a; } model { a ~ normal(0, 1); }"
    (folder / "my.stan").write_text(program, encoding="utf-8")
    (folder / "my.json").write_text('{"y": 1e400}', encoding="utf-8")
    done = harness("compare", "my.stan", "my.json", "--quick")
    assert done.returncode == 2
    assert "the number at byte " in done.stderr
    assert "compiler" not in done.stderr


def test_data_with_nan_are_named_where_the_program_does_not_start(
    harness: Command, folder: Path
) -> None:
    """Stan says which value, but not of which variable of the data."""
    program = "data { vector[2] y; } parameters { real a; } model { y ~ normal(a, 1); }"
    (folder / "my.stan").write_text(program, encoding="utf-8")
    (folder / "my.json").write_text('{"y": [1, NaN]}', encoding="utf-8")
    done = harness("compare", "my.stan", "my.json", "--quick")
    assert done.returncode == 2
    assert "does not start" in done.stderr
    assert "('y' in my.json holds NaN)" in done.stderr


def test_quick_and_cmdstan_exclude_each_other(harness: Command) -> None:
    """It is said before anything runs."""
    done = harness("compare", "my.stan", "my.json", "--quick", "--engine", "cmdstan")
    assert done.returncode == 2
    assert "--quick runs on the embedded engine" in done.stderr


def test_the_first_verdicts_come_while_other_runs_are_made(harness: Command) -> None:
    """The cheap methods are judged as soon as they are done."""
    long = ("--methods", "dadvi_lr,bbvi", "--seeds", "2", "--set", "bbvi.iterations=60000")
    done = harness("compare", "normal_mean", *long)
    assert done.returncode == 0, done.stderr
    assert "first verdicts: DADVI + LR pass" in done.stderr


def test_the_doctor_shows_the_engines(harness: Command) -> None:
    """The embedded one is there, CmdStan is missing, with the command that gets it."""
    done = harness("doctor")
    assert done.returncode == 2
    assert "embedded engine: stanli" in done.stdout
    assert "CmdStan: not found" in done.stdout


def test_quick_from_python(
    folder: Path, isolated_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same fits and reference; asking for CmdStan as well is an error."""
    import harness as package

    assert isolated_cache
    monkeypatch.chdir(folder)
    found = package.compare("my.stan", DATA, methods=("dadvi_lr", "dadvi_psis"), quick=True)
    assert found.verdicts["dadvi_psis"].level == "pass"
    (model,) = found.comparison.models
    assert model.reference.evidence == "ensemble"
    assert {run.engine for run in model.runs} == {"embedded"}
    assert model.explanation is None
    with pytest.raises(ValueError, match="quick=True runs on the embedded engine"):
        package.compare("my.stan", DATA, quick=True, engine="cmdstan")
