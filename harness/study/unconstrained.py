"""Distances on the unconstrained scale, where the density can be opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.metrics import measured
from harness.metrics.measure import REFERENCE
from harness.metrics.unconstrained import UNCONSTRAINED_W1, by_chance, chosen
from harness.records import Measure, ModelComparison, RunResult
from harness.stan.unconstrain import MissingParametersError, unconstrained
from harness.study.explain import able, opened
from harness.why.fits import lost_coordinates

if TYPE_CHECKING:
    from harness.records import Draws, Estimate, FloatArray
    from harness.stan.density import Density
    from harness.study.task import AnalysisTask


def with_distances(
    task: AnalysisTask, comparison: ModelComparison, runs: Sequence[RunResult]
) -> ModelComparison:
    """Return a comparison that has each run's distance, if there is a trusted reference's.

    There is none where draws lack parameters, or do not determine them on the unconstrained scale.
    """
    reference = comparison.reference
    if not reference.trusted or reference.draws is None or not able(task):
        return comparison
    model = opened(task)
    if isinstance(model, str):
        return comparison
    try:
        found = () if lost_coordinates(model) else _found(model, comparison, reference.draws, runs)
    finally:
        model.close()
    return dataclasses.replace(
        comparison,
        measures=(*comparison.measures, *found),
        levels=(*comparison.levels, *[None] * len(found)),
    )


def _found(
    model: Density, comparison: ModelComparison, truth: Draws, runs: Sequence[RunResult]
) -> tuple[Measure, ...]:
    try:
        theirs = _some(model, truth)
    except MissingParametersError:
        return ()
    found = [_measure(comparison, REFERENCE, None, by_chance(theirs))]
    for run in runs:
        if run.draws is None or run.spec.method == comparison.reference.method:
            continue
        try:
            own = _some(model, run.draws)
        except MissingParametersError:
            continue
        distance = measured("unconstrained", own, theirs).get(UNCONSTRAINED_W1.id)
        if distance is not None:
            found.append(_measure(comparison, run.spec.method, run.spec.seed, distance))
    return tuple(found)


def _some(model: Density, draws: Draws) -> FloatArray:
    chains, each = draws.values.shape[:2]
    return unconstrained(model, draws, chosen(chains * each))


def _measure(
    comparison: ModelComparison, method: str, seed: int | None, found: Estimate
) -> Measure:
    name, kind = comparison.model.name, comparison.reference.kind
    return Measure(name, method, seed, None, UNCONSTRAINED_W1.id, *found, kind)
