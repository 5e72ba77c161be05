"""The lecture's fits here and in PyMC, one after the other: seconds and their ratio.

``python benchmarks/peers.py PYTHON`` takes an interpreter that has PyMC, for example
``python3.12 -m venv /tmp/pymc && /tmp/pymc/bin/pip install pymc`` and ``/tmp/pymc/bin/python``.
PyMC's seconds include compilation, which it repeats for every model. The harness keeps compiled
programs, so its compilation is printed in a column of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.methods import METHODS
from harness.models import folders
from harness.models.data import load_data
from harness.records import Program, RunContext, RunResult, RunSpec
from harness.stan import CmdStan, ToolchainError, bridge, ensure_cmdstan

CASES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "svgd": ("mixture", "svgd", {}, "share of the left mode, exact 0.20"),
    "meanfield": ("linear_regression", "advi", {"iterations": 20_000}, "mean of the slope"),
    "minibatch": ("wide_normal", "minibatch", {}, "worst error of a mean, in posterior sds"),
}


def ours(name: str, cmdstan: CmdStan, scratch: Path) -> tuple[float, float, RunResult]:
    """Return the seconds of compilation and of the run, and the run."""
    model_name, method, options, _ = CASES[name]
    model, row = folders.load(model_name), METHODS[method]
    begin = time.perf_counter()
    built = bridge.library(model.stan_file, cmdstan)
    compiling = time.perf_counter() - begin
    program = Program(model.stan_file, {}, Path("unused"), cmdstan.path, built)
    own = {**row.defaults, **options}
    if row.batch:
        own["batch"] = dict(model.batch or {})
    spec = RunSpec(model_name, method, own, 1, 1000)
    context = RunContext(program, model.data_file, 600.0, 20_181_121)
    row.run(spec, context, scratch)  # imports do not count
    begin = time.perf_counter()
    found = row.run(spec, context, scratch)
    return compiling, time.perf_counter() - begin, found


def result(name: str, run: RunResult) -> float:
    """Return the figure that shows how good a fit is."""
    if run.draws is None:
        return float("nan")
    draws = run.draws
    if name == "svgd":
        return float(np.mean(draws.quantity("x") < 0.1))  # noqa: PLR2004 - the valley
    if name == "meanfield":
        return float(np.mean(draws.quantity("slope")))
    y = np.asarray(load_data(folders.load("wide_normal"))["y"])
    exact, unit = y.mean(axis=0), y.std(axis=0) / np.sqrt(len(y))
    mean = np.array([draws.quantity(f"mu[{j + 1}]").mean() for j in range(y.shape[1])])
    return float(np.max(np.abs(mean - exact) / unit))


def main() -> int:
    """Print a line per case; return 2 without PyMC or without CmdStan."""
    try:
        cmdstan = ensure_cmdstan(print)
    except ToolchainError as error:
        print(error)
        return 2
    if len(sys.argv) != 2:  # noqa: PLR2004 - the interpreter
        print(__doc__)
        return 2
    wide = np.asarray(load_data(folders.load("wide_normal"))["y"])
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "wide.npy", wide)
        data = load_data(folders.load("linear_regression"))
        given = {"x": data["x"], "y": data["y"], "wide": str(Path(folder) / "wide.npy")}
        own = {name: ours(name, cmdstan, Path(folder)) for name in CASES}
        peer = Path(__file__).with_name("peer_pymc.py")
        done = subprocess.run(
            [sys.argv[1], str(peer)], input=json.dumps(given), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    print(f"{'case':10} {'here s':>8} {'(built s)':>10} {'PyMC s':>8} {'ratio':>6}  results")
    for line in done.stdout.splitlines():
        found = json.loads(line)
        name = found["case"]
        compiling, seconds, run = own[name]
        print(
            f"{name:10} {seconds:>8.2f} {compiling:>10.2f} {found['seconds']:>8.2f} "
            f"{found['seconds'] / seconds:>6.1f}  {CASES[name][3]}: {result(name, run):.3g} here, "
            f"{found['result']:.3g} there"
        )
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "PyMC failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
