"""What the comparisons of two samples of one quantity share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from harness.metrics.sample import CONSTANT, Sample
from harness.records import NO_ESTIMATE, Estimate

EXACT = Estimate(0.0, 0.0)
INFINITE = Estimate(math.inf, 0.0)

Compare = Callable[[Sample, Sample], Estimate]
CompareMany = Callable[[Sequence[Sample], Sequence[Sample]], list[Estimate]]
"""Compares as many samples as references, all samples of one shape and all references of one."""


def finite(value: float, mcse: float) -> Estimate:
    """Return an estimate; a value that overflowed is infinite beyond doubt."""
    return Estimate(value, mcse) if math.isfinite(value) else INFINITE


def same_point(own: Sample, ref: Sample) -> bool:
    """Tell whether a sample is the one point of a constant reference."""
    at = float(ref.sorted[0])
    reach = CONSTANT * max(abs(at), np.finfo(float).tiny)
    return own.finite and bool(np.max(np.abs(own.sorted[[0, -1]] - at)) <= reach)


def distance(compare: Compare, *, apart: Estimate = INFINITE) -> Compare:
    """Extend a comparison of good samples to all samples.

    NaN where the reference cannot serve as one or there are no draws; against a constant either
    exact or ``apart``, as infinite in units of its sd of zero. Infinite where draws are not
    finite, unless ``apart`` is finite: then the comparison itself can deal with them.
    """

    def measure(own: Sample, ref: Sample) -> Estimate:
        found = _without_comparing(own, ref, apart)
        if found is not None:
            return found
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return compare(own, ref)

    return measure


def distances(compare: CompareMany) -> CompareMany:
    """Extend a comparison of many pairs of good samples to all samples, as :func:`distance`."""

    def measure(own: Sequence[Sample], refs: Sequence[Sample]) -> list[Estimate]:
        pairs = list(zip(own, refs, strict=True))
        found = [_without_comparing(*pair, INFINITE) for pair in pairs]
        good = [pair for pair, known in zip(pairs, found, strict=True) if known is None]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            compared = iter(compare(*zip(*good, strict=True)) if good else [])
        return [next(compared) if known is None else known for known in found]

    return measure


def _without_comparing(own: Sample, ref: Sample, apart: Estimate) -> Estimate | None:
    """Return the distance of samples that cannot be compared, None where they can."""
    if not ref.finite or ref.n < 2 or own.n == 0:  # noqa: PLR2004 (an sd needs two)
        return NO_ESTIMATE
    if ref.constant:
        return EXACT if same_point(own, ref) else apart
    usable = own.finite and math.isfinite(own.width) and math.isfinite(own.sd)
    return apart if not usable and math.isinf(apart.value) else None


def log_ratio(own: Estimate, ref: Estimate) -> Estimate:
    """Return ln(own / ref) of two widths whose ``mcse`` is that of their logarithm.

    Two zeros are equal; a single one is infinitely far.
    """
    if own.value == ref.value == 0:
        return EXACT
    if own.value == 0:
        return Estimate(-math.inf, 0.0)
    if ref.value == 0 or math.isinf(own.value):
        return INFINITE
    return Estimate(math.log(own.value) - math.log(ref.value), math.hypot(own.mcse, ref.mcse))
