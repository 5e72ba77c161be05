"""The project's workflows, its action and the workflow users copy are well-formed and lean."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import check_outcomes as outcomes
import click
import pytest
import yaml

from harness import stan
from harness.check.baseline.change import BUDGET
from harness.check.show import answer
from harness.cli import main

ROOT = Path(__file__).parents[1]
COPIED = ROOT / "docs" / "posteriors.yml"
FILES = [*sorted((ROOT / ".github" / "workflows").glob("*.yml")), COPIED]


def read(path: Path) -> dict[str, Any]:
    """Return a YAML file, every scalar as a text."""
    text = path.read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - only texts
    return content


WORKFLOWS = {path.name: read(path) for path in FILES}
ACTION = read(ROOT / "action.yml")
ACTION_STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
JOBS = {(name, job): body for name, w in WORKFLOWS.items() for job, body in w["jobs"].items()}
STEPS = [step for job in JOBS.values() for step in job["steps"]] + ACTION_STEPS
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_all_files_are_read() -> None:
    """There are four workflows, one of them to be copied."""
    assert set(WORKFLOWS) == {"ci.yml", "docs.yml", "release.yml", "posteriors.yml"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_has_the_parts_that_github_wants(name: str) -> None:
    """Events, permissions, concurrency and jobs are there; each step uses an action or runs."""
    workflow = WORKFLOWS[name]
    assert {"name", "on", "permissions", "concurrency", "jobs"} <= set(workflow)
    assert {"group", "cancel-in-progress"} == set(workflow["concurrency"])
    for job in workflow["jobs"].values():
        assert 0 < int(job["timeout-minutes"]) <= 120
        assert all(("uses" in s) != ("run" in s) for s in job["steps"])
    assert all(("uses" in s) != ("run" in s) for s in ACTION_STEPS)
    assert all(s["shell"] == "bash" for s in ACTION_STEPS if "run" in s)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_no_more_than_it_needs(name: str) -> None:
    """All only read, but for the comment, the site and the identity of a release."""
    more = {
        ("posteriors.yml", None): {"pull-requests": "write"},
        ("docs.yml", "deploy"): {"pages": "write", "id-token": "write"},
        ("release.yml", "publish"): {"id-token": "write"},
    }
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"} | more.get((name, None), {})
    for job, body in workflow["jobs"].items():
        assert body.get("permissions", {}) == more.get((name, job), {}), job
    checkouts = [
        s
        for job in workflow["jobs"].values()
        for s in job["steps"]
        if s.get("uses", "").startswith("actions/checkout@")
    ]
    assert all(s["with"]["persist-credentials"] == "false" for s in checkouts)
    assert "pull_request_target" not in workflow["on"]


def test_every_action_is_pinned_by_its_full_version() -> None:
    """One action has one version; the harness's own is the reader's to fill in."""
    used = {s["uses"] for s in STEPS if "uses" in s} - {"OWNER/NAME@REF"}
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w./-]+@v\d+\.\d+\.\d+", action), action
    versions = {action.rpartition("@")[::2] for action in used}
    assert len({name for name, _ in versions}) == len(versions)


def test_expressions_stand_in_no_shell_step() -> None:
    """What a stranger can name, such as a branch, reaches a shell only as a variable."""
    assert [s["name"] for s in STEPS if "${{" in s.get("run", "")] == []


def _make_targets() -> set[str]:
    return set(re.findall(r"(?m)^([\w-]+):", MAKEFILE))


def test_make_targets_and_paths_exist() -> None:
    """Whatever the shell steps make or run is in the repository."""
    runs = "\n".join(s["run"] for s in STEPS if "run" in s)
    targets = re.findall(r"\bmake ([\w-]+)", runs)
    assert {"lint", "dist", "docs"} <= set(targets) <= _make_targets()
    for path in re.findall(r"(?m)(?:^|[ =/\"])(\.ci/\w+|[\w-]+\.(?:toml|txt))\b", runs):
        assert (ROOT / path).exists(), path
    assert ".ci/run" in runs
    assert "constraints.txt" in runs
    for script in (ROOT / ".ci").iterdir():
        assert script.stat().st_mode & 0o111 or sys.platform == "win32", script.name


def test_the_tiers_and_pythons_are_the_projects() -> None:
    """The compiler-free tier is test-unit's, on the Pythons that the package names."""
    jobs = WORKFLOWS["ci.yml"]["jobs"]
    (tests,) = [s["run"] for s in jobs["without-compiler"]["steps"] if "pytest" in s.get("run", "")]
    (tier,) = re.findall(r"-m ('[^']*')", tests)
    assert f"-m {tier}" in MAKEFILE.partition("\ntest-unit:")[2].partition("\n\n")[0]
    for job in ("everything", "without-compiler"):
        pythons = jobs[job]["strategy"]["matrix"]["python"]
        assert pythons == re.findall(r"Python :: (3\.\d+)", PROJECT)
    systems = {
        s.partition("-")[0] for s in jobs["without-compiler"]["strategy"]["matrix"]["system"]
    }
    assert systems == {"macos", "windows"}


def test_a_release_builds_before_it_publishes_by_identity() -> None:
    """Publishing uses what make dist built and checked, and no stored password."""
    release = WORKFLOWS["release.yml"]
    assert set(release["on"]) == {"push"}
    assert set(release["on"]["push"]) == {"tags"}
    publish = release["jobs"]["publish"]
    assert publish["needs"] == "dist"
    assert publish["environment"] == "pypi"
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")


def commands() -> Iterator[str]:
    """Yield every harness command of the files, of their comments, and of a check's advice."""
    for path in (*FILES, ROOT / "action.yml"):
        yield from re.findall(
            r"(?m)^(?: *#|) {5,}((?:stan-advi-)?harness [a-z].*)$", path.read_text(encoding="utf-8")
        )
    for step in STEPS:
        for line in step.get("run", "").replace("\\\n", "").split("\n"):
            if re.match(r" *(stan-advi-)?harness ", line):
                yield line.partition("||")[0].replace('"${arguments[@]}"', "")
    for outcome in (outcomes.everything(), outcomes.open_question()):
        for advised in answer.next_steps(outcome):
            if advised.command.startswith("harness "):
                yield advised.command


def test_there_are_commands_to_test() -> None:
    """The files and the advice use baseline, check and compare."""
    found = {c.split()[1] for c in commands()}
    assert found == {"baseline", "check", "compare"}


@pytest.mark.parametrize("line", sorted({" ".join(c.split()) for c in commands()}))
def test_every_command_is_one_that_the_command_line_knows(line: str) -> None:
    """The harness itself parses the subcommands, their options and values."""
    _, name, *words = shlex.split(line.removesuffix("\\"))
    with click.Context(main) as parent:
        command = main.get_command(parent, name)
        assert command is not None
        command.make_context(name, words, parent=parent)


def test_the_cache_is_the_harness_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files restore and save the folder that the harness uses on the runner."""
    for variable in ("HARNESS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    paths = {s["with"]["path"] for s in STEPS if "actions/cache" in s.get("uses", "")}
    assert paths == {"~/.cache/stan-advi-harness"}
    if sys.platform == "linux":  # the runner is
        assert stan.cache_dir() == Path("~/.cache/stan-advi-harness").expanduser()


def test_the_actions_cache_is_kept_by_system_version_and_programs() -> None:
    """Programs are not shared between systems, nor results between versions."""
    restore, save = [s for s in ACTION_STEPS if "actions/cache" in s.get("uses", "")]
    key = restore["with"]["key"]
    for part in ("runner.os", "steps.install.outputs.version", "hashFiles('**/*.stan')"):
        assert part in key
    assert key.startswith(restore["with"]["restore-keys"].strip())
    assert restore["id"] in save["with"]["key"]
    assert save["if"].startswith("always()")


def test_the_copied_workflow_keeps_what_the_action_wrote() -> None:
    """Its report is kept also after a failed check; the action's outputs that it names exist."""
    (job,) = WORKFLOWS["posteriors.yml"]["jobs"].values()
    (check,) = [s for s in job["steps"] if s.get("uses") == "OWNER/NAME@REF"]
    assert set(check.get("with", {})) <= set(ACTION["inputs"])
    (keep,) = [s for s in job["steps"] if "upload-artifact" in s.get("uses", "")]
    assert keep["if"] == "always()"
    named = re.findall(rf"steps\.{check['id']}\.outputs\.([\w-]+)", str(job))
    assert named
    assert set(named) <= set(ACTION["outputs"])
    assert {"pull_request", "schedule"} <= set(WORKFLOWS["posteriors.yml"]["on"])


def test_words_of_the_check_are_those_of_the_commands() -> None:
    """Outputs and commands agree on the folder and the budget."""
    options = {p.name: p for p in main.commands["check"].params}
    assert options["folder"].default == answer.BASELINES
    budget = options["budget"].type
    assert isinstance(budget, click.IntRange)
    assert budget.max == answer.MOST_BUDGET
    usual = options["budget"].default
    assert usual == BUDGET
    assert isinstance(usual, int)
    assert usual < answer.BUDGET


def test_hooks_before_a_commit_are_make_lints() -> None:
    """Local hooks run the three commands of make lint from the pinned environment, in its order."""
    (repo,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    lint = MAKEFILE.partition("\nlint:")[2].partition("\n\n")[0]
    expected = [line.strip().replace("$(RUN)", ".venv/bin") for line in lint.split("\n")[1:]]
    assert [hook["entry"] for hook in repo["hooks"]] == expected


def test_editors_and_ruff_agree_on_the_length_of_a_line() -> None:
    """The .editorconfig has ruff's limit, and make's tabs."""
    text = (ROOT / ".editorconfig").read_text(encoding="utf-8")
    (limit,) = re.findall(r"(?m)^line-length = (\d+)$", PROJECT)
    assert f"max_line_length = {limit}\n" in text
    assert "[Makefile]\nindent_style = tab\n" in text


def test_actionlint_finds_nothing() -> None:
    """The linter of workflows, where it is installed, agrees."""
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("actionlint is not installed")
    done = subprocess.run(
        [actionlint, *map(str, FILES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    """The linter of shell scripts, where it is installed, agrees."""
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    scripts = sorted(map(str, (ROOT / ".ci").iterdir()))
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
