"""A model's limits, and what a figure with an error says of them."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

from harness.metrics import METRICS
from harness.records import Closeness, Estimate, Measure, Model, Rule
from harness.records.text import setting

FALSE_ALARM = 0.005
"""Chance, per model, that noise alone takes a figure over its limit."""


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


def critical_z(d: int) -> float:
    """Return the normal quantile at 1 − 0.005 / (4 d) for d quantities.

    Every quantity has about four figures with two sides each: where all sit exactly on their
    limits, noise takes any of them over it with a chance of at most 1%.
    """
    return NormalDist().inv_cdf(1 - FALSE_ALARM / (4 * max(d, 1)))


def closeness(measure: Measure | Estimate, rule: Rule, z: float) -> Closeness:
    """Say what a figure with its standard error means under a rule.

    *wrong* or *off* where the value less z errors exceeds that limit. Otherwise *close* if z errors
    are within the close limit (times ``unsure_factor``), and *unsure* if not: the comparison could
    not have detected an error of that size. NaN is *unsure*, infinity *wrong*. Alarms ring on the
    value itself.
    """
    sign = -1.0 if rule.at_least else 1.0
    value = abs(measure.value) if rule.direction == "both" else sign * measure.value
    margin = 0.0 if rule.alarm else z * measure.mcse
    if value == math.inf:
        return "wrong"
    if not (math.isfinite(measure.value) and 0 <= margin < math.inf):
        return "unsure"
    if value - margin > sign * rule.wrong:
        return "wrong"
    if value - margin > sign * rule.close:
        return "off"
    return "close" if margin <= rule.close * rule.unsure_factor else "unsure"


def draws_needed(measure: Measure, rule: Rule, z: float, draws: float) -> int | None:
    """Return how many draws of the scarcer sample bring z errors within the close limit.

    ``draws (z · se / limit)²``, rounded up to two figures; None where no number would.
    """
    limit = rule.close * rule.unsure_factor
    if not (math.isfinite(measure.mcse) and math.isfinite(draws) and 0 < limit < math.inf):
        return None
    errors = z * measure.mcse / limit
    needed = draws * errors * errors
    if not 0 < needed < 1e12:  # noqa: PLR2004 (more is "not this way")
        return None
    unit = 10.0 ** max(math.floor(math.log10(needed)) - 1, 0)
    return int(math.ceil(needed / unit) * unit)
