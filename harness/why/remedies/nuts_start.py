"""Where NUTS may start from q: a draw for each chain, and q's variances as inverse metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.records.names import stan_name, variables
from harness.records.text import listed
from harness.stan.bridge import BridgeError

if TYPE_CHECKING:
    from harness.records import Draws, FloatArray
    from harness.stan.bridge import BridgeModel

MOST = 500
"""Draws from which variances are estimated: an sd to 3% is enough where adaptation begins."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where NUTS starts: options of its run, plain lists and numbers."""

    points: tuple[Mapping[str, Any], ...]
    """For each chain the parameters by name, constrained scale, nested as Stan's JSON."""
    inv_metric: tuple[float, ...]
    """Variances on the unconstrained scale, one a parameter."""

    @property
    def options(self) -> dict[str, Any]:
        """The two options as :mod:`harness.methods.nuts` takes them."""
        return {"start": [dict(p) for p in self.points], "inv_metric": list(self.inv_metric)}


def start_from(
    draws: Draws, model: BridgeModel, chains: int, rng: np.random.Generator
) -> Start | str:
    """Choose a start for each chain among q's draws (constrained), and estimate q's variances.

    A string says why there is none.
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
    return Start(tuple(points[:chains]), tuple(float(v) for v in variances))
