"""Which quantities, pairs and windows to draw. No verdict depends on these choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.bias import MEDIAN
from harness.metrics.probability import PROBABILITY
from harness.metrics.wasserstein import W1
from harness.records import Draws, FloatArray, ModelComparison, RunResult
from harness.report.figures import canvas
from harness.report.figures.looks import in_order

BoolArray = NDArray[np.bool_]

DISTANCES = {W1.id, MEDIAN.id, PROBABILITY.id}
"""The distance of a quantity of each kind; all have the same limits but for a factor of two."""

QUANTITIES = 12
"""Quantities that a reader can pick one by one."""

MOST_TELLING = 3
"""Quantities that are drawn at once."""

PAIR_CANDIDATES = 12
_PAIR_DRAWS = 2000


class Window(NamedTuple):
    """The part of an axis that is drawn."""

    low: float
    high: float

    def holds(self, values: FloatArray) -> BoolArray:
        """Return which of ``values`` lie inside, as booleans."""
        return np.asarray((values >= self.low) & (values <= self.high))


class Pair(NamedTuple):
    """Two quantities, their correlation in the reference and, per method, in its runs."""

    first: str
    second: str
    reference: float
    by_method: dict[str, list[float]]


def methods_of(comparison: ModelComparison) -> list[str]:
    """Return the methods that were run, NUTS first."""
    shown = {"nuts", comparison.reference.method, *(v.method for v in comparison.verdicts)}
    made = (run.spec.method for run in comparison.runs)
    return in_order((method for method in made if method in shown), nuts_first=True)


def compared_methods(comparison: ModelComparison) -> list[str]:
    """Return the methods without the reference, which has no error to show."""
    own = comparison.reference.method
    return [method for method in methods_of(comparison) if method != own]


def runs_of(comparison: ModelComparison, method: str) -> list[RunResult]:
    """Return a method's runs by seed."""
    runs = [run for run in comparison.runs if run.spec.method == method]
    return sorted(runs, key=lambda run: run.spec.seed)


def column(draws: Draws | None, name: str) -> FloatArray | None:
    """Return all finite draws of one scalar, chains end to end; None where there are none."""
    if draws is None or name not in draws.names:
        return None
    values = draws.quantity(name).ravel()
    finite = values[np.isfinite(values)]
    return finite if finite.size else None


def quantity_names(comparison: ModelComparison) -> list[str]:
    """Return every compared quantity, in the order of the measures."""
    names = dict.fromkeys(m.quantity for m in comparison.measures if m.quantity is not None)
    if names:
        return list(names)
    return list(comparison.reference.draws.names) if comparison.reference.draws else []


def worst_first(comparison: ModelComparison) -> list[str]:
    """Return the quantities by their distance from the reference, worst first.

    The worst method counts, with its typical (median) seed, so that a single runaway, which is
    far off in every quantity, does not decide. NaN sorts as worst.
    """
    distances: dict[str, dict[str, list[float]]] = {}
    for measure in comparison.measures:
        if measure.metric in DISTANCES and measure.quantity is not None:
            size = abs(measure.value)
            seeds = distances.setdefault(measure.quantity, {}).setdefault(measure.method, [])
            seeds.append(math.inf if math.isnan(size) else size)
    typical = {
        name: max(sorted(seeds)[(len(seeds) - 1) // 2] for seeds in by_method.values())
        for name, by_method in distances.items()
    }
    return sorted(quantity_names(comparison), key=lambda n: -typical.get(n, -math.inf))


def shown_quantities(comparison: ModelComparison, at_most: int) -> list[str]:
    """Return all quantities in model order if they are few, else the worst."""
    names = quantity_names(comparison)
    return names if len(names) <= at_most else worst_first(comparison)[:at_most]


def telling(comparison: ModelComparison) -> list[str]:
    """Return the quantities that can be picked, the most telling ones first."""
    few = shown_quantities(comparison, MOST_TELLING)
    return list(dict.fromkeys([*few, *worst_first(comparison)]))[:QUANTITIES]


def window(values: FloatArray, widen: float = 0.3) -> Window:
    """Return the central 99% of ``values``, widened by ``widen`` of itself on both sides."""
    low, high = (float(q) for q in np.quantile(values, (0.005, 0.995)))
    room = widen * (high - low)
    if room <= 0:
        room = max(1e-6, abs(low) * 0.1)
    return Window(low - room, high + room)


def view(comparison: ModelComparison, name: str) -> Window | None:
    """Return the window for one quantity: the reference's, never a runaway's.

    Without a reference it is the middle of the methods' pooled draws.
    """
    reference = column(comparison.reference.draws, name)
    if reference is not None:
        return window(reference)
    columns = [column(run.draws, name) for run in comparison.runs]
    pooled = [canvas.thin(c, 500) for c in columns if c is not None]
    if not pooled:
        return None
    low, high = (float(q) for q in np.quantile(np.concatenate(pooled), (0.1, 0.9)))
    room = max(0.6 * (high - low), 1e-6)
    return Window(low - room, high + room)


def correlations(draws: Draws, names: Sequence[str]) -> FloatArray:
    """Return the correlation matrix of a thinned sample; NaN where a column is constant."""
    picks = [draws.names.index(n) for n in names]
    flat = canvas.thin(draws.values.reshape(-1, draws.values.shape[-1]), _PAIR_DRAWS)[:, picks]
    with np.errstate(all="ignore"):
        centred = flat - flat.mean(axis=0)
        covariance = centred.T @ centred
        scale = np.sqrt(np.diag(covariance))
        matrix: FloatArray = covariance / np.outer(scale, scale)
    return matrix


def worst_pair(comparison: ModelComparison) -> Pair | None:
    """Return the two quantities whose correlation the typical seed of a method gets most wrong.

    Looks among the worst dozen quantities that the reference has.
    """
    reference = comparison.reference.draws
    if reference is None:
        return None
    names = [n for n in worst_first(comparison) if n in reference.names][:PAIR_CANDIDATES]
    if len(names) < 2:  # noqa: PLR2004 - a pair
        return None
    truth = correlations(reference, names)
    worst = np.zeros_like(truth)
    by_method: dict[str, list[FloatArray]] = {}
    for method in compared_methods(comparison):
        for run in runs_of(comparison, method):
            if run.draws is not None and set(names) <= set(run.draws.names):
                by_method.setdefault(method, []).append(correlations(run.draws, names))
        if method in by_method:
            errors = np.abs(np.stack(by_method[method]) - truth)
            typical = np.median(np.nan_to_num(errors, nan=0.0), axis=0)
            worst = np.maximum(worst, typical)
    worst = np.triu(np.nan_to_num(worst, nan=0.0), 1)
    i, j = (int(k) for k in np.unravel_index(int(np.argmax(worst)), worst.shape))
    if i == j:  # no error anywhere: the first two
        i, j = 0, 1
    return Pair(
        names[i],
        names[j],
        float(truth[i, j]),
        {method: [float(m[i, j]) for m in found] for method, found in by_method.items()},
    )
