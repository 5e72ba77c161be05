"""How much faster two Dask workers are than one, and what a run costs the client.

    python benchmarks/two_workers.py [--runs 60] [--wait SECONDS]

A scheduler and workers of one thread run on loopback. Runs of the embedded engine are made by one
worker, then as many others by two. Both are warm: only the time between the second run that ends
and the last counts. It prints one line of JSON. ``busy_1`` and ``busy_2`` are the shares of the
workers' time that runs take by their own clocks; the rest is what handing them out costs.
``client``, ``scheduler`` and ``workers`` are the processor's seconds of those processes for a run,
without the processes in which workers make runs; they grow with the seconds from run to run.
With ``--wait`` runs need no core. Dask is set up as docs/scaling.md says, unless the environment
says otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.methods.own import OwnFit, own_method
from harness.models import folders
from harness.study import comparing
from harness.study.plan import Plan
from harness.study.progress import Progress

MODEL, METHOD = "linear_regression", "meanfield_tuned"

SETTINGS = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
}
"""Of the scheduler and the workers, as docs/scaling.md recommends: threads that wait for runs need
no profile."""


def cpu_s(pid: int) -> float:
    """Return the processor's seconds of a process, without its children's; 0 where that is hidden.

    It is Linux's account, in ticks of usually 10 ms.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Clock(Progress):
    """Notes when runs end, and the processor time by then of this process and of others."""

    def __init__(self, others: list[int]) -> None:
        self.ended: list[list[float]] = []
        self._others = others

    def advance(self, name: str, detail: str = "") -> None:
        """Note the times."""
        del detail
        if name == "run":
            others = [cpu_s(pid) for pid in self._others]
            self.ended.append([time.monotonic(), time.process_time(), *others])


def waiting(seconds: float) -> OwnFit:
    """Return a method that evaluates the embedded density and then waits: it needs no core."""

    def fit(target: Any, rng: np.random.Generator, draws: int) -> Any:
        x = rng.standard_normal((draws, target.dimension))
        target.log_density(x[:10])
        time.sleep(seconds)
        return x

    return fit


def study(
    address: str, first: int, runs: int, wait_s: float, others: list[int]
) -> tuple[list[float], float]:
    """Make runs; return seconds for each: by the clock and of processes, and in the run itself.

    The processes are this one, and those whose ids are given.
    """
    clock = Clock(others)
    own = {"waiting": own_method("waiting", waiting(wait_s))} if wait_s else {}
    method = next(iter(own), METHOD)
    plan = Plan(
        (folders.load(MODEL),),
        methods=(method,),
        seeds=runs,
        first_seed=first,
        engine="embedded",
        nuts=False,
        explain=False,
        figures=False,
        own=own,
        jobs=1,
        dask=address,
    )
    comparison, _ = comparing.run(plan, clock)
    own_s = [r.cost.seconds for r in comparison.models[0].runs if r.spec.method == method]
    ended = clock.ended[1:runs]
    each = [(b - a) / (len(ended) - 1) for a, b in zip(ended[0], ended[-1], strict=True)]
    return each, sum(own_s) / len(own_s)


def main() -> None:
    """Measure one worker, then two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--wait", type=float, default=0.0, help="seconds that a run only waits")
    asked = parser.parse_args()
    runs, wait_s = asked.runs, asked.wait
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HARNESS_CACHE"] = str(Path(folder) / "cache")
        file = Path(folder) / "scheduler.json"
        begin = [sys.executable, "-m"]
        end = ["--no-dashboard", "--scheduler-file", str(file)]
        quiet = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "env": {**SETTINGS, **os.environ},
        }
        worker = [*begin, "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", *end]
        running = [
            subprocess.Popen(
                [*begin, "distributed.cli.dask_scheduler", "--port", "0", *end],
                **quiet,  # type: ignore[call-overload]
            )
        ]
        try:
            found: dict[str, float] = {"runs": runs}
            for workers in (1, 2):
                where = ["--local-directory", f"{folder}/worker-{workers}"]
                started = subprocess.Popen([*worker, *where], **quiet)  # type: ignore[call-overload]
                running.append(started)
                time.sleep(10)
                pids = [process.pid for process in running]
                study(str(file), 1000 * workers, 8, wait_s, pids)
                spent, inside = study(str(file), 1000 * workers + 100, runs, wait_s, pids)
                each, client, scheduler, *those = spent
                found |= {f"seconds_{workers}": each, f"client_{workers}": client}
                found |= {f"scheduler_{workers}": scheduler, f"workers_{workers}": sum(those)}
                found[f"busy_{workers}"] = inside / each / workers
        finally:
            for process in running:
                process.kill()
                process.wait()
        found["ratio"] = found["seconds_1"] / found["seconds_2"]
        entries = list(Path(folder).glob("cache/results/*/*/arrays.bin"))
        found["bytes_per_run"] = sum(e.stat().st_size for e in entries) / max(len(entries), 1)
    found["load"] = os.getloadavg()[0]
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()
