"""How much faster two Dask workers are than one, and what a run costs the client.

    python benchmarks/two_workers.py [--runs 60]

A scheduler and workers of one thread run on loopback. Runs of the embedded engine are made by one
worker, then as many others by two. Both are warm: only the time between the second run that ends
and the last counts. It prints one line of JSON.
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

from harness.models import folders
from harness.study import comparing
from harness.study.plan import Plan
from harness.study.progress import Progress

MODEL, METHOD = "linear_regression", "advi_adam"


class Clock(Progress):
    """Notes when runs end, and the processor time of this process by then."""

    def __init__(self) -> None:
        self.ended: list[tuple[float, float]] = []

    def advance(self, name: str, detail: str = "") -> None:
        """Note the time."""
        del detail
        if name == "run":
            self.ended.append((time.monotonic(), time.process_time()))


def study(address: str, first: int, runs: int) -> tuple[float, float]:
    """Make runs; return the seconds a run took, and the client's processor seconds for each."""
    clock = Clock()
    plan = Plan(
        (folders.load(MODEL),),
        methods=(METHOD,),
        seeds=runs,
        first_seed=first,
        engine="embedded",
        nuts=False,
        explain=False,
        figures=False,
        jobs=1,
        dask=address,
    )
    comparing.run(plan, clock)
    ended = clock.ended[1:runs]
    wall, own = (b - a for a, b in zip(ended[0], ended[-1], strict=True))
    return wall / (len(ended) - 1), own / (len(ended) - 1)


def main() -> None:
    """Measure one worker, then two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HARNESS_CACHE"] = str(Path(folder) / "cache")
        file = Path(folder) / "scheduler.json"
        begin = [sys.executable, "-m"]
        end = ["--no-dashboard", "--scheduler-file", str(file)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
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
                study(str(file), 1000 * workers, 8)
                each, own = study(str(file), 1000 * workers + 100, runs)
                found |= {f"seconds_{workers}": each, f"client_{workers}": own}
        finally:
            for process in running:
                process.kill()
                process.wait()
        found["ratio"] = found["seconds_1"] / found["seconds_2"]
        entries = list(Path(folder).glob("cache/results/*/*/arrays.npz"))
        found["bytes_per_run"] = sum(e.stat().st_size for e in entries) / len(entries)
    found["load"] = os.getloadavg()[0]
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()
