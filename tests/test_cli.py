"""The command line: help at once, mistakes answered, nothing run for nothing."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import harness
from harness import cli
from harness.cli import common
from harness.cli.compare import default_out, exit_code
from harness.cli.doctor import own_files
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


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", sorted(cli.main.commands))
def test_help_keeps_its_examples_in_lines(command: str, columns: int) -> None:
    """Examples keep their lines, fit the terminal, and show no escape of the help's own markup."""
    output = CliRunner().invoke(cli.main, [command, "--help"], terminal_width=columns).output
    assert "\\b" not in output
    assert max(map(len, output.splitlines())) <= columns
    epilog = cli.main.commands[command].epilog or ""
    for line in epilog.splitlines()[1:]:
        assert line.strip() in [printed.strip() for printed in output.splitlines()]


def test_both_command_names_start_the_same_program() -> None:
    """The distribution's own name is a command too: no other package has that one."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["harness"] == project["scripts"][project["name"]]


def installed(folder: Path) -> metadata.Distribution:
    """Lay out an installed distribution with its package and its command; return it."""
    files = {"harness/__init__.py": "ours", "bin/harness": "#!python", "bin/other": "else"}
    record = []
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record.append(f"{name},sha256={digest.decode()},{len(text)}")
    info = folder / "stan_advi_harness-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stan-advi-harness\nVersion: 1.0\n")
    (info / "RECORD").write_text("\n".join(record))
    (found,) = metadata.distributions(name="stan-advi-harness", path=[str(folder)])
    return found


def test_doctor_says_that_an_unrelated_package_replaced_the_command(tmp_path: Path) -> None:
    """Each replaced or lost file is named with the way back; files of other names do not count."""
    found = installed(tmp_path)
    assert own_files(found).ok
    (tmp_path / "bin/other").write_text("changed")
    assert own_files(found).ok
    (tmp_path / "bin/harness").write_text("from harness_of_others import main")
    check = own_files(found)
    assert not check.ok
    assert "bin/harness" in check.found
    assert "stan-advi-harness is the same command" in check.found
    (tmp_path / "harness/__init__.py").unlink()
    assert "harness/__init__.py" in own_files(found).found


def test_doctor_does_not_vouch_for_files_that_nobody_recorded(tmp_path: Path) -> None:
    """Without a record of installed files it is unknown whose command it is, which is not fine."""
    found = installed(tmp_path)
    (tmp_path / "stan_advi_harness-1.0.dist-info/RECORD").write_text("")
    check = own_files(found)
    assert not check.ok
    assert "recorded no files" in check.found


def test_the_exceptions_that_docstrings_name_are_there() -> None:
    """Every public name resolves, and the docstrings of the API name exceptions that exist."""
    for name in harness.__all__:
        assert getattr(harness, name) is not None
    documented = f"{harness.compare.__doc__}{harness.target.__doc__}"
    named = set(re.findall(r"harness\.(\w+Error)", documented))
    assert {"ModelError", "ToolchainError", "OptionError", "NothingToRunError"} <= named
    assert all(issubclass(getattr(harness, name), Exception) for name in named)


def test_python_dash_m_is_the_same_command() -> None:
    """``python -m harness`` answers like ``harness``."""
    out = subprocess.run(
        [sys.executable, "-m", "harness", "--help"], capture_output=True, text=True, check=True
    )
    assert "harness" in out.stdout


def test_ctrl_c_before_any_run_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 would mean ``changed`` to a caller of ``harness check``."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.main.commands["check"], "callback", interrupt)
    assert invoke("check") == (common.EXIT_INTERRUPTED, "interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_reader_that_closes_the_pipe_gets_no_error() -> None:
    """As in ``harness models | head -1``."""
    command = [sys.executable, "-m", "harness", "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert said == b""
    assert process.returncode in {1, common.EXIT_UNREAD}  # 1 is that of rich


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
    models = common.read_models(words, ("m",))
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
