"""Several processes build a library once, and an interrupted build leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.stan import CmdStan, ProgramError
from harness.stan.bridge import BridgeModel, library
from harness.stan.bridge.loading import intact

pytestmark = pytest.mark.stan

BUILD = """
import sys
from pathlib import Path
from harness.stan.bridge import library
from harness.stan import find_cmdstan
print(library(Path(sys.argv[1]), find_cmdstan()), flush=True)
"""


def builder(file: Path, cmdstan: CmdStan) -> subprocess.Popen[str]:
    """Start a process that needs the library of a program."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(file)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CMDSTAN": str(cmdstan.path)},
        start_new_session=True,
    )


def compiling(folder: Path, before: set[Path]) -> Path | None:
    """Return the folder of a build that has reached the compiler."""
    for path in set(folder.glob("partial-bridge-*")) - before:
        if list(path.glob("*.hpp")):
            return path
    return None


def test_a_killed_build_and_two_builders_leave_one_whole_library(
    cmdstan: CmdStan, isolated_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed build and half a library do not confuse two processes that build at once."""
    monkeypatch.setenv("CMDSTAN", str(cmdstan.path))
    folder = isolated_cache / "bridge"
    folder.mkdir(parents=True)
    file = tmp_path / "together.stan"
    text = f"parameters {{ real x; }} model {{ x ~ normal(0, 2); }} // {time.time_ns()}"
    file.write_text(text, encoding="utf-8")
    before = set(folder.iterdir())
    first = builder(file, cmdstan)
    with first:
        left = None
        while left is None and first.poll() is None:
            time.sleep(0.05)
            left = compiling(folder, before)
        assert left is not None
        os.killpg(first.pid, signal.SIGKILL)
    key = left.name.removeprefix("partial-").rpartition("-")[0]
    assert not list(folder.glob(f"{key}-*.so"))
    (folder / f"{key}-0123456789abcdef.so").write_bytes(b"\x7fELF half a library")
    both = [builder(file, cmdstan) for _ in range(2)]
    said = [process.communicate()[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    built = sorted(folder.glob(f"{key}-*.so"))
    try:
        assert len(built) == 1
        assert intact(built[0])
        assert set(said) == {str(built[0])}
        assert not list(folder.glob(f"partial-{key}-*"))
        stamp = built[0].stat().st_ino  # its times say when it was last used
        assert library(file, cmdstan) == built[0]
        assert built[0].stat().st_ino == stamp
        _, slope = BridgeModel(built[0], {}).value_and_gradient(np.array([2.0]))
        assert slope == [-0.5]
    finally:
        for path in built:
            path.unlink()


def test_what_stanc_rejects_is_an_exception_with_its_words(
    cmdstan: CmdStan, isolated_cache: Path, tmp_path: Path
) -> None:
    """The message of stanc is raised, and the cache keeps nothing of the build."""
    file = tmp_path / "wrong.stan"
    file.write_text("parameters { real x; } model { x ~ norml(0, 1); }", encoding="utf-8")
    with pytest.raises(ProgramError, match="norml"):
        library(file, cmdstan)
    assert not list((isolated_cache / "bridge").glob("partial-*"))
