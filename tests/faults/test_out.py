"""The folder of results: one writer at a time, files that are whole, and faults named at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import cli
from harness.report import files
from harness.report.files import OutputError, reserved
from harness.stan import embedded

PROGRAM = "parameters { vector[2] x; } model { x ~ normal(1, 2); }"

HOLD = """
import sys, time
from pathlib import Path
from harness.report.files import reserved
with reserved(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def invoke(*words: str) -> tuple[int, str]:
    """Run a command in process; return its exit code and everything it printed."""
    done = CliRunner().invoke(cli.main, list(words))
    return done.exit_code, done.output


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a cheap comparison into tmp_path/out, with a cache of its own."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "my.stan").write_text(PROGRAM)
    said = ["compare", str(tmp_path / "my.stan"), "--quick", "--methods", "laplace"]
    return [*said, "--jobs", "1", "--quiet", "--out", str(tmp_path / "out")]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return a process that holds tmp_path/out as a comparison does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_comparison_into_a_folder_is_refused(
    tmp_path: Path, words: list[str], holder: subprocess.Popen[str]
) -> None:
    """In one line and before anything is run; the lock of a killed process holds nobody up."""
    code, said = invoke(*words)
    assert (code, said.count("\n")) == (2, 1), said
    assert "another comparison is writing into" in said
    assert "--out" in said
    assert not (tmp_path / "cache").exists()
    holder.kill()
    holder.wait()
    with reserved(tmp_path / "out"):
        pass


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder it cannot write")
def test_a_folder_that_cannot_be_written_is_noticed_first(tmp_path: Path, words: list[str]) -> None:
    """Before the first run, with exit code 2."""
    (tmp_path / "out").mkdir(mode=0o555)
    code, said = invoke(*words)
    assert (code, "cannot write results to" in said, "Permission denied" in said) == (2, True, True)
    assert not (tmp_path / "cache").exists()


def test_a_file_in_the_place_of_the_folder_is_noticed_first(
    tmp_path: Path, words: list[str]
) -> None:
    """Before the first run, in one line, with exit code 2."""
    (tmp_path / "file").write_text("")
    code, said = invoke(*words[:-1], str(tmp_path / "file/out"))
    assert (code, said.count("\n")) == (2, 1), said
    assert "cannot write results to" in said
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_is_noticed_first(tmp_path: Path, words: list[str]) -> None:
    """A folder without room for a report is refused with the room it needs; nothing stays in it."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may be larger than this: the system refuses to write on, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        code, said = invoke(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (code, said.count("\n")) == (2, 1), said
    assert "File too large" in said
    assert "room for 10 MB" in said
    assert [p.name for p in (tmp_path / "out").iterdir()] == []


@pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")
def test_damage_in_the_folder_counts_as_absent(tmp_path: Path, words: list[str]) -> None:
    """Emptied, cut and foreign files of an earlier comparison are written anew."""
    out = tmp_path / "out"
    assert invoke(*words, "--draws")[0] == 0
    whole = json.loads((out / "results.json").read_text())["models"]
    for path in list(out.rglob("*")):
        if path.is_file():
            path.write_bytes(b"" if path.name in {"keys.json", "my.stan"} else b"\xff\x00[")
    code, said = invoke(*words, "--draws")
    assert code == 0, said
    assert json.loads((out / "results.json").read_text())["models"] == whole
    (model,) = files.read(out).models
    assert all(run.draws is not None for run in model.runs)
    assert not [p.name for p in out.rglob("*.part")]


def test_a_reserved_folder_is_free_again_after_an_error(tmp_path: Path) -> None:
    """An exception, or an interrupt, ends the lock."""
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), reserved(tmp_path):
            raise error
    again = reserved(tmp_path)
    with reserved(tmp_path), pytest.raises(OutputError, match="another comparison"), again:
        pass
