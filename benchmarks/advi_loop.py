"""Seconds of 20 000 iterations of mean-field ADVI on ``linear_regression``; at most 1 is allowed.

``python benchmarks/advi_loop.py`` prints a row for each optimiser and family: wall seconds and CPU
seconds, the best of several runs, because the machine may be busy. The exit code is 1 if mean-field
with PyMC's optimiser takes more than a second of wall time. (PyMC 5.28 took 10.7 s for the same,
compilation included.)
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from harness.methods.bridged import BridgeTarget, arrays
from harness.models import folders
from harness.models.data import load_data
from harness.stan import find_cmdstan
from harness.stan.bridge import BridgeModel, library
from harness.vi import loop
from harness.vi.families import FullRank, MeanField
from harness.vi.optimisers import AdagradWindow, Adam
from harness.vi.target import Counted

LIMIT_S = 1.0


def main() -> int:
    """Time the loop, and the gradient that it calls on its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    cmdstan = find_cmdstan()
    if cmdstan is None:
        print("there is no CmdStan; `make cmdstan` installs one")
        return 2
    model = folders.load("linear_regression")
    program = BridgeModel(library(model.stan_file, cmdstan), arrays(load_data(model)))
    target = Counted(BridgeTarget(program))
    d = target.dimension
    rows: dict[str, list[tuple[float, float]]] = {}
    for _ in range(asked.repeat):
        rows.setdefault("gradients alone", []).append(_gradients(target, asked.iterations))
        for family in (MeanField(d), FullRank(d)):
            for optimiser in (AdagradWindow(), Adam(0.05, decay_steps=asked.iterations)):
                name = f"{type(family).__name__}, {type(optimiser).__name__}"
                state = loop.start(optimiser, family.start(0.0), np.random.default_rng(1))
                begin = time.perf_counter(), time.process_time()
                loop.fit(target, family, optimiser, state, asked.iterations)
                spent = time.perf_counter() - begin[0], time.process_time() - begin[1]
                rows.setdefault(name, []).append(spent)
    print(f"{asked.iterations} iterations on linear_regression, best of {asked.repeat}")
    print(f"{'':28} {'wall s':>8} {'cpu s':>8} {'us/step':>8}")
    for name, seconds in rows.items():
        wall, cpu = (min(kind) for kind in zip(*seconds, strict=True))
        print(f"{name:28} {wall:8.2f} {cpu:8.2f} {1e6 * cpu / asked.iterations:8.1f}")
    return int(min(rows["MeanField, AdagradWindow"])[0] > LIMIT_S)


def _gradients(target: Counted, n: int) -> tuple[float, float]:
    """Return wall and CPU seconds of ``n`` gradients at one point each."""
    z = np.zeros((1, target.dimension))
    begin = time.perf_counter(), time.process_time()
    for _ in range(n):
        target.log_density_gradient(z)
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


if __name__ == "__main__":
    sys.exit(main())
