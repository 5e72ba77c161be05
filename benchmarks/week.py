"""A week of runs on a cluster, replayed from recorded seconds on the harness's own queue.

    python benchmarks/week.py [--posteriors 147] [--seeds 100] [--threads 20] [--client 0.01]

Posteriors take the recorded runs of the lecture's models (reports/lecture/runs.csv) in turn, each
run the seconds of one recorded run of its method. They are made slower by one factor, so that all
threads need a week. The queue is the one that a study has, on a clock that jumps from event to
event: a worker has one thread and is killed after ``--life`` hours, as at the end of its job's
time, and comes back after ten minutes; the client takes ``--client`` seconds for each result.

It prints one line of JSON: CPU hours and gigabytes of results as recorded, the factor, hours that
the study takes, the share of the threads' time that ends in results, runs that were made twice and
runs that were killed, because they took two workers with them.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import heapq
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from harness.methods import DEFAULT_METHODS
from harness.methods.options import planned
from harness.models import folders
from harness.records import RunSpec
from harness.study.expected import expected_work
from harness.study.plan import QUICK
from harness.study.pool import Job, Queue, Turn

RECORDED = Path(__file__).parents[1] / "reports" / "lecture"
METHODS = (*DEFAULT_METHODS, "advi", "short_chains")
WEEK_S, AWAY_S = 7 * 86400.0, 600.0


class Run(NamedTuple):
    """A run that is to be replayed."""

    model: str
    method: str
    seconds: float
    size: float
    """Bytes of its draws and their two log densities."""


def recorded() -> dict[tuple[str, str], list[Run]]:
    """Return the recorded runs of each model and method, of those that ended with draws."""
    quantities = defaultdict(set)
    with gzip.open(RECORDED / "measures.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["quantity"]:
                quantities[row["model"]].add(row["quantity"])
    found = defaultdict(list)
    with (RECORDED / "runs.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["method"] in METHODS and row["draws"] and row["seconds"]:
                columns = len(quantities[row["model"]]) + 2
                size = 8.0 * float(row["draws"]) * columns
                run = Run(row["model"], row["method"], float(row["seconds"]), size)
                found[run.model, run.method].append(run)
    return found


def study(posteriors: int, seeds: int, seed: int = 1) -> list[list[Run]]:
    """Return the runs of each posterior; a method that its model lacks is any model's."""
    rng = random.Random(seed)  # noqa: S311 - a replay keeps no secrets
    found = recorded()
    models = sorted({model for model, _ in found})
    anywhere = {
        m: [r for (_, own), runs in found.items() if own == m for r in runs] for m in METHODS
    }
    return [
        [
            rng.choice(found.get((models[number % len(models)], method)) or anywhere[method])
            for method in METHODS
            for _ in range(seeds)
        ]
        for number in range(posteriors)
    ]


class Simulation:
    """A clock, what will happen, and the workers' threads."""

    def __init__(self, threads: int, slower: float, life_s: float) -> None:
        self.now, self.slower, self.life_s = 0.0, slower, life_s
        self.events: list[tuple[float, int, str, Thread, int]] = []
        self.number = 0
        self.threads = [Thread(self) for _ in range(threads)]
        for i, thread in enumerate(self.threads):
            # Jobs do not all start, and end, at once.
            self.plan(life_s * (i + 1) / threads, "death", thread)

    def plan(self, after_s: float, kind: str, thread: Thread) -> None:
        """Let something happen."""
        self.number += 1
        event = (self.now + after_s, self.number, kind, thread, thread.calls)
        heapq.heappush(self.events, event)

    def step(self) -> None:
        """Let happen what is next, and what has happened while the client was busy."""
        self.now = max(self.now, self.events[0][0])
        while self.events and self.events[0][0] <= self.now:
            _, _, kind, thread, call = heapq.heappop(self.events)
            if kind == "end" and thread.calls == call and not thread.lost and thread.future:
                thread.future.set_result(None)
            elif kind == "death":
                thread.away, thread.lost = True, thread.job is not None
                self.plan(AWAY_S, "back", thread)
            elif kind == "back":
                thread.away = False
                self.plan(self.life_s, "death", thread)


class Thread:
    """A thread of a worker: a place in the queue."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.job: Job | None = None
        self.future: Future[Any] | None = None
        self.away = self.lost = False
        self.calls = 0
        self.began = self.wasted_s = 0.0

    @property
    def open(self) -> bool:
        """Whether it takes a run."""
        return self.job is None and not self.away

    @property
    def overdue(self) -> None:
        """Nothing: no recorded run is."""
        return

    def start(self, job: Job) -> None:
        """Begin a run."""
        self.job, self.future = job, Future()
        self.began = self._simulation.now
        self._simulation.plan(job.label.seconds * self._simulation.slower, "end", self)

    def free(self) -> None:
        """Forget a run that has ended."""
        self.job = self.future = None
        self.calls += 1

    def kill(self) -> None:
        """Forget a run whose worker died."""
        self.wasted_s += self._simulation.now - self.began
        self.lost = False
        self.free()


class Replayed(Queue):
    """The queue of a cluster's study."""

    alone = False


def submit(queue: Queue, posteriors: Sequence[Sequence[Run]]) -> None:
    """Hand out the runs as a study does: cheap methods first, then the longest of a model."""
    work: dict[tuple[str, str], float] = {}
    for runs in posteriors:
        for run in runs:
            if run[:2] not in work:
                options = planned(run.method, folders.load(run.model), {})
                work[run[:2]] = expected_work(RunSpec(run.model, run.method, options, 1, 1))
        for run in sorted(runs, key=lambda r: -work[r[:2]]):
            turn = Turn.CHEAP if run.method in QUICK else Turn.RUN
            queue.submit(run, submit, turn=turn)


def replay(
    posteriors: Sequence[Sequence[Run]], threads: int, slower: float, life_s: float, client_s: float
) -> dict[str, float]:
    """Make all runs on the clock; return what came of them."""
    simulation = Simulation(threads, slower, life_s)
    queue, done, killed = Replayed(simulation.threads), 0, 0
    submit(queue, posteriors)
    while queue.busy:
        simulation.step()
        for _, _, error in queue.ended():
            simulation.now += client_s
            done += error is None
            killed += error is not None
    calls = sum(thread.calls for thread in simulation.threads)
    return {
        "results": done,
        "killed": killed,
        "made_twice": calls - done - 2 * killed,
        "hours": simulation.now / 3600,
        "hours_wasted": sum(thread.wasted_s for thread in simulation.threads) / 3600,
    }


def by_method(posteriors: Sequence[Sequence[Run]]) -> Iterator[str]:
    """Yield the rows of a Markdown table: what the runs of each method cost."""
    yield "| method | runs | median seconds | mean seconds | CPU hours | GB of results |"
    yield "|---|---|---|---|---|---|"
    for method in (*METHODS, "all"):
        runs = [r for those in posteriors for r in those if method in {r.method, "all"}]
        took = [run.seconds for run in runs]
        size = sum(run.size for run in runs) / 1e9
        figures = f"{median(took):.3f} | {mean(took):.2f} | {sum(took) / 3600:.1f} | {size:.1f}"
        yield f"| `{method}` | {len(runs)} | {figures} |"


def main() -> None:
    """Replay a week."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posteriors", type=int, default=147)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=20)
    parser.add_argument("--client", type=float, default=0.01, help="seconds for each result")
    parser.add_argument("--life", type=float, default=24.0, help="hours of a worker")
    parser.add_argument("--table", action="store_true", help="what each method costs, as Markdown")
    asked = parser.parse_args()
    posteriors = study(asked.posteriors, asked.seeds)
    if asked.table:
        print(*by_method(posteriors), sep="\n")
        return
    runs = [run for those in posteriors for run in those]
    cpu_s = sum(run.seconds for run in runs)
    slower, begin = WEEK_S * asked.threads / cpu_s, time.process_time()
    figures = {
        "runs": len(runs),
        "cpu_hours_recorded": cpu_s / 3600,
        "gigabytes": sum(run.size for run in runs) / 1e9,
        "slower": slower,
        **replay(posteriors, asked.threads, slower, 3600 * asked.life, asked.client),
    }
    figures["used"] = WEEK_S / 3600 / figures["hours"]
    figures["simulated_in_s"] = time.process_time() - begin
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
