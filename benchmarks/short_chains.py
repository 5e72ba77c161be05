"""Seconds and effective draws of the ensemble of short chains beside those of NUTS.

``python benchmarks/short_chains.py [NAME…]`` runs programs of benchmarks/fit_programs.py on the
embedded engine: the ensemble with its fit, and Stan's NUTS, 4 × (1000 + 1000). Effective draws are
the fewest over the unconstrained parameters, rank-normalised, of both alike. Seconds are the CPU's.
It has no limit yet.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

# Before NumPy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np
from fit_programs import FOLDER, PROGRAMS, data_of

from harness.methods.bridged import BridgeTarget
from harness.metrics.chains import ESS_BULK
from harness.models.data import to_json
from harness.records import FloatArray, Program
from harness.stan.embedded import EmbeddedModel, services
from harness.stan.engine import embed
from harness.vi import deterministic, short_chains
from harness.vi.deterministic import Settings
from harness.vi.target import Clock, Counted

SEED, LIMIT_S = 1, 600.0


def least(z: FloatArray) -> float:
    """Return the fewest effective draws of a coordinate; ``z`` has shape ``(chain, draw, d)``."""
    found = [ESS_BULK.measure(z[:, :, j]) for j in range(z.shape[2])]
    return float(np.min([np.nan if x is None else x.value for x in found]))


def row(name: str, folder: Path) -> str:
    """Run one program both ways and return its line."""
    data_file = folder / f"{name}.json"
    data_file.write_text(to_json(data_of(name)), encoding="utf-8")
    program = embed(Program(FOLDER / f"{name}.stan", {}), data_file)
    model = EmbeddedModel(program.embedded_file, data_file)
    begin = time.process_time()
    served = services.sample(model, SEED, LIMIT_S, chains=4, samples=1000)
    nuts_s = time.process_time() - begin
    assert served.unconstrained is not None  # noqa: S101 - NUTS has points
    nuts_ess = least(served.unconstrained)
    target, clock, rng = Counted(BridgeTarget(model)), Clock(LIMIT_S), np.random.default_rng(SEED)
    begin = time.process_time()
    with np.errstate(all="ignore"):
        fit = deterministic.fit(target, rng, clock, Settings(starts=24, seconds=2e-6))
        found = short_chains.run(target, fit, rng, clock, short_chains.Sizes())
    seconds = time.process_time() - begin
    ess = least(found.z)
    doubts = ", ".join(c.id for c in short_chains.doubts(found.figures))
    return (
        f"| {name} | {model.dimension} | {nuts_s:.2f} | {seconds:.2f} | {target.gradients} "
        f"| {nuts_ess:.0f} | {ess:.0f} | {seconds / nuts_s:.2f} "
        f"| {ess / seconds / (nuts_ess / nuts_s):.2f} | {doubts} |"
    )


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Print a line a program."""
    click.echo(
        "| program | d | NUTS s | s | gradients | NUTS's ESS | ESS | seconds over NUTS's "
        "| ESS a second over NUTS's | refused by |\n" + "|---" * 10 + "|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in names or PROGRAMS:
            click.echo(row(name, Path(folder)))


if __name__ == "__main__":
    main()
