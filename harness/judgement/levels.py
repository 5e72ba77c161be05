"""The closeness of every measure of a model, as the verdicts have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.judgement.context import z_of
from harness.judgement.rules import closeness, typical_sizes
from harness.judgement.trust import chain_rules
from harness.metrics.metric import JudgeContext
from harness.records import Closeness, Measure, Rule


def levels(
    measures: Sequence[Measure], rules: Mapping[str, Rule], context: JudgeContext
) -> tuple[Closeness | None, ...]:
    """Return the closeness of each measure, None where no rule applies."""
    names = {m.quantity for m in measures if m.quantity is not None}
    z = z_of(context, names)
    rule_of = chain_rules(measures, rules, context)
    typical = typical_sizes([m for m in measures if m.metric in rules], rule_of, z)
    return tuple(
        closeness(m, rule_of(m), z(m.quantity), typical.get((m.method, m.quantity, m.metric)))
        if m.metric in rules
        else None
        for m in measures
    )
