"""What a gradient costs in process: single points and batches, minibatches and full data.

``python benchmarks/gradients.py`` prints a table. Times are the smallest of several short runs,
which a busy machine disturbs least. The peer is the same gradient written by hand in NumPy; it is
checked for equal values first. A ratio below 1 means that the engine is faster. Without CmdStan
only the embedded engine is timed.

The embedded engine takes one point a call. Where there is a compiler, a C loop makes these calls
for a batch (``harness/stan/embedded/batch.py``), and its peer in the first rows is the bridge: a
point of a batch of 1000 on `mixture` took 0.104 µs by that loop, 0.133 µs on the bridge and
0.477 µs by Python's loop (the thread's CPU time, CmdStan 2.27, g++ 12).
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded

import numpy as np

from harness.models import folders
from harness.models.data import load_data
from harness.stan import find_cmdstan
from harness.stan.bridge import BridgeModel, library
from harness.stan.embedded import EmbeddedModel, batch

if TYPE_CHECKING:
    from harness.records import FloatArray, Model
    from harness.stan import CmdStan

RUNS = 40
"""Short runs of each case."""

BATCH = 1000

ROWS, COLUMNS, MINIBATCH = 40_000, 100, 500


@dataclass(frozen=True, slots=True)
class Row:
    """A case: seconds per point of the engine and of the peer, and the limit."""

    name: str
    seconds: float
    peer: float | None
    limit: float | None = None


def least(function: Callable[[], object], repeats: int, runs: int = RUNS) -> float:
    """Return the seconds of one call: the smallest mean of several runs of ``repeats`` calls."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        for _ in range(repeats):
            function()
        times.append((time.perf_counter() - begin) / repeats)
    return min(times)


def mixture_by_hand(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Evaluate log(.2 N(−.3, .1) + .8 N(.5, .1)) and its derivative at ``(point, 1)``."""
    x = z[:, 0]
    left, right = (x + 0.3) / 0.1, (x - 0.5) / 0.1
    a = math.log(0.2) - 0.5 * left * left
    b = math.log(0.8) - 0.5 * right * right
    value = np.logaddexp(a, b)
    share = np.exp(a - value)
    slope = -(share * left + (1 - share) * right) / 0.1
    return value - math.log(0.1 * math.sqrt(2 * math.pi)), slope[:, None]


def columns_by_hand(y: FloatArray, scale: float, z: FloatArray) -> FloatArray:
    """Return the gradient of the model of columns; ``z`` holds means and log sds."""
    mu, log_sd = np.split(z, 2)
    sd = np.exp(log_sd)
    n = len(y)
    sums, squares = y.sum(axis=0), np.einsum("ij,ij->j", y, y)
    left = squares - 2 * mu * sums + n * mu**2
    return np.concatenate([
        scale * (sums - n * mu) / sd**2,
        scale * (left / sd**2 - n) - sd**2 + 1,
    ])  # fmt: skip


def opened(entry: Model, cmdstan: CmdStan | None) -> BridgeModel | EmbeddedModel:
    """Return a model on the bridge, without CmdStan in the embedded engine."""
    if cmdstan is None:
        return EmbeddedModel(entry.stan_file, entry.data_file, constants=True)
    return BridgeModel(library(entry.stan_file, cmdstan), load_data(entry))


PYTHONS_LOOP = 1.2e-6
"""Seconds of a point of a batch on the mixture without a compiler."""

C_LOOP = 1.2
"""What it may take with one, times the bridge's."""

LIMITS = {"bridge": (1.5e-6, 0.2e-6), "embedded": (2.5e-6, PYTHONS_LOOP)}
"""Seconds on the mixture: of a single point, of a point of a batch."""


def small(cmdstan: CmdStan | None) -> Iterator[Row]:
    """Time the mixture and the regression of 50 points."""
    for name in ("mixture", "linear_regression"):
        entry = folders.load(name)
        model = opened(entry, cmdstan)
        z = np.random.default_rng(1).normal(size=(BATCH, model.dimension))
        mixture = name == "mixture"
        if mixture:
            value, gradient = mixture_by_hand(z)
            found = model.log_density_gradient(z)
            np.testing.assert_allclose(found.value, value, rtol=1e-9)
            np.testing.assert_allclose(np.asarray(found.gradient), gradient, rtol=1e-9)
        point = model.at_point()
        point.z[:] = z[0]
        one = z[:1]
        single, many = LIMITS[model.engine] if mixture else (None, None)
        yield Row(
            f"{name}, {model.engine}, one point, own buffers",
            least(point, 200),
            least(lambda one=one: mixture_by_hand(one), 20) if mixture else None,  # type: ignore[misc]
            single,
        )
        yield Row(
            f"{name}, {model.engine}, one point, any array",
            least(lambda m=model, one=one: m.log_density_gradient(one), 50),  # type: ignore[misc]
            None,
        )
        yield Row(
            f"{name}, {model.engine}, a point of a batch of {BATCH}",
            least(lambda m=model, z=z: m.log_density_gradient(z), 2) / BATCH,  # type: ignore[misc]
            least(lambda z=z: mixture_by_hand(z), 2) / BATCH if mixture else None,  # type: ignore[misc]
            many,
        )


@contextmanager
def pythons_loop() -> Iterator[None]:
    """Evaluate batches as where there is no compiler."""
    kept = batch.c_loop
    batch.c_loop = lambda: None  # type: ignore[assignment]
    try:
        yield
    finally:
        batch.c_loop = kept


def loops(cmdstan: CmdStan | None) -> Iterator[Row]:
    """Time a batch of the embedded engine on the mixture by each loop, beside the bridge."""
    entry = folders.load("mixture")
    model = opened(entry, None)
    z = np.random.default_rng(1).normal(size=(BATCH, model.dimension))
    name = f"mixture, embedded, a point of a batch of {BATCH}"
    with pythons_loop():
        seconds = least(lambda: model.log_density_gradient(z), 2) / BATCH
    yield Row(f"{name}, Python's loop", seconds, None, PYTHONS_LOOP)
    if cmdstan is not None and batch.c_loop() is not None:
        bridge = opened(entry, cmdstan)
        peer = least(lambda: bridge.log_density_gradient(z), 2) / BATCH
        seconds = least(lambda: model.log_density_gradient(z), 2) / BATCH
        yield Row(f"{name}, beside the bridge", seconds, peer, C_LOOP * peer)


def wide(cmdstan: CmdStan | None) -> Iterator[Row]:
    """Time the model of columns: all rows, and on the bridge minibatches of gathered rows."""
    rng = np.random.default_rng(2)
    z = np.concatenate([np.arange(COLUMNS) + 0.1, rng.normal(size=COLUMNS) * 0.1])
    entry = folders.load("wide_normal")
    y = np.asarray(load_data(entry)["y"])
    begin = time.perf_counter()
    model = opened(entry, cmdstan)
    yield Row(
        f"{ROWS} × {COLUMNS} columns, {model.engine}, load", time.perf_counter() - begin, None
    )
    point = model.at_point()
    point.z[:] = z
    point()
    np.testing.assert_allclose(point.gradient, columns_by_hand(y, 1.0, z), rtol=1e-6, atol=1e-3)
    yield Row(
        f"{ROWS} × {COLUMNS} columns, {model.engine}, full gradient",
        least(point, 1, 10),
        least(lambda: columns_by_hand(y, 1.0, z), 1, 10),
    )
    if not isinstance(model, BridgeModel):
        return
    batch = np.empty((MINIBATCH, COLUMNS))
    scale = ROWS / MINIBATCH

    def gather() -> None:
        np.take(y, rng.integers(0, ROWS, MINIBATCH), axis=0, out=batch)

    def bridge() -> None:
        gather()
        model.rebind(given(batch, scale))
        point()

    def by_hand() -> None:
        gather()
        columns_by_hand(batch, scale, z)

    yield Row(
        f"{MINIBATCH} × {COLUMNS} minibatch: gather, rebind, gradient",
        least(bridge, 5),
        least(by_hand, 5),
    )


def given(y: FloatArray, scale: float) -> dict[str, object]:
    """Return data for the model of columns."""
    return {"N": len(y), "D": y.shape[1], "y": y, "likelihood_scale": scale}


def main() -> int:
    """Print the table; the exit code says whether every limit holds."""
    cmdstan = find_cmdstan()
    if cmdstan is None:
        print("there is no CmdStan, so no bridge; `harness doctor --install` gets one")
    engines = (None,) if cmdstan is None else (cmdstan, None)
    print(f"{'gradient':<62}{'µs':>12}{'peer µs':>12}{'ratio':>8}{'limit µs':>10}")
    missed = 0
    rows = (row for engine in engines for part in (small, wide) for row in part(engine))
    for row in itertools.chain(loops(cmdstan), rows):
        peer = "" if row.peer is None else f"{row.peer * 1e6:.2f}"
        ratio = "" if row.peer is None else f"{row.seconds / row.peer:.2f}"
        limit = "" if row.limit is None else f"{row.limit * 1e6:.1f}"
        over = row.limit is not None and row.seconds > row.limit
        missed += over
        mark = "  over" if over else ""
        print(f"{row.name:<62}{row.seconds * 1e6:>12.2f}{peer:>12}{ratio:>8}{limit:>10}{mark}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
