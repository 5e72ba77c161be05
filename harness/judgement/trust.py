"""Judging Markov chains: whether they can serve as the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import chdtri

from harness.judgement.context import for_method
from harness.judgement.rules import closeness, rules_for
from harness.metrics import METRICS
from harness.metrics.chains import DIVERGENCES, EBFMI, ESS_BULK, RHAT, TREEDEPTH_HITS
from harness.metrics.errors import critical_z
from harness.metrics.metric import JudgeContext, Metric, Scene
from harness.records import Finding, Measure, Reference, Refuted, Rule
from harness.records.text import fixed, listed, number, percent

SAID = 3
"""Reasons against a reference that are given."""


NEEDS = {
    DIVERGENCES.id: ("diverging",),
    EBFMI.id: ("energy",),
    TREEDEPTH_HITS.id: ("tree_depth", "max_tree_depth"),
}
"""The statistics that the sampler's own diagnostics are computed from."""

CHANCE = 0.01
"""Chance, per model, that stationary chains have an R-hat over its limit."""

RHAT_CAP = 1.05
"""However few effective draws there are, chance is no excuse for an R-hat above this."""


def rhat_limit(ess: float, chains: int, d: int) -> float:
    """Return the R-hat that stationary chains exceed by chance in one of d quantities.

    ``√(1 + χ²_{m−1, 1−α/d} / ESS)`` for m half chains and α = 1%, at most 1.05: the means of
    half chains differ by their Monte Carlo error. In steps of 0.0001; NaN where the ESS is.
    """
    if not ess > 0:
        return math.nan
    chance = math.sqrt(1 + float(chdtri(2 * chains - 1, CHANCE / max(d, 1))) / ess)
    return math.ceil(1e4 * min(RHAT_CAP, chance)) / 1e4


def chain_rules(
    measures: Sequence[Measure], rules: Mapping[str, Rule], context: JudgeContext
) -> Callable[[Measure], Rule]:
    """Return what finds a measure's rule: R-hat's close limit depends on its quantity's ESS."""
    d = context.dimension or len({m.quantity for m in measures if m.quantity is not None})
    ess = {(m.method, m.seed, m.quantity): m.value for m in measures if m.metric == ESS_BULK.id}

    def rule_of(m: Measure) -> Rule:
        rule = rules[m.metric]
        if m.metric != RHAT.id:
            return rule
        limit = rhat_limit(ess.get((m.method, m.seed, m.quantity), math.nan), context.chains, d)
        return replace(rule, close=limit) if rule.close < limit <= rule.wrong else rule

    return rule_of


@dataclass(frozen=True, slots=True)
class ChainJudgement:
    """Whether chains can be trusted."""

    trusted: bool  # every diagnostic is there for every quantity, none is violated or unknown
    findings: tuple[Finding, ...]  # the violated or unknown diagnostics
    missing: tuple[tuple[str, str | None], ...]  # metrics not recorded, with their quantities
    worst: Mapping[str, float]  # the worst value of every diagnostic
    # For people: the findings, or the worst values of trusted chains, in a few words each.
    reasons: tuple[str, ...]

    def sentence(self, whose: str) -> str:
        """Say that these chains can be the reference or not, with the reasons."""
        if self.trusted:
            return f"{whose} can serve as the reference: {', '.join(self.reasons)}"
        more = len(self.reasons) - SAID
        said = [*self.reasons[:SAID], *([f"and {more} more"] if more > 0 else [])]
        return f"{whose} cannot serve as the reference: {'; '.join(said)}"

    @property
    def short(self) -> str:
        """The reasons for a table: R-hat and both ESS of trusted chains, or what is worst."""
        return ", ".join(self.reasons[:3]) if self.trusted else self.reasons[0]


def disproved(reference: Reference, fact: Refuted) -> Reference:
    """Return a reference that is proved wrong: it is not trusted, whatever its diagnostics say."""
    words = (
        f"its draws give a log evidence of {fixed(fact.log_evidence, 2)}, below the ELBO of a "
        f"Gaussian ({fixed(fact.elbo, 2)}), which is impossible: they must miss a mode"
    )
    short = "its log evidence is below an ELBO"
    if fact.reason == "mode":
        mass = f"about {percent(fact.mass)} of the mass"
        place = listed([f"{name} = {number(value)}" for name, value in fact.at], len(fact.at))
        short = f"it misses a mode with {mass}"
        words = (
            f"it has no draw in the mode at {place}, which has {mass} (ELBO {fixed(fact.elbo, 2)})"
        )
        short += f" at {place}"
    why = f"proved wrong: {words}"
    return replace(reference, trusted=False, why=why, short=short, refuted=fact)


def unsearched(reference: Reference, why: str) -> Reference:
    """Return a trusted reference with the reason why missing modes were not looked for."""
    if not (why and reference.trusted):
        return reference
    said = f"{reference.why}; whether it misses a mode is not known: {why}"
    return replace(reference, why=said, unsought=why)


def judge_chains(
    measures: Sequence[Measure],
    rules: Mapping[str, Rule] | None = None,
    context: JudgeContext | None = None,
    *,
    recorded: Container[str] | None = None,
) -> ChainJudgement:
    """Judge a run of NUTS by its diagnostics; other measures are passed over.

    ``recorded`` are the sampler's statistics that somebody else's chains came with: diagnostics
    of others are not known, which is said and does not refuse them. By default there are all.
    """
    context = context or JudgeContext()
    rules = rules or rules_for()
    own = [m for m in measures if m.metric in METRICS and METRICS[m.metric].about_chains]
    unknown: list[str] = []
    if recorded is not None:
        unknown = not_recorded(recorded)
        own = [m for m in own if m.metric not in unknown]
    findings = chain_findings(own, rules, context)
    missing = tuple(m for m in missing_diagnostics(own) if m[0] not in unknown)
    worst = {
        metric.id: max(values, key=lambda v: _badness(v, metric.rule))
        for metric in _diagnostics()
        if (values := [m.value for m in own if m.metric == metric.id])
    }
    reasons = [
        METRICS[f.measure.metric].headline(Scene(f.measure, context=context), f.level)
        for f in findings
    ]
    if missing:
        reasons.append(f"not recorded: {listed(subjects(missing), len(missing))}")
    trusted = not reasons
    if trusted:
        reasons = [_worst_words(METRICS[m], value) for m, value in worst.items()]
        reasons += [f"{METRICS[m].noun} not known" for m in unknown]
    return ChainJudgement(trusted, findings, missing, worst, tuple(reasons))


def not_recorded(recorded: Container[str]) -> list[str]:
    """Return the sampler's own diagnostics that these statistics do not give."""
    return [m for m, needs in NEEDS.items() if not all(n in recorded for n in needs)]


def _diagnostics() -> list[Metric]:
    return [m for m in METRICS.values() if m.about_chains and m.rule is not None]


def _worst_words(metric: Metric, value: float) -> str:
    least = metric.rule is not None and metric.rule.at_least
    return f"{metric.noun} at {'least' if least else 'most'} {metric.size(value)}"


def subjects(figures: Iterable[tuple[str, str | None]]) -> list[str]:
    """Return figures in words: ``tail ESS of x``."""
    return [METRICS[metric].subject(quantity) for metric, quantity in figures]


def missing_diagnostics(measures: Sequence[Measure]) -> tuple[tuple[str, str | None], ...]:
    """Return the diagnostics that should be there and are not, with their quantities."""
    quantities = sorted({m.quantity for m in measures if m.quantity is not None})
    present = {(m.metric, m.quantity) for m in measures}
    return tuple(
        (metric.id, q)
        for metric in _diagnostics()
        for q in (quantities if metric.scope == "chain" and quantities else [None])
        if (metric.id, q) not in present
    )


def chain_findings(
    measures: Sequence[Measure], rules: Mapping[str, Rule], context: JudgeContext
) -> tuple[Finding, ...]:
    """Return one finding per violated or unknown rule, that of its worst quantity.

    What says most comes first.
    """
    z = critical_z(context.dimension or len({m.quantity for m in measures}))
    rule_of = chain_rules(measures, rules, context)
    out = []
    for metric in sorted(_diagnostics(), key=lambda m: m.telling):
        hits = [
            (m, level)
            for m in measures
            if m.metric == metric.id and (level := closeness(m, rule_of(m), z)) != "close"
        ]
        if hits:
            worst, level = max(
                hits, key=lambda hit: (hit[1] == "wrong", _badness(hit[0].value, metric.rule))
            )
            scene = Scene(worst, context=for_method(worst.method, context))
            rule = rule_of(worst)
            text = metric.sentence(scene, rule, level, z=z, more=len(hits) - 1)
            out.append(Finding(rule, worst, level, text))
    return tuple(out)


def _badness(value: float, rule: Rule | None) -> float:
    signed = -value if rule is not None and rule.at_least else value
    return math.inf if math.isnan(signed) else signed
