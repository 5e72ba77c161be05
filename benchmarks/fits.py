"""Gradients and seconds of deterministic ADVI beside those of NUTS, on one engine, in one run.

    python benchmarks/fits.py [NAME…] [--markdown docs/speed.md]

The programs are those of benchmarks/fit_programs.py, NUTS is Stan's in the embedded engine,
4 × (1000 + 1000), its leapfrogs in the warm-up counted. Seconds are the CPU's, so that other work
matters less. ELBOs are compared with those in benchmarks/fits/before.csv (version 5 of
the methods) on the same base draws. The exit code is 1 where a demand is missed:

- ``dadvi_lr`` takes at most a fifth of NUTS's gradients in the median, and never more than NUTS;
- ``dadvi_psis`` takes at most a fifth of NUTS's seconds in the median of the programs on which NUTS
  needs over a second;
- no ELBO is more than ``LOWER`` nats below what it was, and no separate mode of 1% is lost.
"""

from __future__ import annotations

import csv
import importlib
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before NumPy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np
from fit_programs import FOLDER, PROGRAMS, data_of
from ratios import machine, versions
from self_check import write

from harness.methods.bridged import BridgeTarget, Problem, arrays, expected_s
from harness.methods.dadvi import DADVI_LR, DADVI_PSIS, DadviOptions
from harness.methods.dadvi_gaussian import optimum_of
from harness.methods.method import Method
from harness.models.data import to_json
from harness.records import Program, RunContext, RunResult, RunSpec
from harness.stan.embedded import EmbeddedModel
from harness.stan.engine import embed
from harness.vi.deterministic import Objective
from harness.vi.deterministic.basins import modes_of
from harness.vi.sobol import antithetic_normals
from harness.vi.target import Clock, Counted

BEFORE = FOLDER / "before.csv"
SEED = 1
LOWER = 0.02
"""Nats, about what 1000 base draws leave."""

COMMON = 4096
"""Base draws on which ELBOs are compared."""

FIFTH, SLOW_S = 0.2, 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """What one program took and gave."""

    name: str
    dimension: int
    leapfrogs: int  # NUTS's gradients
    nuts_s: float
    lr: RunResult
    lr_s: float
    psis: RunResult
    psis_s: float
    elbo: float  # nats, on common base draws
    modes: int  # separate ones of over 1% of the mass

    @property
    def share(self) -> float:
        """Gradients of ``dadvi_lr`` over NUTS's."""
        return (self.lr.cost.gradient_evaluations or 0) / self.leapfrogs


def nuts(stan_file: Path, data_file: Path) -> tuple[int, float]:
    """Return the leapfrogs of NUTS, those of its warm-up too, and its seconds of the CPU."""
    stanli: Any = importlib.import_module("stanli")
    model = stanli.Model(stan_file=str(stan_file), data=str(data_file))
    begin = time.process_time()
    fit = model.sample(seed=SEED, save_warmup=True, parallel_chains=1, refresh=0)
    seconds = time.process_time() - begin
    return int(fit["n_leapfrog__"].sum()), seconds


def timed(method: Method, context: RunContext, name: str) -> tuple[RunResult, float]:
    """Run a method; return its result and its seconds of the CPU."""
    spec = RunSpec(name, method.name, dict(method.defaults), SEED, method.draws)
    begin = time.process_time()
    result = method.run(spec, context, Path(tempfile.gettempdir()))
    return result, time.process_time() - begin


def optimum(context: RunContext, data: dict[str, Any]) -> tuple[float, int]:
    """Return the ELBO of the fit on base draws that do not depend on it, and its modes."""
    model = EmbeddedModel(context.program.embedded_file, context.data_file)
    target = Counted(BridgeTarget(model))
    rng = np.random.default_rng(SEED)
    options = DadviOptions()
    bound = arrays(data)
    expected = expected_s(context.program.embedded_file, model, bound)
    problem: Problem[DadviOptions] = Problem(
        target, model, bound, options, DADVI_LR.draws, rng, Clock(600.0), SEED, expected
    )
    found = optimum_of(problem, "response")
    eps = antithetic_normals(target.dimension, COMMON, np.random.default_rng(99))
    value, _ = Objective(target, eps[None], Clock())(found.theta)
    return -value, len(modes_of(found.basins))


def row(name: str, folder: Path) -> Row:
    """Run one program."""
    stan_file, data_file = FOLDER / f"{name}.stan", folder / f"{name}.json"
    data = data_of(name)
    data_file.write_text(to_json(data), encoding="utf-8")
    program = embed(Program(stan_file, {}), data_file)
    context = RunContext(program, data_file, 600.0, SEED)
    leapfrogs, nuts_s = nuts(stan_file, data_file)
    lr, lr_s = timed(DADVI_LR, context, name)
    psis, psis_s = timed(DADVI_PSIS, context, name)
    with np.errstate(all="ignore"):
        elbo, modes = optimum(context, data)
    d = EmbeddedModel(program.embedded_file, data_file).dimension
    return Row(name, d, leapfrogs, nuts_s, lr, lr_s, psis, psis_s, elbo, modes)


def before() -> dict[str, dict[str, str]]:
    """Return what version 5 of the methods took and gave."""
    with BEFORE.open(encoding="utf-8", newline="") as lines:
        return {line["program"]: line for line in csv.DictReader(lines)}


def _before_shares(rows: list[Row]) -> list[float]:
    known = before()
    return [
        int(known[r.name]["gradients"]) / r.leapfrogs for r in rows if known[r.name]["gradients"]
    ]


def missed(rows: list[Row]) -> list[str]:
    """Return which demands are missed, in words."""
    old, said = before(), []
    shares = [r.share for r in rows]
    if statistics.median(shares) > FIFTH or max(shares) > 1:
        said.append("dadvi_lr takes too many gradients")
    slow = [r.psis_s / r.nuts_s for r in rows if r.nuts_s > SLOW_S]
    if slow and statistics.median(slow) > FIFTH:
        said.append(f"dadvi_psis takes {statistics.median(slow):.2f} of NUTS's seconds")
    for r in rows:
        known = old[r.name]
        if known["elbo"] and r.elbo < float(known["elbo"]) - LOWER:
            said.append(f"{r.name}: an ELBO of {r.elbo:.3f}, before {known['elbo']}")
        if known["modes"] and r.modes < int(known["modes"]):
            said.append(f"{r.name}: {r.modes} modes, before {known['modes']}")
    return said


def table(rows: list[Row]) -> list[str]:
    """Return the page's table."""
    slow = [r.psis_s / r.nuts_s for r in rows if r.nuts_s > SLOW_S]
    return [
        f"{machine()}, {versions()}.",
        "",
        (
            "| program | parameters | gradients of NUTS | of `dadvi_lr` | ratio | NUTS (s) "
            "| `dadvi_psis` (s) | ratio |"
        ),
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| `{r.name}` | {r.dimension} | {r.leapfrogs} | {r.lr.cost.gradient_evaluations} "
            f"| {r.share:.2f} | {r.nuts_s:.2f} | {r.psis_s:.2f} | {r.psis_s / r.nuts_s:.2f} |"
            for r in rows
        ),
        (
            f"| median | | | | {statistics.median(r.share for r in rows):.2f} | | "
            f"| {statistics.median(slow):.2f} ({len(slow)} programs) |"
        ),
    ]


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--markdown", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(names: tuple[str, ...], markdown: Path | None) -> None:
    """Print a line a program, and the medians."""
    old = before()
    click.echo(
        f"{'program':14} {'d':>3} {'NUTS':>7} {'before':>8} {'lr':>7} {'share':>5} "
        f"{'NUTS s':>7} {'lr s':>6} {'psis s':>6} {'share':>5} {'ELBO':>9} {'change':>7}  modes"
    )
    rows = []
    # The first run imports; it does not count.
    with tempfile.TemporaryDirectory() as folder:
        row("schools", Path(folder))
        for name in names or PROGRAMS:
            r = row(name, Path(folder))
            rows.append(r)
            was = old[name]
            change = r.elbo - float(was["elbo"] or "nan")
            click.echo(
                f"{name:14} {r.dimension:3} {r.leapfrogs:7} {was['gradients']:>8} "
                f"{r.lr.cost.gradient_evaluations:7} {r.share:5.2f} {r.nuts_s:7.2f} {r.lr_s:6.2f} "
                f"{r.psis_s:6.2f} {r.psis_s / r.nuts_s:5.2f} {r.elbo:9.3f} {change:+7.3f}  "
                f"{r.modes} ({was['modes'] or '-'})"
            )
    slow = [r.psis_s / r.nuts_s for r in rows if r.nuts_s > SLOW_S]
    click.echo(
        f"medians: {statistics.median(r.share for r in rows):.2f} of NUTS's gradients (most "
        f"{max(r.share for r in rows):.2f}), before "
        f"{statistics.median(_before_shares(rows)):.2f}; "
        f"{statistics.median(slow or [float('nan')]):.2f} of its seconds where it needs over "
        f"{SLOW_S:.0f} s ({len(slow)} programs)"
    )
    if markdown is not None:
        write(markdown, "<!-- benchmarks/fits.py -->", table(rows))
    words = missed(rows)
    for word in words:
        click.echo(f"-> {word}")
    sys.exit(1 if words else 0)


if __name__ == "__main__":
    main()
