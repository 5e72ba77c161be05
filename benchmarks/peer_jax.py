"""The lecture's fits in NumPyro and BlackJAX, with compilation; peers.py runs this where they are.

Prints one JSON object per case. It imports nothing of the harness, which their environment need not
have.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from collections.abc import Callable
from typing import Any

import blackjax  # type: ignore[import-not-found, unused-ignore]
import jax  # type: ignore[import-not-found, unused-ignore]
import jax.numpy as jnp  # type: ignore[import-not-found, unused-ignore]
import numpy as np
import numpyro  # type: ignore[import-not-found, unused-ignore]
import numpyro.distributions as dist  # type: ignore[import-not-found, unused-ignore]
import optax  # type: ignore[import-not-found, unused-ignore]
from numpyro.infer import SVI, Trace_ELBO, init_to_feasible  # type: ignore[import-not-found, unused-ignore]
from numpyro.infer.autoguide import AutoNormal  # type: ignore[import-not-found, unused-ignore]

jax.config.update("jax_enable_x64", True)  # noqa: FBT003 - JAX's own form


def cpu_s() -> float:
    """Return the CPU's seconds of this process and of its children."""
    both = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def regression(x: Any, y: Any) -> None:
    """Say the lecture's regression."""
    sigma = numpyro.sample("sigma", dist.HalfCauchy(10.0))
    intercept = numpyro.sample("intercept", dist.Normal(0.0, 20.0))
    slope = numpyro.sample("slope", dist.Normal(0.0, 20.0))
    numpyro.sample("y", dist.Normal(intercept + slope * x, sigma), obs=y)


def columns(y: Any) -> None:
    """Say the wide data, 500 rows at a time."""
    mu = numpyro.sample("mu", dist.ImproperUniform(dist.constraints.real, (), (y.shape[1],)))
    sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([y.shape[1]]).to_event(1))
    with numpyro.plate("rows", len(y), subsample_size=500) as rows:
        numpyro.sample("y", dist.Normal(mu, sd).to_event(1), obs=y[rows])


def fitted(model: Callable[..., None], steps: int, *given: Any) -> Any:
    """Return draws of a mean-field fit by Adam, its rate 0.05 at first, 0 at last."""
    # From zero, as everybody else here.
    guide = AutoNormal(model, init_loc_fn=init_to_feasible)
    adam = optax.adam(optax.cosine_decay_schedule(0.05, steps))
    svi = SVI(model, guide, adam, Trace_ELBO())
    found = svi.run(jax.random.key(1), steps, *given, progress_bar=False)
    return guide.sample_posterior(jax.random.key(2), found.params, *given, sample_shape=(1000,))


def meanfield(data: dict[str, Any]) -> float:
    """Fit mean-field to the regression, 20 000 steps; return the slope's mean."""
    draws = fitted(regression, 20_000, jnp.asarray(data["x"]), jnp.asarray(data["y"]))
    return float(draws["slope"].mean())


def minibatch(data: dict[str, Any]) -> float:
    """Fit batches of 500 rows of the wide data, 10 000 steps; return the worst error of a mean."""
    y = np.load(data["wide"])
    mean = np.asarray(fitted(columns, 10_000, jnp.asarray(y))["mu"]).mean(axis=0)
    return float(np.max(np.abs(mean - y.mean(axis=0)) / y.std(axis=0)) * math.sqrt(len(y)))


def log_mixture(x: Any) -> Any:
    """Return the log density of the lecture's mixture."""
    left, right = (x + 0.3) / 0.1, (x - 0.5) / 0.1
    return jnp.logaddexp(math.log(0.2) - left**2 / 2, math.log(0.8) - right**2 / 2).sum()


def svgd(_: dict[str, Any]) -> float:
    """Move 1000 particles 300 times on the mixture; return the left mode's share."""
    algorithm = blackjax.svgd(jax.grad(log_mixture), optax.adam(0.05))
    state = algorithm.init(jax.random.normal(jax.random.key(1), (1000, 1)))
    step = jax.jit(algorithm.step)
    for _step in range(300):
        state = step(state)
    return float((state.particles < 0.1).mean())  # noqa: PLR2004 - the valley


def pathfinder(data: dict[str, Any]) -> float:
    """Run four paths with 1000 resampled draws on the regression; return the slope's mean."""
    x, y = jnp.asarray(data["x"]), jnp.asarray(data["y"])

    def log_density(z: Any) -> Any:
        sigma = jnp.exp(z[0])
        prior = -jnp.log1p((sigma / 10) ** 2) + z[0] - (z[1:] ** 2).sum() / 800
        return prior - len(y) * z[0] - (((y - z[1] - z[2] * x) / sigma) ** 2).sum() / 2

    algorithm = blackjax.multipathfinder(log_density)
    starts = jax.random.uniform(jax.random.key(1), (4, 3), minval=-2, maxval=2)
    state, _ = algorithm.init(jax.random.key(2), starts, num_samples=1000)
    return float(algorithm.sample(jax.random.key(3), state, 1000)[:, 2].mean())


CASES: dict[tuple[str, str], Callable[[dict[str, Any]], float]] = {
    ("NumPyro", "meanfield"): meanfield,
    ("NumPyro", "minibatch"): minibatch,
    ("BlackJAX", "svgd"): svgd,
    ("BlackJAX", "pathfinder"): pathfinder,
}


def main() -> None:
    """Read the data as JSON from standard input and print a line per case."""
    data = json.load(sys.stdin)
    for (peer, name), case in CASES.items():
        begin = cpu_s()
        result = case(data)
        line = {"case": name, "peer": peer, "seconds": cpu_s() - begin, "result": result}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
