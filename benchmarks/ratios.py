"""A handful of ratios that tell whether the harness became slower, on whatever machine.

    python benchmarks/ratios.py                 # print them
    python benchmarks/ratios.py --record 0.2.0  # write them into benchmarks/history.csv
    python benchmarks/ratios.py --figure        # draw docs/speed.svg from that file

Each is the CPU seconds of something of the harness, over those of something beside it that the
harness cannot change: the bare engine, NumPy, Python. Both sides take turns, and the ratio is the
median of several pairs, so that a busy machine hardly moves it. ``tests/test_speed.py`` fails where
one is over twice what the last release had. Nothing here needs CmdStan.
"""

from __future__ import annotations

import csv
import importlib
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before NumPy is loaded: threads that wait count as CPU seconds.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np

import harness
from harness.methods import METHODS
from harness.methods.bridged import BridgeTarget
from harness.models import folders
from harness.records import Program, RunContext, RunResult, RunSpec
from harness.stan import find_cmdstan, run_versions
from harness.stan.embedded import EmbeddedModel
from harness.stan.embedded import version as embedded_version
from harness.stan.engine import embed
from harness.vi import loop
from harness.vi.families import MeanField
from harness.vi.optimisers import AdagradWindow
from harness.vi.target import Counted

HISTORY = Path(__file__).with_name("history.csv")
"""A line a release and kind of machine."""

FIGURE = Path(__file__).parents[1] / "docs" / "speed.svg"

PAIRS = 5
TIMES = 2.0
"""How much larger than at the last release a ratio may be."""

BATCH, STEPS = 1000, 1000

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Ratio:
    """What is measured, beside what; ``sides`` makes two calls that do one repetition each."""

    name: str
    ours: str
    beside: str
    sides: Callable[[], tuple[Call, Call]]
    limit: float | None = None


def cpu_s() -> float:
    """Return the CPU's seconds of this process and of its children that have ended."""
    import resource  # not on Windows

    own, ended = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def took(call: Call) -> float:
    """Return the CPU's seconds of a call."""
    begin = cpu_s()
    call()
    return cpu_s() - begin


def median_ratio(ours: Call, beside: Call, pairs: int = PAIRS) -> float:
    """Return the median ratio of the CPU's seconds of two calls, which take turns.

    A first pair, which imports and fills caches, does not count.
    """
    ours(), beside()
    found = []
    for number in range(pairs):
        # Whoever was second is first in the next pair.
        if number % 2:
            low = took(beside)
            high = took(ours)
        else:
            high = took(ours)
            low = took(beside)
        found.append(high / low if low > 0 else math.nan)
    return statistics.median(found)


def repeated(call: Call, times: int) -> Call:
    """Return a call that makes another one several times."""

    def all_of_them() -> None:
        for _ in range(times):
            call()

    return all_of_them


def embedded(name: str) -> EmbeddedModel:
    """Return a lecture model's density on the embedded engine."""
    model = folders.load(name)
    return EmbeddedModel(model.stan_file, model.data_file, constants=True)


def run(name: str, method: str) -> RunResult:
    """Run a method on a lecture model by its row, on the embedded engine."""
    model, row = folders.load(name), METHODS[method]
    program = embed(Program(model.stan_file, {}), model.data_file)
    spec = RunSpec(name, method, dict(row.defaults), 1, row.draws)
    with tempfile.TemporaryDirectory() as scratch:
        found = row.run(spec, RunContext(program, model.data_file, 600.0, 1), Path(scratch))
    if found.draws is None:
        msg = f"{method} on {name}: {found.status}: {found.message}"
        raise RuntimeError(msg)
    return found


def by_hand(z: np.ndarray[Any, np.dtype[np.float64]]) -> object:
    """Evaluate the mixture's log density and slope as one would in NumPy."""
    left, right = (z[:, 0] + 0.3) / 0.1, (z[:, 0] - 0.5) / 0.1
    a, b = math.log(0.2) - 0.5 * left * left, math.log(0.8) - 0.5 * right * right
    value = np.logaddexp(a, b)
    share = np.exp(a - value)
    return value, -(share * left + (1 - share) * right) / 0.1


def _gradients() -> tuple[Call, Call]:
    model = embedded("mixture")
    z = np.random.default_rng(1).normal(size=(BATCH, 1))
    ours = repeated(lambda: model.log_density_gradient(z), 100)
    return ours, repeated(lambda: by_hand(z), 100)


def _loop() -> tuple[Call, Call]:
    target = Counted(BridgeTarget(embedded("linear_regression")))
    family, optimiser = MeanField(target.dimension), AdagradWindow()
    z = np.zeros((1, target.dimension))

    def steps() -> None:
        state = loop.start(optimiser, family.start(0.0), np.random.default_rng(1))
        loop.fit(target, family, optimiser, state, STEPS)

    return steps, repeated(lambda: target.log_density_gradient(z), STEPS)


def _deterministic() -> tuple[Call, Call]:
    model = embedded("drug_trial")
    needed = run("drug_trial", "dadvi_lr").cost.gradient_evaluations or 0
    z = np.random.default_rng(1).normal(size=(BATCH, model.dimension)) * 0.1
    beside = repeated(lambda: model.log_density_gradient(z), math.ceil(needed / BATCH))
    return lambda: run("drug_trial", "dadvi_lr"), beside


def _nuts() -> tuple[Call, Call]:
    stanli: Any = importlib.import_module("stanli")
    model = folders.load("drug_trial")

    def alone() -> None:
        bare = stanli.Model(stan_file=str(model.stan_file), data=str(model.data_file))
        bare.sample(seed=1, parallel_chains=1, refresh=0)

    return lambda: run("drug_trial", "nuts"), alone


def _judge() -> tuple[Call, Call]:
    rng = np.random.default_rng(1)
    names = [f"x{i}" for i in range(20)]
    fit, reference = ({n: rng.normal(size=4000) for n in names} for _ in range(2))
    every = np.stack(list(reference.values()))
    judged = lambda: harness.judge(fit, reference)  # noqa: E731 - a call without arguments
    return judged, repeated(lambda: np.sort(every, axis=1), 50)


def _help() -> tuple[Call, Call]:
    def started(*words: str) -> Call:
        command = [sys.executable, *words]
        return lambda: subprocess.run(command, check=True, capture_output=True)

    return started("-m", "harness", "--help"), started("-c", "import click")


RATIOS = (
    Ratio("gradients", f"{BATCH} gradients of `mixture`, embedded engine", "NumPy", _gradients),
    Ratio("loop", f"{STEPS} steps of ADVI, `linear_regression`", "their gradients alone", _loop),
    Ratio(
        "deterministic", "`dadvi_lr` on `drug_trial`", "its gradients in batches", _deterministic
    ),
    Ratio("nuts", "NUTS by its row, `drug_trial`", "the bare engine", _nuts, 1.10),
    Ratio("judge", "`harness.judge`, 20 × 4000 draws", "sorting them 50 times", _judge),
    Ratio("help", "`harness --help`", "importing click", _help),
)


def measured(ratios: Sequence[Ratio] = RATIOS) -> dict[str, float]:
    """Measure ratios, by name."""
    return {ratio.name: median_ratio(*ratio.sides()) for ratio in ratios}


def machine() -> str:
    """Return the kind of this machine: architecture, processor, cores."""
    words = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        words = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")
    return f"{platform.machine()}, {words or platform.processor()}, {os.cpu_count()} cores"


def versions() -> str:
    """Return what the figures depend on, besides the machine."""
    found = run_versions(find_cmdstan())
    cmdstan = f"CmdStan {found['cmdstan']}, " if "cmdstan" in found else ""
    return f"{cmdstan}{embedded_version()}, Python {found['python']}, NumPy {found['numpy']}"


def history(path: Path = HISTORY) -> list[dict[str, str]]:
    """Return the lines of the history, oldest first."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def slower(
    found: Mapping[str, float], before: Mapping[str, str], times: float = TIMES
) -> list[str]:
    """Say which ratios have become too large, or cannot be compared: then nothing is known."""
    said = []
    for name, value in found.items():
        was = float(before.get(name) or "nan")
        if not (math.isfinite(value) and math.isfinite(was) and value > 0 and was > 0):
            said.append(f"{name}: {value:.3g}, before {was:.3g}: no ratio to compare")
        elif value > times * was:
            said.append(f"{name}: {value:.3g}, before {was:.3g}")
    return said


def record(release: str, found: Mapping[str, float], path: Path = HISTORY) -> None:
    """Write the line of a release and of this kind of machine, in the place of an earlier one."""
    columns = ["release", "machine", *(ratio.name for ratio in RATIOS)]
    new = {"release": release, "machine": machine(), **{k: f"{v:.3g}" for k, v in found.items()}}
    kept = [
        line
        for line in (history(path) if path.exists() else [])
        if (line["release"], line["machine"]) != (release, new["machine"])
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows([*kept, new])


def table(found: Mapping[str, float]) -> Iterator[str]:
    """Yield the ratios as a table."""
    yield "| what | beside | ratio of CPU seconds | limit |"
    yield "|---|---|---|---|"
    for ratio in RATIOS:
        value = found[ratio.name]
        limit = "" if ratio.limit is None else f"{ratio.limit:.2f}"
        if ratio.limit is not None and not value <= ratio.limit:
            limit += " **missed**"
        yield f"| {ratio.ours} | {ratio.beside} | {value:.3g} | {limit} |"


def figure(path: Path = FIGURE) -> None:
    """Draw the history: the ratios over the releases, a panel a kind of machine."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "speed"  # the same history is the same file
    from matplotlib import pyplot as plt

    lines = history()
    machines = list(dict.fromkeys(line["machine"] for line in lines))
    drawn, panels = plt.subplots(
        len(machines), 1, squeeze=False, figsize=(8, 0.9 + 2.6 * len(machines)), layout="tight"
    )
    for panel, kind in zip(panels[:, 0], machines, strict=True):
        here = [line for line in lines if line["machine"] == kind]
        releases = [line["release"] for line in here]
        for ratio in RATIOS:
            values = [float(line[ratio.name] or "nan") for line in here]
            panel.plot(releases, values, marker="o")
            words = f"{ratio.ours} / {ratio.beside}".replace("`", "")
            panel.annotate(
                words, (releases[-1], values[-1]), (8, -3), textcoords="offset points", fontsize=8
            )
        panel.set_yscale("log")
        panel.set_xlim(-0.5, len(releases) * 2.5)
        panel.set_title(kind, fontsize=9, loc="left")
        panel.set_ylabel("ratio of CPU seconds", fontsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    drawn.savefig(path, metadata={"Date": None})
    plt.close(drawn)


@click.command(help=__doc__)
@click.option("--record", "release", help="The release whose line is written.")
@click.option("--figure", "draw", is_flag=True, help="Draw the history; measure nothing.")
def main(release: str | None, *, draw: bool) -> None:
    """Measure, print, and record if asked."""
    if draw:
        figure()
        return
    found = measured()
    for line in table(found):
        click.echo(line)
    if release:
        record(release, found)


if __name__ == "__main__":
    main()
