"""The sample that limits a comparison, and how many more of its draws would decide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.judgement.context import Bench
from harness.judgement.rules import draws_needed
from harness.metrics.summaries import MEAN, SD
from harness.records import Draws, Estimate, Measure, Reference, Rule, RunResult
from harness.records.budget import EXACT_DRAWS, MAX_DRAWS, MAX_NUTS_SAMPLES, Scarce


class _Sample(NamedTuple):
    effective: float
    draws: int
    most: int  # draws that the harness takes
    whose: Scarce


def more_draws(
    bench: Bench, m: Measure, rule: Rule, run: RunResult | None
) -> tuple[int | None, Scarce | None]:
    """Return how many draws of the scarcer sample to take, and that sample if they are too few."""
    own, theirs = _figures(bench, m)
    samples = []
    if run is not None and run.draws is not None:
        samples.append(_of_run(run, run.draws, own))
    if bench.reference.draws is not None:
        samples.append(_of_reference(bench.reference, bench.reference.draws, theirs))
    if not samples:
        return None, None
    least, *others = sorted(samples, key=lambda sample: sample.effective)
    share = 1 / (1 + sum(least.effective / other.effective for other in others))
    typical = bench.typical.get((m.method, m.quantity, m.metric))
    needed = draws_needed(m, rule, bench.z_of(m.quantity), least.draws, typical, share)
    if needed is None:
        return None, None
    if needed <= least.most:
        return int(needed), None
    # Where no number of its draws would do, the other sample's have to give.
    whose = others[0].whose if others and needed == math.inf else least.whose
    return (least.most if least.most > least.draws else None), whose


Figures = Sequence[Mapping[str, Estimate]]
"""The summaries of a sample: of one quantity, or of all of them."""


def _figures(bench: Bench, m: Measure) -> tuple[Figures, Figures]:
    if m.quantity is not None:
        scene = bench.scene(m)
        return [scene.own], [scene.theirs]
    own = [f for (seed, q), f in bench.own.items() if seed == m.seed and q is not None]
    return own, list(bench.summaries.values())


def _of_run(run: RunResult, draws: Draws, figures: Figures) -> _Sample:
    chains, samples = draws.values.shape[:2]
    n = chains * samples
    whose: Scarce = "given" if run.foreign else "nuts" if draws.long_chains else "run"
    # Of weighted draws, and of chains, fewer are effective.
    most = chains * MAX_NUTS_SAMPLES if draws.long_chains else MAX_DRAWS
    return _Sample(_effective(n, figures), n, max(n, most), whose)


def _of_reference(reference: Reference, draws: Draws, figures: Figures) -> _Sample:
    chains, samples = draws.values.shape[:2]
    n = chains * samples
    if reference.kind == "nuts":
        return _Sample(_effective(n, figures), n, max(n, chains * MAX_NUTS_SAMPLES), "nuts")
    if reference.kind == "ensemble":
        return _Sample(_effective(n, figures), n, max(n, MAX_DRAWS), "ensemble")
    if reference.kind == "exact":
        return _Sample(n, n, max(n, EXACT_DRAWS), "exact")
    return _Sample(_effective(n, figures), n, n, "supplied")


def _effective(n: int, figures: Figures) -> float:
    """Return the effective size of the quantity that has the smallest."""
    sizes = [
        (f[SD.id].value / f[MEAN.id].mcse) ** 2
        for f in figures
        if {MEAN.id, SD.id} <= set(f) and f[MEAN.id].mcse > 0
    ]
    return min(sizes, default=float(n))
