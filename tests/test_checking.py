"""Baselines and checks from end to end on the command line, with real CmdStan."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import cli
from harness.check.baseline.change import AddedSeeds, Margins
from harness.check.baseline.file import read
from harness.check.request import Request, locate
from harness.check.run import check
from harness.models import folders
from harness.records import Model
from harness.study.progress import Quiet

pytestmark = pytest.mark.stan


def run(*args: str | Path) -> tuple[int, str]:
    """Run the command in process; return exit code and everything it printed."""
    result = CliRunner().invoke(cli.main, [str(a) for a in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def project(fresh_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a user's project: a program, its data, and the baseline of two methods."""
    assert fresh_results.is_dir()
    root = tmp_path_factory.mktemp("project")
    lecture = folders.load("normal_mean")
    assert lecture.data_file is not None
    shutil.copy(lecture.stan_file, root / "model.stan")
    shutil.copy(lecture.data_file, root / "model.json")
    code, said = run(
        "baseline", root / "model.stan", root / "model.json", "--methods", "nuts,meanfield",
        "--baselines", root / "baselines", "--quiet",
    )  # fmt: skip
    assert code == 0, said
    return root


@pytest.fixture
def moved(project: Path, tmp_path: Path) -> Path:
    """Return a copy of the project elsewhere, as another machine would check it out."""
    return Path(shutil.copytree(project, tmp_path / "elsewhere"))


def stored(folder: Path) -> dict[str, object]:
    """Return the JSON of the project's baseline."""
    text = (folder / "baselines" / "model.json").read_text(encoding="utf-8")
    found: dict[str, object] = json.loads(text)
    return found


def test_a_baseline_is_written_the_same_again(moved: Path) -> None:
    """Writing an unchanged baseline again gives the same bytes except for the command."""
    before = (moved / "baselines" / "model.json").read_text(encoding="utf-8").splitlines()
    code, _ = run(
        "baseline", moved / "model.stan", moved / "model.json", "--methods", "nuts,meanfield",
        "--baselines", moved / "baselines", "-q",
    )  # fmt: skip
    after = (moved / "baselines" / "model.json").read_text(encoding="utf-8").splitlines()
    assert code == 0
    different = [a for a, b in zip(before, after, strict=True) if a != b]
    assert all('"written"' in line for line in different)


def test_a_baseline_is_rewritten_by_its_name_as_it_was_asked_for(moved: Path) -> None:
    """``harness baseline model`` keeps methods and data unless new ones are named."""
    folder = moved / "baselines"
    assert run("baseline", "model", "--baselines", folder, "-q")[0] == 0
    assert set(read(folder / "model.json").methods) == {"nuts", "meanfield"}
    assert run("baseline", "--methods", "nuts", "--baselines", folder, "-q")[0] == 0
    assert set(read(folder / "model.json").methods) == {"nuts"}
    assert run("check", "--baselines", folder, "-q")[0] == 0


def test_a_project_that_moved_is_the_same(moved: Path) -> None:
    """Paths in a baseline are relative to it; nothing names the machine that wrote it."""
    code, said = run("check", "--baselines", moved / "baselines", "-q")
    assert code == 0, said
    assert stored(moved)["request"]["source"] == {  # type: ignore[index]
        "program": "../model.stan",
        "data": "../model.json",
    }
    assert "elsewhere" not in json.dumps(stored(moved)["program"])


def test_exact_holds_and_other_seeds_are_refused(moved: Path) -> None:
    """The same seeds under the same versions give the same digits; other seeds cannot."""
    code, said = run("check", "--baselines", moved / "baselines", "--exact", "-q")
    assert code == 0, said
    code, said = run("check", "--baselines", moved / "baselines", "--exact", "--seed-offset", "5")
    assert code == 2
    assert "leave out --seed-offset" in said


def test_exact_sees_one_digit(moved: Path) -> None:
    """A fingerprint that differs in one seed is a change, and that seed is named."""
    path = moved / "baselines" / "model.json"
    found = read(path)
    fingerprint = found.methods["meanfield"].fingerprints[2]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(fingerprint, "0" * 16), encoding="utf-8")
    code, said = run("check", "--baselines", moved / "baselines", "--exact")
    assert code == 1
    assert "draws of seed 3" in said


def test_exact_needs_the_same_versions(moved: Path) -> None:
    """Draws of another CmdStan cannot be equal: could not run, with both versions."""
    path = moved / "baselines" / "model.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"cmdstan": "', '"cmdstan": "1.'), encoding="utf-8")
    code, said = run("check", "--baselines", moved / "baselines", "--exact")
    assert code == 2
    assert "same versions" in said


def test_a_missing_baseline_becomes_a_candidate_and_fails_until_accepted(moved: Path) -> None:
    """It fails again and again; renamed, as the message says, it passes."""
    folder = moved / "baselines"
    (folder / "model.json").unlink()
    for _ in range(2):
        code, said = run("check", moved / "model.stan", moved / "model.json", "--baselines", folder)
        assert code == 1, said
        assert "candidate" in said
    assert [p.name for p in folder.iterdir()] == ["model.candidate.json"]
    # Without a word on which model, too.
    code, said = run("check", "--baselines", folder, "-q")
    assert code == 1, said
    (folder / "model.candidate.json").rename(folder / "model.json")
    assert run("check", "--baselines", folder, "-q")[0] == 0


def test_an_old_schema_or_damage_cannot_be_checked(moved: Path) -> None:
    """The exit code is 2, never 0, and other baselines are still checked."""
    path = moved / "baselines" / "model.json"
    shutil.copy(path, path.with_name("broken.json"))
    broken = path.with_name("broken.json")
    broken.write_text(path.read_text(encoding="utf-8")[:-200], encoding="utf-8")
    code, said = run("check", "--baselines", moved / "baselines")
    assert code == 2
    assert "broken.json is not JSON" in said
    broken.unlink()
    path.write_text(path.read_text(encoding="utf-8").replace('"schema": 1', '"schema": 0'), "utf-8")
    code, said = run("check", "--baselines", moved / "baselines")
    assert code == 2
    assert "schema 0" in said


def test_methods_that_came_or_went_are_changes(moved: Path) -> None:
    """A method that only one side has is named as new or missing."""
    path = moved / "baselines" / "model.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('["nuts", "meanfield"]', '["nuts", "fullrank"]'), "utf-8")
    code, said = run("check", "--baselines", moved / "baselines")
    assert code == 1
    assert "does not have this method" in said
    assert "no longer compared" in said


def test_files_for_others_are_written(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JUnit and Markdown are written whatever the answer; GitHub gets annotations."""
    program = moved / "model.stan"
    text = program.read_text(encoding="utf-8")
    program.write_text(text.replace("m ~ normal(0, 1)", "m ~ normal(2.5, 1)"), encoding="utf-8")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    junit, markdown = moved / "out" / "junit.xml", moved / "out" / "summary.md"
    code, said = run(
        "check", "--baselines", moved / "baselines", "--junit", junit, "--markdown", markdown
    )
    assert code == 1, said
    assert "::error" in said
    suites = ET.parse(junit).getroot()  # noqa: S314 - our own file
    assert suites.findall(".//failure")
    assert "normal(2.5, 1)" in markdown.read_text(encoding="utf-8")


def test_a_close_call_takes_more_seeds_and_says_so(moved: Path) -> None:
    """A margin that the sizes just do not allow is met with more seeds, or ends with 2."""
    asked = Request(
        folder=moved / "baselines", seed_offset=300, budget=4,
        margins=Margins(location=0.03, scale=0.03), command="test",
    )  # fmt: skip

    def no_others(words: Sequence[str]) -> list[Model]:
        raise AssertionError(words)

    outcome = check(locate((), asked, no_others), asked, Quiet())
    (model,) = outcome.models
    nuts = [c for c in model.changes if c.method == "nuts" and c.quantity]
    seeds = len(read(moved / "baselines" / "model.json").methods["nuts"].seeds)
    assert AddedSeeds("nuts", 4 * seeds, seeds) in model.notes
    assert {c.conclusion for c in nuts} <= {"same", "inconclusive"}
    assert outcome.exit_code == 2


def test_nothing_to_check_says_what_to_do(tmp_path: Path) -> None:
    """An empty folder is an error."""
    code, said = run("check", "--baselines", tmp_path)
    assert code == 2
    assert "harness baseline" in said


def test_an_unreadable_word_is_answered(tmp_path: Path) -> None:
    """A misspelt model gets the nearest name."""
    code, said = run("check", "mixtur", "--baselines", tmp_path)
    assert code == 2
    assert "did you mean mixture" in said
