"""A small comparison in memory: one quantity, standard normal, and fits that are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import judgement
from harness.methods import METHODS
from harness.metrics.measure import Selection, Yardstick, chain_measures, select
from harness.records import (
    Cost,
    Draws,
    Model,
    ModelComparison,
    Reference,
    RunResult,
    RunSpec,
    SeedVerdict,
    Status,
    Verdict,
)

MODEL = Model("m", "m", Path("m.stan"), None)


def spec(method: str, seed: int = 1, draws: int = 10_000, **options: Any) -> RunSpec:
    """Return a run of a row's defaults with some options changed."""
    return RunSpec("m", method, {**METHODS[method].defaults, **options}, seed, draws)


def run(
    wanted: RunSpec,
    mean: float = 0.0,
    sd: float = 1.0,
    *,
    seconds: float = 1.0,
    gradients: int | None = None,
    status: Status = "ok",
    message: str = "",
    salt: int = 0,
) -> RunResult:
    """Return a run whose draws of ``x`` are normal, with both densities."""
    draws = None
    if status in {"ok", "not_converged", "diverged"}:
        rng = np.random.default_rng([wanted.seed, salt])
        eps = rng.standard_normal((1, wanted.draws))
        x = mean + sd * eps
        draws = Draws(("x",), x[..., None], -0.5 * x**2, -0.5 * eps**2 - np.log(sd))
    return RunResult(
        wanted, f"{wanted.method}-{wanted.seed}-{salt}", status, message, draws, None,
        {"iterations": 500.0}, Cost(seconds, None, gradients), {},
    )  # fmt: skip


def chains(wanted: RunSpec, seconds: float = 1.0, shift: float = 0.0, stuck: float = 0.0) -> Any:
    """Return a run of NUTS with 7 leapfrog steps an iteration; ``stuck`` parts its chains."""
    shape = (int(wanted.options["chains"]), int(wanted.options["samples"]))
    rng = np.random.default_rng([wanted.seed, 99])
    x = rng.standard_normal(shape) + shift + stuck * np.arange(shape[0])[:, None]
    energy = rng.standard_normal(shape)
    stats = {
        "diverging": np.zeros(shape),
        "energy": energy,
        "tree_depth": np.full(shape, 3.0),
        "n_steps": np.full(shape, 7.0),
    }
    draws = Draws(("x",), x[..., None], -0.5 * x**2, None, stats, iid=False)
    return RunResult(
        wanted, "nuts", "ok", "", draws, None, {"max_tree_depth": 10.0}, Cost(seconds), {}
    )


def verdict(
    method: str, levels: Sequence[Any] = ("fail",), level: Any = "fail", seeds: Any = None
) -> Verdict:
    """Return a verdict with nothing but levels."""
    numbers = seeds or range(1, len(levels) + 1)
    by_seed = tuple(SeedVerdict(s, v, "ok", ()) for s, v in zip(numbers, levels, strict=True))
    return Verdict("m", method, level, level, len(levels), 1, "", (), by_seed=by_seed)


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What :func:`harness.why.trials.tried` needs of a comparison."""

    verdicts: Mapping[str, Verdict]
    yardstick: Yardstick
    comparison: ModelComparison
    context: judgement.JudgeContext


def compare(runs: Sequence[RunResult]) -> Compared:
    """Compare runs with exact draws of the standard normal, as the harness does."""
    x = np.random.default_rng(12345).standard_normal((1, 40_000, 1))
    draws = Draws(("x",), x)
    reference = Reference("exact", trusted=True, why="exact", draws=draws)
    return judged(MODEL, runs, reference, select(MODEL, draws))


def judged(
    model: Model, runs: Sequence[RunResult], reference: Reference, selection: Selection
) -> Compared:
    """Compare runs with a reference."""
    yardstick = Yardstick(model.name, reference, selection)
    measures = yardstick.own_summaries()
    for r in runs:
        itself = reference.kind == r.spec.method == "nuts"
        measures += yardstick.run(r, against_itself=itself).measures
        if r.draws is not None and not r.draws.iid:
            measures += chain_measures(r, selection.names, reference.kind)
    measures += yardstick.spread([m for m in measures if m.method != "reference"])
    context = judgement.JudgeContext(
        dimension=len(selection.names),
        correlations=yardstick.correlations(),
        modes=yardstick.modes(),
        kinds=yardstick.kinds(),
        generated=selection.generated,
    )
    methods = dict.fromkeys(r.spec.method for r in runs)
    verdicts = {
        m: judgement.judge_method(
            model,
            m,
            [r for r in runs if r.spec.method == m],
            [k for k in measures if k.method in {m, "reference"}],
            reference,
            context,
        )
        for m in methods
    }
    comparison = ModelComparison(model, None, reference, tuple(runs), tuple(measures))
    return Compared(verdicts, yardstick, comparison, context)
