"""How often good draws do not pass, and how often bad ones fail.

``python benchmarks/false_alarms.py [--repetitions 1000]`` draws from known distributions, runs
the harness's own metrics and judge on them, and prints a table; ``--markdown docs/judging.md``
writes it into that page. Exact draws against exact draws must pass in at least 99% of repetitions;
a wrong sd, mean, correlation or probability and a missed mode must get the level that they deserve
in at least 99%. The exit code is 1 if one of them does not.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness import judgement
from harness.metrics.measure import Yardstick, select
from harness.records import Cost, Draws, Level, Model, Reference, RunResult, RunSpec, Verdict
from harness.records.budget import MAX_DRAWS
from harness.records.cores import cores

if TYPE_CHECKING:
    from harness.records import FloatArray

    Sampler = Callable[[np.random.Generator, int, int], FloatArray]

DRAWS = 10_000
REFERENCE_DRAWS = 40_000
FEW = 4_000
"""Draws of a small reference."""

LEVELS: tuple[Level, ...] = ("pass", "unknown", "warn", "fail")
BAD: tuple[Level, ...] = ("warn", "fail")
SEEDS_PER_REFERENCE = 10
"""As in a comparison, one reference serves ten runs."""

LEFT = 0.2
"""The mass of the mixture's left mode."""

MODEL = Model("benchmark", "benchmark", Path("benchmark.stan"), None)


def normal(rng: np.random.Generator, n: int, d: int) -> FloatArray:
    """Draw independent normals, shape ``(n, d)``."""
    return rng.normal(size=(n, d))


def normal_correlated(rng: np.random.Generator, n: int, d: int) -> FloatArray:
    """Draw normals that correlate at 0.8."""
    return math.sqrt(0.8) * rng.normal(size=(n, 1)) + math.sqrt(0.2) * rng.normal(size=(n, d))


def gamma(rng: np.random.Generator, n: int, d: int) -> FloatArray:
    """Draw exponentials, skewness 2."""
    return rng.gamma(1.0, size=(n, d))


def gamma_correlated(rng: np.random.Generator, n: int, d: int) -> FloatArray:
    """Draw exponentials that share half of their variance."""
    return rng.gamma(0.5, size=(n, 1)) + rng.gamma(0.5, size=(n, d))


def lognormal(rng: np.random.Generator, n: int, d: int) -> FloatArray:
    """Draw lognormals, skewness 6."""
    return np.exp(rng.normal(size=(n, d)))


def student_3(rng: np.random.Generator, n: int, d: int) -> FloatArray:
    """Draw Student t with 3 degrees of freedom."""
    return rng.standard_t(3, size=(n, d))


def student_3_correlated(rng: np.random.Generator, n: int, d: int) -> FloatArray:
    """Draw multivariate Student t, 3 degrees of freedom, correlation 0.8."""
    return normal_correlated(rng, n, d) / np.sqrt(rng.chisquare(3, size=(n, 1)) / 3)


def mixture(rng: np.random.Generator, n: int, d: int) -> FloatArray:
    """Draw the lecture's mixture, .2 N(−.3, .1) + .8 N(.5, .1)."""
    return np.where(rng.random((n, d)) < LEFT, -0.3, 0.5) + 0.1 * rng.normal(size=(n, d))


@dataclass(frozen=True)
class Case:
    """A reference, an approximation, and the verdict required in 99% of repetitions."""

    name: str
    d: int
    reference: Sampler
    approximation: Sampler
    expected: tuple[Level, ...] = ("pass",)
    draws: int = REFERENCE_DRAWS  # of the reference


def student(df: float, shift: float = 0.0) -> Sampler:
    """Return Student's t, shifted."""
    return lambda rng, n, d: rng.standard_t(df, size=(n, d)) + shift


def counts(rate: float) -> Sampler:
    """Return Poisson counts."""
    return lambda rng, n, d: rng.poisson(rate, size=(n, d)).astype(float)


def events(p: float) -> Sampler:
    """Return a standard normal and d − 1 independent indicators of probability p."""

    def draw(rng: np.random.Generator, n: int, d: int) -> FloatArray:
        return np.concatenate([rng.normal(size=(n, 1)), rng.random((n, d - 1)) < p], axis=1)

    return draw


def path(rng: np.random.Generator, n: int, d: int) -> FloatArray:
    """Draw a path over three states that is nearly certain: it turns a step late, rarely."""
    states = np.tile(np.ceil(3 * np.arange(1, d + 1) / d), (n, 1))
    turns = np.flatnonzero(np.diff(states[0]))
    for at, p in zip(np.concatenate([turns, turns - 1]), (0.3, 0.02, 0.001, 1e-4), strict=True):
        states[:, at] += rng.random(n) < p
    return states


def _exact(
    name: str, sampler: Sampler, sizes: Sequence[int], draws: Sequence[int] = (REFERENCE_DRAWS,)
) -> list[Case]:
    return [Case(name, d, sampler, sampler, draws=n) for d in sizes for n in draws]


def _spoil(sampler: Sampler, change: Callable[[FloatArray], FloatArray]) -> Sampler:
    """Change the first quantity only; all others stay exact."""

    def spoilt(rng: np.random.Generator, n: int, d: int) -> FloatArray:
        x = sampler(rng, n, d)
        x[:, 0] = change(x[:, 0])
        return x

    return spoilt


def _one_mode(rng: np.random.Generator, n: int, d: int) -> FloatArray:
    return 0.5 + 0.1 * rng.normal(size=(n, d))


CASES: tuple[Case, ...] = (
    *_exact("normal", normal, (1, 10, 50)),
    *_exact("normal, correlated", normal_correlated, (10, 50)),
    *_exact("exponential", gamma, (1, 10, 50)),
    *_exact("exponential, correlated", gamma_correlated, (10, 50)),
    *_exact("lognormal", lognormal, (1, 10, 50)),
    *_exact("Student t, 3 df", student_3, (1, 10, 50)),
    *_exact("Student t, 3 df, correlated", student_3_correlated, (10, 50)),
    *_exact("mixture", mixture, (1, 10)),
    *_exact("Student t, 2 df", student(2), (1, 10)),
    *_exact("Student t, 1.5 df", student(1.5), (1, 10)),
    *_exact("Cauchy", student(1), (1, 10)),
    *_exact("indicator, 0.05", events(0.05), (2,), (FEW, REFERENCE_DRAWS)),
    *_exact("200 indicators, 0.01", events(0.01), (201,), (FEW, REFERENCE_DRAWS)),
    *_exact("indicator, 0.0001", events(1e-4), (2,), (FEW, REFERENCE_DRAWS)),
    *_exact("path, nearly certain", path, (30,), (FEW, REFERENCE_DRAWS)),
    *_exact("Poisson, 3", counts(3), (1, 10), (FEW, REFERENCE_DRAWS)),
    *(
        Case("one sd half as large", d, normal, _spoil(normal, lambda x: x / 2), ("fail",))
        for d in (1, 50)
    ),
    *(
        Case("one mean 0.7 sd off", d, normal, _spoil(normal, lambda x: x + 0.7), ("fail",))
        for d in (1, 50)
    ),
    Case("correlation 0 for 0.8", 10, normal_correlated, normal, ("fail",)),
    Case("Cauchy, 3 off", 1, student(1), student(1, 3.0), ("fail",)),
    Case("Student t, 1.5 df, 1 off", 1, student(1.5), student(1.5, 1.0), BAD),
    Case("Student t, 2 df, 0.5 off", 1, student(2), student(2, 0.5), BAD),
    Case("indicator, 0.35 for 0.05", 2, events(0.05), events(0.35), ("fail",), FEW),
    Case("Poisson, 4 for 3", 1, counts(3), counts(4), BAD, FEW),
    Case("a mode of mass 0.2 missed", 1, mixture, _one_mode, ("fail",)),
)


class Bench:
    """One case: a reference, prepared, and verdicts on runs against it."""

    def __init__(self, case: Case, rng: np.random.Generator) -> None:
        self.case, self.rng = case, rng
        self.names = tuple(f"x[{i + 1}]" for i in range(case.d))
        draws = Draws(self.names, case.reference(rng, case.draws, case.d)[None])
        self.reference = Reference("exact", trusted=True, why="exact", draws=draws)
        selection = select(MODEL, draws)
        self.yardstick = Yardstick("benchmark", self.reference, selection)
        self.summaries = self.yardstick.own_summaries()
        self.context = judgement.JudgeContext(len(selection.names), kinds=self.yardstick.kinds())

    def verdict(self) -> tuple[Verdict, bool]:
        """Judge one fresh run, again with more draws if that may decide, as the harness does."""
        found = self._judge(DRAWS)
        (seed,) = found.by_seed
        needed = max((f.draws_needed or 0 for f in seed.findings if f.level == "unsure"), default=0)
        if found.level != "unknown" or not needed:
            return found, False
        return self._judge(min(int(1.3 * needed), MAX_DRAWS)), True

    def _judge(self, n: int) -> Verdict:
        values = self.case.approximation(self.rng, n, self.case.d)[None]
        spec = RunSpec("benchmark", "method", {}, 1, n)
        draws = Draws(self.names, values)
        run = RunResult(spec, "", "ok", "", draws, None, {}, Cost(0.0), {})
        measures = [*self.summaries, *self.yardstick.run(run).measures]
        return judgement.judge_method(
            MODEL, "method", [run], measures, self.reference, self.context
        )


@dataclass(frozen=True)
class Outcome:
    """The outcomes of a case's repetitions."""

    case: Case
    repetitions: int
    levels: Counter[str]
    reasons: Counter[str]
    again: int  # repetitions that took more draws
    seconds: float

    @property
    def misses(self) -> int:
        """The number of repetitions with the wrong verdict."""
        return self.repetitions - sum(self.levels[level] for level in self.case.expected)

    @property
    def good(self) -> bool:
        """Whether at most 1% were wrong; a single one says nothing about a rate."""
        return self.misses <= max(0.01 * self.repetitions, 1)


def run_case(case: Case, repetitions: int, seed: int) -> Outcome:
    """Repeat a case with fresh draws, and a fresh reference every ten times."""
    rng = np.random.default_rng([seed, case.d, case.draws, *case.name.encode()])
    levels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    looks = 0
    started = time.perf_counter()
    bench = Bench(case, rng)
    for repetition in range(repetitions):
        if repetition and repetition % SEEDS_PER_REFERENCE == 0:
            bench = Bench(case, rng)
        verdict, again = bench.verdict()
        looks += again
        levels[verdict.level] += 1
        if verdict.level not in case.expected:
            reasons.update(f"{f.measure.metric} {f.level}" for f in verdict.findings)
    return Outcome(case, repetitions, levels, reasons, looks, time.perf_counter() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all cases and print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--up-to", type=int, default=50, help="the largest number of quantities")
    parser.add_argument("--markdown", type=Path, help="a page whose table is written anew")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes")
    options = parser.parse_args(arguments)
    chosen = [i for i, c in enumerate(CASES) if options.only in c.name and c.d <= options.up_to]
    if not chosen:
        parser.error(f"no such case; there are {', '.join(dict.fromkeys(c.name for c in CASES))}")
    print(HEAD)
    outcomes = []
    # A case is named by its place in the table: samplers made by lambdas cannot be sent.
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        work = [pool.submit(_run, i, options.repetitions, options.seed) for i in chosen]
        for i, future in zip(chosen, work, strict=True):
            outcomes.append(Outcome(CASES[i], *future.result()))
            print(_row(outcomes[-1]), flush=True)
    if options.markdown is not None:
        _write(options.markdown, outcomes)
    return int(not all(o.good for o in outcomes))


def _run(
    index: int, repetitions: int, seed: int
) -> tuple[int, Counter[str], Counter[str], int, float]:
    """Run one case in a worker, by name: its lambdas cannot be sent there."""
    done = run_case(CASES[index], repetitions, seed)
    return done.repetitions, done.levels, done.reasons, done.again, done.seconds


HEAD = (
    "| case | quantities | reference | must be | replays | more draws "
    "| pass | unknown | warn | fail | s each |"
)
MARK = "<!-- benchmarks/false_alarms.py -->"


def _row(outcome: Outcome) -> str:
    """Return a row of the table; what missed is said in the last column."""
    case = outcome.case
    shares = [f"{outcome.levels[k] / outcome.repetitions:.1%}" for k in LEVELS]
    why = ", ".join(f"{k} × {v}" for k, v in outcome.reasons.most_common(3))
    cells = [
        case.name, case.d, case.draws, " or ".join(case.expected), outcome.repetitions,
        f"{outcome.again / outcome.repetitions:.1%}", *shares,
        f"{outcome.seconds / outcome.repetitions:.3f}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |" + ("" if outcome.good else f" TOO MANY: {why}")


def _write(page: Path, outcomes: Sequence[Outcome]) -> None:
    """Replace the table between the two marks of a page."""
    before, _, after = page.read_text(encoding="utf-8").split(MARK)
    rows = [HEAD, "|" + " --- |" * HEAD[1:].count("|"), *map(_row, outcomes)]
    page.write_text(f"{before}{MARK}\n\n{chr(10).join(rows)}\n\n{MARK}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
