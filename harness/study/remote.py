"""The side of a Dask worker: its engine, its programs, and runs in a process that can be killed.

A Dask worker cannot stop a call that has begun. So each of its threads has a pool of one process,
as a local study has, and time limits, memory limits and Ctrl-C hold there too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from harness import stan
from harness.models.data import data_hash
from harness.records import Model, Program, RunResult
from harness.records.faults import MachineFaultError
from harness.stan import embedded
from harness.study import prepare
from harness.study.engines import Engines
from harness.study.pool import Pool
from harness.study.run_task import RunTask, made
from harness.study.task import code_hash


class Files(NamedTuple):
    """A program with its includes, and its data: what a worker needs of a model."""

    texts: tuple[tuple[str, bytes], ...]
    """Of the program, whose name is empty, and of what it includes."""
    data: bytes | None
    """Compressed JSON; None for a program without data."""


class Order(NamedTuple):
    """A run for a Dask worker. ``files`` are left out once the worker has them."""

    task: RunTask
    study: str
    """Names the study, so that Ctrl-C ends its runs and no others."""
    program_hash: str
    data_hash: str
    engines: tuple[bool, bool]
    """Whether the study uses the embedded engine, and CmdStan."""
    compile_timeout_s: float
    memory_gb: float | None
    files: Files | None = None


class LacksFilesError(MachineFaultError):
    """A worker that was started again under its old address has lost the files of a model."""


class PreparationError(MachineFaultError):
    """A program that the client's engine serves, and the worker's does not."""


def shared(versions: Mapping[str, str]) -> dict[str, str]:
    """Return, of a machine's versions, what must be the same on all: what keys of runs have."""
    keyed = ("harness", "embedded", "cmdstan", "compiler")
    return {name: versions[name] for name in keyed if name in versions} | {"code": code_hash()}


def versions_here(engines: tuple[bool, bool]) -> dict[str, str]:
    """Return the shared versions of this worker, which finds or installs what a study uses.

    ``engines`` says whether that is the embedded engine, and CmdStan.
    """
    return shared(_engines(*engines).versions)


@cache
def _engines(in_process: bool, compiled: bool) -> Engines:  # noqa: FBT001 - the cache's key
    """Return the engines of this worker, found or built once."""
    cmdstan = stan.ensure_cmdstan(lambda _: None) if compiled else None
    versions = stan.run_versions(cmdstan)
    if in_process:
        versions["embedded"] = embedded.available() or embedded.version()
    return Engines(versions, cmdstan)


_stopped: set[str] = set()
"""Studies that were interrupted."""


def stop(study: str) -> None:
    """End the runs of a study on this worker, with their processes."""
    _stopped.add(study)


def make(order: Order) -> RunResult:
    """Make a run in a process of this worker; return it with its arrays.

    Raises
    ------
    LacksFilesError
        If the files of its model are not here.
    PreparationError
        If the program cannot be prepared here.
    harness.study.worker.OverdueError
        If it passed its time limit and its process had to be ended.
    ChildProcessError
        If its process was killed twice.
    """
    call = _Call(order)
    program, data_file = call.prepared()
    # The results of a run name the client's program.
    context = order.task.context._replace(program=program, data_file=data_file)
    result: RunResult = call.made(made, order.task._replace(context=context))
    return result


_ready: dict[tuple[object, ...], Program] = {}
_preparing: dict[str, threading.Lock] = {}
_guard = threading.Lock()


class _Call:
    """An order on this worker."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._model = _model(order)

    def made(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what the function returns in a process of its own."""
        study = self._order.study
        with _pool(self._order.memory_gb) as pool:
            pool.submit(study, function, *args)
            while pool.busy:
                if study in _stopped:
                    pool.cancel()
                for _, value, error in pool.finished():
                    if error is not None:
                        raise error
                    return value
        raise InterruptedError("the study was interrupted")

    def prepared(self) -> tuple[Program, Path | None]:
        """Return the order's program with the paths of this machine, made ready once."""
        order, given = self._order, self._order.task.context.program
        parts = (given.executable is not None, given.library is not None)
        about = (order.program_hash, order.data_hash, given.generated)
        key = (*about, given.embedded, *parts)
        with _guard:
            lock = _preparing.setdefault(order.program_hash, threading.Lock())
        with lock:
            if key not in _ready:
                _ready[key] = self._prepare(given, parts)
        here = _ready[key]
        program = dataclasses.replace(
            given,
            stan_file=self._model.stan_file,
            executable=here.executable,
            cmdstan=here.cmdstan,
            library=here.library,
            updated=here.updated,
        )
        return program, self._model.data_file

    def _prepare(self, given: Program, parts: tuple[bool, bool]) -> Program:
        order = self._order
        found = Program(self._model.stan_file, {}, generated=given.generated)
        here = _engines(*order.engines)
        if given.embedded:
            limit_s = order.task.context.timeout_s
            args = (self._model, here, limit_s, order.data_hash)
            found = self._served(self.made(prepare.start, *args))
            if found.constants != given.constants:
                raise PreparationError("its density has other constants on this worker")
        if any(parts):
            limits = (order.compile_timeout_s, order.task.context.timeout_s)
            about = (self._model, here, found, parts, limits, order.data_hash)
            found = self._served(self.made(prepare.build, *about))
            if parts[1] and found.library is None:
                raise PreparationError(found.library_error)
        return found

    @staticmethod
    def _served(prepared: prepare.Prepared) -> Program:
        if prepared.program is None:
            raise PreparationError(prepared.refused or prepared.error)
        return prepared.program


_idle: list[Pool] = []


@contextlib.contextmanager
def _pool(memory_gb: float | None) -> Iterator[Pool]:
    """Give a thread a pool of one process, which the next call finds warm."""
    # Dask's workers are daemons, which may have no children; ours end when their parent is gone.
    multiprocessing.current_process().daemon = False
    with _guard:
        pool = _idle.pop() if _idle else None
    if pool is None:
        pool = Pool(1, _share_gb() if memory_gb is None else memory_gb)
    try:
        yield pool
    finally:
        with _guard:
            _idle.append(pool)


def _share_gb() -> float | None:
    """Return what Dask gives this worker for each thread, in GB; None where it gives no limit."""
    from distributed import get_worker

    here = get_worker()
    limit = here.memory_manager.memory_limit
    return None if limit is None else limit / here.state.nthreads / 1e9


def _model(order: Order) -> Model:
    """Return the model of an order, with its files written on this worker."""
    folder = _folder() / f"{order.program_hash[:24]}-{order.data_hash[:24]}"
    with _guard:
        if not folder.is_dir():
            if order.files is None:
                raise LacksFilesError(f"{order.task.spec.model} is not on this worker")
            _write(order, order.files, folder)
    data, name = folder / "data.json", order.task.spec.model
    program = folder / _file_name(order)
    generated = order.task.context.program.generated
    return Model(name, name, program, data if data.is_file() else None, generated=generated)


def _file_name(order: Order) -> str:
    return order.task.context.program.stan_file.name


def _write(order: Order, files: Files, folder: Path) -> None:
    aside = Path(tempfile.mkdtemp(dir=folder.parent))
    for name, text in files.texts:
        path = aside / (name or _file_name(order))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    data = None
    if files.data is not None:
        data = aside / "data.json"
        data.write_bytes(zlib.decompress(files.data))
    model = Model("", "", aside / _file_name(order), data)
    if (stan.program_hash(model.stan_file), data_hash(model)) != order[2:4]:
        raise PreparationError(
            f"{_file_name(order)} or its data have changed since the study began"
        )
    aside.rename(folder)


@cache
def _folder() -> Path:
    """Return a folder that goes with the worker."""
    from distributed import get_worker

    return Path(tempfile.mkdtemp(prefix="harness-", dir=get_worker().local_directory)).resolve()
