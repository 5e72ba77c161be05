"""Both engines in one comparison: each makes its own runs, and CmdStan has the last word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wrong_library

from harness.stan import CmdStan
from harness.stan.embedded import library

pytestmark = pytest.mark.stan

METHODS = ("--methods", "meanfield,dadvi_lr", "--seeds", "1", "--quiet")


def compare(
    folder: Path, *more: str, what: str = "normal_mean", **variables: str
) -> tuple[dict[str, Any], str]:
    """Run the comparison; return its results, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", "compare", what, *METHODS, *more, "--out", str(folder)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found, done.stdout


def made_by(found: dict[str, Any]) -> dict[str, str]:
    """Return the engine of each method's run."""
    return {run["method"]: run["engine"] for run in found["models"][0]["runs"]}


def level_of(found: dict[str, Any], method: str) -> str:
    """Return a method's verdict."""
    levels = {v["method"]: v["level"] for v in found["models"][0]["verdicts"]}
    return str(levels[method])


def test_densities_are_embedded_and_cmdstans_rows_are_cmdstans(
    fresh_results: Path, tmp_path: Path
) -> None:
    """Each run's record has its engine, and the page shows it; a second look runs nothing."""
    assert fresh_results
    found, _ = compare(tmp_path)
    assert made_by(found) == {"meanfield": "cmdstan", "dadvi_lr": "embedded"}
    assert level_of(found, "dadvi_lr") == "pass"
    assert {"cmdstan", "embedded"} <= set(found["provenance"]["versions"])
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<td>embedded" in page
    assert "<td>CmdStan" in page
    again, _ = compare(tmp_path)
    assert again["provenance"]["runs_made"] == 0
    compiled, _ = compare(tmp_path / "compiled", "--engine", "cmdstan")
    assert made_by(compiled) == {"meanfield": "cmdstan", "dadvi_lr": "cmdstan"}
    assert compiled["provenance"]["runs_made"] == 1


@pytest.mark.parametrize(
    ("program", "engines", "note"),
    [
        (
            (
                "parameters { real x; } model { matrix[2, 2] g = [[1, 0], [0, 2]]; "
                "x ~ normal(0, 1); target += sum(singular_values(g)) * x; }"
            ),
            {"meanfield": "cmdstan", "dadvi_lr": "cmdstan"},
            "the embedded engine refuses the program: ",
        ),
        (
            "parameters { sum_to_zero_vector[3] x; } model { x ~ normal(0, 1); }",
            {"meanfield": "embedded", "dadvi_lr": "embedded"},
            "CmdStan cannot build the program: ",
        ),
    ],
    ids=["embedded", "cmdstan"],
)
def test_what_one_engine_refuses_the_other_makes(
    fresh_results: Path,
    cmdstan: CmdStan,
    tmp_path: Path,
    program: str,
    engines: dict[str, str],
    note: str,
) -> None:
    """The page says so in the engine's words, and a second look runs nothing."""
    assert fresh_results
    if "sum_to_zero" in program and cmdstan.version >= (2, 36, 0):
        pytest.skip("this CmdStan has sum_to_zero_vector")
    (tmp_path / "own.stan").write_text(program, encoding="utf-8")
    found, _ = compare(tmp_path, what=str(tmp_path / "own.stan"))
    made = made_by(found)
    assert {method: made[method] for method in engines} == engines
    assert any(n.startswith(note) for n in found["models"][0]["notes"])
    again, _ = compare(tmp_path, what=str(tmp_path / "own.stan"))
    assert again["provenance"]["runs_made"] == 0


@wrong_library.buildable
def test_the_bridge_takes_over_from_a_wrong_density(fresh_results: Path, tmp_path: Path) -> None:
    """A wrong library is caught by CmdStan's densities; report and records say who made what."""
    assert fresh_results
    wrong = {library.LIBRARY: str(wrong_library.build(tmp_path))}
    cache = tmp_path / "cache"
    for part in ("programs", "bridge", "locks"):
        (cache / part).parent.mkdir(exist_ok=True)
        (cache / part).symlink_to((fresh_results / part).resolve(), target_is_directory=True)
    wrong["HARNESS_CACHE"] = str(cache)
    found, _ = compare(tmp_path, **wrong)
    assert made_by(found) == {"meanfield": "cmdstan", "dadvi_lr": "cmdstan"}
    assert level_of(found, "dadvi_lr") == "pass"
    (note,) = [n for n in found["models"][0]["notes"] if "embedded" in n]
    assert "differs from CmdStan's" in note
    assert note.removesuffix(".") in (tmp_path / "index.html").read_text(encoding="utf-8").replace(
        "&#39;", "'"
    )
    again, _ = compare(tmp_path, **wrong)
    assert again["provenance"]["runs_made"] == 0
    assert made_by(again) == {"meanfield": "cmdstan", "dadvi_lr": "cmdstan"}


@wrong_library.buildable
def test_without_cmdstan_a_wrong_density_is_not_caught(fresh_results: Path, tmp_path: Path) -> None:
    """The test's double is wrong indeed: what CmdStan cannot check fails against exact draws."""
    assert fresh_results
    wrong = {library.LIBRARY: str(wrong_library.build(tmp_path)), "CMDSTAN": ""}
    cache = tmp_path / "cache"
    found, _ = compare(
        tmp_path, "--engine", "embedded", "--methods", "dadvi_lr", HARNESS_CACHE=str(cache), **wrong
    )
    assert made_by(found) == {"dadvi_lr": "embedded"}
    assert level_of(found, "dadvi_lr") == "fail"
