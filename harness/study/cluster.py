"""Runs on a Dask cluster: a queue whose places are the threads of its workers.

Each place hands its calls to one worker by Dask's ``concurrent.futures`` executor, one at a time.
So this process knows which runs a lost worker had, and has them made elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from harness import stan
from harness.records import Model
from harness.records.text import clip, count, one_line
from harness.study import remote
from harness.study.pool import ClusterError, Job, Queue
from harness.study.remote import Files, LacksFilesError, Order
from harness.study.run_task import stored
from harness.study.store import Store

if TYPE_CHECKING:
    from distributed import Client

LOOK_S = 1.0
"""How often the scheduler is asked which workers it has."""

CONNECT_S = 10.0
"""How long it may take to reach a scheduler, or to tell the workers to stop."""


class RemoteSlot:
    """A place on one worker."""

    def __init__(self, address: str, cluster: Cluster) -> None:
        self.address = address
        self.job: Job | None = None
        self.future: Future[Any] | None = None
        self._cluster = cluster
        self._executor = cluster.executor(address)

    def start(self, job: Job) -> None:
        """Hand a run to the worker, with its model's files unless they are there."""
        order, model = job.args
        order = self._cluster.complete(order, model, self.address)
        self.job, self.future = job, self._executor.submit(job.function, order)

    @property
    def open(self) -> bool:
        """Whether it takes a call."""
        return self.job is None and self.address in self._cluster.alive

    @property
    def lost(self) -> bool:
        """Whether the worker is gone, or no longer has what it was sent."""
        future = self.future
        if future is None or not future.done():
            return self.address not in self._cluster.alive
        return future.cancelled() or isinstance(future.exception(), _lost())

    @property
    def overdue(self) -> None:
        """Nothing: its worker ends what takes longer than it may."""
        return

    def free(self) -> None:
        """Forget a call that has ended."""
        if self.job is not None and self.future is not None and self.future.exception() is None:
            self._cluster.sent.setdefault(self.address, set()).add(_about(self.job.args[0]))
        self.job = self.future = None

    def kill(self) -> None:
        """Take the call back. A worker that makes it all the same is not listened to."""
        if self.future is not None:
            self.future.cancel()
            self._cluster.sent.get(self.address, set()).clear()
        self.job = self.future = None


def _lost() -> tuple[type[BaseException], ...]:
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    return KilledWorker, CommClosedError, LacksFilesError


class Cluster(Queue):
    """Runs on the workers that a Dask scheduler has now, and on those that come later.

    A worker whose harness or engines are of other versions is refused at the start, and not used if
    it comes later: results of both would be kept under one key. Results are stored as they finish.

    Raises
    ------
    ClusterError
        If there is no scheduler, its workers do not fit, or it is gone.
    """

    alone = False

    def __init__(
        self, address: str, versions: Mapping[str, str], store: Store, say: Callable[[str], None]
    ) -> None:
        super().__init__()
        self.study = uuid.uuid4().hex
        self.engines = ("embedded" in versions, "cmdstan" in versions)
        self.alive: Mapping[str, int] = {}
        self.sent: dict[str, set[tuple[str, str]]] = {}
        """What each worker has, by the hashes of a program and of its data."""
        self._client, self._address = _connected(address), address
        self._versions, self._store, self._say = remote.shared(versions), store, say
        self._greeted: dict[str, Future[dict[str, str]]] = {}
        self._known: set[str] = set()
        self._looked = -LOOK_S
        try:
            self._await_workers()
        except BaseException:
            self._client.close(CONNECT_S)
            raise

    def _await_workers(self) -> None:
        """Wait for a worker, and until each that is there has said its versions."""
        said = False
        while not self._slots or self._greeted:
            if refusals := self._look():
                raise ClusterError(refusals[0])
            if not (self.alive or said):
                said = True
                self._say(f"{self._address} has no worker yet; waiting for one")
            time.sleep(0.1)
        workers, threads = count(len(self._known), "worker"), count(len(self._slots), "thread")
        self._say(f"{workers} with {threads} at {self._address}")

    def executor(self, address: str) -> Executor:
        """Return what hands calls to one worker, and to no other."""
        found: Executor = self._client.get_executor(workers=[address], pure=False)
        return found

    def complete(self, order: Order, model: Model, address: str) -> Order:
        """Return an order with its model's files, unless the worker has them."""
        if _about(order) in self.sent.get(address, ()):
            return order
        return order._replace(files=_files(model.stan_file, model.data_file))

    def _look(self) -> list[str]:
        """See which workers have come and gone; return why some of them are not used."""
        if time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            self.alive = self._workers()
            for address in self._known - set(self.alive):
                self._forget(address)
            for address in set(self.alive) - self._known:
                self._known.add(address)
                greet = self.executor(address).submit(remote.versions_here, self.engines)
                self._greeted[address] = greet
        answered = [address for address, future in self._greeted.items() if future.done()]
        return [why for address in answered if (why := self._admit(address))]

    def _workers(self) -> Mapping[str, int]:
        """Return the addresses of the scheduler's workers, with their numbers of threads."""
        try:
            found: Mapping[str, int] = self._client.nthreads()
        except (OSError, ValueError, AttributeError) as error:  # of a client that is closed
            raise self._gone() from error
        if self._client.status != "running":
            raise self._gone()
        return found

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"the Dask scheduler at {self._address} is gone; finished runs are kept, and the same "
            "command goes on from there"
        )

    def _forget(self, address: str) -> None:
        self._known.discard(address)
        self.sent.pop(address, None)
        if self._greeted.pop(address, None) is None:
            self._say(f"worker {address} is gone; runs that it was making are made again")

    def _admit(self, address: str) -> str:
        """Open a worker's places if its versions are the client's; else say how they differ."""
        future = self._greeted.pop(address)
        if future.cancelled() or address not in self.alive:
            return ""
        error = future.exception()
        if error is not None:
            said = clip(one_line(f"{type(error).__name__}: {error}"), 300)
            return f"worker {address} cannot serve: {said}"
        if differ := _difference(self._versions, future.result()):
            return f"worker {address} {differ}: install the same on all machines"
        self._slots = [slot for slot in self._slots if slot.job is not None or slot.open] + [
            RemoteSlot(address, self) for _ in range(self.alive[address])
        ]
        return ""

    def ended(self) -> Iterator[tuple[Any, Any, BaseException | None]]:
        """Yield ``(label, value, error)`` of the runs that have finished by now, and store them."""
        for why in self._look():
            self._say(f"{why}; it is not used")
        for label, value, error in super().ended():
            # The worker goes on while its result is stored.
            self._release()
            kept = None if error is not None else stored(label[-1], value, self._store)
            yield label, kept, error

    def close(self, *, kill: bool = False) -> None:
        """Close the connection. With ``kill``, end the runs on the workers first."""
        if kill:
            self.cancel()
            # A worker that does not answer must not keep Ctrl-C waiting.
            stop = threading.Thread(target=self._stop, daemon=True)
            stop.start()
            stop.join(CONNECT_S)
        self._client.close(CONNECT_S)

    def _stop(self) -> None:
        # Whatever a connection that is being lost raises: the study has ended anyhow.
        with contextlib.suppress(Exception, asyncio.CancelledError):
            self._client.run(remote.stop, self.study, on_error="ignore")


def _about(order: Order) -> tuple[str, str]:
    return order.program_hash, order.data_hash


def _difference(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Say how a worker's versions differ from this machine's; empty if they do not."""
    for name, ours in here.items():
        theirs = there.get(name, "none")
        if theirs == ours:
            continue
        if name == "code":
            return f"has other code under harness {here['harness']}"
        return f"has {name} {theirs}, and this machine {ours}"
    return ""


@lru_cache(maxsize=8)
def _files(stan_file: Path, data_file: Path | None) -> Files:
    """Read a model's files for a worker, which compares their hashes.

    Raises
    ------
    ValueError
        If the program includes a file from outside its folder.
    """
    texts = tuple(stan.program_texts(stan_file))
    for name, _ in texts:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{stan_file.name} includes {name}, which is outside its folder")
    data = None if data_file is None else zlib.compress(data_file.read_bytes(), 1)
    return Files(texts, data)


def _connected(address: str) -> Client:
    """Return a client of the scheduler at an address, or in a scheduler file."""
    try:
        from distributed import Client
    except ImportError as error:
        msg = "--dask needs Dask: pip install 'stan-advi-harness[dask]'"
        raise ClusterError(msg) from error
    # A model's data go with its first run on a worker.
    warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
    where = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        return Client(**where, timeout=CONNECT_S, set_as_default=False, name="harness")
    except (OSError, ValueError, TypeError) as error:
        said = clip(one_line(str(error)), 200)
        raise ClusterError(f"no Dask scheduler answers at {address}: {said}") from error
