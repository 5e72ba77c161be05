"""From draws as Stan writes them back to the unconstrained scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.records.names import stan_name, variables
from harness.stan.bridge import BridgeError, BridgeModel

if TYPE_CHECKING:
    from harness.records import Draws, FloatArray


class MissingParametersError(ValueError):
    """Draws without some of the program's parameters."""


def unconstrained(model: BridgeModel, draws: Draws, index: Sequence[int]) -> FloatArray:
    """Return chosen draws on the unconstrained scale, shape ``(len(index), d)``.

    A draw that violates its constraint, as one that was rounded onto a bound, is a row of NaN.

    Parameters
    ----------
    index
        Into the draws of all chains, one chain after the other.

    Raises
    ------
    MissingParametersError
        If the draws do not have all parameters.
    """
    names = [stan_name(n) for n in model.constrained_names(transformed=False, generated=False)]
    have = {name: i for i, name in enumerate(draws.names)}
    absent = [n for n in names if n not in have]
    if absent:
        msg = f"the draws lack {', '.join(absent[:4])}" + (" …" if len(absent) > 4 else "")  # noqa: PLR2004
        raise MissingParametersError(msg)
    flat = draws.values.reshape(-1, draws.values.shape[2])
    chosen = flat[np.asarray(index)][:, [have[n] for n in names]]
    by_name = variables(names, chosen[None])
    out = np.full((len(chosen), model.dimension), np.nan)
    for i in range(len(chosen)):
        try:
            out[i] = model.unconstrain({k: v[0, i] for k, v in by_name.items()})
        except BridgeError:
            continue
    return out
