"""Both engines beside each other: how soon a program is ready, a gradient's cost, a comparison's.

Two of the tables of ``benchmarks/bench.py``, over the lecture's programs. "Ready" is the time to a
first gradient from the program's text, for the bridge with stanc, compiler and linker in it. A
gradient is a point of a batch. The comparison is `harness compare MODEL --methods dadvi_lr` without
stored runs, on compiled programs: linear response measured against the reference of the model. A
setting of a model that asks for CmdStan is not heard where
only the embedded engine is allowed, which is checked on the runs. Seconds are the processor's, with
those of child processes, so that what else the machine does counts little.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded

import numpy as np
from lecture import SHARED, new_cache
from ratios import cpu_s

from harness.models import folders
from harness.models.data import load_data
from harness.stan import compile_program, find_cmdstan
from harness.stan.bridge import BridgeModel, library
from harness.stan.embedded import EmbeddedModel
from harness.study import comparing
from harness.study.plan import Plan

if TYPE_CHECKING:
    from harness.records import Model
    from harness.stan import CmdStan

Engine = Literal["embedded", "cmdstan"]

ENGINES: tuple[Engine, ...] = ("embedded", "cmdstan")

FIRST = Path(__file__).parent / "fits" / "schools.stan"

BATCH = 100
RUNS = 5


@contextmanager
def empty_cache(cmdstan: CmdStan, shared: Sequence[str] = ()) -> Iterator[None]:
    """Work in a cache that has only the shared folders of the user's: no run is kept."""
    kept = {name: os.environ.get(name) for name in ("HARNESS_CACHE", "CMDSTAN")}
    with tempfile.TemporaryDirectory() as scratch:
        folder = new_cache(Path(scratch) / "cache", shared)
        os.environ.update(HARNESS_CACHE=str(folder), CMDSTAN=str(cmdstan.path))
        try:
            yield
        finally:
            for name, value in kept.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value


def opened(model: Model, engine: Engine, cmdstan: CmdStan) -> BridgeModel | EmbeddedModel:
    """Return a model's density, made from its text."""
    if engine == "embedded":
        return EmbeddedModel(model.stan_file, model.data_file, constants=True)
    return BridgeModel(library(model.stan_file, cmdstan), load_data(model))


def measured(model: Model, engine: Engine, cmdstan: CmdStan) -> tuple[float, float]:
    """Return the seconds until a program is ready, and those of a point of a batch."""
    begin = cpu_s()
    density = opened(model, engine, cmdstan)
    z = np.random.default_rng(1).normal(size=(BATCH, density.dimension)) * 0.1
    density.log_density_gradient(z[:1])
    ready = cpu_s() - begin
    times = []
    for _ in range(RUNS):
        begin = time.thread_time()
        density.log_density_gradient(z)
        times.append((time.thread_time() - begin) / BATCH)
    return ready, min(times)


def compared(model: Model, engine: Engine) -> float:
    """Return the seconds of a whole comparison of one method."""
    begin = cpu_s()
    plan = Plan((model,), ("dadvi_lr",), engine=engine, figures=False, explain=False)
    (found,) = comparing.compare(plan)[0].models
    assert found.verdicts  # noqa: S101 - else there was no comparison to time
    used = {run.engine for run in found.runs}
    if used != {engine}:
        msg = f"the runs were made by {used}, not by {engine}"
        raise RuntimeError(msg)
    return cpu_s() - begin


def required() -> CmdStan:
    """Return the CmdStan that there is.

    Raises
    ------
    SystemExit
        If there is none.
    """
    cmdstan = find_cmdstan()
    if cmdstan is None:
        raise SystemExit("there is no CmdStan: `make cmdstan` installs one")
    return cmdstan


def gradients(names: Sequence[str] = ()) -> Iterator[str]:
    """Yield a table of both engines: seconds until a program is ready, and of a gradient."""
    cmdstan = required()
    yield (
        "| program | ready, embedded (s) | bridge (s) | ratio "
        "| gradient, embedded (µs) | bridge (µs) | ratio |"
    )
    yield "|---|---|---|---|---|---|---|"
    with empty_cache(cmdstan):
        # What all libraries share is built with the first one, which does not count.
        library(FIRST, cmdstan)
        for name in names or folders.lecture_models():
            model = folders.load(name)
            ready, each = zip(*(measured(model, e, cmdstan) for e in ENGINES), strict=True)
            loads = f"{ready[0]:.3f} | {ready[1]:.1f} | {ready[0] / ready[1]:.4f}"
            costs = f"{1e6 * each[0]:.2f} | {1e6 * each[1]:.2f} | {each[0] / each[1]:.3f}"
            yield f"| `{name}` | {loads} | {costs} |"


def comparisons(names: Sequence[str] = ()) -> Iterator[str]:
    """Yield a table of both engines: seconds of a whole comparison."""
    cmdstan = required()
    yield "| program | embedded (s) | CmdStan (s) | ratio |"
    yield "|---|---|---|---|"
    for name in names or folders.lecture_models():
        model = folders.load(name)
        library(model.stan_file, cmdstan)
        compile_program(model.stan_file, cmdstan)
        with empty_cache(cmdstan, SHARED):
            embedded, compiled = (compared(model, engine) for engine in ENGINES)
        yield f"| `{name}` | {embedded:.1f} | {compiled:.1f} | {embedded / compiled:.2f} |"
