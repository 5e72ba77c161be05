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
