"""A single point in the place of a fit, such as a mode: its location is judged, and no width."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from harness.intake import Taken
from harness.judgement.notes import run_notes
from harness.metrics import measure
from harness.metrics.bias import BIAS, MEDIAN
from harness.metrics.summaries import MEAN
from harness.records import Estimate, Measure, RunResult, Verdict


def are_points(fits: Sequence[Taken]) -> bool:
    """Return whether any of a row's fits is a single point."""
    return any(t.kind == "point" for t in fits)


def measured(run: RunResult, yardstick: measure.Yardstick) -> measure.Measured:
    """Measure where a point lies: its distance from the mean, or from the median of heavy tails.

    The error is the reference's alone.
    """
    found: list[Measure] = []
    spec = run.spec
    for name, sample in zip(yardstick.names, yardstick.samples, strict=True):
        if run.draws is None or name not in run.draws.names or sample.kind == "discrete":
            continue
        at = float(run.draws.quantity(name)[0, 0])
        centre, error, metric = sample.mean, sample.mean_se, BIAS
        if sample.kind == "heavy":
            centre, error, metric = sample.quantiles["q50"], sample.quantile_mcse("q50"), MEDIAN
        off = Estimate((at - centre) / sample.unit, error / sample.unit)
        for which, e in ((MEAN.id, Estimate(at, 0.0)), (metric.id, off)):
            where = (spec.model, spec.method, spec.seed, name)
            found.append(Measure(*where, which, e.value, e.mcse, yardstick.kind))
    return measure.Measured(found)


def verdict_of(verdict: Verdict, runs: Sequence[RunResult]) -> Verdict:
    """Say that a point was judged by its location alone, and so cannot pass."""
    said = "A single point: only its location was judged; it has no widths."
    own = [r for r in runs if r.spec.method == verdict.method]
    headline = verdict.headline
    if verdict.level == "unknown" and not verdict.findings:
        headline = "a point: its location is close, and it has no widths to judge"
    return dataclasses.replace(verdict, headline=headline, notes=(said, *run_notes(own)))
