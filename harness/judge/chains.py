"""Judging Markov chains, so that they may serve as the reference or be warned of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.judge.context import JudgeContext, Scene
from harness.judge.headlines import headline
from harness.judge.rules import AT_LEAST, CHAIN_RULES, closeness, critical_z, rules_for
from harness.judge.wording import sentence
from harness.records import Finding, Measure, Rule

PER_RUN = frozenset({"divergences", "ebfmi", "treedepth_hits"})
CHAIN_METRICS = frozenset(rule.metric for rule in CHAIN_RULES)


class ChainJudgement(NamedTuple):
    """Whether chains can be trusted, what speaks against it, and a sentence that says so."""

    trusted: bool
    findings: tuple[Finding, ...]
    why: str


def judge_chains(
    measures: Sequence[Measure],
    rules: Mapping[str, Rule] | None = None,
    context: JudgeContext | None = None,
) -> ChainJudgement:
    """Judge a run of NUTS by its diagnostics.

    Parameters
    ----------
    measures
        The diagnostics of one run; other measures are passed over.
    rules
        From :func:`rules_for`; by default the unchanged ones.
    context
        For the sentences.

    Returns
    -------
    ChainJudgement
        Trusted only if every rule of ``CHAIN_RULES`` has its measure (for every quantity that
        any diagnostic names) and none is violated or unknown.
    """
    context = context or JudgeContext()
    own = [m for m in measures if m.metric in CHAIN_METRICS]
    findings = chain_findings(own, rules or rules_for(), context)
    missing = missing_diagnostics(own)
    whose = "these chains are" if any(m.method != "nuts" for m in own) else "NUTS is"
    reasons = [headline(Scene(f.measure, {}, {}, context), f.level) for f in findings[:3]]
    if len(findings) > len(reasons):
        reasons.append(f"and {len(findings) - len(reasons)} more")
    if missing:
        reasons.append(f"not recorded: {', '.join(missing)}")
    if reasons:
        why = f"{whose} no reference here: {'; '.join(reasons)}"
        return ChainJudgement(trusted=False, findings=findings, why=why)
    why = f"{whose} fit to be the reference: {_praise(own)}"
    return ChainJudgement(trusted=True, findings=(), why=why)


def missing_diagnostics(measures: Sequence[Measure]) -> list[str]:
    """Return the diagnostics that are not there, as ``rhat of x``."""
    quantities = sorted({m.quantity for m in measures if m.quantity is not None})
    present = {(m.metric, m.quantity) for m in measures}
    missing = []
    for rule in CHAIN_RULES:
        if rule.metric in PER_RUN:
            missing += [rule.metric] if (rule.metric, None) not in present else []
        elif not quantities:
            missing.append(rule.metric)
        else:
            missing += [
                f"{rule.metric} of {q}" for q in quantities if (rule.metric, q) not in present
            ]
    return missing


def chain_findings(
    measures: Sequence[Measure], rules: Mapping[str, Rule], context: JudgeContext
) -> tuple[Finding, ...]:
    """Return one finding per violated or unknown rule, that of its worst quantity."""
    z = critical_z(context.dimension or len({m.quantity for m in measures}))
    out = []
    for rule in (rules[r.metric] for r in CHAIN_RULES):
        hits = [
            (m, level)
            for m in measures
            if m.metric == rule.metric and (level := closeness(m, rule, z)) != "close"
        ]
        if not hits:
            continue
        worst, level = max(hits, key=lambda hit: (hit[1] == "wrong", _badness(hit[0])))
        also = f", and so for {len(hits) - 1} more" if len(hits) > 1 else ""
        text = sentence(Scene(worst, {}, {}, context), rule, level, z=z)
        if worst.quantity is None:
            text = text.replace("All quantities together", "The chains")
        out.append(Finding(rule, worst, level, text.removesuffix(".") + also + "."))
    return tuple(out)


def _badness(m: Measure) -> float:
    value = -m.value if m.metric in AT_LEAST else m.value
    return math.inf if math.isnan(value) else value


def _praise(measures: Sequence[Measure]) -> str:
    def values(metric: str) -> list[float]:
        return [m.value for m in measures if m.metric == metric]

    ess = min(values("ess_bulk") + values("ess_tail"))
    return (
        f"R-hat at most {max(values('rhat')):.3f}, ESS at least {ess:.0f}, "
        f"{max(values('divergences')):.0f} divergences, E-BFMI {min(values('ebfmi')):.2f}, "
        f"{max(values('treedepth_hits')):.1%} of transitions at the maximum tree depth, "
        "chains agree on the modes"
    )
