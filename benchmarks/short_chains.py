"""Seconds and effective draws of the ensemble of short chains beside those of NUTS.

``python benchmarks/short_chains.py [NAME…]`` runs programs of benchmarks/fit_programs.py on the
embedded engine: the ensemble with its fit, and Stan's NUTS, 4 × (1000 + 1000). Effective draws are
the fewest over the unconstrained parameters, rank-normalised, of both alike. Seconds are the CPU's.
All are medians over ``--seeds`` seeds, and so are effective draws a second. ``--larger`` runs some
with more data, so that NUTS needs over 10 s. ``--growth`` runs three programs of 100, 300 and 1000
parameters without NUTS, each in a process of its own that tells its peak memory.
``--markdown docs/without-nuts.md`` writes a table between its marks. There is no limit yet.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

# Before NumPy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np
from fit_programs import FOLDER, LARGER, PROGRAMS, Data, data_of

from harness.methods.bridged import BridgeTarget, arrays, expected_s
from harness.metrics import Sample
from harness.metrics.chains import ESS_BULK
from harness.models.data import to_json
from harness.records import FloatArray, Program
from harness.stan.embedded import EmbeddedModel, services
from harness.stan.engine import embed
from harness.vi import deterministic, short_chains
from harness.vi.deterministic import Settings
from harness.vi.target import Clock, Counted

LIMIT_S = 600.0

MARK = "<!-- benchmarks/short_chains.py -->"
MARK_LARGER = "<!-- benchmarks/short_chains.py --larger -->"
MARK_GROWTH = "<!-- benchmarks/short_chains.py --growth -->"

SIZES = (100, 300, 1000)
"""Parameters of the programs that grow."""

NORMAL = "data { int D; } parameters { vector[D] z; } model { z ~ normal(0, 1); }"

MB = 1024
"""Kilobytes, in which the system tells the peak memory on Linux."""


def least(z: FloatArray) -> float:
    """Return the fewest effective draws of a coordinate; ``z`` has shape ``(chain, draw, d)``."""
    found = [ESS_BULK.measure(Sample(z[:, :, j], iid=False)) for j in range(z.shape[2])]
    return float(np.min([np.nan if x is None else x.value for x in found]))


def opened(file: Path, data: Data, folder: Path) -> EmbeddedModel:
    """Return a program with its data on the embedded engine."""
    data_file = folder / f"{file.stem}.json"
    data_file.write_text(to_json(data), encoding="utf-8")
    return EmbeddedModel(embed(Program(file, {}), data_file).embedded_file, data_file)


def expected(file: Path, model: EmbeddedModel, data: Data) -> float:
    """Return the seconds of a gradient that the method expects, by which it chooses its sizes."""
    return expected_s(file, model, arrays(data)).gradient


class Cost(NamedTuple):
    """What a run took, and what it gave; of the ensemble with its fit."""

    seconds: float
    gradients: int
    ess: float
    doubts: tuple[str, ...] = ()

    @property
    def worth(self) -> float:
        """Effective draws a second."""
        return self.ess / self.seconds


def ensemble(model: EmbeddedModel, seconds: float, seed: int = 1) -> Cost:
    """Fit and run the ensemble; ``seconds`` are those expected of a gradient."""
    target, clock, rng = Counted(BridgeTarget(model)), Clock(LIMIT_S), np.random.default_rng(seed)
    begin = time.process_time()
    with np.errstate(all="ignore"):
        fit = deterministic.fit(target, rng, clock, Settings(starts=24, error=0.2, seconds=seconds))
        found = short_chains.run(target, fit, rng, clock, short_chains.Sizes())
    taken = time.process_time() - begin
    doubts = tuple(c.id for c in short_chains.doubts(found.figures))
    return Cost(taken, target.gradients, least(found.z), doubts)


def nuts(model: EmbeddedModel, seed: int) -> Cost:
    """Run Stan's NUTS."""
    begin = time.process_time()
    served = services.sample(model, seed, LIMIT_S, chains=4, samples=1000)
    taken = time.process_time() - begin
    assert served.unconstrained is not None  # noqa: S101 - NUTS has points
    return Cost(taken, 0, least(served.unconstrained))


class Beside(NamedTuple):
    """A program run both ways, once for each seed."""

    name: str
    dimension: int
    nuts: list[Cost]
    own: list[Cost]

    @property
    def times(self) -> float:
        """The ensemble's seconds over NUTS's."""
        return middle(self.own, "seconds") / middle(self.nuts, "seconds")

    @property
    def worth(self) -> float:
        """The ensemble's effective draws a second over NUTS's."""
        return middle(self.own, "worth") / middle(self.nuts, "worth")

    def row(self) -> str:
        """Return its line of the table."""
        own = self.own
        refused = Counter(doubt for cost in own for doubt in cost.doubts)
        return (
            f"| {self.name} | {self.dimension} | {middle(self.nuts, 'seconds'):.2f} "
            f"| {middle(own, 'seconds'):.2f} | {middle(own, 'gradients'):.0f} "
            f"| {middle(self.nuts, 'ess'):.0f} | {middle(own, 'ess'):.0f} | {self.times:.2f} "
            f"| {self.worth:.2f} | {', '.join(f'{k} {n}' for k, n in refused.items())} |"
        )


def middle(costs: Iterable[Cost], name: str) -> float:
    """Return the median of a figure over seeds."""
    return float(np.median([getattr(cost, name) for cost in costs]))


def beside(name: str, data: Data, folder: Path, seeds: int) -> Beside:
    """Run one program both ways."""
    file = FOLDER / f"{name}.stan"
    model = opened(file, data, folder)
    seconds = expected(file, model, data)
    tried = range(1, seeds + 1)
    return Beside(
        name,
        model.dimension,
        [nuts(model, seed) for seed in tried],
        [ensemble(model, seconds, seed) for seed in tried],
    )


def hierarchical(d: int, rng: np.random.Generator) -> Data:
    """Ten answers of each of as many groups as give ``d`` parameters."""
    groups, columns = d - 4, 2
    group = np.repeat(np.arange(groups), 10)
    X = rng.normal(size=(len(group), columns))
    eta = X @ [0.5, -0.5] + rng.normal(size=groups)[group]
    y = rng.random(len(group)) < 1 / (1 + np.exp(-eta))
    return {
        "N": len(y), "K": columns, "J": groups, "X": X, "y": y * 1, "group": group + 1,
    }  # fmt: skip


def local_level(d: int, rng: np.random.Generator) -> Data:
    """Values around a random walk, as in ``level``."""
    y = np.cumsum(0.5 * rng.normal(size=d - 2)) + rng.normal(size=d - 2)
    return {"T": d - 2, "y": y}


GROWTH: dict[str, tuple[str, Callable[[int, np.random.Generator], Data]]] = {
    "i.i.d. normal": (NORMAL, lambda d, _: {"D": d}),
    "hierarchical logistic": ((FOLDER / "logit_mixed.stan").read_text("utf-8"), hierarchical),
    "local level": ((FOLDER / "level.stan").read_text("utf-8"), local_level),
}


def peak_mb() -> float:
    """Return the largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB


def grown(name: str, d: int) -> str:
    """Run one program of one size, in a process of its own, and return its line."""
    code, data = GROWTH[name]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "grown.stan"
        file.write_text(code, encoding="utf-8")
        values = data(d, np.random.default_rng(20))
        model = opened(file, values, Path(folder))
        before = peak_mb()
        own = ensemble(model, expected(file, model, values))
        return (
            f"| {name} | {model.dimension} | {own.seconds:.2f} | {own.gradients} "
            f"| {own.ess:.0f} | {peak_mb() - before:.0f} | {', '.join(own.doubts)} |"
        )


def growth() -> Iterable[str]:
    """Return the lines of the table of growth."""
    yield "| program | d | s | gradients | ESS | MB | refused by |"
    yield "|---" * 7 + "|"
    own = multiprocessing.get_context("spawn")
    for name in GROWTH:
        for d in SIZES:
            with ProcessPoolExecutor(1, own) as process:
                yield process.submit(grown, name, d).result()


def comparison(data: Mapping[str, Data], seeds: int) -> Iterable[str]:
    """Return the lines of the table beside NUTS, and medians over programs with these data."""
    yield (
        "| program | d | NUTS s | s | gradients | NUTS's ESS | ESS | seconds over NUTS's "
        "| ESS a second over NUTS's | refused by |"
    )
    yield "|---" * 10 + "|"
    found = []
    with tempfile.TemporaryDirectory() as folder:
        # What is imported at first use counts for no program.
        beside("schools", data_of("schools"), Path(folder), 1)
        for name, values in data.items():
            found.append(beside(name, values, Path(folder), seeds))
            yield found[-1].row()
    times, worth = (np.median([getattr(b, n) for b in found]) for n in ("times", "worth"))
    yield ""
    yield (
        f"- Medians: {times:.2f} times NUTS's seconds, {worth:.2f} times its fewest effective "
        "draws a second."
    )


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--growth", "grow", is_flag=True, help="The table of growth instead.")
@click.option("--larger", is_flag=True, help="Programs with more data.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--markdown", type=click.Path(path_type=Path), help="The page that has the table.")
def main(
    names: tuple[str, ...], *, grow: bool, larger: bool, seeds: int, markdown: Path | None
) -> None:
    """Print a line a program."""
    lines = []
    programs = LARGER if larger else PROGRAMS
    data = {name: data_of(name, programs) for name in names or programs}
    for line in growth() if grow else comparison(data, seeds):
        click.echo(line)
        lines.append(line)
    if markdown is not None:
        mark = MARK_GROWTH if grow else MARK_LARGER if larger else MARK
        before, _, after = markdown.read_text(encoding="utf-8").split(mark)
        markdown.write_text(
            f"{before}{mark}\n\n{chr(10).join(lines)}\n\n{mark}{after}", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
