"""Verdicts where no reference is trusted: each run's own draws, moved by short chains."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.judgement.movement import Shown, by_movement, shown
from harness.methods import METHODS
from harness.methods.bridged import BridgeTarget, arrays, expected_s
from harness.metrics.measure import seed_of
from harness.models.data import kept_data
from harness.records import ModelComparison, RunResult
from harness.records.names import base_name, stan_name
from harness.records.text import listed, number, seconds
from harness.stan.unconstrain import MissingParametersError, unconstrained
from harness.study.explain import able, opened
from harness.vi.short_chains.coordinates import DENSE, LowRank, from_covariance
from harness.vi.short_chains.hmc import PILOTS
from harness.vi.short_chains.movement import FEWEST, move
from harness.vi.target import Clock, TimeLimitError
from harness.why.fits import lost_coordinates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.records import FloatArray
    from harness.stan.density import Density
    from harness.study.task import AnalysisTask
    from harness.vi.short_chains.coordinates import Coordinates
    from harness.vi.short_chains.movement import Movement

CHAINS, FEWER = 1024, 256
"""Chains of a run, and the least: with 1024 a mean that is .7 sds off is surely wrong, because its
error is some .04 sd; with 256 one that is .9 sds off is."""

PER_CHAIN = 50
"""About how many gradients a chain takes: twelve transitions of four, the median over the programs
of benchmarks/fit_programs.py, and its part of those that adapt the step."""

MOST_S = 60.0
"""Estimated seconds that all runs of a model may take: beyond, there are fewer chains, then fewer
seeds, the first ones."""

WHITENING = ("deterministic", "weighted draws", "Laplace", "short chains")
"""Kinds of methods whose draws give the coordinates, those with correlations first; else each run's
own do."""

SHAPE = 4000
"""Draws that give the coordinates."""


def with_movement(
    task: AnalysisTask, comparison: ModelComparison, runs: Sequence[RunResult]
) -> ModelComparison:
    """Return a comparison whose unknown verdicts say what movement shows.

    Only where no reference is trusted and the density can be evaluated.
    """
    waiting = {v.method for v in comparison.verdicts if v.level == "unknown"}
    if comparison.reference.trusted or not able(task) or not waiting:
        return comparison
    model = opened(task)
    if isinstance(model, str):
        return comparison
    try:
        found = _found(task, model, [r for r in runs if r.spec.method in waiting], runs)
    finally:
        model.close()
    verdicts = tuple(
        by_movement(comparison.model, v, found[v.method]) if v.method in found else v
        for v in comparison.verdicts
    )
    return dataclasses.replace(comparison, verdicts=verdicts)


def _found(
    task: AnalysisTask, model: Density, waiting: Sequence[RunResult], runs: Sequence[RunResult]
) -> Mapping[str, Mapping[int, Shown]]:
    """Return what each run's draws show, by method and seed."""
    its: dict[str, list[RunResult]] = {}
    for run in waiting:
        # Draws of a long Markov chain start no independent chains.
        if run.draws is not None and not run.draws.long_chains:
            its.setdefault(run.spec.method, []).append(run)
    if not its or not model.dimension:
        return {}
    data = arrays(kept_data(task.model.data_file, task.data_hash))
    each = PER_CHAIN * len(its) * expected_s(task.model.stan_file, model, data).gradient
    chains = CHAINS
    while chains > FEWER and chains * each * max(map(len, its.values())) > MOST_S:
        chains //= 2
    affordable = int(MOST_S / (chains * each))
    hidden = lost_coordinates(model)
    if hidden or not affordable:
        why = f"draws do not determine the unconstrained {hidden}"
        why = why if hidden else f"they would take about {seconds(chains * each)}"
        return {m: {r.spec.seed: Shown(why=why) for r in own} for m, own in its.items()}
    common = _coordinates(model, runs)
    clock = Clock(task.timeout_s)
    regions = max(map(_regions, runs))
    return {
        method: {
            run.spec.seed: dataclasses.replace(
                _of_run(task, model, run, (common, chains, clock)), regions=regions
            )
            for run in own[:affordable]
        }
        for method, own in its.items()
    }


def _regions(run: RunResult) -> int:
    """Return how many regions a run found, those without chains included.

    A number that is not known may be of several.
    """
    count = run.diagnostics.get("basins", 1.0) + run.diagnostics.get("chains_other_regions", 0.0)
    return int(count) if math.isfinite(count) else 2


_How = tuple["Coordinates | None", int, Clock]
"""The common coordinates, the number of chains, and the clock."""


def _coordinates(model: Density, runs: Sequence[RunResult]) -> Coordinates | None:
    """Return the coordinates of the fit that is likely to come nearest to the posterior's."""
    able = [r for r in runs if r.draws is not None and _kind(r) in WHITENING]
    for run in sorted(able, key=_plainness):
        draws = run.draws
        assert draws is not None  # noqa: S101 - asked before
        count = draws.values.shape[0] * draws.values.shape[1]
        index = np.linspace(0, count - 1, min(SHAPE, count)).astype(int)
        try:
            z = unconstrained(model, draws, index.tolist())
        except MissingParametersError:
            continue
        if (own := _shape(z)) is not None:
            return own
    return None


def _kind(run: RunResult) -> str:
    row = METHODS.get(run.spec.method)
    return "" if row is None else row.kind


def _plainness(run: RunResult) -> tuple[int, bool, bool, int]:
    """Order runs: kinds as in ``WHITENING``, correlations first, then without doubts."""
    family = METHODS[run.spec.method].family_of(run.spec.options)
    kind = WHITENING.index(_kind(run))
    return kind, family != "fullrank", run.status != "ok", run.spec.seed


def _shape(z: FloatArray) -> Coordinates | None:
    """Return the coordinates in which draws are white; None where they do not vary."""
    z = z[np.isfinite(z).all(axis=1)]
    n, d = z.shape
    if n < FEWEST:
        return None
    mean, sd = z.mean(axis=0), z.std(axis=0)
    if not ((sd > 0) & np.isfinite(sd)).all():
        return None
    dense = from_covariance(mean, np.atleast_2d(np.cov(z, rowvar=False))) if d <= DENSE else None
    return dense or LowRank(mean, sd, np.empty((d, 0)), np.empty(0))


class _UntoldError(ValueError):
    """Why a run's draws show nothing."""


def _of_run(task: AnalysisTask, model: Density, run: RunResult, how: _How) -> Shown:
    """Return what one run's draws show, or why nothing."""
    try:
        z, found = _moved(model, run, how)
    except (_UntoldError, MissingParametersError) as error:
        return Shown(why=str(error))
    except TimeLimitError:
        return Shown(why=f"the time limit of {seconds(task.timeout_s)} passed")
    if found.doubts:
        said = [f"{c.noun} {number(found.figures[c.id])}" for c in found.doubts]
        return Shown(why=listed(said, len(said)))
    start = z[found.start]
    before, lost = model.constrain(start, transformed=True)
    after, gone = model.constrain(found.z.reshape(-1, z.shape[1]), transformed=True)
    if np.any(lost) or np.any(gone):
        return Shown(why="some positions have no transformed parameters")
    names = [stan_name(n) for n in model.constrained_names(transformed=True)]
    chosen = task.model.quantities
    kept = [j for j, n in enumerate(names) if not chosen or n in chosen or base_name(n) in chosen]
    _, which, counts = np.unique(start, axis=0, return_inverse=True, return_counts=True)
    return shown(
        run.spec,
        [names[j] for j in kept],
        before[:, kept],
        after.reshape(*found.z.shape[:2], -1)[:, :, kept],
        found,
        counts[np.ravel(which)].astype(np.float64),
    )


def _moved(model: Density, run: RunResult, how: _How) -> tuple[FloatArray, Movement]:
    """Return some of a run's draws, unconstrained scale, and where chains from them went."""
    assert run.draws is not None  # noqa: S101 - asked before
    common, wanted, clock = how
    rng = np.random.default_rng(seed_of(f"movement {run.key}"))
    chains, draws = run.draws.values.shape[:2]
    # Of many short chains, the last draw of each.
    index = np.arange(chains) * draws + draws - 1 if chains > 1 else np.arange(draws)
    index = rng.permutation(index)[: wanted + PILOTS]
    z = unconstrained(model, run.draws, index.tolist())
    own = common or _shape(z)
    if own is None:
        raise _UntoldError("its draws do not vary, or too few are finite")
    found = move(BridgeTarget(model), z, own, rng, clock)
    if found is None:
        raise _UntoldError(f"fewer than {FEWEST} of its draws have a density to start from")
    return z, found
