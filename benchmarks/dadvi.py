"""Seconds of ``dadvi_psis`` from start to draws, after compiling and importing.

    python benchmarks/dadvi.py [repetitions]

Prints the best and the median of several runs with different seeds. The limits hold for an
otherwise idle machine, so CPU seconds are printed beside wall seconds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from harness.methods.dadvi import DADVI_PSIS
from harness.models import folders
from harness.records import Program, RunContext, RunSpec
from harness.stan import ensure_cmdstan
from harness.stan.bridge import library

LIMITS_S = {"linear_regression": 0.15, "large_regression": 10.0}


def main() -> int:
    """Print a line for each model; return 1 if a limit is missed."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    cmdstan = ensure_cmdstan(print)
    missed = False
    print(f"{'model':20} {'best s':>8} {'median s':>9} {'cpu s':>7} {'limit s':>8}  draws")
    for name, limit in LIMITS_S.items():
        model = folders.load(name)
        built = library(model.stan_file, cmdstan)
        program = Program(model.stan_file, {}, Path("unused"), cmdstan.path, built)
        walls, cpus, draws = [], [], 0
        # The first run imports; it does not count.
        for seed in range(repetitions + 1):
            spec = RunSpec(name, DADVI_PSIS.name, dict(DADVI_PSIS.defaults), seed, DADVI_PSIS.draws)
            context = RunContext(program, model.data_file, 600.0, 1 + seed)
            begin, busy = time.perf_counter(), time.process_time()
            result = DADVI_PSIS.run(spec, context, Path(tempfile.gettempdir()))
            if seed:
                walls.append(time.perf_counter() - begin)
                cpus.append(time.process_time() - busy)
            if result.draws is None:
                print(f"{name}: {result.status}: {result.message}")
                return 1
            draws = result.draws.values.shape[1]
        missed |= min(walls) > limit
        print(
            f"{name:20} {min(walls):8.3f} {statistics.median(walls):9.3f} {min(cpus):7.3f} "
            f"{limit:8.2f}  {draws}"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
