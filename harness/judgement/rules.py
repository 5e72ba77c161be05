"""A model's limits, and what a figure with an error says of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from statistics import NormalDist

from harness.metrics import METRICS
from harness.metrics.errors import FALSE_ALARM
from harness.records import Closeness, Estimate, Measure, Model, Rule
from harness.records.text import setting

UNBOUNDED = 0.05
"""Chance, per model, that a figure's error is larger than the bound that a pass gives."""


def rules_for(model: Model | None = None) -> dict[str, Rule]:
    """Return all rules by metric, with the limits that a model folder changes.

    Raises ValueError if a model sets a limit of no metric, an unknown limit, one that is not a
    number, or a close limit beyond the wrong one.
    """
    rules = {m.id: m.rule for m in METRICS.values() if m.rule is not None}
    for metric, limits in (model.limits if model is not None else {}).items():
        if metric not in rules:
            raise ValueError(f"limits.{metric}: no such metric; there are {', '.join(rules)}")
        unknown = sorted(set(limits) - {"close", "wrong"})
        if unknown:
            raise ValueError(f"limits.{metric}.{unknown[0]}: only close and wrong can be set")
        rule = replace(
            rules[metric],
            close=float(limits.get("close", rules[metric].close)),
            wrong=float(limits.get("wrong", rules[metric].wrong)),
        )
        if rule.at_least and "wrong" not in limits:
            rule = replace(rule, wrong=min(rule.wrong, rule.close))
        order = (rule.wrong, rule.close) if rule.at_least else (rule.close, rule.wrong)
        if not (0 <= order[0] <= order[1] < math.inf):
            msg = (
                f"limits.{metric}: close {setting(rule.close)} and wrong {setting(rule.wrong)}; "
                "expected two numbers from 0 on, and wrong the more lenient one"
            )
            raise ValueError(msg)
        rules[metric] = rule
    return rules


@cache
def bound_z(z: float) -> float:
    """Return the one-sided 5% quantile, Bonferroni over d, that goes with ``critical_z(d)``."""
    share = NormalDist().cdf(-z) / (FALSE_ALARM / 4)  # 1 / d
    return NormalDist().inv_cdf(1 - UNBOUNDED * min(share, 1.0))


def size(value: float, rule: Rule) -> float:
    """Return how bad a value is: the larger, the worse."""
    if rule.direction == "both":
        return abs(value)
    return -value if rule.at_least else value


def closeness(
    measure: Measure | Estimate, rule: Rule, z: float, typical: float | None = None
) -> Closeness:
    """Say what a figure with its standard error means under a rule.

    *wrong* or *off* where the value less z errors exceeds that limit. Otherwise *close* where it
    is bounded: |value| + z₁ errors are at most 1.5 × the close limit (``bound_factor``), with z₁ of
    :func:`bound_z`; and *unsure* where it is not. Of several seeds ``typical`` takes the place of
    the value in the bound: their mean size (:func:`typical_sizes`). The error stays that of one
    run, because the reference's own part of it is common to all. NaN is *unsure*, infinity *wrong*.
    Alarms ring on the value itself.
    """
    sign = -1.0 if rule.at_least else 1.0
    value = size(measure.value, rule)
    mcse = 0.0 if rule.alarm else measure.mcse
    if value == math.inf:
        return "wrong"
    if not (math.isfinite(measure.value) and 0 <= mcse < math.inf):
        return "unsure"
    least = value - z * mcse
    if rule.chi_squared and mcse > 0:
        least = _least_sd(value, mcse, z)
    if least > sign * rule.wrong:
        return "wrong"
    if least > sign * rule.close:
        return "off"
    most = (value if typical is None else typical) + bound_z(z) * mcse
    return "close" if mcse == 0 or most <= sign * rule.close * rule.bound_factor**sign else "unsure"


def _least_sd(sd: float, mcse: float, z: float) -> float:
    """Return the lower bound sd √(k / χ²) of an sd whose error says how many values it is of."""
    from scipy.special import chdtri

    freedom = (sd / mcse) ** 2 / 2
    return sd * math.sqrt(freedom / float(chdtri(freedom, NormalDist().cdf(-z)))) if sd > 0 else 0.0


Cell = tuple[str, str | None, str]
"""A method's figure: method, quantity, metric."""


def typical_sizes(
    measures: Iterable[Measure],
    rule_of: Callable[[Measure], Rule],
    z_of: Callable[[str | None], float],
) -> dict[Cell, float]:
    """Return the mean size of each figure over the seeds that are neither off nor wrong."""
    sizes: dict[Cell, list[float]] = {}
    for m in measures:
        if m.seed is not None and closeness(m, rule_of(m), z_of(m.quantity)) in {"close", "unsure"}:
            value = size(m.value, rule_of(m))
            if math.isfinite(value):
                sizes.setdefault((m.method, m.quantity, m.metric), []).append(value)
    return {cell: sum(found) / len(found) for cell, found in sizes.items()}


def draws_needed(
    measure: Measure,
    rule: Rule,
    z: float,
    draws: float,
    typical: float | None = None,
    share: float = 1.0,
) -> float | None:
    """Return how many draws of the scarcer sample decide, in two figures.

    Of the value, z errors may be noise, and may be so again. With an error of t, the larger of
    (1.5 limit − v) / (z + z₁) and (|value| − limit) / z for v = |value| − z se, not below 0, the
    value is then bounded or off. ``share`` is the sample's part of the squared error, which alone
    shrinks; infinite where the other part is too large already. None where the error is unknown.
    """
    value, mcse = size(measure.value, rule), measure.mcse
    if not (math.isfinite(value) and 0 < mcse < math.inf and math.isfinite(draws)):
        return None
    least = max((value if typical is None else typical) - z * mcse, 0.0)
    limit = rule.close * rule.bound_factor
    enough = max((limit - least) / (z + bound_z(z)), (value - rule.close) / z) / mcse
    left = enough**2 - (1 - share)
    if not enough > 0:
        return None
    if not left > 0 or not math.isfinite(draws * share / left):
        return math.inf
    needed = draws * share / left
    unit = 10.0 ** max(math.floor(math.log10(needed)) - 1, 0)
    return math.ceil(needed / unit) * unit
