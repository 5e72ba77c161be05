"""The notes on a model's gaps, and the table of remedies that were tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.metrics import METRICS
from harness.records import Estimate, Explanation, ModelComparison, Trial
from harness.records.text import count, ended, estimate, listed, number, setting
from harness.report.figures.looks import in_order, look
from harness.why.words import remedy_what, trial_words

_SEEDS = 6

ROWS = 30
"""Remedies of a model up to which those that do not help are not folded."""


class Row(NamedTuple):
    """A remedy, its figure before and after, and words where the figures do not say everything."""

    trial: Trial
    what: str
    metric: str
    before: str
    after: str
    words: str


class Group(NamedTuple):
    """The remedies of one method, those that help first."""

    method: str
    rows: tuple[Row, ...]


class Table(NamedTuple):
    """What was tried on a model, and in ``folded`` what did not help where that is much."""

    groups: tuple[Group, ...]
    folded: tuple[Group, ...]
    folded_rows: int
    without: tuple[str, ...]
    """Methods that no remedy helps: all of theirs are folded."""


def table(entry: ModelComparison) -> Table | None:
    """Return the remedies of every method that has some, or None where nothing was tried."""
    if not entry.trials:
        return None
    if len(entry.trials) <= ROWS:
        return Table(_groups(entry.trials), (), 0, ())
    helping = [t for t in entry.trials if t.helps]
    rest = [t for t in entry.trials if not t.helps]
    helped = {t.method for t in helping}
    without = in_order((t.method for t in rest if t.method not in helped), nuts_first=False)
    titles = tuple(look(m).title for m in without)
    return Table(_groups(helping), _groups(rest), len(rest), titles)


def _groups(trials: Sequence[Trial]) -> tuple[Group, ...]:
    ordered = sorted(trials, key=lambda t: (not t.helps, t.level_after is None))
    return tuple(
        Group(method, tuple(_row(t) for t in ordered if t.method == method))
        for method in in_order((t.method for t in trials), nuts_first=False)
    )


def _row(trial: Trial) -> Row:
    tried = trial.level_after is not None
    silent = tried and math.isfinite(trial.after.value)
    return Row(
        trial=trial,
        what=remedy_what(trial),
        metric=METRICS[trial.metric].title if trial.metric in METRICS else trial.metric,
        before=_figure(trial.metric, trial.before),
        after=_figure(trial.metric, trial.after) if tried else "",
        words="" if silent else trial_words(trial),
    )


def _figure(metric: str, found: Estimate) -> str:
    """Return value ± error; of the logs of ratios the ratio, as everywhere in the report."""
    return estimate(*(METRICS[metric].shown(found) if metric in METRICS else found))


def small_print(entry: ModelComparison) -> tuple[str, ...]:
    """Return where log Z is from, why gaps are unknown or inexact, and the notes."""
    if entry.explanation is None:
        return ()
    return (_evidence(entry.explanation), *_unsharp(entry.explanation), *entry.explanation.notes)


def _evidence(explanation: Explanation) -> str:
    value, error = explanation.log_evidence
    source = f", from {explanation.source}" if explanation.source else ""
    if not math.isfinite(value):
        return f"log Z is {number(value)}{source}: without it no family gap is known."
    # An exact log Z has no error.
    figure = setting(value) if error == 0 else estimate(value, error)
    return f"log Z = {figure} nats{source}."


def _unsharp(explanation: Explanation) -> list[str]:
    """Return each reason once, with its methods and seeds."""
    reasons: dict[str, dict[str, list[int]]] = {}
    for gap in explanation.gaps:
        words = gap.words
        if not words and math.isnan(gap.kl.value):
            words = "the gap is unknown, for no known reason."
        elif not words and not gap.exact:
            words = "q is taken to be the Gaussian with its draws' moments."
        if words:
            reasons.setdefault(words, {}).setdefault(gap.method, []).append(gap.seed)
    return [f"{_where(found)}: {ended(words)}" for words, found in reasons.items()]


def _where(found: dict[str, list[int]]) -> str:
    return "; ".join(
        f"{look(m).title}, {_numbers(sorted(found[m]))}" for m in in_order(found, nuts_first=False)
    )


def _numbers(seeds: list[int]) -> str:
    if len(seeds) > _SEEDS:
        return count(len(seeds), "seed")
    return f"seed{'s' if len(seeds) > 1 else ''} {listed([str(s) for s in seeds])}"
