"""Weighted draws: from log weights to draws of equal weight, which know their copies."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from harness.intake.taken import Taken
from harness.metrics.sample import effective_size
from harness.records import Draws
from harness.records.text import integer, number, percent
from harness.vi.deterministic.importance import LARGEST, LEAST_SHARE, Weights, systematic

if TYPE_CHECKING:
    from harness.records import FloatArray

_SEED = 20_181_003
"""Resampling is the same every time."""


def resampled(taken: Taken, log_weights: FloatArray) -> Taken:
    """Return draws of equal weight in place of weighted ones.

    ``log_weights``, shape ``(chain, draw)``, may lack a constant; −∞ is a weight of zero. They
    are taken as they are, smoothed or not. As many draws are resampled as there are proposals, and
    each counts its copies. Where the proposals were chains, the copies count for more, by how much
    less than its length the chain is worth: errors have both causes then.

    Raises
    ------
    ValueError
        If a weight is NaN or +∞, or none is positive.
    """
    __tracebackhide__ = True
    draws = taken.draws
    log_w = np.ravel(log_weights)
    n = log_w.size
    if np.isnan(log_w).any() or np.isposinf(log_w).any() or not np.isfinite(log_w).any():
        raise ValueError("log_weights must be numbers or −∞, and not all of them −∞")
    weight = np.exp(log_w - log_w.max())
    weight /= weight.sum()
    found = Weights(weight, np.nan, float(1 / np.sum(weight**2)), int((weight == 0).sum()))
    index = systematic(weight, n, np.random.default_rng(_SEED))
    flat = draws.values.reshape(n, -1)
    copies = np.bincount(index, minlength=n)[index].astype(np.float64)
    memory = 1.0
    if not draws.iid:
        sizes = [effective_size(draws.values[:, :, i]) for i in range(flat.shape[1])]
        # A size that is not known is a figure without an error: NaN stays NaN.
        memory = float(np.max([1.0, n / np.min(sizes)]))
    stats = {"copies": memory * copies[None]} if memory > 1 or copies.max() > 1 else {}
    doubt = ""
    if not found.trusted:
        doubt = (
            f"{integer(n)} weighted draws have an effective sample size of "
            f"{number(found.ess, 3)}, and the largest weight is {percent(found.largest)} of their "
            f"sum (allowed: at least {percent(LEAST_SHARE)}, at most {percent(LARGEST)})"
        )
    return dataclasses.replace(
        taken,
        draws=Draws(draws.names, flat[index][None], stats=stats, iid=True),
        kind="approximation" if taken.kind == "approximation" else "weighted",
        diagnostics={
            **taken.diagnostics,
            "weight_ess": found.ess,
            "weight_largest": found.largest,
            "proposals": float(n),
        },
        doubt=doubt,
    )
