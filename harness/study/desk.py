"""What the parts of a study share: plan, engines, store, workers, models and counts."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness import stan
from harness.records.cores import cores
from harness.study import engines
from harness.study.expected import BUILD_S, JUDGE_S, expected_seconds
from harness.study.plan import Plan, Work, explain
from harness.study.planner import Planner
from harness.study.pool import ClusterError, Pool, Queue, Turn
from harness.study.progress import Progress
from harness.study.run_task import RunTask, run_task
from harness.study.store import Store, StoreError

if TYPE_CHECKING:
    from harness.study.cluster import Cluster

WORTH_S = 6.0
"""Expected seconds for which one more worker is started: its imports alone take about three."""


class Desk:
    """The state of a study. Models whose next step is due wait in ``due``."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self.plan = plan
        self.progress = progress
        self.begin = time.monotonic()
        self.said: set[str] = set()
        self.engines = engines.choose(plan.engine, progress.say)
        self.store = Store(stan.cache_dir() / "results", self.say_once)
        self.store.sweep()
        self.planner = Planner(plan, self.engines, self.store)
        self.works = [self.planner.work(model) for model in plan.models]
        self.cluster = self._joined(plan.dask) if plan.dask else None
        self.pool = Pool(plan.jobs or workers_for(self.works), plan.memory_gb)
        self.due: list[Work] = []
        self.runs_done = 0
        self.builds = 0
        self.builds_done = 0
        self.spent_s = 0.0
        self.interrupted = False
        self._next_outlook = 0.0

    def _joined(self, address: str) -> Cluster:
        from harness.study.cluster import Cluster

        return Cluster(address, self.engines.versions, self.store, self.progress.say)

    @property
    def queues(self) -> list[Queue]:
        """Where calls are made."""
        return [self.pool] if self.cluster is None else [self.pool, self.cluster]

    def close(self, *, kill: bool = False) -> None:
        """Let all workers end; with ``kill``, at once."""
        self.pool.close(kill=kill)
        if self.cluster is not None:
            self.cluster.close(kill=kill)

    def make(self, work: Work, task: RunTask, turn: Turn) -> None:
        """Have a run made, here or on the cluster."""
        label = ("run", work, task)
        if self.cluster is None:
            self.pool.submit(label, run_task, task, self.store.root, turn=turn)
            return
        from harness.study.remote import Order, make

        order = Order(
            task,
            self.cluster.study,
            work.program_hash,
            work.data_hash,
            self.cluster.engines,
            self.plan.compile_timeout_s,
            self.plan.memory_gb,
        )
        self.cluster.submit(label, make, order, work.model, turn=turn)

    def go_on(self, work: Work) -> None:
        """Let a model take its next step."""
        self.due.append(work)

    def say_once(self, sentence: str) -> None:
        """Print a line unless it has been printed."""
        if sentence not in self.said:
            self.said.add(sentence)
            self.progress.say(sentence)

    def runs(self) -> int:
        """Return the number of runs, made and waiting."""
        return self.runs_done + sum(len(w.waiting) for w in self.works)

    def outlook(self) -> None:
        """Tell the display how much of the expected work is done, if that costs little."""
        begin = time.monotonic()
        if begin < self._next_outlook:
            return
        going = [w for w in self.works if w.error is None and w.analysis is None]
        left_s = sum(expected_seconds(s, w.model) for w in going for s in w.waiting.values())
        left_s += BUILD_S * (self.builds - self.builds_done) + JUDGE_S * len(going)
        done_s = (
            self.spent_s + BUILD_S * self.builds_done + JUDGE_S * (len(self.works) - len(going))
        )
        self.progress.outlook(done_s, done_s + left_s)
        end = time.monotonic()
        self._next_outlook = end + 20 * (end - begin)

    @contextlib.contextmanager
    def alone(self, work: Work) -> Iterator[None]:
        """Let what goes wrong with one model be that model's error, and cost no other one."""
        try:
            yield
        except (StoreError, ClusterError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            work.waiting.clear()
            work.proposals = ()
            work.error = explain(error)
            self.progress.phase("run", self.runs())
            self.progress.say(f"{work.model.name}: {work.error}")

    def give_up(self, work: Work, why: str) -> None:
        """Give up a model, or only its remedies if its comparison stands without them."""
        why = why.strip() or "it was given up without a reason"
        if work.waiting:
            work.waiting.clear()
            self.progress.phase("run", self.runs())
        if work.proposals:
            why = f"the remedies could not be tried: {why}"
            work.notes.append(why)
            work.first_key = ""
            work.proposals = ()
        else:
            work.error = why
            self.progress.advance("judge", work.model.name)
        self.progress.say(f"{work.model.name}: {why.splitlines()[0]}")
        self.go_on(work)


def workers_for(works: Sequence[Work]) -> int:
    """Return how many workers are worth their start, by the seconds that are expected."""
    runs_s = sum(expected_seconds(s, w.model) for w in works for s in w.waiting.values())
    return min(cores(), math.ceil((runs_s + JUDGE_S * len(works)) / WORTH_S) or 1)
