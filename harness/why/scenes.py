"""Evidence that causes need of the best fits: ridges, correlation, widths, basins."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from harness import metrics
from harness.records import Estimate, FamilyName
from harness.stan.density import Density
from harness.vi.deterministic import Objective, response_variances
from harness.vi.deterministic.fullrank import FULLRANK_LIMIT
from harness.vi.family_optimum import Best, climb
from harness.vi.target import TimeLimitError
from harness.why.causes.row import COUNTS
from harness.why.family_search import Family, Search
from harness.why.fits import Fit
from harness.why.posterior import Posterior, stan_names
from harness.why.ridge import DENSITIES, ridge

SHAPE_S = 10.0
"""Seconds of densities that a rough sample may take where nothing else shows the shape."""

PREDICTED = 0.3
"""Share of full-rank's gain that its correlations must explain before the gain counts as theirs."""

WIDENED, PRODUCTS, WIDER = 8, 120, 1.15
"""Parameters whose sd by linear response is looked at where there is no Hessian, gradients at all
base draws that one is taken to need, and how many times wider is correlation: the close limit."""

CLIMBS_S = 2e-4
"""Seconds of a density up to which fits are followed uphill, to see in which basin they are."""


def falls_between(search: Search, best: Best) -> float | None:
    """Return by how much log p falls on the way between all basins, if none is separate."""
    d, modes = search.target.dimension, best.modes
    if len(modes) == 1 or DENSITIES * (len(modes) - 1) * search.seconds > SHAPE_S:
        return None
    thetas = np.array([b.theta for b in modes])
    means = thetas[:, :d]
    sd = np.sqrt(np.var(means, axis=0) + np.exp(2 * thetas[:, d:]).mean(axis=0))
    most = 0.0
    for other in means[1:]:
        try:
            falls = ridge(search.target, (means[0], other), sd, search.clock)
        except TimeLimitError:
            return None
        if falls is None:
            return None
        most = max(most, falls)
    return most


def correlation_cost(
    search: Search, found: Mapping[FamilyName, Family], posterior: Posterior | None
) -> Estimate | None:
    """Return how much closer the best full-rank Gaussian is than the best mean-field one."""
    d = search.target.dimension
    if d > FULLRANK_LIMIT and posterior is not None:
        return metrics.correlation_gap(posterior.z, posterior.effective)
    if d > FULLRANK_LIMIT:
        search.notes.append(
            f"with over {FULLRANK_LIMIT} parameters only draws of a trusted reference show what "
            "correlation costs, and there are none"
        )
    if "fullrank" not in found:
        return None
    full = found["fullrank"].best.q
    try:
        predicted = metrics.correlation_nats(full.covariance)
        closer = search.elbos([full, found["meanfield"].best.q])[1].below
    except (TimeLimitError, ValueError):
        return None
    # Otherwise it is closer for another reason: it may sit in another basin.
    return closer if predicted > PREDICTED * closer.value else None


def widened(search: Search, best: Best, bridged: Density) -> tuple[str, float] | None:
    """Return the parameter whose sd linear response widens most, and how many times.

    Without a Hessian some parameters are looked at, by conjugate gradients.
    """
    optimum, d = best.optimum, search.target.dimension
    if optimum.covariance is not None:
        chosen, variance = np.arange(d), np.diag(optimum.covariance) / optimum.sd**2
    else:
        few = Objective(search.target, optimum.objective.eps[:1], search.clock)
        if WIDENED * PRODUCTS * few.draws * optimum.seconds_per_point > SHAPE_S:
            return None
        chosen = np.unique(np.linspace(0, d - 1, WIDENED).astype(int))
        try:
            variance, ended = response_variances(few, optimum.theta, chosen)
        except TimeLimitError:
            return None
        if ended != "solved":
            return None
    k = int(np.argmax(variance))
    times = math.sqrt(max(float(variance[k]), 0.0))
    if not times > WIDER:
        return None
    return stan_names(bridged.unconstrained_names())[int(chosen[k])], times


def basin_of(search: Search, best: Best, fit: Fit, below: Estimate) -> Estimate | None:
    """Return how much lower the optimum is to which climbing from q leads, if another one."""
    counts = below.value - 2 * below.mcse > COUNTS
    if fit.q is None or not counts or search.seconds > CLIMBS_S:
        return None
    try:
        return climb(search.target, best, fit.q, search.rng, search.clock)
    except TimeLimitError:
        return None
