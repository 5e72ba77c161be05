"""Seconds of explaining a model, compared with those of the runs that are explained.

    python benchmarks/why.py [model …]

The runs are those of ``harness compare``, stored ones included. The limit is a ratio within one
process, so it holds on a busy machine too.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from harness.models import folders
from harness.records import Program
from harness.stan import cache_dir, ensure_cmdstan
from harness.stan.bridge import library
from harness.study import comparing
from harness.study.plan import Plan
from harness.study.reference import choose_reference
from harness.study.store import Store
from harness.why.explain import explain

LIMIT = 0.5
"""The largest ratio: an explanation should not take as long as the runs."""

MODELS = ("mixture", "linear_regression", "drug_trial")


def main() -> int:
    """Print a line for each model; return 1 if a limit is missed."""
    cmdstan = ensure_cmdstan(print)
    store = Store(Path(cache_dir()) / "results")
    missed = False
    print(f"{'model':20} {'runs':>5} {'their s':>8} {'why s':>7} {'ratio':>6}  limit {LIMIT}")
    for name in sys.argv[1:] or MODELS:
        model = folders.load(name)
        comparison, _ = comparing.run(Plan((model,), explain=False, figures=False))
        (found,) = comparison.models
        runs = store.with_arrays(found.runs)
        reference = choose_reference(model, runs, "auto").reference
        built = library(model.stan_file, cmdstan)
        program = Program(model.stan_file, {}, library=built)
        begin = time.perf_counter()
        explained = explain(model, runs, reference, program)
        seconds = time.perf_counter() - begin
        spent = sum(r.cost.seconds for r in runs)
        missed |= seconds > LIMIT * spent or not explained.complete
        print(f"{name:20} {len(runs):5} {spent:8.1f} {seconds:7.1f} {seconds / spent:6.2f}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
