"""The shell steps of action.yml, run as GitHub runs them, with a real check of a small model."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the action runs on Linux")

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "run" in step}
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
"""How GitHub starts a step whose shell is bash."""

PROGRAM = """
data { int N; array[N] real y; }
parameters { real m; }
model { m ~ normal(0, 5); y ~ normal(m, 1); }
"""

GH = """#!/bin/sh
printf '%s\\n' "$@" > "$GH_RECORD"
exit {code}
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def harness(*arguments: str) -> list[str]:
    """Return the command line of this interpreter's harness."""
    return [sys.executable, "-m", "harness", *arguments]


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a baseline of a small program on the embedded engine; return the project's folder."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "my.stan").write_text(PROGRAM, encoding="utf-8")
    (folder / "my.json").write_text('{"N": 4, "y": [1.2, 0.3, 2.1, 1.7]}', encoding="utf-8")
    words = ("baseline", "my.stan", "my.json", "--engine", "embedded", "--methods", "dadvi")
    done = subprocess.run(
        harness(*words, "--quiet"),
        cwd=folder,
        env=os.environ | {"HARNESS_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


class Runner:
    """A runner's files, and the shell steps of the action on them."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.project = project
        self.files = {
            name: folder / name.lower()
            for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GH_RECORD")
        }
        for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            self.files[name].touch()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.command("stan-advi-harness", f'exec {shlex.join(harness())} "$@"')
        self.command("gh", GH.format(code=0))
        self.env = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(folder),
            "HARNESS_CACHE": str(project / "cache"),
            "PYTHONPATH": str(ROOT),
            "RUNNER_TEMP": str(folder),
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_REPOSITORY": "owner/models",
        } | {name: str(path) for name, path in self.files.items()}

    def command(self, name: str, text: str) -> None:
        """Put a command first on the steps' PATH."""
        path = self.bin / name
        path.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n", "utf-8")
        path.chmod(0o755)

    @property
    def outputs(self) -> dict[str, str]:
        """The outputs that the check has set."""
        lines = self.files["GITHUB_OUTPUT"].read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def value(self, expression: str, inputs: dict[str, str]) -> str:
        """Return what GitHub puts in place of an expression of a step's `env`."""
        known = {f"steps.check.outputs.{name}": text for name, text in self.outputs.items()}
        known |= {f"inputs.{name}": text for name, text in inputs.items()}
        known |= {"github.event.pull_request.number": "17", "github.token": "none"}
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda match: known[match[1]], expression)

    def __call__(self, name: str, **inputs: str) -> subprocess.CompletedProcess[str]:
        """Run the step of this name."""
        step: dict[str, Any] = STEPS[name]
        env = {key: self.value(text, inputs) for key, text in step.get("env", {}).items()}
        return subprocess.run(
            [*BASH, step["run"]],
            cwd=self.project,
            env=self.env | env,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def runner(baseline: Path, tmp_path: Path) -> Runner:
    """Return a fresh runner with the project checked out."""
    project = tmp_path / "project"
    shutil.copytree(baseline, project, ignore=shutil.ignore_patterns("cache"))
    made = Runner(project, tmp_path)
    made.env["HARNESS_CACHE"] = str(baseline / "cache")
    return made


def finish(runner: Runner) -> tuple[str, list[str], int]:
    """Run the steps behind a check; return the summary, gh's arguments, and the exit code."""
    assert runner("Show the table in the job's summary").returncode == 0
    assert runner("Comment on the pull request").returncode == 0
    record = runner.files["GH_RECORD"]
    said = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    summary = runner.files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8")
    return summary, said, runner("Pass on the check's exit code").returncode


def test_the_harness_is_installed_with_its_pins_and_its_version_is_noted(runner: Runner) -> None:
    """A double of pip records what it is asked for; a failed installation stops the step."""
    runner.command("python", 'printf "%s\\n" "$@" > "$GH_RECORD"')
    assert runner("Install the harness").returncode == 0
    asked = runner.files["GH_RECORD"].read_text(encoding="utf-8").splitlines()
    assert asked[-3:] == ["--constraint", str(ROOT / "constraints.txt"), str(ROOT)]
    assert runner.outputs == {"version": version("stan-advi-harness")}
    runner.command("python", "exit 1")
    assert runner("Install the harness").returncode != 0


def test_the_same_posterior_passes(runner: Runner) -> None:
    """The table is in the summary and in a comment, the exit code is 0."""
    checked = runner("Check", arguments="--alpha 0.001")
    assert checked.returncode == 0, checked.stderr
    summary, said, code = finish(runner)
    assert code == 0
    assert summary.startswith("### ✓ same: 6 figures of 1 model")
    table = f"{runner.outputs['folder']}/posteriors.md"
    assert said == ["pr", "comment", "17", "--repo", "owner/models", "--body-file", table]
    assert "--alpha 0.001" in summary
    assert (Path(table).with_suffix(".xml")).is_file()


def test_a_changed_posterior_fails_after_it_was_shown(runner: Runner) -> None:
    """Other data: the check's step passes, so that the table is shown; the last step fails."""
    (runner.project / "my.json").write_text('{"N": 4, "y": [9, 9, 9, 9]}', encoding="utf-8")
    assert runner("Check", arguments="").returncode == 0
    assert runner.outputs["exit-code"] == "1"
    runner.command("gh", GH.format(code=1))  # a fork's token may not comment
    comment = runner("Comment on the pull request")
    assert comment.returncode == 0
    assert comment.stdout.startswith("::warning::")
    summary, said, code = finish(runner)
    assert code == 1
    assert "changed" in summary.splitlines()[0]
    assert said


def test_a_check_that_cannot_begin_fails_without_a_table(runner: Runner) -> None:
    """An unknown option: nothing to show, the message in the log, exit code 2, no old table."""
    (Path(runner.env["RUNNER_TEMP"]) / "posteriors").mkdir()
    (Path(runner.env["RUNNER_TEMP"]) / "posteriors" / "posteriors.md").write_text("old", "utf-8")
    checked = runner("Check", arguments="--no-such-option")
    assert "no-such-option" in checked.stderr
    assert finish(runner) == ("", [], 2)


def test_a_lost_exit_code_fails(runner: Runner) -> None:
    """If the check's step was killed before it wrote its code, the last step is no pass."""
    step = STEPS["Pass on the check's exit code"]
    done = subprocess.run(
        [*BASH, step["run"]], env=runner.env | {"CODE": ""}, check=False, capture_output=True
    )
    assert done.returncode != 0


def test_the_comment_is_for_pull_requests_that_changed_something() -> None:
    """By default only then; the words of the input are those of the condition."""
    condition = STEPS["Comment on the pull request"]["if"]
    assert "github.event_name == 'pull_request'" in condition
    assert ACTION["inputs"]["comment"]["default"] == "changed"
    words = set(re.findall(r"inputs\.comment == '(\w+)'", condition))
    assert words == {"changed", "always"}
    assert all(f"`{word}`" in ACTION["inputs"]["comment"]["description"] for word in words)
