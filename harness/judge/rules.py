"""The limits, each once and with its reason, and what a figure with an error says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

from harness.records import Closeness, Estimate, Measure, Model, Rule

RULES: tuple[Rule, ...] = (
    Rule("bias", 0.1, 0.5, "both", "a mean half a posterior sd off changes conclusions"),
    Rule(
        "log_width_ratio",
        math.log(1.15),
        math.log(1.5),
        "both",
        "intervals half as wide again, or a third too narrow, do not hold what they promise",
    ),
    Rule("w1", 0.1, 0.5, "above", "on average every draw would have to move that far"),
    Rule(
        "tail",
        0.2,
        0.75,
        "both",
        "interval ends are what decisions rest on, and are noisier than a mean",
        unsure_factor=2.0,
    ),
    Rule(
        "missed_mass",
        0.01,
        0.05,
        "above",
        "a mode left out is an explanation of the data left out",
    ),
    Rule(
        "corr_error",
        0.1,
        0.3,
        "above",
        "sums and differences of quantities inherit the error of their correlation",
    ),
    Rule(
        "worst_direction",
        math.log(1.15),
        math.log(1.5),
        "both",
        "some combination of the quantities is as wrong as that, whatever each alone shows",
    ),
    Rule("sliced_w1", 0.1, 0.5, "above", "random combinations of the quantities are that far off"),
    Rule(
        "seed_spread",
        0.1,
        0.5,
        "above",
        "another seed gives another answer, and people run one",
    ),
    Rule(
        "khat",
        0.7,
        1.0,
        "above",
        "the weights p/q then have a tail too heavy for q to be corrected by them; "
        "a small value is no all-clear, for it sees only where q has draws",
        alarm=True,
    ),
)

# A reference must be close by every one of these. NUTS as a method beside an exact reference is
# judged by its distances; beyond the wrong limit its own diagnostics fail it as well.
CHAIN_RULES: tuple[Rule, ...] = (
    Rule(
        "rhat",
        1.01,
        1.1,
        "above",
        "chains that agree differ by less than 1% of their sd (Vehtari et al. 2021)",
    ),
    Rule(
        "chain_modes",
        0.05,
        0.05,
        "above",
        "chains that weigh the modes differently have not moved between them",
        unsure_factor=math.inf,
    ),
    Rule(
        "ess_bulk",
        400,
        100,
        "above",
        "with fewer effective draws neither means nor the diagnostics themselves are reliable",
    ),
    Rule(
        "ess_tail",
        400,
        100,
        "above",
        "with fewer effective draws the 5% and 95% quantiles are not reliable",
    ),
    Rule(
        "divergences",
        0,
        20,
        "above",
        "a divergent transition marks a region the sampler could not enter",
    ),
    Rule(
        "ebfmi",
        0.3,
        0.2,
        "above",
        "momentum that changes the energy too little explores the tails too slowly",
    ),
    Rule(
        "treedepth_hits",
        0.01,
        0.1,
        "above",
        "trajectories cut short make slow chains look finished",
    ),
)

AT_LEAST = frozenset({"ess_bulk", "ess_tail", "ebfmi"})
"""Metrics whose limit is a lower one."""

FALSE_ALARM = 0.005
"""Chance, per model, that noise alone takes a figure over its limit."""


def rules_for(model: Model | None = None) -> dict[str, Rule]:
    """Return all rules by metric, with the limits that a model folder changes.

    Raises
    ------
    ValueError
        If a model sets a limit of no metric, an unknown limit, one that is not a number, or a
        close limit beyond the wrong one.
    """
    rules = {rule.metric: rule for rule in (*RULES, *CHAIN_RULES)}
    for metric, limits in (model.limits if model is not None else {}).items():
        if metric not in rules:
            msg = f"limits.{metric}: no such metric; there are {', '.join(rules)}"
            raise ValueError(msg)
        unknown = sorted(set(limits) - {"close", "wrong"})
        if unknown:
            msg = f"limits.{metric}.{unknown[0]}: only close and wrong can be set"
            raise ValueError(msg)
        rule = replace(
            rules[metric],
            close=float(limits.get("close", rules[metric].close)),
            wrong=float(limits.get("wrong", rules[metric].wrong)),
        )
        if metric in AT_LEAST and "wrong" not in limits:
            rule = replace(rule, wrong=min(rule.wrong, rule.close))
        order = (rule.wrong, rule.close) if metric in AT_LEAST else (rule.close, rule.wrong)
        if not (0 <= order[0] <= order[1] < math.inf):
            msg = (
                f"limits.{metric}: close {rule.close:g} and wrong {rule.wrong:g}; expected two "
                "numbers from 0, of which wrong is the more lenient"
            )
            raise ValueError(msg)
        rules[metric] = rule
    return rules


def critical_z(d: int) -> float:
    """Return the normal quantile at 1 − 0.005 / (4 d) for d quantities.

    Every quantity has about four figures with two sides each; so the chance that noise takes
    any of them over a limit it sits exactly on is at most 1%.
    """
    return NormalDist().inv_cdf(1 - FALSE_ALARM / (4 * max(d, 1)))


def closeness(measure: Measure | Estimate, rule: Rule, z: float) -> Closeness:
    """Say what a figure with its standard error means under a rule.

    *wrong* or *off* where the value less z errors exceeds that limit; else *close* if z errors
    are within the close limit (times ``unsure_factor``), and *unsure* if they are not: the
    comparison could not have seen an error of that size. NaN is *unsure*, infinity *wrong*.
    Alarms ring on the value itself.
    """
    sign = -1.0 if rule.metric in AT_LEAST else 1.0
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


def levels(
    measures: Sequence[Measure], model: Model | None, dimension: int
) -> tuple[Closeness | None, ...]:
    """Return the closeness of each measure, None where no rule applies (summaries, say)."""
    rules = rules_for(model)
    z = critical_z(dimension)
    return tuple(closeness(m, rules[m.metric], z) if m.metric in rules else None for m in measures)
