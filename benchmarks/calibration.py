"""How often a regression check raises a false alarm, and how reliably it finds a change.

``python benchmarks/calibration.py [--replays 2000] [--markdown docs/calibration.md]`` draws from
known distributions and runs the harness's own summaries, tests and decisions on the draws. In some
cases nothing changes, without margins (the test alone) and as users check; in others one quantity
changes. The exit code is 1 if a demand is missed.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from calibration_cases import CASES, CURVES, DEMANDED, Case
from calibration_page import page
from replays import Replay, as_used, with_faults, without_margins

from harness.check.baseline.change import ALPHA
from harness.records.cores import cores

LOOSE = 0.05
"""The family-wise error at which false alarms are counted: at 1e-4 there would be none."""

MOST = 0.07
"""The largest share of false alarms of the test alone, at 0.05, beyond three Monte Carlo errors."""

CAUGHT = 0.95
"""The share of replays in which a change must be found."""

ALPHAS = (ALPHA, LOOSE)

PARTS = 8
"""The number of parts in which a case is run."""


@dataclass(frozen=True)
class Tally:
    """The outcomes of one row's replays."""

    replays: int = 0
    changed: int = 0
    undecided: int = 0
    more: int = 0
    """Replays that took more than one look."""
    first: int = 0
    """Replays that ended as changed at the first look."""
    without: int = 0
    """Replays whose baseline had no moments worth comparing."""
    ess: tuple[float, ...] = ()
    seconds: float = 0.0

    @classmethod
    def of(cls, replays: Iterable[Replay], seconds: float) -> Tally:
        """Count."""
        seen = list(replays)
        return cls(
            len(seen),
            sum(r.code == 1 for r in seen),
            sum(r.code == 2 for r in seen),  # noqa: PLR2004 (exit codes)
            sum(r.looks > 1 for r in seen),
            sum(r.code == 1 and r.looks == 1 for r in seen),
            sum(not r.moments for r in seen),
            tuple(r.ess for r in seen if math.isfinite(r.ess)),
            seconds,
        )

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.replays + other.replays,
            self.changed + other.changed,
            self.undecided + other.undecided,
            self.more + other.more,
            self.first + other.first,
            self.without + other.without,
            self.ess + other.ess,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Row:
    """A row of the tables: a case, or one fault or alpha of it, and whether its demand is met."""

    case: Case
    size: int
    what: str
    tally: Tally

    @property
    def share(self) -> float:
        """The share of replays that ended as changed."""
        return self.tally.changed / self.tally.replays

    @property
    def error(self) -> float:
        """The Monte Carlo error of the share; for 0 or 1, that of one replay more or less."""
        n = self.tally.replays
        count = min(max(self.tally.changed, 1), n - 1) if n > 1 else n
        return math.sqrt(count * (n - count) / n) / n

    @property
    def good(self) -> bool:
        """Whether the demand on this row is met."""
        n = self.tally.replays
        noise = 3 * math.sqrt(LOOSE * (1 - LOOSE) / n)
        if self.case.kind == "test":
            return self.share <= max(MOST, LOOSE + noise)
        if self.case.kind == "control":
            return self.share > 1 / 2
        if self.case.kind == "check":
            return self.tally.changed == 0 if self.what == str(ALPHA) else self.share <= LOOSE
        return self.case.kind == "curve" or self.share >= CAUGHT


def replays_of(case: Case, replays: int) -> int:
    """Return how many replays a case gets."""
    return max(round(replays * case.share), 1)


def run_case(case: Case, replays: int, seed: Sequence[int]) -> list[Row]:
    """Replay a case."""
    begin = time.perf_counter()
    rng = np.random.default_rng([*seed, *case.name.encode()])
    found: dict[tuple[int, str], list[Replay]] = defaultdict(list)
    for _ in range(replays):
        if case.kind in {"test", "control"}:
            found[case.sizes[0], ""].append(without_margins(case.law, case.sizes[0], LOOSE, rng))
        elif case.kind == "check":
            for alpha, one in zip(ALPHAS, as_used(case.law, case.sizes[0], ALPHAS, rng),
                                  strict=True):  # fmt: skip
                found[case.sizes[0], str(alpha)].append(one)
        else:
            faults = DEMANDED if case.kind == "fault" else CURVES
            for (what, size), one in with_faults(case.law, case.sizes, faults, ALPHA, rng).items():
                found[size, what].append(one)
    seconds = (time.perf_counter() - begin) / len(found)
    return [Row(case, *key, Tally.of(seen, seconds)) for key, seen in sorted(found.items())]


def run(cases: Sequence[Case], replays: int, seed: int, jobs: int) -> Iterator[list[Row]]:
    """Run cases in parts, so that no core waits for a long one; yield rows as they are done."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        work: list[list[Future[list[Row]]]] = []
        for case in cases:
            total = replays_of(case, replays)
            sizes = [total * (i + 1) // PARTS - total * i // PARTS for i in range(PARTS)]
            work.append([pool.submit(run_case, case, n, (seed, i))
                         for i, n in enumerate(sizes) if n])  # fmt: skip
        for parts in work:
            yield merged([f.result() for f in parts])


def merged(parts: Sequence[list[Row]]) -> list[Row]:
    """Merge the rows of a case's parts."""
    return [
        replace(column[0], tally=sum((row.tally for row in column), Tally()))
        for column in zip(*parts, strict=True)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and print their rows; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--replays", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page")
    options = parser.parse_args(arguments)
    cases = [c for c in CASES if options.only in c.name]
    if not cases:
        parser.error("no such case; there are\n" + "\n".join(c.name for c in CASES))
    if options.markdown and options.only:
        parser.error("--markdown needs all cases, not --only some")
    begin = time.perf_counter()
    rows: list[Row] = []
    for some in run(cases, options.replays, options.seed, options.jobs):
        rows += some
        for row in some:
            print(line(row), flush=True)
    seconds = time.perf_counter() - begin
    missed = sum(not row.good for row in rows)
    print(f"{len(rows)} rows in {seconds / 60:.0f} minutes; demands missed: {missed}")
    if options.markdown:
        options.markdown.write_text(page(rows, options.replays, options.seed), encoding="utf-8")
    return int(missed > 0)


def line(row: Row) -> str:
    """Return a row for the terminal."""
    t = row.tally
    return (
        f"{row.case.kind:<8}{row.case.words:<54}{row.what:<30}{row.size:>4} q {t.replays:>5} ×"
        f"{row.share:>8.2%} changed ± {row.error:.2%}{t.undecided / t.replays:>8.2%} undecided"
        f"{t.more / t.replays:>8.2%} looked again{t.without / t.replays:>8.2%} no moments"
        f"{t.seconds:>7.0f} s  {'' if row.good else 'MISSED'}"
    )


if __name__ == "__main__":
    sys.exit(main())
