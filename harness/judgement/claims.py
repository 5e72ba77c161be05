"""Check the lecture's claims against the figures of the comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.methods import title
from harness.metrics import METRICS
from harness.records import Claim, ClaimResult, Estimate, Measure, RunResult
from harness.records.text import estimate, integer, number, percent, setting

_RUN_FIGURES = ("iterations", "eta", "seconds")

OF_RUN = "run."
"""Before the name of one of the run's own diagnostics: ``run.absolute_fired_at``."""

WITH = "with."
"""Before a diagnostic: the share of runs in which it is a number: ``with.relative_fired_at``."""


def check_claim(
    model: str, claim: Claim, measures: Sequence[Measure], runs: Sequence[RunResult]
) -> ClaimResult:
    """Measure a claim's figure and say whether the claim holds.

    A figure holds if it is on the right side of its bound; with ``near`` if it differs by at
    most ``within`` plus two standard errors. Where there is no figure, ``holds`` is None.
    """
    value, error, count = _figure(claim.figure, measures, runs)
    holds: bool | None = None
    if math.isfinite(value) or (math.isinf(value) and count > 0):
        holds = _holds(value, error, claim.expect)
    return ClaimResult(
        model=model,
        claim=claim.text,
        source=claim.source,
        expected=_expected(claim.expect),
        measured=value,
        error=error,
        holds=holds,
        sentence=_sentence(claim, value, error, count),
    )


def _figure(
    figure: Mapping[str, Any], measures: Sequence[Measure], runs: Sequence[RunResult]
) -> tuple[float, float, int]:
    """Return the value, its standard error and the number of seeds."""
    method, metric, quantity = figure["method"], figure["metric"], figure.get("quantity")
    own_runs = [r for r in runs if r.spec.method == method]
    if metric.startswith("share_"):
        wanted = metric.removeprefix("share_")
        return _share([r.status == wanted for r in own_runs])
    if metric.startswith(WITH):
        name = metric.removeprefix(WITH)
        # NaN means that it did not happen; a run without the figure says nothing.
        known = [r.diagnostics[name] for r in own_runs if name in r.diagnostics]
        return _share([math.isfinite(v) for v in known])
    if metric in _RUN_FIGURES or metric.startswith(OF_RUN):
        name = metric.removeprefix(OF_RUN)
        found = [
            r.cost.seconds if metric == "seconds" else r.diagnostics.get(name, math.nan)
            for r in own_runs
        ]
        values = [Estimate(v, 0.0) for v in found if not math.isnan(v)]
    else:
        values = _by_seed(method, metric, quantity, measures)
    value, error = _summarise(values, figure.get("over", "mean"))
    if figure.get("beside") is not None:
        other = {"method": figure["beside"], "metric": metric}
        value, error = _ratio(value, error, *_figure(other, measures, runs)[:2])
    return value, error, len(values)


def _ratio(value: float, error: float, other: float, its_error: float) -> tuple[float, float]:
    """Return value / other with its standard error by the delta method, NaN without a divisor."""
    if not other > 0:
        return math.nan, math.nan
    return value / other, math.hypot(error, value * its_error / other) / other


def _share(true: Sequence[bool]) -> tuple[float, float, int]:
    n = len(true)
    if n == 0:
        return math.nan, math.nan, 0
    share = sum(true) / n
    return share, math.sqrt(share * (1 - share) / n), n


def _by_seed(
    method: str, metric: str, quantity: str | None, measures: Sequence[Measure]
) -> list[Estimate]:
    """Return one estimate for each seed: of the quantity, or of the worst one if none is named."""
    by_seed: dict[int | None, list[Estimate]] = {}
    for m in measures:
        if (m.method, m.metric) == (method, metric) and quantity in {None, m.quantity}:
            by_seed.setdefault(m.seed, []).append(Estimate(m.value, m.mcse))
    return [
        max(cells, key=lambda e: math.inf if math.isnan(e.value) else abs(e.value))
        for cells in by_seed.values()
    ]


def _summarise(values: Sequence[Estimate], over: str) -> tuple[float, float]:
    if not values:
        return math.nan, math.nan
    v = np.array([e.value for e in values])
    se = np.array([e.mcse for e in values])
    n = len(v)
    if over in {"worst", "best"}:
        pick = int(np.argmax(np.abs(v)) if over == "worst" else np.argmin(np.abs(v)))
        return float(v[pick]), float(se[pick])
    if n == 1:
        return (math.nan, math.nan) if over == "spread" else (float(v[0]), float(se[0]))
    sd = float(np.std(v, ddof=1)) if np.all(np.isfinite(v)) else math.inf
    if over == "spread":
        return sd, sd / math.sqrt(2 * (n - 1))
    if over == "median":
        # 1.2533 = sqrt(pi / 2): the median's efficiency for a normal spread over seeds.
        return float(np.median(v)), 1.2533 * sd / math.sqrt(n)
    return float(np.mean(v)), sd / math.sqrt(n)


def _holds(value: float, error: float, expect: Mapping[str, float]) -> bool:
    if "at_most" in expect:
        return value <= expect["at_most"]
    if "at_least" in expect:
        return value >= expect["at_least"]
    allowed = expect.get("within", 0.0) + (2 * error if math.isfinite(error) else 0.0)
    return abs(value - expect["near"]) <= allowed


def _expected(expect: Mapping[str, float]) -> str:
    if "at_most" in expect:
        return f"at most {setting(expect['at_most'])}"
    if "at_least" in expect:
        return f"at least {setting(expect['at_least'])}"
    near = setting(expect["near"])
    if "within" not in expect:
        return near
    return f"{near} ± {setting(float(format(expect['within'], '.2g')))}"


_OVER = {
    "mean": "mean over {n} seeds",
    "median": "median of {n} seeds",
    "worst": "worst of {n} seeds",
    "best": "best of {n} seeds",
    "spread": "spread over {n} seeds",
    "share": "mean over {n} seeds",
}

NOTHING = 1e-12
"""Errors below this are rounding, not errors."""

_READABLE = 1e7
"""Whole numbers below this are written out."""

RUN_WORDS: Mapping[str, str] = {
    "seconds": "seconds a run",
    "eta": "step size",
    "with.relative_fired_at": "the relative rule fired",
    "with.absolute_fired_at": "the absolute rule fired",
    "relative_fired_at": "iteration at which the relative rule fired",
    "absolute_fired_at": "iteration at which the absolute rule fired",
    "fired_apart": "iterations by which the relative rule fired later",
    "final_mean": "mean of the first parameter, unconstrained",
    "wander": "distance that q's mean moved after the ELBO levelled off, in q's sds",
    "variance_ratio": "variance of the plain score function over the reparameterised gradient's",
    "kl": "KL divergence, in nats",
    "sigma": "sd of the optimum",
    "basins": "basins found",
}
"""Figures of the runs themselves; the metrics' words are in their table."""


def _words(name: str) -> str:
    """Return a figure in words: of a logarithm as such, since claims are about the logarithm."""
    if name in METRICS:
        metric = METRICS[name]
        return f"ln of the {metric.title}" if metric.log else metric.title
    return RUN_WORDS.get(name, name.replace("_", " "))


def _sentence(claim: Claim, value: float, error: float, count: int) -> str:
    figure = claim.figure
    metric = str(figure["metric"])
    method = title(str(figure["method"]))
    beside = title(str(figure["beside"])) if figure.get("beside") else ""
    if count == 0 or math.isnan(value):
        whose = f"{method} or {beside}" if beside else method
        return f"could not be measured: no {metric} of {whose}"
    if metric.startswith("share_"):
        status = metric.removeprefix("share_").replace("_", " ")
        return f"{method}: {percent(value)} of {count} runs ended “{status}”"
    if metric.startswith(WITH):
        what = RUN_WORDS.get(metric) or _words(metric.removeprefix(WITH))
        return f"{method}: {what} in {percent(value)} of {count} runs"
    what = _words(metric.removeprefix(OF_RUN))
    of = f" of {figure['quantity']}" if figure.get("quantity") else ""
    over = "" if count == 1 else f" ({_OVER[str(figure.get('over', 'mean'))].format(n=count)})"
    by = f" divided by the mean of {beside}" if beside else ""
    return f"{method}: {what}{of}{by} {_with_error(value, error)}{over}"


def _with_error(value: float, error: float) -> str:
    """Write a figure with its error, or with four digits where it has none."""
    if math.isfinite(value) and math.isfinite(error) and error > NOTHING:
        return estimate(value, error)
    whole = math.isfinite(value) and value == round(value) and abs(value) < _READABLE
    return integer(value) if whole else number(value, 4)
