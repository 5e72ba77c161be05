"""From proposals to weighted draws: Pareto-smoothed weights, their doubts, and resampling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.metrics.weights import khat
from harness.records.text import count, integer, number, percent, with_error
from harness.vi.deterministic import importance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray


class Weighed(NamedTuple):
    """Which proposals became draws, and whether their weights are believed."""

    chosen: NDArray[np.intp]
    """The proposal of each draw."""
    copies: FloatArray | None
    """How many draws are the same proposal; None where all are distinct."""
    doubt: str
    """Why the weights are not believed; empty where they are."""
    notes: tuple[str, ...]
    diagnostics: Mapping[str, float]


class Looked(NamedTuple):
    """Smoothed weights with what is worth knowing of them."""

    weights: importance.Weights
    notes: tuple[str, ...]
    diagnostics: Mapping[str, float]


def looked(log_p: FloatArray, log_q: FloatArray) -> Looked:
    """Smooth the weights p / q; k-hat at two tail sizes and the effective sample size come along.

    Log densities are in nats, shape ``(proposal,)``, and may lack a constant.
    """
    weights = importance.smoothed_weights(log_p, log_q, lambda p, q: khat(p, q).value)
    notes = []
    if weights.outside:
        n = len(weights.weight)
        notes.append(f"{integer(weights.outside)} of {integer(n)} proposals have no density")
    tail, wide = (khat(log_p, log_q, tails=t) for t in (1, 2))
    if abs(tail.value - wide.value) > 2 * math.hypot(tail.mcse, wide.mcse):
        notes.append(
            f"k-hat is uncertain: {with_error(tail)} from the largest weights, "
            f"{with_error(wide)} from twice as many"
        )
    diagnostics = {
        "khat": tail.value,
        "khat_error": tail.mcse,
        "khat_wide": wide.value,
        "weight_ess": weights.ess,
        "weight_largest": weights.largest,
    }
    return Looked(weights, tuple(notes), diagnostics)


def weighed(
    log_p: FloatArray, log_q: FloatArray, draws: int, rng: np.random.Generator, proposal: str
) -> Weighed:
    """Weight proposals by Pareto-smoothed p / q and resample ``draws`` of them.

    Log densities are in nats, shape ``(proposal,)``, and may lack a constant; ``proposal`` is the
    noun of what they came from.
    """
    n = len(log_p)
    weights, notes, diagnostics = looked(log_p, log_q)
    index = importance.systematic(weights.weight, draws, rng)
    return Weighed(
        index,
        importance.copies_of(index),
        "" if weights.trusted else _doubt(weights, proposal),
        notes,
        {**diagnostics, "proposals": float(n)},
    )


def _doubt(weights: importance.Weights, proposal: str) -> str:
    """Say why weights are not believed."""
    n = len(weights.weight)
    words = (
        f"{count(n, 'weighted draw')} have an effective sample size of {number(weights.ess, 3)}, "
        f"and the largest weight is {percent(weights.largest)} of their sum (allowed: at least "
        f"{percent(importance.LEAST_SHARE)}, at most {percent(importance.LARGEST)})"
    )
    return f"{words}: weighting cannot correct {proposal}"
