"""A check on the terminal: nothing is cut, no meaning is in colour alone, the answer is last."""

from __future__ import annotations

import dataclasses
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import check_outcomes as outcomes
import pytest
from check_outcomes import NASTY, mean
from rich.console import Console

from harness.check.baseline.change import CheckOutcome, ModelCheck
from harness.check.show.answer import answer
from harness.check.show.terminal import MOST_ROWS, print_check
from harness.records.text import one_line

WIDTHS = (40, 60, 80, 100, 120, 160)


def printed(
    outcome: CheckOutcome, width: int = 160, *, quiet: bool = False, terminal: bool = False
) -> str:
    """Return the output without colours, on a terminal or in a pipe."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    print_check(outcome, quiet=quiet, console=console)
    return file.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("terminal", [True, False])
def test_the_last_line_is_the_answer_with_its_exit_code(width: int, terminal: bool) -> None:
    """The last line always gives the answer."""
    for outcome in (outcomes.everything(), outcomes.same(), outcomes.open_question()):
        end = f"{answer(outcome)} (exit code {outcome.exit_code})"
        assert " ".join(printed(outcome, width, terminal=terminal).split()).endswith(end)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("terminal", [True, False])
def test_no_figure_is_broken_at_any_width(width: int, terminal: bool) -> None:
    """Estimates, intervals and addresses stand whole on a line, in a table or stacked."""
    lines = printed(outcomes.everything(), width, terminal=terminal).split("\n")
    for text in (
        "0.352 ± 0.002",
        "0.2992 ± 0.0019",
        "(0.84 to 0.86; margin ÷/× 1.1)" if width > 40 else "× 0.85 (0.84",
        "9.1 se",
        "-  real<lower=0> s;",
        "harness baseline mixture",
        "mv baselines/fresh.candidate.json baselines/fresh.json",
    ):
        assert any(text in line for line in lines), text


def test_a_terminal_is_never_overrun_but_by_commands() -> None:
    """Sentences wrap at the terminal's width; commands and diffs do not."""
    for width in WIDTHS:
        for line in printed(outcomes.everything(), width, terminal=True).split("\n"):
            fixed = line.startswith(("if this is intended", "review", "    -", "    +", "    @"))
            assert fixed or len(line.rstrip()) <= width


def test_a_pipe_gets_whole_lines() -> None:
    """In a pipe, long names are not cut and lines are not wrapped."""
    name = "theta[" + ",".join(["1"] * 100) + "]"
    reason = "because " * 40
    change = mean(quantity=name, reason="runs lost", detail="note " * 50)
    model = ModelCheck("m", (change,), reasons=(reason,), error="e " * 200)
    text = printed(CheckOutcome((model,)), 160)
    for whole in (name, reason.strip(), ("e " * 200).strip(), "0.28 to 0.34"):
        assert any(whole in line for line in text.split("\n"))


@pytest.mark.parametrize(
    ("width", "heading"), [(160, "evidence"), (100, "figure"), (60, None), (40, None)]
)
def test_the_form_follows_the_width(width: int, heading: str | None) -> None:
    """One line a row where there is room, two where there is less, else stacked."""
    text = printed(outcomes.everything(), width, terminal=True)
    first = next(line for line in text.split("\n") if line.strip())
    if heading is None:
        assert first == "✗ mixture / nuts / gone"
        assert "    1.024 ± 0.003 →" in text
    else:
        assert heading in first
        assert "old ± error" in first
        assert " → 1." not in text


def test_symbols_and_words_tell_what_colours_do() -> None:
    """Every row and every model starts with its sign, and a model's line says the word."""
    text = printed(outcomes.everything())
    table, rest = text.split("✗ mixture: changed", 1)
    rows = [line.strip()[0] for line in table.split("\n") if "mixture" in line]
    assert rows == ["✗"] * 8 + ["?"] * 4
    assert "\n✓ normal_mean: same (212 figures, identical draws)\n" in rest
    assert "\n? broken: could not be checked\n    baselines/broken.json is damaged" in rest
    assert "likely reason: the program changed" in rest
    assert "note: meanfield: 20 seeds" in rest


def test_quiet_leaves_what_is_not_the_same() -> None:
    """No model that is the same, no diff, no advice; reasons, errors and candidates stay."""
    text = printed(outcomes.everything(), quiet=True)
    assert "0.352 ± 0.002" in text
    assert "no baseline" in text
    assert "is damaged" in text
    assert "likely reason: the program changed" in text
    for left_out in ("normal_mean", "real<lower=0>", "note:", "if this is intended"):
        assert left_out not in text
    assert printed(outcomes.same(), quiet=True).count("\n") == 1


@pytest.mark.parametrize("width", [60, 100, 160])
def test_when_everything_moved_the_gravest_are_shown_and_the_rest_counted(width: int) -> None:
    """Twelve rows a model, each model with its own count."""
    text = printed(outcomes.many(500, 2), width, terminal=True)
    assert text.count("beta[") == 2 * MOST_ROWS
    assert text.count("beta[500]") == 2
    assert text.count("… 488 more") == 2
    assert len(text.split("\n")) < 90


def test_a_long_diff_is_cut_with_its_count() -> None:
    """A rewritten program shows its beginning."""
    changed = dataclasses.replace(outcomes.open_question().models[0], diff="\n".join(["+x"] * 500))
    text = printed(CheckOutcome((changed,)))
    assert text.count("    +x") == 60
    assert "… 440 more lines" in text


@pytest.mark.parametrize("width", [60, 160])
@pytest.mark.parametrize("name", NASTY)
def test_nasty_names_are_printed_and_control_nothing(name: str, width: int) -> None:
    """Names are not read as markup, and no escape sequence passes."""
    text = printed(outcomes.named(name), width, terminal=True)
    assert all(c.isprintable() or c in "\n\u200b" for c in text)
    assert one_line(name) in " ".join(text.split())


SCRIPT = (
    "import check_outcomes, harness.check.show.terminal as t;"
    "t.print_check(check_outcomes.everything())"
)


def environment(**more: str) -> dict[str, str]:
    """Return an environment whose colours and width are the test's."""
    ours = {"NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM", "COLUMNS"}
    kept = {k: v for k, v in os.environ.items() if k not in ours}
    return kept | {"PYTHONPATH": str(Path(__file__).parent), "TERM": "xterm-256color"} | more


def test_on_a_real_terminal_there_is_colour_and_the_width_is_its_own() -> None:
    """A pseudo-terminal of 60 columns gets the stacked form, in colour."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(COLUMNS="60"),
    )
    os.close(theirs)
    read = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # on Linux the end of a terminal is an error
            break
        if not part:
            break
        read += part
    os.close(ours)
    assert child.wait() == 0
    text = read.decode()
    assert "\x1b[1;31m✗ mixture / nuts / gone" in text
    assert "\x1b[32m    +  real s;" in text
    assert "exit code 1" in text


def test_in_a_pipe_there_is_no_colour_and_the_table_is_wide() -> None:
    """A pipe ignores the terminal's width."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        check=True,
        env=environment(COLUMNS="60"),
    )
    text = done.stdout.decode()
    assert "\x1b" not in text
    row = next(line for line in text.split("\n") if " sd " in line and "0.352" in line)
    assert row.split()[:4] == ["✗", "mixture", "meanfield", "x"]
    assert "× 0.85 (0.84 to 0.86; margin ÷/× 1.1)" in row
