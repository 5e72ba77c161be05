"""Summaries of one sample: mean, sd and quantiles. They have no limits."""

from __future__ import annotations

from collections.abc import Callable

from harness.metrics.metric import Column, Metric
from harness.metrics.sample import Sample
from harness.records import NO_ESTIMATE, Estimate


def _summary(name: str, noun: str, of: Callable[[Sample], Estimate], column: str = "") -> Metric:
    return Metric(
        id=name,
        noun=noun,
        scope="draws",
        measure=lambda own: of(own) if own.finite else NO_ESTIMATE,
        digits=3,
        column=Column(name, column) if column else None,
    )


def _quantile(name: str, noun: str) -> Metric:
    return _summary(name, noun, lambda s: Estimate(s.quantiles[name], s.quantile_mcse(name)))


MEAN = _summary("mean", "mean", lambda s: Estimate(s.mean, s.mean_mcse), "mean of the draws")
SD = _summary("sd", "sd", lambda s: Estimate(s.sd, s.sd_mcse), "standard deviation of the draws")
Q5 = _quantile("q5", "5% quantile")
Q50 = _quantile("q50", "median")
Q95 = _quantile("q95", "95% quantile")
SUMMARIES = (MEAN, SD, Q5, Q50, Q95)
