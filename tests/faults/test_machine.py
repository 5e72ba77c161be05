"""The machine's faults: nothing that a disk, memory or a signal ended is a method's failure."""

from __future__ import annotations

import errno
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness import stan
from harness.models import folders
from harness.records import WITHOUT_DRAWS, Model, Reason
from harness.records.faults import MachineFaultError, fault_words, machine_fault, sent
from harness.stan import CmdStan, embedded
from harness.stan.cache import run_tool
from harness.study import comparing
from harness.study.plan import Plan

FAULTS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    OSError("libx.so: cannot open shared object file: Too many open files"),
    MemoryError(),
    MachineFaultError("make was killed (signal 9)"),
]


@pytest.mark.parametrize("error", FAULTS, ids=str)
def test_faults_of_the_machine_are_known_with_what_they_caused(error: Exception) -> None:
    """Also as the cause of another exception; the words are never empty."""
    assert machine_fault(error)
    assert fault_words(error)
    caused = ValueError("cannot go on")
    caused.__cause__ = error
    assert machine_fault(caused)


def test_a_programs_own_errors_are_no_faults_of_the_machine() -> None:
    """Nor are the signals with which a program ends itself."""
    assert not machine_fault(ValueError("no"))
    assert not machine_fault(FileNotFoundError(errno.ENOENT, "No such file"))
    assert not machine_fault(ChildProcessError("killed twice"))
    assert not sent(signal.SIGSEGV)
    assert sent(signal.SIGKILL)


def full_disk(note: Path, faults: int) -> Callable[..., Any]:
    """Return a fit that finds the disk full the first times; it notes every call."""

    def fit(target: Any, rng: np.random.Generator, draws: int) -> Any:
        with note.open("a") as calls:
            calls.write("x")
        if len(note.read_text()) <= faults:
            with Path("/dev/full").open("w") as disk:
                disk.write("its draws")
        e = rng.standard_normal((draws, target.dimension))
        return 1 + 2 * e, -0.5 * (e**2).sum(axis=1)

    return fit


@pytest.mark.usefixtures("isolated_cache")
@pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")
def test_a_run_that_finds_the_disk_full_is_made_once_more(tmp_path: Path) -> None:
    """Once full, it passes all the same; full twice, its verdict is unknown and says why."""
    program = tmp_path / "own.stan"
    program.write_text("parameters { real x; } model { x ~ normal(1, 2); }")
    once, always = tmp_path / "once", tmp_path / "always"
    exact = np.random.default_rng(3).normal(1, 2, size=(4, 5000))
    result = harness.compare(
        program,
        methods={"once": full_disk(once, 1), "always": full_disk(always, 99)},
        reference={"x": exact},
        quick=True,
        quiet=True,
    )
    assert (len(once.read_text()), len(always.read_text())) == (2, 2)
    assert result.verdicts["once"].level == "pass"
    verdict = result.verdicts["always"]
    assert (verdict.level, verdict.seeds_failed) == ("unknown", 0)
    assert verdict.headline == "ended by the machine: No space left on device"
    (model,) = result.comparison.models
    run = next(r for r in model.runs if r.spec.method == "always")
    assert (run.status, run.reason) == ("killed", Reason.MACHINE)


WRAPPER = """#!/bin/sh
# The real program, but the first starts of ADVI end badly.
notes={notes}
case " $* " in *" method=variational "*)
  n=$(ls "$notes" | wc -l)
  touch "$notes/$$"
  if [ "$n" -lt {times} ]; then
    {how}
  fi;;
esac
exec "$0.real" "$@"
"""

CUT = """"$0.real" "$@"
    for word in "$@"; do
      case $word in file=*.csv) truncate -s 3000 "${{word#file=}}";; esac
    done
    exit 0"""

HOW = {
    "killed": "kill -9 $$",
    "file too large": "ulimit -f 2",
    "cut short": CUT.replace("{{", "{").replace("}}", "}"),
}


def broken(folder: Path, cmdstan: CmdStan, how: str, times: int) -> Model:
    """Return a model with a cache in which its program ends badly so many times."""
    model = folders.load("normal_mean")
    program = stan.compile_program(model.stan_file, cmdstan)
    assert program.executable is not None
    own = folder / "cache" / "programs" / program.executable.parent.name
    shutil.copytree(program.executable.parent, own)
    executable = own / program.executable.name
    executable.rename(executable.with_name(f"{executable.name}.real"))
    notes = folder / "notes"
    notes.mkdir()
    text = WRAPPER.replace("{notes}", str(notes)).replace("{times}", str(times))
    executable.write_text(text.replace("{how}", HOW[how]), encoding="utf-8")
    executable.chmod(0o755)
    return model


@pytest.mark.stan
@pytest.mark.parametrize(("how", "times"), [("killed", 1), ("file too large", 9),
                                            ("cut short", 9)])  # fmt: skip
def test_what_a_signal_or_a_disk_ended_is_neither_stored_nor_judged(
    tmp_path: Path, cmdstan: CmdStan, monkeypatch: pytest.MonkeyPatch, how: str, times: int
) -> None:
    """CmdStan's run is made once more; lost again, its verdict is unknown, and nothing is kept."""
    model = broken(tmp_path, cmdstan, how, times)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CMDSTAN", str(cmdstan.path))
    plan = Plan(
        (model,),
        methods=("meanfield_tuned",),
        seeds=1,
        engine="cmdstan",
        explain=False,
        figures=False,
    )
    (found,) = comparing.compare(plan)[0].models
    (verdict,) = found.verdicts
    (run,) = found.runs
    assert len(list((tmp_path / "notes").iterdir())) == 2
    kept = list((tmp_path / "cache" / "results").glob("??/*/result.json"))
    if times == 1:
        assert run.status not in WITHOUT_DRAWS
        assert (verdict.level, len(kept)) == ("pass", 1)
        return
    assert (run.status, verdict.level, verdict.seeds_failed) == ("killed", "unknown", 0)
    assert run.message
    assert not kept
    # Neither is an analysis of it: with a machine that is well the same command decides.
    for note in range(9):
        (tmp_path / "notes" / f"well {note}").touch()
    (found,) = comparing.compare(plan)[0].models
    assert [v.level for v in found.verdicts] == ["pass"]


@pytest.mark.stan
def test_a_compiler_that_is_killed_refuses_no_program(tmp_path: Path) -> None:
    """A signal, or words about the machine, are its fault; an error in the source is not."""
    for command in ("kill -9 $$", "echo 'x.o: No space left on device' >&2; exit 1"):
        with pytest.raises(MachineFaultError):
            run_tool(["sh", "-c", command], tmp_path)
    assert run_tool(["sh", "-c", "echo 'x.cpp:1: error' >&2; exit 1"], tmp_path)[0] == 1
