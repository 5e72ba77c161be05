"""From what was found of every run to why a method fails: sentences, and a few words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from statistics import median

from harness.methods import title
from harness.records import WITHOUT_DRAWS, Cause, Estimate, Explanation, Gap, RunResult, Verdict
from harness.records.text import capital, number, with_error

NEEDS_CAUSE = ("fail", "warn")

TRIFLE = 0.01
"""Of KL(q ‖ p), under which a cause is left out of the sentences."""

SHARP = 0.005
"""Relative error of a gap up to which it is written with three digits."""

SEEN = 0.01
"""Nats up to which a gap with its error is called none: twice what counts."""

LISTED = 6
"""Seeds that are named one by one."""

OTHER_FAMILIES = {"quadrature_truncated": "truncated normal"}
"""Families that are not Gaussian on the unconstrained scale, and have a KL all the same."""

KHAT = 0.7
"""Beyond it weighted draws are not to be trusted, however many (Vehtari et al. 2024)."""

MISSES = ("missed_mass", "bias", "w1")
"""Findings that a mode left out can be behind."""

SHORT = 3
"""Causes in the short form."""


def with_causes(
    verdict: Verdict, explanation: Explanation | None, runs: Sequence[RunResult]
) -> Verdict:
    """Return a verdict with its causes, where it fails or warns; others are left as they are.

    Parameters
    ----------
    runs
        The model's; those of other methods are passed over.
    """
    if verdict.level not in NEEDS_CAUSE or explanation is None:
        return verdict
    its = [r for r in runs if r.spec.method == verdict.method]
    gaps = explanation.of(verdict.method)
    if gaps:
        short, sentences = _of_gaps(gaps, verdict.method)
    else:
        causes = other_causes(verdict, its, explanation) if any(r.draws for r in its) else []
        short = "; ".join(_short(c) for c in causes[:SHORT])
        sentences = [capital(f"{c.name}: {c.evidence}.") for c in causes]
    lost = [r for r in its if r.status in WITHOUT_DRAWS]
    if not sentences and len(lost) < len(its):
        short, sentence = _unknown(gaps, explanation)
        sentences = [sentence]
    if lost:
        words = "failed run" if len(its) == 1 else f"{len(lost)} of {len(its)} runs failed"
        short = f"{short}; {words}" if short else words
        said = lost[0].message.rstrip(".") or lost[0].status.replace("_", " ")
        sentences.append(f"{capital(words)}: {said}.")
    return dataclasses.replace(verdict, causes=tuple(sentences), cause=short)


def _short(cause: Cause) -> str:
    if cause.gap == "family":
        return f"family: {cause.name}, {number(cause.nats, 3)} nats"
    return cause.name


def _of_gaps(gaps: Sequence[Gap], method: str) -> tuple[str, list[str]]:
    """Return the short form and the sentences of a method whose q is Gaussian."""
    family = [c for c in gaps[0].causes if c.gap == "family"]
    by_name: dict[str, list[tuple[int, Cause]]] = {}
    for gap in gaps:
        for cause in gap.causes:
            # What is under a hundredth of the whole is not worth a sentence.
            if cause.gap == "optimiser" and not cause.nats < TRIFLE * gap.kl.value:
                by_name.setdefault(cause.name, []).append((gap.seed, cause))
    ordered = sorted(by_name.items(), key=lambda item: -len(item[1]))
    sentences, short = [], []
    if family:
        which = title(gaps[0].family)
        sentences.append(
            f"Family: the best {which} Gaussian is {_nats(gaps[0].family_gap)} from the posterior."
        )
        sentences += [capital(f"{c.name}, {number(c.nats)} nats: {c.evidence}.") for c in family]
        names = [f"{c.name} {number(c.nats)} nats" for c in family]
        sharp = gaps[0].family_gap.mcse < SHARP * gaps[0].family_gap.value
        one = f"{family[0].name}, {number(family[0].nats, 3 if sharp else 2)} nats"
        short.append(f"family: {one if len(family) == 1 else ', '.join(names)}")
    elif math.isnan(gaps[0].family_gap.value) and by_name:
        sentences.append("Family: the gap is not known, for log Z is not.")
    total = len(gaps)
    for name, found in ordered:
        sentences.append(_optimiser_words(name, found, total, method))
    if ordered:
        parts = [_share(name, found, total) for name, found in ordered[:SHORT]]
        short.append(f"optimiser: {', '.join(parts)}")
    untold: dict[str, list[int]] = {}
    for gap in gaps:
        if math.isnan(gap.optimiser_gap.value):
            untold.setdefault(gap.words or "its gap is not known", []).append(gap.seed)
    sentences += [f"Seed {_seeds(seeds)}: {words}." for words, seeds in untold.items()]
    return "; ".join(short) or "not known", sentences


def _optimiser_words(name: str, found: Sequence[tuple[int, Cause]], total: int, method: str) -> str:
    """Say how many seeds a cause has, how much it costs them, and the middle one's evidence."""
    ordered = sorted(found, key=lambda f: f[1].nats)
    seed, shown = ordered[len(ordered) // 2]
    low, high = number(ordered[0][1].nats), number(ordered[-1][1].nats)
    cost = low if low == high else f"{low} to {high}"
    named = title(method)
    if total == 1:
        return (
            f"Optimiser, {name}: {named} is {cost} nats below its family's best: {shown.evidence}."
        )
    if len(found) == 1:
        return (
            f"Optimiser, {name}: seed {seed} of {named} is {cost} nats below its family's best: "
            f"{shown.evidence}."
        )
    return (
        f"Optimiser, {name}: {len(found)} of {total} seeds of {named} are {cost} nats below their "
        f"family's best. Seed {seed}: {shown.evidence}."
    )


def _share(name: str, found: Sequence[tuple[int, Cause]], total: int) -> str:
    if len(found) < total:
        return f"{name} ({len(found)} of {total})"
    return f"{name}, {number(median(cause.nats for _, cause in found))} nats"


def _seeds(seeds: Sequence[int]) -> str:
    listed = ", ".join(str(s) for s in seeds[:LISTED])
    return listed + (f" and {len(seeds) - LISTED} more" if len(seeds) > LISTED else "")


def _nats(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "an unknown distance"
    small = not estimate.mcse > 1e-3 * abs(estimate.value)
    return f"{number(estimate.value, 3) if small else with_error(estimate)} nats"


def _unknown(gaps: Sequence[Gap], explanation: Explanation) -> tuple[str, str]:
    """Say that nothing was found, and what was looked at."""
    if not gaps:
        why = "; ".join(explanation.notes) or "its q is no Gaussian, and its runs say nothing"
        return "not found", f"No cause was found: {why}."
    family, optimiser = gaps[0].family_gap, max((g.optimiser_gap for g in gaps), key=_size)
    if math.isinf(optimiser.value):
        words = gaps[0].words or "some of its draws have no density"
        return "not known", f"No cause was found: {words}."
    if math.isnan(family.value) or math.isnan(optimiser.value):
        words = f"No cause was found: {gaps[0].words or 'the gaps are not known'}."
        return "not known", words
    if any(not abs(g.value) + 2 * g.mcse <= SEEN for g in (family, optimiser)):
        return "not known", (
            f"No cause was found: the family gap is {_nats(family)}, the optimiser's at most "
            f"{_nats(optimiser)}, too uncertain to name one."
        )
    return "no gap counts", (
        f"No gap counts: the family's is {_nats(family)}, the optimiser's at most "
        f"{_nats(optimiser)}. KL(q ‖ p) hardly sees what is off here."
    )


def _size(estimate: Estimate) -> float:
    return math.inf if math.isnan(estimate.value) else abs(estimate.value)


# --- methods without a Gaussian q ------------------------------------------------------------


def other_causes(
    verdict: Verdict, runs: Sequence[RunResult], explanation: Explanation
) -> list[Cause]:
    """Name what is behind a verdict on particles, weights, chains or another family."""
    if any(r.draws is not None and not r.draws.iid for r in runs):
        return _of_chains(verdict)
    modes = next((c for g in explanation.gaps for c in g.causes if c.name == "several modes"), None)
    diagnostics = runs[0].diagnostics if runs else {}
    if verdict.method in OTHER_FAMILIES and "kl" in diagnostics:
        nats = diagnostics["kl"]
        words = f"the best of that family is {number(nats, 3)} nats from the posterior"
        return [Cause("family", OTHER_FAMILIES[verdict.method], nats, words)]
    if modes is not None and any(f.measure.metric in MISSES for f in verdict.findings):
        how = {
            "dadvi_psis": "its proposals lie in one mode, and weights cannot put draws where there "
            "are none",
            "svgd": "where a particle starts decides in which mode it stays",
        }.get(verdict.method, "it stays in one of them")
        return [Cause("method", "several modes", modes.nats, f"{how}: {modes.evidence}")]
    with_draws = [r for r in runs if r.draws is not None]
    said = next((r.message for r in with_draws if r.message), "")
    khat = max((r.diagnostics.get("khat", -math.inf) for r in with_draws), default=-math.inf)
    if khat > KHAT:
        words = f"k-hat {number(khat)} in the worst seed, beyond {KHAT}"
        return [Cause("method", "weights", math.nan, words + (f"; {said}" if said else ""))]
    return [Cause("method", "its own doubt", math.nan, said.rstrip("."))] if said else []


def _of_chains(verdict: Verdict) -> list[Cause]:
    """Name what the diagnostics of Markov chains say."""
    known = {
        "rhat": "chains do not mix",
        "chain_modes": "chains stay in one mode",
        "divergences": "divergences",
        "ess_bulk": "slow mixing",
        "ess_tail": "slow mixing",
        "ebfmi": "slow mixing",
        "treedepth_hits": "short trajectories",
    }
    found: dict[str, Cause] = {}
    for finding in verdict.findings:
        name = known.get(finding.measure.metric)
        if name is not None and finding.level in {"wrong", "off"} and name not in found:
            words = finding.sentence.rstrip(".")
            found[name] = Cause("method", name, math.nan, words)
    return list(found.values())
