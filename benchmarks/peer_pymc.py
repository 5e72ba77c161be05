"""The lecture's fits in PyMC, timed with compilation; peers.py runs this where there is PyMC.

Prints one JSON object per case. It imports nothing of the harness, which PyMC's environment need
not have.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm  # type: ignore[import-not-found, unused-ignore]
import pytensor  # type: ignore[import-not-found, unused-ignore]

RATE = 0.05
"""Adam's first rate. It falls to 0 by a cosine, as in JAX: a constant one leaves noise."""


def cpu_s() -> float:
    """Return the CPU's seconds of this process and of its children, such as a compiler."""
    both = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def advi(steps: int) -> Any:
    """Fit mean-field to the model of the context."""
    rate = pytensor.shared(np.asarray(RATE, dtype=pytensor.config.floatX))

    def fall(_approximation: Any, _losses: Any, step: int) -> None:
        rate.set_value(np.asarray(0.5 * RATE * (1 + math.cos(math.pi * step / steps))))

    adam = pm.adam(learning_rate=rate)
    return pm.fit(steps, obj_optimizer=adam, callbacks=[fall], progressbar=False)


def mixture() -> Any:
    """Return the lecture's mixture."""
    with pm.Model() as model:
        pm.NormalMixture("x", w=[0.2, 0.8], mu=[-0.3, 0.5], sigma=[0.1, 0.1])
    return model


def svgd(_: dict[str, Any]) -> float:
    """Run SVGD on the mixture, 1000 particles, 300 iterations; return the left mode's share."""
    with mixture():
        found = pm.fit(
            300,
            method="svgd",
            inf_kwargs={"n_particles": 1000},
            obj_optimizer=pm.sgd(learning_rate=0.01),
            progressbar=False,
        )
        x = found.sample(2000).posterior["x"].to_numpy()
    return float(np.mean(x < 0.1))  # noqa: PLR2004 - the valley


def meanfield(data: dict[str, Any]) -> float:
    """Fit mean-field to the regression, 20 000 iterations; return the slope's mean."""
    with pm.Model():
        sigma = pm.HalfCauchy("sigma", beta=10)
        intercept = pm.Normal("intercept", 0, sigma=20)
        slope = pm.Normal("slope", 0, sigma=20)
        x = np.asarray(data["x"])
        pm.Normal("y", mu=intercept + slope * x, sigma=sigma, observed=np.asarray(data["y"]))
        found = advi(20_000)
        return float(found.sample(5000).posterior["slope"].mean())


def minibatch(data: dict[str, Any]) -> float:
    """Fit batches of 500 rows of the wide data, 10 000 steps; return the worst error of a mean."""
    y = np.load(data["wide"])
    with pm.Model():
        mu = pm.Flat("mu", shape=y.shape[1])
        sd = pm.HalfNormal("sd", shape=y.shape[1])
        batch = pm.Minibatch(y, batch_size=500)
        pm.Normal("y", mu=mu, sigma=sd, observed=batch, total_size=len(y))
        found = advi(10_000)
        mean = found.sample(1000).posterior["mu"].mean(("chain", "draw")).to_numpy()
    exact, unit = y.mean(axis=0), y.std(axis=0) / np.sqrt(len(y))
    return float(np.max(np.abs(mean - exact) / unit))


CASES: dict[str, Callable[[dict[str, Any]], float]] = {
    "svgd": svgd,
    "meanfield": meanfield,
    "minibatch": minibatch,
}


def main() -> None:
    """Read the data as JSON from standard input and print a line per case."""
    data = json.load(sys.stdin)
    for name, case in CASES.items():
        begin = cpu_s()
        result = case(data)
        line = {"case": name, "peer": "PyMC", "seconds": cpu_s() - begin, "result": result}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
