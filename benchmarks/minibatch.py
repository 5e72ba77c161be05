"""How long minibatch ADVI takes on 40 000 x 100 numbers, and how close it ends.

``python benchmarks/minibatch.py [--seeds 10]`` fits ``wide_normal`` from zero with the default
settings, data in memory, and prints a row per seed: wall seconds, CPU seconds, seconds of checking
the split, steps, the worst of the 100 means in posterior sds, and the worst of the 200 sds of q.
The limits are 0.02 sds, 10% and 2 s; the exit code is 1 if a seed misses one of them. For CmdStan
on the full data, see ``harness compare wide_normal``.
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
from harness.vi.families import MeanField
from harness.vi.minibatch import fit
from harness.vi.subsampling import Subsampled, split_of
from harness.vi.target import Clock

MEAN_SDS, SD_SHARE, SECONDS = 0.02, 0.10, 2.0
"""The limits."""


def main() -> int:
    """Fit with several seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    model = folders.load("wide_normal")
    data = arrays(load_data(model))
    cmdstan = find_cmdstan()
    if cmdstan is None:
        print("no CmdStan here; python -m harness.stan gets one", file=sys.stderr)
        return 1
    bridge = BridgeModel(library(model.stan_file, cmdstan), data)
    rows, columns = data["y"].shape
    mean, sd = data["y"].mean(axis=0), data["y"].std(axis=0, ddof=1) / np.sqrt(rows)
    # A column's log sd has the posterior sd 1/√(2N), to about 1/N of it.
    exact = np.log(np.concatenate([sd, np.full(columns, 1 / np.sqrt(2 * rows))]))
    print("seed  seconds  cpu s  check  steps  worst mean/sd  worst sd of q  status")
    missed = 0
    for seed in range(1, seeds + 1):
        rng = np.random.default_rng(seed)
        target = Subsampled(BridgeTarget(bridge), bridge.rebind, data, split_of(model.batch, data))
        clock = Clock()
        target.check(rng)
        check_s = clock.elapsed_s
        begin_s = time.process_time()
        found = fit(target, MeanField(2 * columns).start(np.zeros(2 * columns)), rng, clock)
        cpu_s = time.process_time() - begin_s
        seconds, steps = found.diagnostics["seconds_fit"], found.diagnostics["iterations"]
        off = wide = np.inf
        if found.phi is not None:
            off = np.max(np.abs(found.phi[:columns] - mean) / sd)
            wide = np.expm1(np.max(np.abs(found.phi[2 * columns :] - exact)))
        missed += off > MEAN_SDS or wide > SD_SHARE or seconds > SECONDS
        print(
            f"{seed:4d}  {seconds:7.2f}  {cpu_s:5.2f}  {check_s:5.2f}  {steps:5.0f}  {off:13.4f}  "
            f"{wide:12.1%}  {found.status}"
        )
    print(f"{missed} of {seeds} seeds miss {MEAN_SDS} sds, {SD_SHARE:.0%} or {SECONDS:g} s")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
