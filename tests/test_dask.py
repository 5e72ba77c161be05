"""A study on a real Dask scheduler with two worker processes: as locally, whoever dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from click.testing import CliRunner

import harness
from harness import cli
from harness.records import RunResult
from harness.study import cluster, remote
from harness.study.pool import ClusterError

PROGRAM = "data { int N; } parameters { vector[N] x; } model { x ~ normal(1, 2); }"

SEEDS = 8

# The workers cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Machines:
    """A scheduler and workers, each a process of one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self._start("dask_scheduler", "--port", "0", "--scheduler-file", str(file))
        _await(file.is_file)
        self.address = str(file)

    def _start(self, module: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *words]
        # Names of the client's folder must mean nothing on a worker.
        with (self.folder / f"{len(self.running)}.log").open("wb") as log:
            started = subprocess.Popen(command, stderr=log, stdout=log, cwd=self.folder)
        self.running.append(started)
        return started

    def worker(self, *, nanny: bool = False) -> subprocess.Popen[bytes]:
        """Start a worker."""
        kept = ("--local-directory", str(self.folder / f"worker-{len(self.running)}"))
        words = ("--scheduler-file", self.address, "--nthreads", "1", *kept)
        return self._start("dask_worker", *words, *(() if nanny else ("--no-nanny",)))

    def close(self) -> None:
        """End them all."""
        for process in reversed(self.running):
            process.kill()
            process.wait()


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """Yield a scheduler without workers, and an empty store of results."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    found = Machines(tmp_path)
    yield found
    found.close()


def _await(happened: Callable[[], object], limit_s: float = 120.0) -> None:
    end = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def _noted(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.is_file() else []


def _slow(log: Path, seconds: float) -> Any:
    """Return a method that notes its draws' first number and its process, and takes a while."""

    def fit(target: Any, rng: np.random.Generator, draws: int) -> Any:
        x = 1 + 2 * rng.standard_normal((draws, target.dimension))
        with log.open("a") as file:
            file.write(f"{x[0, 0]!r} {os.getpid()} {os.getppid()}\n")
        time.sleep(seconds)
        return x

    return fit


def _deadly(target: Any, rng: np.random.Generator, draws: int) -> Any:
    """Kill the Dask worker that makes it."""
    del target, rng, draws
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def _fatal(target: Any, rng: np.random.Generator, draws: int) -> Any:
    """Kill the process that makes it."""
    del target, rng, draws
    os.kill(os.getpid(), signal.SIGKILL)


def _stuck(target: Any, rng: np.random.Generator, draws: int) -> Any:
    """Take no notice of time limits."""
    del target, rng, draws
    time.sleep(600)


def _compared(tmp_path: Path, methods: Any, seeds: int, dask: str, **more: Any) -> list[RunResult]:
    program = tmp_path / "normal.stan"
    program.write_text(PROGRAM)
    asked = {"why": False, "quick": True, "jobs": 1, **more}
    found = harness.compare(program, {"N": 2}, methods=methods, seeds=seeds, dask=dask, **asked)
    return [run for run in found.comparison.models[0].runs if run.spec.method in methods]


def test_a_killed_worker_loses_nothing_and_doubles_nothing(
    machines: Machines, tmp_path: Path
) -> None:
    """Its run is made again elsewhere; all draws are those of a local study."""
    log, first, _ = tmp_path / "log", machines.worker(), machines.worker()
    methods = {"slow": _slow(log, 0.5), "laplace": None}

    def kill() -> None:
        _await(lambda: {str(first.pid)} & {parent for _, _, parent in _noted(log)[1:]})
        first.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    runs = _compared(tmp_path, methods, SEEDS, machines.address)
    killer.join()
    assert [(r.spec.method, r.status) for r in runs] == [
        (m, "ok") for m in methods for _ in range(SEEDS)
    ]
    began = [(number, parent) for number, _, parent in _noted(log)]
    # Every run began once, and once more if the killed worker had it.
    again = {n for n, _ in began if [m for m, _ in began].count(n) > 1}
    assert len(began) == SEEDS + len(again)
    assert len({number for number, _ in began}) == SEEDS
    assert len(again) <= 1
    assert all((number, str(first.pid)) in began for number in again)
    local = _compared(tmp_path, {"slow": _slow(tmp_path / "local", 0), "laplace": None}, SEEDS, "")
    for here, there in zip(local, runs, strict=True):
        assert here.spec == there.spec
        if here.spec.method == "slow":
            assert here.draws is not None
            assert there.draws is not None
            np.testing.assert_array_equal(here.draws.values, there.draws.values)


def test_time_limits_and_deaths_of_processes_are_those_of_a_local_study(
    machines: Machines, tmp_path: Path
) -> None:
    """A stuck run is timed out, one whose process dies is killed, and the worker lives."""
    worker = machines.worker()
    methods = {"stuck": _stuck, "fatal": _fatal, "laplace": None}
    runs = _compared(tmp_path, methods, 1, machines.address, timeout_s=2.0)
    status = {r.spec.method: (r.status, r.message) for r in runs}
    assert status["stuck"][0] == "timed_out"
    assert status["fatal"] == ("killed", "its process was killed twice, perhaps for memory")
    assert status["laplace"][0] == "ok"
    assert worker.poll() is None


@pytest.mark.slow
def test_a_run_that_takes_two_workers_with_it_is_killed(machines: Machines, tmp_path: Path) -> None:
    """It is not made a third time; the other runs are made by the workers that come back."""
    for _ in range(2):
        machines.worker(nanny=True)
    runs = _compared(tmp_path, {"deadly": _deadly, "laplace": None}, 1, machines.address)
    status = {r.spec.method: r.status for r in runs}
    assert status == {"deadly": "killed", "laplace": "ok"}


def test_an_interrupted_study_ends_its_runs_on_the_workers(
    machines: Machines, tmp_path: Path
) -> None:
    """Ctrl-C ends the process that makes a run, and the worker is free for others."""
    log, worker = tmp_path / "log", machines.worker()

    def interrupt() -> None:
        _await(lambda: _noted(log))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(harness.Interrupted, match=r"0 of \d+ runs finished"):
        _compared(tmp_path, {"slow": _slow(log, 600)}, 2, machines.address)
    ((_, process, _),) = _noted(log)

    def ended() -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), 0)
            return "Z" in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return True

    _await(ended, 30)
    assert worker.poll() is None


def test_a_scheduler_that_goes_is_said_in_one_line(machines: Machines, tmp_path: Path) -> None:
    """The study ends, and finished runs are kept."""
    log = tmp_path / "log"
    machines.worker()

    def kill() -> None:
        _await(lambda: _noted(log))
        machines.running[0].kill()

    threading.Thread(target=kill).start()
    with pytest.raises(ClusterError, match=r"^the Dask scheduler at \S+ is gone; finished runs"):
        _compared(tmp_path, {"slow": _slow(log, 600)}, 2, machines.address)


def test_other_versions_are_refused_in_one_line(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of two versions would be kept under one key."""
    machines.worker()
    original = remote.shared
    monkeypatch.setattr(remote, "shared", lambda v: {**original(v), "embedded": "stanli 0.1"})
    with pytest.raises(ClusterError, match=r"^worker tcp://\S+ has embedded .*machine stanli 0.1"):
        _compared(tmp_path, {"laplace": None}, 1, machines.address)


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ({"harness": "1", "code": "a", "cmdstan": "2.27.0"}, ""),
        ({"harness": "2", "code": "b", "cmdstan": "2.27.0"}, "has harness 2, and this machine 1"),
        ({"harness": "1", "code": "b", "cmdstan": "2.27.0"}, "has other code under harness 1"),
        ({"harness": "1", "code": "a", "cmdstan": "2.35.0"}, "has cmdstan 2.35.0, and"),
        ({"harness": "1", "code": "a"}, "has cmdstan none, and this machine 2.27.0"),
    ],
)
def test_every_version_of_a_key_is_compared(there: dict[str, str], says: str) -> None:
    """One that is missing differs too."""
    here = {"harness": "1", "code": "a", "cmdstan": "2.27.0"}
    found = cluster._difference(here, there)
    assert found.startswith(says)
    assert bool(found) is bool(says)


def test_no_scheduler_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with 2 and names the address."""
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    words = ["compare", "normal_mean", "--quick", "--dask", "tcp://127.0.0.1:1", "-q"]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 2, done.output
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in done.output
