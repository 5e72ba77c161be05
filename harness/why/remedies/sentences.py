"""Remedies as they stand in a table and beside a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.methods import title
from harness.records import Level, Trial, Verdict
from harness.why.remedies.cost import duration
from harness.why.remedies.propose import NUTS_FROM_Q

ORDER: tuple[Level | None, ...] = ("pass", "reference", "warn", "fail", "unknown", None)
"""Levels after a remedy, the best first; chains that are trusted come after a fit that passes."""

SHORT: Mapping[str, str] = {
    "best of the family": "the family's best",
    "dadvi_lr": title("dadvi_lr"),
    "dadvi_psis": title("dadvi_psis"),
    "all basins": title("dadvi_basins"),
    NUTS_FROM_Q: "NUTS from q",
}
"""Remedies in tables where the key is not what people would say."""

FEW = 3
"""So many of the comparison's own rows are named."""

VERBS: Mapping[Level, str] = {"pass": "passes", "reference": "is trusted", "warn": "warns"}


def _rank(trial: Trial) -> tuple[bool, bool, int, float]:
    seconds = math.inf if math.isnan(trial.seconds) else trial.seconds
    return not trial.helps, trial.luck, ORDER.index(trial.level_after), seconds


def remedy_words(trials: Sequence[Trial]) -> tuple[str, tuple[str, ...]]:
    """Return the best remedy in a few words, and sentences on all that were tried.

    The best is that of the best level, of these the fastest: ``DADVI + LR passes (0.05 s)``.
    The first few that help have a sentence each, the others are named; what does not help comes
    last. Both are empty without trials.
    """
    if not trials:
        return "", ()
    ordered = sorted(trials, key=_rank)
    best = ordered[0]
    helping = [t for t in ordered if t.helps]
    rest = [t for t in ordered if not t.helps and t.level_after is not None]
    untried = [t for t in ordered if t.level_after is None]
    sentences = tuple(t.words for t in [*helping[:FEW], *untried])
    if len(helping) > FEW:
        more = ", ".join(SHORT.get(t.remedy, t.remedy) for t in helping[FEW:])
        sentences += (f"Also a help: {more}.",)
    if rest:
        names = ", ".join(SHORT.get(t.remedy, t.remedy) for t in rest)
        sentences += (f"Tried, and no help: {names}.",)
    if not best.helps:
        hints = [t for t in ordered if t.level_after is None and t.remedy == "reparameterise"]
        return ("reparameterise (a hint)" if hints else "nothing tried helps"), sentences
    name = SHORT.get(best.remedy, best.remedy)
    verb = VERBS.get(best.level_after or "unknown", "helps")
    return f"{name} {verb} ({duration(best.seconds)})", sentences


def known(
    verdict: Verdict, verdicts: Sequence[Verdict], seconds: Mapping[str, float]
) -> tuple[str, tuple[str, ...]]:
    """Return what the comparison itself shows to do better, without any trial.

    Parameters
    ----------
    verdict
        Of the method that fails or warns; nothing is said of others.
    verdicts
        All of the model's.
    seconds
        Of one run, by method.

    Returns
    -------
    tuple
        As :func:`remedy_words`: of the rows that pass, or at least do better, the fastest.
        NUTS is named where it is the reference and no approximation does better.
    """
    if verdict.level not in {"fail", "warn"}:
        return "", ()
    better: dict[Level, tuple[Level, ...]] = {"fail": ("pass", "warn"), "warn": ("pass",)}
    rows = [v for v in verdicts if v.method != verdict.method]
    found = [v for v in rows if v.level in better[verdict.level] and v.method != "nuts"]
    if not found:
        found = [v for v in rows if v.method == "nuts" and v.level in {"reference", "pass"}]

    def rank(v: Verdict) -> tuple[int, float]:
        took = seconds.get(v.method, math.inf)
        return ORDER.index(v.level), math.inf if math.isnan(took) else took

    found.sort(key=rank)
    if not found:
        return "", ()
    words = []
    for v in found[:FEW]:
        seeds = f" in all {v.seeds} seeds" if v.level == "pass" and v.seeds > 1 else ""
        took = duration(seconds.get(v.method, math.nan))
        name = title(v.method)
        words.append(f"{name[0].upper()}{name[1:]} {VERBS[v.level]}{seeds} here, {took} a run.")
    best = found[0]
    took = duration(seconds.get(best.method, math.nan))
    return f"{title(best.method)} {VERBS[best.level]} ({took})", tuple(words)
