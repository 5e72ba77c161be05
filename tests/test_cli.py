"""The command line: help at once, mistakes answered, nothing run for nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harness import cli
from harness.cli import common
from harness.cli.compare import default_out, exit_code
from harness.models import folders
from harness.records import Comparison, Model, ModelComparison, Reference, Verdict


def invoke(*args: str) -> tuple[int, str]:
    """Run the command in process; return exit code and everything it printed."""
    result = CliRunner().invoke(cli.main, list(args))
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (("compare", "mixtur"), "did you mean mixture"),
        (("compare", "mixture", "--methods", "meanfeild"), "did you mean meanfield"),
        (("compare", "mixture", "--methods", ","), "--methods is empty"),
        (("compare", "nowhere.stan"), "no such Stan program"),
        (("compare", "data.json"), "a data file follows its program"),
        (("compare", "mixture", "mixture"), "named twice"),
        (("compare", "mixture", "--seeds", "0"), "--seeds"),
        (("compare", "mixture", "--timeout", "0"), "--timeout"),
        (("compare", "mixture", "--fail-on", "pass"), "--fail-on"),
        (("compare", "mixture", "--reference", "nowhere.nc"), "no such reference"),
        (("compare", "--no-such-option"), "no such option"),
        (("report", "/nowhere"), "no results in /nowhere"),
        (("no-such-command",), "no such command"),
    ],
)
def test_usage_errors_exit_with_2_and_say_what_is_allowed(
    args: tuple[str, ...], match: str
) -> None:
    """A wrong argument never starts a comparison, and the message helps."""
    code, output = invoke(*args)
    assert code == common.EXIT_UNUSABLE
    assert match in output.lower() or match in output


def test_help_names_every_command() -> None:
    """``harness --help`` and the help of each command work."""
    code, output = invoke("--help")
    assert code == 0
    for command in ("compare", "models", "report", "doctor"):
        assert command in output
        assert invoke(command, "--help")[0] == 0


def test_python_dash_m_is_the_same_command() -> None:
    """``python -m harness`` answers like ``harness``."""
    out = subprocess.run(
        [sys.executable, "-m", "harness", "--help"], capture_output=True, text=True, check=True
    )
    assert "harness" in out.stdout


def test_a_program_may_be_followed_by_its_data(tmp_path: Path) -> None:
    """Programs with and without data and lecture models may stand side by side."""
    (tmp_path / "a.stan").write_text("parameters { real m; } model { m ~ normal(0, 1); }")
    (tmp_path / "b.stan").write_text("parameters { real m; } model { m ~ normal(0, 1); }")
    (tmp_path / "a.json").write_text("{}")
    words = [
        str(tmp_path / "a.stan"),
        str(tmp_path / "a.json"),
        str(tmp_path / "b.stan"),
        "mixture",
    ]
    models = common.read_models(words, "m")
    assert [m.name for m in models] == ["a", "b", "mixture"]
    assert [m.data_file is None for m in models] == [False, True, False]
    assert all(m.quantities == ("m",) for m in models)


def test_nothing_named_is_the_whole_lecture() -> None:
    """Without arguments all lecture models are compared, into reports/lecture."""
    assert default_out((), []) == Path("reports/lecture")
    assert default_out(("mixture",), [folders.load("mixture")]) == Path("reports/mixture")


@pytest.mark.parametrize(
    ("level", "error", "fail_on", "code"),
    [
        ("fail", None, None, 0),
        ("fail", None, "fail", 1),
        ("warn", None, "fail", 0),
        ("warn", None, "warn", 1),
        ("unknown", None, "warn", 0),
        ("unknown", None, "unknown", 1),
        ("pass", None, "unknown", 0),
        ("pass", "it broke", "fail", 1),
    ],
)
def test_fail_on_decides_the_exit_code(
    level: str, error: str | None, fail_on: str | None, code: int
) -> None:
    """A level as bad as asked for, or a model that could not be compared, is exit code 1."""
    model = Model("m", "t", Path("m.stan"), None)
    verdict = Verdict("m", "meanfield", level, level, 1, 0, "", ())  # type: ignore[arg-type]
    found = ModelComparison(
        model, error, Reference("exact", trusted=True, why=""), verdicts=(verdict,)
    )
    assert exit_code(Comparison((found,), (), {}), fail_on) == code


def test_usage_errors_are_click_errors() -> None:
    """Errors raised inside commands carry exit code 2."""
    error = common.fail("why")
    assert isinstance(error, click.ClickException)
    assert error.exit_code == 2


def test_a_model_without_any_verdict_reaches_every_level() -> None:
    """Nothing judged is never a pass: a skipped step must not turn a CI green."""
    model = Model("m", "t", Path("m.stan"), None)
    empty = ModelComparison(model, None, Reference("exact", trusted=True, why=""))
    assert exit_code(Comparison((empty,), (), {}), "fail") == common.EXIT_LEVEL
