"""Both engines beside each other: how soon a program is ready, a gradient's cost, a comparison's.

``python benchmarks/engines.py [MODEL …]`` prints a table over the lecture's programs (about
5 minutes with the compiling). "Ready" is the time to a first gradient: from the program's text,
for the bridge with stanc, compiler and linker in it. A gradient is a point of a batch. The
comparison is `harness compare MODEL --methods dadvi_lr`, from an empty cache: linear response
measured against the reference of the model, for the bridge with all its compiling. A setting of a
model that asks for CmdStan is not heard where only the embedded engine is allowed, which is checked
on the runs. Seconds are the processor's, with those of child processes, so that what else the
machine does counts little. Nothing has a limit; ``benchmarks/gradients.py`` has limits of
gradients.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded

import numpy as np

from harness.models import folders
from harness.models.data import load_data
from harness.stan import find_cmdstan
from harness.stan.bridge import BridgeModel, library
from harness.stan.embedded import EmbeddedModel
from harness.study import comparing
from harness.study.plan import Plan

if TYPE_CHECKING:
    from harness.records import Model
    from harness.stan import CmdStan

Engine = Literal["embedded", "cmdstan"]

ENGINES: tuple[Engine, ...] = ("embedded", "cmdstan")

BATCH = 100
RUNS = 5


@contextmanager
def empty_cache(cmdstan: CmdStan) -> Iterator[None]:
    """Work in a cache in which nothing was compiled and no run is kept."""
    kept = {name: os.environ.get(name) for name in ("HARNESS_CACHE", "CMDSTAN")}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(HARNESS_CACHE=folder, CMDSTAN=str(cmdstan.path))
        try:
            yield
        finally:
            for name, value in kept.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value


def cpu_s() -> float:
    """Return the processor's seconds of this process and of its children that have ended."""
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


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


def main(names: Sequence[str]) -> int:
    """Print the table; the exit code is 1 if an engine could not make a program's density."""
    cmdstan = find_cmdstan()
    if cmdstan is None:
        print("there is no CmdStan: `make cmdstan` installs one")
        return 1
    refused = 0
    print(
        "| program | engine | ready (s) | gradient (µs) | comparison (s) |\n|---|---|---|---|---|"
    )
    for name in names or folders.lecture_models():
        model = folders.load(name)
        for engine in ENGINES:
            try:
                with empty_cache(cmdstan):
                    ready, gradient = measured(model, engine, cmdstan)
                with empty_cache(cmdstan):
                    seconds = compared(model, engine)
            except Exception as error:  # noqa: BLE001 - one program's failure is its row
                refused += 1
                words = " ".join(str(error).split()).replace("|", "\\|") or type(error).__name__
                print(f"| {name} | {engine} | {words} | | |", flush=True)
                continue
            figures = f"{ready:.2f} | {1e6 * gradient:.2f} | {seconds:.1f}"
            print(f"| {name} | {engine} | {figures} |", flush=True)
    return int(refused > 0)


if __name__ == "__main__":
    raise SystemExit(main([Path(word).name for word in sys.argv[1:]]))
