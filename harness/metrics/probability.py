"""The largest error of a probability, for quantities that take few values."""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.metric import Column, Metric, Scene
from harness.metrics.sample import Sample
from harness.metrics.summaries import MEAN
from harness.records import NO_ESTIMATE, Estimate, FloatArray, Rule
from harness.records.text import number, with_error

ROUNDING = 1e-9
"""Values that differ by a smaller share are one value."""


def _probability(own: Sample, ref: Sample) -> Estimate:
    r"""Return the largest \|P_q(E) − P(E)\| over the events E = {X = v} and {X ≤ v}.

    Its error is that of the event found, √(p (1 − p) / ess) for each sample with p from one more
    draw on either side, so that an event that a sample has never seen has an error too. Under
    equal distributions the maximum over all v exceeds 2 √(1/n + 1/m) in one case in a thousand.
    """
    if not ref.finite or own.n == 0:
        return NO_ESTIMATE
    own_values, values = (_rounded(s, ref) for s in (own.values, ref.values))
    if ref.constant:
        q, p = (np.sort(v[np.isfinite(v)]) for v in (own_values, values))
    else:
        q, p = own.finite_sorted, ref.finite_sorted
    at = np.unique(np.concatenate([_distinct(q), _distinct(p)]))
    upto, under = (
        np.searchsorted(q, at, side) / own.n - np.searchsorted(p, at, side) / ref.n
        for side in ("right", "left")
    )
    exactly = upto - under
    i, j = int(np.argmax(np.abs(upto))), int(np.argmax(np.abs(exactly)))
    whole = abs(upto[i]) >= abs(exactly[j])
    events = [v <= at[i] if whole else v == at[j] for v in (own_values, values)]
    errors = [_error(s, e.astype(float)) for s, e in zip((own, ref), events, strict=True)]
    return Estimate(float(max(abs(upto[i]), abs(exactly[j]))), math.hypot(*errors))


def _distinct(ordered: FloatArray) -> FloatArray:
    """Return the values of draws in ascending order, each once."""
    new = np.ones(ordered.size, dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]


def _rounded(values: FloatArray, ref: Sample) -> FloatArray:
    """Return values with those that equal a constant reference but for rounding put on it."""
    if not ref.constant:
        return values
    at = float(ref.sorted[0])
    return np.where(np.isclose(values, at, rtol=ROUNDING, atol=ROUNDING**2), at, values)


def _error(sample: Sample, event: FloatArray) -> float:
    """Return the standard error of an event's share of a sample."""
    n = float(sample.n)
    if not sample.iid or sample.copies is not None:
        # An event that never changes says nothing about how the chains mix.
        n = sample.effective(event) if np.ptp(event) > 0 else sample.ess_mean
        if not sample.finite:
            n = float(sample.n)
    near = (float(np.mean(event)) * n + 1) / (n + 2)
    return math.sqrt(near * (1 - near) / n)


def _clause(s: Scene, size: str) -> str:
    text = f"a probability in {s.method}'s draws is off by {size}"
    own, theirs = s.own.get(MEAN.id), s.theirs.get(MEAN.id)
    if own is None or theirs is None or not math.isfinite(own.value):
        return text
    return f"{text}; its mean is {number(own.value, 3)} instead of {with_error(theirs)}"


PROBABILITY = Metric(
    id="probability",
    noun="largest error of a probability",
    scope="quantity",
    kinds=("discrete", "constant"),
    measure=_probability,
    rule=Rule(0.05, 0.25, "above", "of a fair coin these are errors of the mean of 0.1 and 0.5 sd"),
    telling=10.7,
    clause=_clause,
    brief=lambda s, size: f"a probability of {s.quantity} off by {size}",
    column=Column("prob", "largest error of a probability, of quantities with few values"),
)
