"""How often ``posterior_regression.check`` is wrong: replays of the pytest fixture.

``python benchmarks/fixture.py [--replays 30000] [--only TEXT]`` draws a baseline and a fit of the
same length from one distribution and compares them as the fixture does. A Markdown row for each
case gives the checks that fail at the default alpha, *undecided* ones included; those that would
fail at 0.01 if there were no margins, which shows that the test behind them holds its level; and
how often a change is found. The exit code is 1 if a demand is missed.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from replays import MODEL, Approximation, Law, Sampler, _spoilt, moved, shrunk
from scipy.stats import beta

from harness.check.baseline.change import ALPHA, USUAL
from harness.check.baseline.file import read, write
from harness.check.baseline.form import Baseline, MethodBaseline
from harness.check.baseline.summarise import settle, unit
from harness.check.pytest_plugin.checking import (
    FEWEST_OF_CHAINS,
    METHOD,
    Settings,
    _compare,
    _method,
    _summary,
)
from harness.check.pytest_plugin.intake import Intake
from harness.records import Draws

INFLATED = 0.01
"""The family-wise error at which the test without margins is counted."""

CAUGHT = 0.95

PARTS = 8


@dataclass(frozen=True)
class Case:
    """What is drawn, how many quantities, and the share of the replays that it gets."""

    words: str
    law: Law
    d: int
    share: float = 1.0

    @property
    def moves(self) -> bool:
        """Whether a mean and an sd can move: those of rare events cannot alone."""
        return "events" not in self.words


def _cases(words: str, law: Law, *shares: float) -> list[Case]:
    return [Case(words, law, d, share) for d, share in zip((10, 500), shares, strict=True)]


CASES = (
    *_cases("normal, 4 × 1000 independent", Sampler(runs=1), 1.0, 0.02),
    *_cases("normal, 4 × 1000, ρ 0.5", Sampler(rho=0.5, runs=1), 0.1, 0.01),
    *_cases("normal, 16 × 1000, ρ 0.9", Sampler(rho=0.9, runs=1, chains=16), 0.05, 0.003),
    *_cases("normal, 4 × 2000, ρ 0.9", Sampler(rho=0.9, runs=1, draws=2000), 0.1, 0.0),
    *_cases("Student t, 3 df, 4 × 1000 independent", Sampler("t3", runs=1), 1.0, 0.02),
    *_cases("Student t, 3 df, 4 × 1000, ρ 0.5", Sampler("t3", 0.5, runs=1), 0.05, 0.003),
    *_cases("events of probability 0.05", Sampler("rare0.05", runs=1), 0.2, 0.01),
    *_cases("events of probability 0.0002", Sampler("rare0.0002", runs=1), 0.2, 0.01),
    *_cases("10 seeds × 1000, spread 0.05", Approximation(0.05, draws=1000), 0.1, 0.003),
)


def intake(runs: Sequence[Draws | None]) -> Intake:
    """Return runs as a test hands them over."""
    have = tuple(run for run in runs if run is not None)
    return Intake(have, "dict", several=len(have) > 1, moves=False)


def baseline(law: Law, d: int, rng: np.random.Generator) -> MethodBaseline:
    """Return a baseline as it comes back from its file; one that is refused is drawn again."""
    while True:
        taken = intake(law.take(rng, d, law.runs))
        summary = settle(_summary(taken))
        made = _method(taken, summary)
        slow = made.kind == "chains" and any(
            s.ess_least < FEWEST_OF_CHAINS for s in (summary.samples or {}).values()
        )
        if made.no_moments or slow:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "test.json"
            write(Baseline(MODEL, {METHOD: made}), path)
            return read(path).methods[METHOD]


def outcome(
    old: MethodBaseline, runs: Sequence[Draws | None], alpha: float = ALPHA
) -> tuple[str, float]:
    """Return the worst conclusion, and the smallest p-value times the number of figures."""
    changes, _ = _compare(old, intake(runs), Settings(alpha, USUAL))
    conclusions = {c.conclusion for c in changes}
    said = next(c for c in ("changed", "inconclusive", "same") if c in conclusions)
    ps = [c.chance for c in changes if c.chance is not None]
    return said, min(ps, default=1.0) * len(ps)


def replay(case: Case, replays: int, seed: Sequence[int]) -> Counter[str]:
    """Count the outcomes of a case; in every tenth, a mean and an sd then move by two margins.

    The quantity that moves is compared alone, at its part of the error: that of Bonferroni.
    """
    rng = np.random.default_rng([*seed, *case.words.encode(), case.d])
    found: Counter[str] = Counter(replays=replays)
    for i in range(replays):
        old = baseline(case.law, case.d, rng)
        runs = case.law.take(rng, case.d, case.law.runs)
        said, p = outcome(old, runs)
        found[said] += 1
        found["inflated"] += p <= INFLATED
        name, figures = next(iter(old.quantities.items()))
        single = replace(old, quantities={name: figures})
        for what in ("mean", "sd") if i % 10 == 0 and case.moves else ():
            if not figures[what].why:
                size = 2 * USUAL.of(what, figures[what])
                fault = shrunk(math.exp(-size)) if what == "sd" else moved(size * unit(figures))
                spoilt = [_spoilt(run, fault) for run in runs]
                found["faults"] += 1
                found["found"] += outcome(single, spoilt, ALPHA / case.d)[0] == "changed"
    return found


def most(count: int, n: int) -> float:
    """Return the upper end of the 95% interval of a share (Clopper and Pearson 1934, one-sided)."""
    return float(beta.ppf(0.95, count + 1, n - count)) if count < n else 1.0


def row(case: Case, t: Counter[str]) -> tuple[str, bool]:
    """Return a case as a row of the table, and whether its demands are met."""
    n, failed = t["replays"], t["changed"] + t["inconclusive"]
    # Three binomial errors above the level, and one failure per ten thousand.
    held = t["inflated"] <= INFLATED * n + 3 * (INFLATED * n) ** 0.5
    caught = not t["faults"] or t["found"] >= CAUGHT * t["faults"]
    power = f"{t['found']} of {t['faults']}" if t["faults"] else ""
    good = held and caught and failed <= ALPHA * n + 3 * (ALPHA * n) ** 0.5
    cells = [
        case.words, case.d, n, f"{t['changed']} + {t['inconclusive']} (≤ {most(failed, n):.1g})",
        f"{t['inflated'] / n:.2%} (≤ {most(t['inflated'], n):.2%})", power,
        "" if good else "**missed**",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |", good


def main() -> int:
    """Run the cases and print their rows; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--replays", type=int, default=30_000)
    parser.add_argument("--only", default="", help="cases whose words contain this")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    missed = False
    print("| draws | quantities | checks | changed + undecided | at 0.01, no margins | found | |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for case in CASES:
            total = round(options.replays * case.share)
            if not total or options.only not in case.words:
                continue
            sizes = [total * (i + 1) // PARTS - total * i // PARTS for i in range(PARTS)]
            work = [pool.submit(replay, case, n, (1, i)) for i, n in enumerate(sizes) if n]
            text, good = row(case, sum((w.result() for w in work), Counter()))
            missed |= not good
            print(text, flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
