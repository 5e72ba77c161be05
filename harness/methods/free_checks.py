"""What a fit's own draws say against it: no gradient and no reference is needed for that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.methods.weighting import looked
from harness.metrics import METRICS, divergence, unusable
from harness.metrics.bias import MEDIAN, TAIL
from harness.metrics.errors import critical_z
from harness.metrics.sample import SD_PER_WIDTH
from harness.metrics.width import WIDTH
from harness.records import Doubt, Estimate, Reason
from harness.records.text import with_error

if TYPE_CHECKING:
    from harness.metrics import Metric
    from harness.records import FloatArray

LEAST_ESS = 400
"""Effective draws of the weights from which they may show that a fit is wrong, as many as a
reference of NUTS must have.

That is less than weighted draws need to be delivered: where q is too narrow few weights count, and
they lack mass where q has no draws, so that q is farther from the posterior than from its weighted
draws.
"""

CANDIDATES = 8
"""Quantities that are compared in full: those whose mean moves most, and whose sd changes most."""

LEVELS = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class Reweighted:
    """The weights p / q of a fit's own draws, shape ``(draw,)``, sum 1; None if too few count."""

    weight: FloatArray | None
    diagnostics: Mapping[str, float]
    notes: tuple[str, ...]


def reweighted(log_p: FloatArray, log_q: FloatArray) -> Reweighted:
    """Weight a fit's own draws, and estimate KL(q ‖ p) with its error.

    Log densities are in nats, shape ``(draw,)``, and may lack a constant. k-hat at two tail sizes
    is among the diagnostics and decides nothing: the effective sample size of the weights does
    (``LEAST_ESS``). ``kl``, in nats, is NaN where a density is not finite.
    """
    weights, notes, diagnostics = looked(log_p, log_q)
    kl = divergence(log_p, log_q)
    diagnostics = {**diagnostics, "kl": kl.value, "kl_error": kl.mcse}
    if not weights.ess >= LEAST_ESS:
        return Reweighted(None, diagnostics, ())
    return Reweighted(weights.weight, diagnostics, notes)


def moved(names: Sequence[str], values: FloatArray, weight: FloatArray) -> Doubt | None:
    """Return the figure in which a fit differs most from its own weighted draws, if it is wrong.

    The figures are the judge's errors of the median, of the 5% and 95% quantiles and of the 5–95%
    width, with the weighted draws for a reference. Means and modes are left out: a few heavy
    weights feign both. Bounds of quantiles are those of Woodruff (1952, *JASA* 47): where the
    distribution function plus or minus z of its standard errors crosses a level. An error is the
    distance from the figure to its bound, over z.

    Parameters
    ----------
    names
        Of the quantities, constrained scale.
    values
        Draws of the fit, shape ``(draw, quantity)``.
    weight
        Their weights p / q, shape ``(draw,)``, sum 1.

    Returns
    -------
    Doubt or None
        None where no figure exceeds its *wrong* limit by ``critical_z`` standard errors.
    """
    usable = [j for j, why in enumerate(unusable(values[None])) if why is None]
    z = critical_z(len(usable))
    even = np.full(len(weight), 1 / len(weight))
    found: list[tuple[float, Doubt]] = []
    for j in _candidates(values[:, usable], weight):
        column = values[:, usable[j]]
        own, theirs = _quantiles(column, even, z), _quantiles(column, weight, z)
        for metric, figure in _figures(own, theirs, z):
            wrong = math.inf if metric.rule is None else metric.rule.wrong
            least = abs(figure.value) - z * figure.mcse
            # A figure without an error shows nothing: NaN exceeds no limit.
            if least > wrong:
                doubt = Doubt(Reason.MOVED, metric.id, names[usable[j]], *figure, wrong)
                found.append((least / wrong, doubt))
    return max(found, key=lambda f: f[0])[1] if found else None


class _Quantile(NamedTuple):
    low: float
    value: float
    high: float


def _quantiles(x: FloatArray, weight: FloatArray, z: float) -> list[_Quantile]:
    """Return weighted quantiles at ``LEVELS`` with bounds of z standard errors."""
    order = np.argsort(x, kind="stable")
    x, w = x[order], weight[order]
    below, squares = np.cumsum(w), np.cumsum(w**2)
    variance = squares * (1 - 2 * below) + below**2 * squares[-1]
    error = z * np.sqrt(np.maximum(variance, 0))

    def crossing(curve: FloatArray, level: float) -> float:
        """Return the first draw from which on a curve is never below a level again."""
        under = np.flatnonzero(curve < level)
        at = int(under[-1]) + 1 if len(under) else 0
        return float(x[at]) if at < len(x) else math.inf

    def reaching(curve: FloatArray, level: float) -> float:
        """Return the first draw at which a curve reaches a level."""
        at = np.flatnonzero(curve >= level)
        return float(x[at[0]]) if len(at) else -math.inf

    return [
        _Quantile(reaching(below + error, p), crossing(below, p), crossing(below - error, p))
        for p in LEVELS
    ]


def _figures(
    own: Sequence[_Quantile], theirs: Sequence[_Quantile], z: float
) -> list[tuple[Metric, Estimate]]:
    """Return the errors of a fit's quantiles against those of its weighted draws."""
    wide, wider = (
        _Quantile(s[2].low - s[0].high, s[2].value - s[0].value, s[2].high - s[0].low)
        for s in (own, theirs)
    )
    unit = wider.value * SD_PER_WIDTH
    out = []
    for metric, a, b in zip((TAIL, MEDIAN, TAIL), own, theirs, strict=True):
        gap = a.value - b.value
        least = max(a.low - b.high, b.low - a.high, 0.0)
        out.append((metric, _estimate(gap / unit, least / unit, z)))
    ratio = math.log(wide.value / wider.value)
    apart = max(_log_ratio(wide.low, wider.high), _log_ratio(wider.low, wide.high), 0.0)
    return [*out, (WIDTH, _estimate(ratio, apart, z))]


def _log_ratio(low: float, high: float) -> float:
    return math.log(low / high) if low > 0 and math.isfinite(high) else -math.inf


def _estimate(value: float, least: float, z: float) -> Estimate:
    return Estimate(value, (abs(value) - least) / z)


def _candidates(values: FloatArray, weight: FloatArray) -> list[int]:
    """Return the columns whose mean or sd differs most: comparing all in full would take long."""
    with np.errstate(all="ignore"):
        mean, sd = values.mean(axis=0), values.std(axis=0)
        other = weight @ values
        spread = np.sqrt(weight @ (values - other) ** 2)
        shift, stretch = np.abs(mean - other) / spread, np.abs(np.log(sd / spread))
    chosen: set[int] = set()
    for size in (shift, stretch):
        # What overflows comes first.
        order = np.argsort(-np.nan_to_num(size, nan=np.inf), kind="stable")
        chosen |= {int(j) for j in order[:CANDIDATES]}
    return sorted(chosen)


def words(doubt: Doubt) -> str:
    """Say in which figure a fit differs from its own weighted draws, with its error and limit."""
    metric = METRICS[doubt.metric]
    figure = with_error(metric.shown(Estimate(doubt.value, doubt.mcse)))
    unit = f" {metric.unit}" if metric.unit else ""
    return (
        f"measured against its own draws weighted by p/q, the {metric.subject(doubt.quantity)} is "
        f"{figure}{unit} (wrong beyond {metric.bound(doubt.limit)})"
    )
