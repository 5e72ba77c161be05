"""Answers to programs without exact draws, from long runs of NUTS: benchmarks/fits/answers/.

``nice python benchmarks/long_runs.py [NAME…]`` runs each program once, on the embedded engine, and
writes its means, sds and quantiles on the unconstrained scale with their standard errors. A program
whose components have no order has all orders of its draws: its answer is exact in that, where NUTS
would stay in one. Chains are compared with the components in order. The exit code is 1 where they
disagree, or an error is too large; nothing is written then.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

# Before NumPy is loaded: threads that wait count as CPU seconds.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np
from answers import answer_with_error, write
from fit_programs import FOLDER, data_of

from harness.metrics.chains import ESS_BULK, RHAT
from harness.models.data import to_json
from harness.records import Estimate, FloatArray
from harness.stan.embedded import EmbeddedModel, services

ANSWERS = FOLDER / "answers"

NAMES = ("mixture3d", "gp_counts", "gp_binary", "two_pl", "logit_mixed")
"""The fewest parameters first."""

SEED, CHAINS, DRAWS, DELTA, LIMIT_S = 20, 4, 5000, 0.95, 7200.0

MOST_RHAT, MOST_ERROR = 1.01, 0.06
"""The largest R-hat; and the largest error of a mean or tail in sds, a third of what is allowed."""

COMPONENTS = 3
"""Of mixture3d."""


def opened(name: str, folder: Path) -> EmbeddedModel:
    """Return a program of benchmarks/fits with its data."""
    data_file = folder / f"{name}.json"
    data_file.write_text(to_json(data_of(name)), encoding="utf-8")
    return EmbeddedModel(FOLDER / f"{name}.stan", data_file)


def orders(model: EmbeddedModel, z: FloatArray) -> FloatArray:
    """Return mixture3d's draws with components in all orders, the first by mu's first coordinate.

    Shapes are ``(chain, draw, d)`` and ``(chain, draw, order, d)``.
    """
    flat = z.reshape(-1, z.shape[-1])
    theta, _ = model.constrain(flat, transformed=False)
    names = model.constrained_names(transformed=False)
    kind = np.array([n.split(".")[0] for n in names])
    parts = {}
    for name in ("share", "mu", "sigma"):
        columns = [i for i, k in enumerate(kind) if k == name]
        # Whichever index varies fastest, the first is the component's.
        index = [[int(p) for p in names[i].split(".")[1:]] for i in columns]
        shape = tuple(np.max(index, axis=0))
        block = np.empty((len(flat), *shape))
        for i, at in zip(columns, index, strict=True):
            block.reshape(len(flat), -1)[:, np.ravel_multi_index([k - 1 for k in at], shape)] = (
                theta[:, i]
            )
        parts[name] = block
    first = np.argsort(parts["mu"][:, :, 0], axis=1)
    out = np.empty((len(flat), 6, flat.shape[1]))
    for k, order in enumerate(itertools.permutations(range(COMPONENTS))):
        for row in range(len(flat)):
            which = first[row, list(order)]
            out[row, k] = model.unconstrain({n: p[row][which] for n, p in parts.items()})
    return out.reshape(*z.shape[:2], 6, z.shape[-1])


def _worst(
    measure: Callable[[FloatArray], Estimate | None],
    chains: FloatArray,
    of: Callable[[Iterable[float]], float],
) -> float:
    """Return the worst of a figure over parameters; NaN where one has none."""
    found = [measure(chains[:, :, j]) for j in range(chains.shape[-1])]
    known = [x.value for x in found if x is not None]
    return of(known) if len(known) == len(found) else math.nan


def made(name: str, folder: Path) -> bool:
    """Run a program, write its answer, and return whether it is good enough."""
    model = opened(name, folder)
    begin = time.process_time()
    served = services.sample(
        model, SEED, LIMIT_S, chains=CHAINS, samples=DRAWS, warmup=1000, delta=DELTA
    )
    seconds = time.process_time() - begin
    z = served.unconstrained
    assert z is not None  # noqa: S101 - NUTS has points
    chains = orders(model, z) if name == "mixture3d" else z[:, :, None]
    one = chains[:, :, 0]
    rhat, ess = _worst(RHAT.measure, one, max), _worst(ESS_BULK.measure, one, min)
    divergent = int(served.stats["divergent"].sum())
    answer, error = answer_with_error(chains)
    worst = max(float(np.max(getattr(error, n) / answer.sd)) for n in ("mean", "low", "high"))
    click.echo(
        f"{name}: {seconds:.0f} s, R-hat {rhat:.4f}, ESS {ess:.0f}, {divergent} divergent, "
        f"largest error {worst:.3f} sd"
    )
    if not (rhat <= MOST_RHAT and worst <= MOST_ERROR):
        return False
    facts = {
        "sampler": "NUTS",
        "chains": CHAINS,
        "draws": DRAWS,
        "adapt_delta": DELTA,
        "seed": SEED,
        "rhat": round(rhat, 4),
        "ess_bulk": round(ess),
        "divergent": divergent,
    }
    write(ANSWERS / f"{name}.json", answer, error, facts)
    return True


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Write the answers."""
    with tempfile.TemporaryDirectory() as folder:
        good = [made(name, Path(folder)) for name in names or NAMES]
    sys.exit(int(not all(good)))


if __name__ == "__main__":
    main()
