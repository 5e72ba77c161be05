"""Ctrl-C and an unwritable cache, with real CmdStan and the real command."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.stan

COMMAND = (sys.executable, "-m", "harness", "compare", "normal_mean", "--seeds", "8")


def _start(folder: Path) -> subprocess.Popen[str]:
    (folder / "scratch").mkdir(exist_ok=True)
    return subprocess.Popen(
        [*COMMAND, "--out", str(folder / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder / "scratch")},
        # Background jobs of a shell ignore Ctrl-C, and their children inherit that.
        preexec_fn=_hear_interrupts,  # noqa: PLW1509 - nothing else runs in this process
    )


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _stored(cache: Path) -> int:
    return len(list((cache / "results").glob("*/*/result.json")))


def _running(scratch: Path) -> list[str]:
    """Return the command lines of CmdStan programs that write below a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if f"file={scratch}" in words:
            found.append(words)
    return found


def test_an_interrupt_keeps_what_is_finished(fresh_results: Path, tmp_path: Path) -> None:
    """Exit code 130, no process is left, and the next comparison continues from there."""
    process = _start(tmp_path)
    end = time.monotonic() + 120
    seen: list[str] = []
    while time.monotonic() < end and process.poll() is None:
        seen = _running(tmp_path / "scratch")
        if seen and _stored(fresh_results) >= 3:
            break
        time.sleep(0.02)
    # Otherwise it would prove nothing that none is left.
    assert seen
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    said = re.search(r"interrupted: (\d+) of (\d+) runs finished and are kept", errors)
    assert said is not None, errors
    assert "same command" in errors
    assert _running(tmp_path / "scratch") == []
    kept = _stored(fresh_results)
    assert 3 <= kept < int(said.group(2))
    assert not (tmp_path / "out" / "results.json").exists()

    again = _start(tmp_path)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    # Runs may have been stored between the count and the signal, never lost.
    assert 0 < results["provenance"]["runs_made"] <= int(said.group(2)) - kept


def test_a_cache_that_cannot_be_written_blames_no_method(
    fresh_results: Path, tmp_path: Path
) -> None:
    """The comparison ends with exit code 2 and names the variable to set."""
    blocked = tmp_path / "cache"
    blocked.mkdir()
    (blocked / "programs").symlink_to((fresh_results / "programs").resolve())
    (blocked / "results").write_text("a file where a folder should be")
    out = subprocess.run(
        [*COMMAND, "--out", str(tmp_path / "out"), "--quiet"],
        capture_output=True,
        text=True,
        env={**os.environ, "HARNESS_CACHE": str(blocked)},
        timeout=300,
        check=False,
    )
    assert out.returncode == 2, out.stderr
    assert "HARNESS_CACHE" in out.stderr
    assert not (tmp_path / "out" / "results.json").exists()
