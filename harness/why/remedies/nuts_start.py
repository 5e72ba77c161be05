"""Where NUTS may start from q: a draw for each chain, and q's variances as inverse metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.records.names import stan_name, variables
from harness.records.text import listed
from harness.stan.bridge import BridgeError

if TYPE_CHECKING:
    from harness.records import Draws, FloatArray
    from harness.stan.bridge import BridgeModel
    from harness.why.remedies.row import Options

MOST = 500
"""Draws from which variances are estimated: an sd to 3% is enough where adaptation begins."""


def start_from(
    draws: Draws, model: BridgeModel, chains: int, rng: np.random.Generator
) -> Options | str:
    """Choose a start for each chain among q's draws (constrained), and estimate q's variances.

    Returns :mod:`harness.methods.nuts`' options: ``start``, for each chain the parameters by name,
    nested as Stan's JSON, and ``inv_metric``, variances on the unconstrained scale. A string says
    why there is no start.
    """
    parameters = [stan_name(n) for n in model.constrained_names(transformed=False)]
    absent = [p for p in parameters if p not in draws.names]
    if absent:
        return f"q's draws lack {listed(absent, 4)}"
    values = draws.values[:, :, [draws.names.index(p) for p in parameters]]
    flat = values.reshape(-1, len(parameters))
    usable = np.isfinite(flat).all(axis=1)
    if draws.log_p is not None:
        usable &= np.isfinite(draws.log_p.reshape(-1))
    flat = flat[usable]
    points: list[dict[str, Any]] = []
    rows: list[FloatArray] = []
    why = "none is finite and has a density"
    for theta in flat[rng.permutation(len(flat))[:MOST]]:
        point = {k: v[0, 0].tolist() for k, v in variables(parameters, theta[None, None]).items()}
        try:
            rows.append(model.unconstrain(point))
        except BridgeError as error:
            why = str(error)
            continue
        points.append(point)
    if len(points) < max(chains, 2):
        return f"only {len(points)} of q's draws can be starting points: {why}"
    variances = np.var(np.stack(rows), axis=0, ddof=1)
    if not (np.isfinite(variances) & (variances > 0)).all():
        return "q's variances are not all positive and finite: it has collapsed or run away"
    return {"start": points[:chains], "inv_metric": [float(v) for v in variances]}
