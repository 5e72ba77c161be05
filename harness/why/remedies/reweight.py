"""A fit's own draws, reweighted to the posterior where k-hat allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness import metrics
from harness.records import Draws
from harness.records.text import number
from harness.vi.deterministic.importance import delivered, smoothed_weights, systematic

if TYPE_CHECKING:
    from harness.records import FloatArray


def reweighted(draws: Draws, rng: np.random.Generator) -> tuple[Draws, float] | str:
    """Resample draws by Pareto-smoothed weights p / q.

    Parameters
    ----------
    draws
        Independent draws of q with ``log_p`` and ``log_q`` (nats, unconstrained scale), each up
        to a constant.
    rng
        For the resampling, which is systematic.

    Returns
    -------
    tuple or str
        As many draws as may pass for independent ones, shape ``(1, draw, quantity)``, without
        densities, for their weights are used up; and k-hat. Or a sentence that says why not:
        densities are missing, or k-hat is above min(1 − 1/log10 S, 0.7).
    """
    if draws.log_p is None or draws.log_q is None:
        return "its draws have no densities to weigh them by"
    if not draws.iid:
        return "its draws are not independent"
    log_p, log_q = draws.log_p.reshape(-1), draws.log_q.reshape(-1)
    limit = metrics.khat_limit(len(log_p))
    found = smoothed_weights(log_p, log_q, _khat)
    if not found.khat <= limit:
        return (
            f"k-hat is {number(found.khat)}, above {limit:.2f}: no weights make a sample of these "
            "draws"
        )
    count = delivered(len(log_p), found.ess)
    flat = draws.values.reshape(len(log_p), -1)
    index = systematic(found.weight, count, rng)
    return Draws(draws.names, flat[index][None], iid=True), found.khat


def _khat(log_p: FloatArray, log_q: FloatArray) -> float:
    return metrics.khat(log_p[None], log_q[None]).value
