"""The GitHub workflow that users copy is well-formed, and its commands exist."""

from __future__ import annotations

import re
import shlex
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

FILE = Path(__file__).parents[1] / "docs" / "posteriors.yml"
TEXT = FILE.read_text(encoding="utf-8")


WORKFLOW = yaml.load(TEXT, Loader=yaml.BaseLoader)  # noqa: S506 - BaseLoader makes only texts
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["check"]["steps"]


def step(name: str) -> dict[str, Any]:
    """Return the step whose name or action has these words."""
    (found,) = [s for s in STEPS if name in s.get("name", "") + s.get("uses", "")]
    return found


def test_it_has_the_parts_that_github_wants() -> None:
    """Events, permissions and jobs are there, and each step either uses an action or runs."""
    assert {"name", "on", "permissions", "jobs"} <= set(WORKFLOW)
    assert {"pull_request", "schedule"} <= set(WORKFLOW["on"])
    assert all(("uses" in s) != ("run" in s) for s in STEPS)


def commands() -> Iterator[str]:
    """Yield every harness command in the workflow, in its comments, and in a check's advice."""
    runs = "\n".join(s["run"] for s in STEPS if "run" in s)
    comments = "\n".join(re.findall(r"(?m)^ *# {5}(.*)$", TEXT))
    for line in f"{runs}\n{comments}".split("\n"):
        if line.startswith("harness "):
            yield line
    for outcome in (outcomes.everything(), outcomes.open_question()):
        for advised in answer.next_steps(outcome):
            if advised.command.startswith("harness "):
                yield advised.command


def test_there_are_commands_to_test() -> None:
    """The workflow and the advice use baseline, check and doctor."""
    found = {" ".join(c.split()[:2]) for c in commands()}
    assert found == {"harness baseline", "harness check", "harness doctor"}


@pytest.mark.parametrize("line", list(commands()))
def test_every_command_is_one_that_the_command_line_knows(line: str) -> None:
    """The harness itself parses the subcommands, their options and values."""
    _, name, *words = shlex.split(line)
    with click.Context(main) as parent:
        command = main.get_command(parent, name)
        assert command is not None
        command.make_context(name, words, parent=parent)


def test_the_cache_is_the_harness_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workflow restores and saves the folder that the harness uses on the runner."""
    for variable in ("HARNESS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    paths = {s["with"]["path"] for s in STEPS if "cache" in s.get("uses", "")}
    assert paths == {"~/.cache/stan-advi-harness"}
    if sys.platform == "linux":  # the runner is
        assert stan.cache_dir() == Path("~/.cache/stan-advi-harness").expanduser()


def test_the_cache_is_kept_by_system_version_and_programs() -> None:
    """Programs are not shared between systems, nor results between versions."""
    key = step("Restore")["with"]["key"]
    for part in ("runner.os", "env.HARNESS_REF", "hashFiles('**/*.stan')"):
        assert part in key
    assert key.startswith(step("Restore")["with"]["restore-keys"].strip())
    assert step("Restore")["id"] in step("Save")["with"]["key"]


def test_versions_are_pinned() -> None:
    """The harness is a commit or tag of a named repository; actions have a major version."""
    fetch = step("Fetch the harness")["with"]
    assert fetch["repository"] == "${{ vars.HARNESS_REPOSITORY }}"
    assert fetch["ref"] == WORKFLOW["env"]["HARNESS_REF"] == "${{ vars.HARNESS_REF }}"
    assert step("Install the harness")["run"] == f"python -m pip install ./{fetch['path']}"
    for variable in ("vars.HARNESS_REPOSITORY", "$HARNESS_REF"):
        assert variable in step("Refuse")["run"]
    for used in (s["uses"] for s in STEPS if "uses" in s):
        assert re.fullmatch(r"actions/[\w/-]+@v\d+", used)


def test_the_reports_are_shown_when_the_check_fails() -> None:
    """A changed posterior leaves its table, its JUnit file and the built CmdStan."""
    check = step("Check the posteriors")["run"]
    for name, file in (("summary", "posteriors.md"), ("Keep the report", "posteriors.xml")):
        assert step(name)["if"] == "always()"
        assert file in str(step(name))
        assert file in check
    assert step("Save")["if"].startswith("always()")


def test_it_may_read_and_nothing_else() -> None:
    """The workflow may only read, because it runs on strangers' pull requests."""
    assert WORKFLOW["permissions"] == {"contents": "read"}
    checkouts = [s for s in STEPS if "actions/checkout" in s.get("uses", "")]
    assert {s["with"]["persist-credentials"] for s in checkouts} == {"false"}
    assert "pull_request_target" not in TEXT


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
