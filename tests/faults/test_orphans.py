"""However the harness ends, no process of it is left after five seconds, and no litter."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from endless import BELOW

from harness.study.pool import Pool, sweep

WITHIN_S = 5.0

MARK = "HARNESS_TEST_MARK"
"""A variable by which all processes are found that a command has started."""

CMDSTAN = ("compare", "normal_mean", "--methods", "nuts", "--set", "nuts.warmup=9000000")
CMDSTAN_WORDS = "method=sample"


def processes(mark: str) -> dict[int, str]:
    """Return the command lines of living processes that have the mark, by process id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if f"{MARK}={mark}".encode() in environment and words != [""]:
            found[int(folder.name)] = " ".join(words)
    return found


def start(
    folder: Path, words: tuple[str, ...], terminal: int | None = None
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a command in a session of its own; return its process and its mark."""
    mark = uuid.uuid4().hex
    (folder / "scratch").mkdir()

    def lead() -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if terminal is not None:
            import fcntl
            import termios

            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *words, "--jobs", "1", "--out", str(folder / "out")],
        stdin=subprocess.DEVNULL if terminal is None else terminal,
        stdout=subprocess.DEVNULL if terminal is None else terminal,
        stderr=subprocess.DEVNULL if terminal is None else terminal,
        env={**os.environ, MARK: mark, "TMPDIR": str(folder / "scratch")},
        start_new_session=True,
        preexec_fn=lead,  # noqa: PLW1509 - nothing else runs in this process
    )
    return process, mark


def at_work(process: subprocess.Popen[bytes], mark: str, words: str) -> None:
    """Wait until a process with these words in its command line runs."""
    end = time.monotonic() + 60
    while not any(words in line for line in processes(mark).values()):
        assert process.poll() is None
        assert time.monotonic() < end, processes(mark)
        time.sleep(0.1)


def ended(process: subprocess.Popen[bytes], mark: str) -> bool:
    """Wait until nothing is left, at most five seconds."""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        if process.poll() is not None and not processes(mark):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.stan
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_no_process_outlives_a_signal(
    tmp_path: Path, fresh_results: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers, CmdStan and all helpers end, and what SIGKILL leaves goes at the next start."""
    assert fresh_results
    process, mark = start(tmp_path, CMDSTAN)
    at_work(process, mark, CMDSTAN_WORDS)
    process.send_signal(number)
    left = {} if ended(process, mark) else processes(mark)
    for other in left:
        os.kill(other, signal.SIGKILL)
    assert left == {}
    scratch = tmp_path / "scratch"
    if number == signal.SIGKILL:
        assert list(scratch.iterdir())
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        Pool(1).close()
    assert list(scratch.iterdir()) == []


def test_a_closed_terminal_ends_code_that_is_stuck(tmp_path: Path, isolated_cache: Path) -> None:
    """A worker in a C++ call without an end has nobody left to wait for."""
    assert isolated_cache
    file = tmp_path / "endless.stan"
    file.write_text(BELOW, encoding="utf-8")
    ours, theirs = pty.openpty()
    words = ("compare", str(file), "--engine", "embedded", "--methods", "dadvi", "--quick")
    process, mark = start(tmp_path, words, theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    end = time.monotonic() + 120
    while not list(tmp_path.glob("scratch/harness-pool-*/harness-run-*")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
        with contextlib.suppress(BlockingIOError):
            os.read(ours, 65_536)
    time.sleep(1.0)
    os.close(ours)
    left = {} if ended(process, mark) else processes(mark)
    for other in left:
        os.kill(other, signal.SIGKILL)
    assert left == {}
    assert list(tmp_path.glob("scratch/*")) == []


def test_only_what_is_dead_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A living pool keeps its folder, as do one made a moment ago and a link to elsewhere."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    living = Pool(1)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(next(tmp_path.glob("harness-pool-*")), elsewhere)
    (tmp_path / "harness-pool-young").mkdir()
    (tmp_path / "harness-pool-link").symlink_to(elsewhere)
    dead = tmp_path / "harness-pool-dead"
    shutil.copytree(elsewhere, dead)
    (dead / "harness-run-1").mkdir()
    (dead / "harness-run-1" / "draws.csv").write_text("1\n")
    before = set(tmp_path.iterdir())
    sweep()
    assert before - set(tmp_path.iterdir()) == {dead}
    assert (elsewhere / "lock").exists()
    living.close()
