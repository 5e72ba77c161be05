"""The lecture's fits here, in PyMC, in NumPyro and in BlackJAX, one after the other.

A table of ``benchmarks/bench.py``. It takes an interpreter that has the peers, for example
``python3 -m venv /tmp/peers && /tmp/peers/bin/pip install pymc "jax[cpu]" blackjax numpyro`` and
``/tmp/peers/bin/python``. Seconds are the CPU's. Those of a peer include its own compilation, which
it repeats for every model. The harness keeps compiled programs, so its seconds to make a density
from the program's text are in a column of their own.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ratios import cpu_s

from harness.methods import METHODS
from harness.models import folders
from harness.models.data import load_data
from harness.records import Program, RunContext, RunResult, RunSpec
from harness.stan import CmdStan, bridge, ensure_cmdstan
from harness.stan.engine import embed

SCRIPTS = ("peer_pymc.py", "peer_jax.py")

CASES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "svgd": ("mixture", "svgd", {}, "share of the left mode, exact 0.20"),
    "meanfield": ("linear_regression", "advi", {"iterations": 20_000}, "mean of the slope"),
    "minibatch": ("wide_normal", "minibatch", {}, "worst error of a mean, in posterior sds"),
    "pathfinder": ("linear_regression", "pathfinder", {}, "mean of the slope"),
}
"""By case: model, method, options, and the figure that shows how good a fit is."""


def ours(name: str, cmdstan: CmdStan, scratch: Path) -> tuple[float, float, RunResult]:
    """Return the seconds until there is a density, those of the run, and the run.

    Minibatches bind new data, which only the bridge can; all else is on the embedded engine.
    """
    model_name, method, options, _ = CASES[name]
    model, row = folders.load(model_name), METHODS[method]
    begin = cpu_s()
    if row.batch:
        built = bridge.library(model.stan_file, cmdstan)
        program = Program(model.stan_file, {}, Path("unused"), cmdstan.path, built)
    else:
        program = embed(Program(model.stan_file, {}), model.data_file)
    loading = cpu_s() - begin
    own = {**row.defaults, **options}
    if row.batch:
        own["batch"] = dict(model.batch or {})
    spec = RunSpec(model_name, method, own, 1, 1000)
    context = RunContext(program, model.data_file, 600.0, 20_181_121)
    row.run(spec, context, scratch)  # imports do not count
    begin = cpu_s()
    found = row.run(spec, context, scratch)
    return loading, cpu_s() - begin, found


def result(name: str, run: RunResult) -> float:
    """Return the figure that shows how good a fit is."""
    if run.draws is None:
        return float("nan")
    draws = run.draws
    if name == "svgd":
        return float(np.mean(draws.quantity("x") < 0.1))  # noqa: PLR2004 - the valley
    if name in {"meanfield", "pathfinder"}:
        return float(np.mean(draws.quantity("slope")))
    y = np.asarray(load_data(folders.load("wide_normal"))["y"])
    exact, unit = y.mean(axis=0), y.std(axis=0) / np.sqrt(len(y))
    mean = np.array([draws.quantity(f"mu[{j + 1}]").mean() for j in range(y.shape[1])])
    return float(np.max(np.abs(mean - exact) / unit))


def theirs(python: Path, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the peers that an interpreter has took and found, by case.

    Raises
    ------
    RuntimeError
        If a peer failed, with the end of what it printed.
    """
    for script in SCRIPTS:
        done = subprocess.run(
            [python, Path(__file__).with_name(script)], input=json.dumps(given),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        yield from map(json.loads, done.stdout.splitlines())
        if done.returncode:
            msg = f"{script}: {' '.join(done.stderr.strip().splitlines()[-1:]) or 'it failed'}"
            raise RuntimeError(msg)


def fits(python: Path) -> Iterator[str]:
    """Yield a table of the harness beside each peer."""
    cmdstan = ensure_cmdstan(lambda _: None)
    yield "| fit | peer | ready (s) | here (s) | there (s) | ratio | what | here | there |"
    yield "|---|---|---|---|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "wide.npy", load_data(folders.load("wide_normal"))["y"])
        data = load_data(folders.load("linear_regression"))
        given = {
            "x": np.asarray(data["x"]).tolist(),
            "y": np.asarray(data["y"]).tolist(),
            "wide": str(Path(folder) / "wide.npy"),
        }
        own = {name: ours(name, cmdstan, Path(folder)) for name in CASES}
        for found in theirs(python, given):
            name = found["case"]
            loading, seconds, run = own[name]
            yield (
                f"| {name} | {found['peer']} | {loading:.2f} | {seconds:.2f} | "
                f"{found['seconds']:.1f} | {seconds / found['seconds']:.3f} | {CASES[name][3]} | "
                f"{result(name, run):.3g} | {found['result']:.3g} |"
            )
