"""The table of runs, with what CmdStan printed, and of the variances that runs measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from harness.metrics import KHAT
from harness.records import STAN, ModelComparison, RunResult
from harness.records.text import count, estimate, integer, number, setting
from harness.report.figures import variance
from harness.report.figures.looks import in_order

_STATUS = {
    "ok": ("pass", "ok"),
    "not_converged": ("warn", "not converged"),
    "diverged": ("fail", "diverged"),
    "failed": ("fail", "failed"),
    "timed_out": ("fail", "timed out"),
    "killed": ("fail", "killed"),
}


_ENGINES = {"embedded": "embedded", "cmdstan": "CmdStan", None: ""}


class Row(NamedTuple):
    """One run, with what is not in its result: how it was judged, and its status in words."""

    run: RunResult
    status: str
    status_level: str
    level: str
    engine: str
    iterations: str
    eta: str
    khat: str
    khat_sort: str


class Table(NamedTuple):
    """All runs of a model with a line that counts them."""

    line: str
    rows: tuple[Row, ...]


def table(entry: ModelComparison) -> Table | None:
    """Return the table, or None for a model without runs."""
    if not entry.runs:
        return None
    khats = {(m.method, m.seed): m.value for m in entry.measures if m.metric == KHAT.id}
    levels = {(v.method, s.seed): s.level for v in entry.verdicts for s in v.by_seed}
    order = in_order((r.spec.method for r in entry.runs), nuts_first=True)
    runs = sorted(entry.runs, key=lambda r: (order.index(r.spec.method), r.spec.seed))
    counts = Counter(_STATUS[r.status][1] for r in runs)
    words = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    keys = [(r.spec.method, r.spec.seed) for r in runs]
    rows = tuple(_row(r, levels.get(k, ""), khats.get(k)) for r, k in zip(runs, keys, strict=True))
    return Table(f"{count(len(runs), 'run')}: {words}", rows)


def _row(run: RunResult, level: str, khat: float | None) -> Row:
    status_level, status = _STATUS[run.status]
    return Row(
        run=run,
        status=status,
        status_level=status_level,
        level=level,
        engine=run.versions.get(STAN, _ENGINES[run.engine]),
        iterations=_written(run.diagnostics.get("iterations"), integer),
        eta=_written(run.diagnostics.get("eta"), setting),
        khat="" if khat is None else number(khat),
        khat_sort=_written(khat, str),
    )


def _written(value: float | None, writer: Callable[[float], str]) -> str:
    """Write a diagnostic, or nothing if the run has none."""
    return "" if value is None or math.isnan(value) else writer(value)


class Variance(NamedTuple):
    """A gradient estimator: its variance, and the ratio to the reparameterised gradient's."""

    title: str
    variance: str
    ratio: str


def variances(entry: ModelComparison) -> tuple[Variance, ...]:
    """Return a row for each estimator; none if no run measured their variances."""
    _, _, found = variance.rows(entry)
    return tuple(
        Variance(
            r.title,
            estimate(r.variance, r.error) if math.isfinite(r.error) else number(r.variance),
            number(r.ratio),
        )
        for r in found
    )
