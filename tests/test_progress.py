"""Progress: plain lines in a pipe, nothing when quiet."""

from __future__ import annotations

import pytest

from harness.study import progress


def test_plain_lines_tell_each_tenth_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """A phase of 40 steps prints eleven lines: the start and every tenth."""
    display = progress.Plain()
    display.phase("run", 40)
    for _ in range(40):
        display.advance("run", "mixture nuts")
    display.say("done")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 12
    assert lines[0].endswith("run: 40")
    assert lines[-2].endswith("run: 40 of 40 (mixture nuts)")
    assert "\x1b" not in "".join(lines)


def test_a_long_silence_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow steps each print a line."""
    now = [0.0]
    monkeypatch.setattr("harness.study.progress.time.monotonic", lambda: now[0])
    display = progress.Plain()
    display.phase("run", 400)
    for _ in range(3):
        now[0] += 60
        display.advance("run")
    assert capsys.readouterr().err.count(" of 400") == 3


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """With --quiet nothing is printed, not even notes."""
    display = progress.choose(quiet=True)
    display.phase("run", 2)
    display.advance("run")
    display.say("a sentence")
    display.close()
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_a_pipe_gets_plain_lines() -> None:
    """Pytest's captured standard error is no terminal."""
    assert isinstance(progress.choose(quiet=False), progress.Plain)


def test_the_time_left_is_told_once_there_is_something_to_go_by(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of the work took 30 s, so 90 s are left; the last line of a phase tells none."""
    now = [0.0]
    monkeypatch.setattr("harness.study.progress.time.monotonic", lambda: now[0])
    display = progress.Plain()
    display.phase("run", 2)
    display.outlook(1.0, 400.0)
    display.advance("run")
    now[0] = 30.0
    display.outlook(100.0, 400.0)
    display.phase("judge", 2)
    display.advance("judge")
    display.advance("judge")
    lines = capsys.readouterr().err.splitlines()
    assert "left" not in lines[1]
    assert lines[3].endswith("judge: 1 of 2, about 90 s left")
    assert lines[4].endswith("judge: 2 of 2")


def test_a_terminal_has_a_bar_of_all_work(capsys: pytest.CaptureFixture[str]) -> None:
    """Phases count, and only the bar of all work has a time left."""
    display = progress.Live()
    display.phase("run", 2)
    display.outlook(1.0, 4.0)
    display.advance("run", "mixture [nuts]")
    display.outlook(2.0, 4.0)
    display.say("a sentence")
    display.again()
    display.phase("run", 1)
    display.outlook(3.0, 4.0)
    display.close()
    said = capsys.readouterr().err
    assert "a sentence" in said
    assert "all" in said
