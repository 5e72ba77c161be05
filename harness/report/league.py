"""A league: what any number of comparisons decided, a row for each posterior and method."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.methods import METHODS, title
from harness.metrics import UNCONSTRAINED_W1, W1
from harness.metrics.measure import REFERENCE
from harness.records import Comparison, Evidence, Level, ModelComparison, Verdict
from harness.records.text import clip, one_line
from harness.records.text import seconds as seconds_text
from harness.report.decision import decide
from harness.report.files import ResultsError, read
from harness.report.rows import Row

COLUMNS = (
    "posterior", "method", "level", "evidence", "seeds", "seeds_failed", "worst", "w1",
    "unconstrained_w1", "by_chance", "seconds", "gradients", "times_nuts", "cause", "results",
)  # fmt: skip
"""Columns of the CSV file. ``w1`` is the worst quantity's Wasserstein distance in sds of the
reference, that of a typical (median) seed. ``unconstrained_w1`` is that of all parameters together,
in Pathfinder's form: between 100 draws on either side, unconstrained scale, the median seed's;
``by_chance`` what two such samples of the reference are apart. ``times_nuts`` is NUTS's seconds
over the method's."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One method on one posterior."""

    posterior: str
    method: str
    level: Level
    evidence: Evidence
    seeds: int
    seeds_failed: int
    worst: str
    w1: float
    unconstrained_w1: float
    by_chance: float
    seconds: float
    gradients: float
    times_nuts: float
    cause: str
    results: str
    """The folder that it is from."""

    @property
    def title(self) -> str:
        """What the method is called in words."""
        return title(self.method)

    @property
    def time_text(self) -> str:
        """Seconds in words, a dash where they are not known."""
        return "–" if math.isnan(self.seconds) else seconds_text(self.seconds)


@dataclass(frozen=True, slots=True)
class Standing:
    """How often a method has each level, over all posteriors on which it was judged."""

    method: str
    counts: Mapping[Level, int]
    times_nuts: float
    """Median over posteriors; NaN where NUTS was never beside it."""

    @property
    def title(self) -> str:
        """What the method is called in words."""
        return title(self.method)

    @property
    def judged(self) -> int:
        """Verdicts, without those of the reference itself."""
        return sum(n for level, n in self.counts.items() if level != "reference")

    @property
    def share(self) -> float:
        """Share of what could be decided that passes; NaN where nothing could."""
        decided = sum(self.counts.get(level, 0) for level in ("pass", "warn", "fail"))
        return self.counts.get("pass", 0) / decided if decided else math.nan


@dataclass(frozen=True, slots=True)
class League:
    """All entries, the methods' standings (best first), and posteriors without a verdict."""

    entries: tuple[Entry, ...]
    standings: tuple[Standing, ...]
    errors: tuple[tuple[str, str], ...]
    """Posteriors that could not be compared, and why."""

    @property
    def posteriors(self) -> int:
        """How many different posteriors have verdicts."""
        return len({entry.posterior for entry in self.entries})


def league(folders: Sequence[Path]) -> League:
    """Read results folders and put their verdicts side by side.

    A posterior that is in several folders has the rows of each; a folder that is named twice counts
    once.

    Raises
    ------
    harness.report.files.ResultsError
        If a folder holds no results.
    """
    entries: list[Entry] = []
    errors: list[tuple[str, str]] = []
    for folder in {f.resolve(): f for f in folders}.values():
        found = read(folder)
        try:
            entries += entries_of(found, folder.name)
        except (LookupError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {clip(one_line(str(error)), 300)}"
            msg = f"{folder} is damaged ({what}); run harness compare again"
            raise ResultsError(msg) from error
        errors += [(m.model.name, m.error) for m in found.models if m.error is not None]
    entries.sort(key=lambda e: (e.posterior, _place(e.method), e.results))
    return League(tuple(entries), _standings(entries), tuple(errors))


def entries_of(comparison: Comparison, results: str) -> list[Entry]:
    """Return the entries of one comparison, which is from the folder ``results``."""
    decided = decide(comparison).models
    return [
        _entry(model, verdict, {row.method: row for row in rows.rows}, results)
        for model, rows in zip(comparison.models, decided, strict=True)
        for verdict in model.verdicts
    ]


def _entry(
    model: ModelComparison, verdict: Verdict, rows: Mapping[str, Row], results: str
) -> Entry:
    row, nuts = rows[verdict.method], rows.get("nuts")
    runs = [r for r in model.runs if r.spec.method == verdict.method]
    gradients = [g for r in runs if (g := r.cost.gradient_evaluations) is not None]
    own, base = row.seconds, math.nan if nuts is None else nuts.seconds
    return Entry(
        posterior=model.model.name,
        method=verdict.method,
        level=verdict.level,
        evidence=verdict.evidence,
        seeds=verdict.seeds,
        seeds_failed=verdict.seeds_failed,
        worst=row.says,
        w1=_w1(model, verdict.method),
        unconstrained_w1=_median(model, verdict.method, UNCONSTRAINED_W1.id),
        by_chance=_median(model, REFERENCE, UNCONSTRAINED_W1.id),
        seconds=own,
        gradients=median(gradients) if gradients else math.nan,
        times_nuts=base / own if own > 0 else math.nan,
        cause=row.why,
        results=results,
    )


def _w1(model: ModelComparison, method: str) -> float:
    worst: dict[int | None, float] = {}
    for m in model.measures:
        if m.method == method and m.metric == W1.id and m.seed is not None:
            # A figure that is not known is the worst.
            value = math.inf if math.isnan(m.value) else m.value
            worst[m.seed] = max(worst.get(m.seed, 0.0), value)
    return median(worst.values()) if worst else math.nan


def _median(model: ModelComparison, method: str, metric: str) -> float:
    found = [m.value for m in model.measures if (m.method, m.metric) == (method, metric)]
    return median(math.inf if math.isnan(v) else v for v in found) if found else math.nan


def _place(method: str) -> int:
    known = list(METHODS)
    return known.index(method) if method in known else len(known)


def _standings(entries: Sequence[Entry]) -> tuple[Standing, ...]:
    found = []
    for method in {e.method for e in entries}:
        own = [e for e in entries if e.method == method]
        counts: dict[Level, int] = {}
        for e in own:
            counts[e.level] = counts.get(e.level, 0) + 1
        times = [e.times_nuts for e in own if math.isfinite(e.times_nuts)]
        found.append(Standing(method, counts, median(times) if times else math.nan))
    return tuple(
        sorted(
            found,
            key=lambda s: (-1.0 if math.isnan(s.share) else s.share, -_place(s.method)),
            reverse=True,
        )
    )


def as_csv(found: League) -> str:
    """Return the entries as CSV; what is not known is empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for entry in found.entries:
        cells = (getattr(entry, column) for column in COLUMNS)
        table.writerow([_cell(value) for value in cells])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.7g}"
    return value
