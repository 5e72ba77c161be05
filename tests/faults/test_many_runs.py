"""A long study leaves its process as it was, and none of it needs what only POSIX has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GROWTH_KB = 30_000
"""Python's heap after 300 results, of which nothing is kept; a kept array of each would be more."""


@pytest.mark.slow
def test_three_hundred_runs_leave_nothing_behind() -> None:
    """Open files, threads and temporary files end where they began, memory nearly."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "many_runs.py"), "--runs", "300"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    before, after = found["before"], found["after"]
    assert found["runs"] >= 300
    for what in ("open files", "threads", "temporary files"):
        assert after[what] == before[what], (what, before, after)
    assert after["memory"] - before["memory"] < GROWTH_KB


WINDOWS = """
import builtins, os, pathlib, sys

for name in ("setsid", "killpg", "nice", "getuid", "sched_getaffinity"):
    delattr(os, name)
real = builtins.__import__
ABSENT = {"fcntl", "resource", "termios", "pwd", "grp"}


def imported(name, globals=None, *more, **named):
    if name in ABSENT and str((globals or {}).get("__name__")).split(".")[0] == "harness":
        raise ImportError(f"No module named {name!r}")
    return real(name, globals, *more, **named)


builtins.__import__ = imported
pathlib.Path(os.environ["HARNESS_TEST_STARTED"], str(os.getpid())).touch()
"""
"""Run by Python as it starts, in the command and in its workers."""


def test_a_quick_comparison_needs_nothing_of_posix(tmp_path: Path) -> None:
    """Without process groups, niceness, fcntl and resource it ends with its verdicts."""
    (tmp_path / "sitecustomize.py").write_text(WINDOWS, encoding="utf-8")
    started = tmp_path / "started"
    started.mkdir()
    file = tmp_path / "normal.stan"
    file.write_text("parameters { real x; } model { x ~ normal(0, 1); }", encoding="utf-8")
    words = ("--methods", "laplace", "--jobs", "1", "--out", str(tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, "-m", "harness", "compare", str(file), "--quick", *words],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))),
            "HARNESS_CACHE": str(tmp_path / "cache"),
            "HARNESS_TEST_STARTED": str(started),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "index.html").is_file()
    # The command, and at least one worker.
    assert len(list(started.iterdir())) >= 2
