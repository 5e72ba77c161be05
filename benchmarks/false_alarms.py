"""How often good draws do not pass, and how often bad ones fail.

``python benchmarks/false_alarms.py [--repetitions 1000]`` draws from known distributions, runs
the harness's own metrics and judge on them, and prints a table. Exact draws against exact
draws must pass in at least 99% of repetitions; a wrong sd, a wrong mean and a missed mode must
fail in at least 99%. The exit code is 1 if one of them does not.
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

from harness import judge, metrics
from harness.records import (
    Cost,
    Draws,
    Estimate,
    Level,
    Measure,
    Model,
    Reference,
    RunResult,
    RunSpec,
    Verdict,
)
from harness.study.pool import cores

if TYPE_CHECKING:
    from harness.records import FloatArray

    Sampler = Callable[[np.random.Generator, int, int], FloatArray]

DRAWS = 10_000
REFERENCE_DRAWS = 40_000
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
    expected: Level = "pass"


def _exact(name: str, sampler: Sampler, sizes: Sequence[int]) -> list[Case]:
    return [Case(name, d, sampler, sampler) for d in sizes]


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
    *(
        Case("one sd half as large", d, normal, _spoil(normal, lambda x: x / 2), "fail")
        for d in (1, 50)
    ),
    *(
        Case("one mean 0.7 sd off", d, normal, _spoil(normal, lambda x: x + 0.7), "fail")
        for d in (1, 50)
    ),
    Case("a mode of mass 0.2 missed", 1, mixture, _one_mode, "fail"),
)


class Bench:
    """One case: a reference, prepared, and verdicts on runs against it."""

    def __init__(self, case: Case, rng: np.random.Generator) -> None:
        self.case, self.rng = case, rng
        self.names = tuple(f"x[{i + 1}]" for i in range(case.d))
        self.ref = case.reference(rng, REFERENCE_DRAWS, case.d)[None]
        self.joint = metrics.JointReference(self.ref, iid=True, seed=1)
        self.samples = [metrics.prepare(self.ref[:, :, i], iid=True) for i in range(case.d)]
        self.summaries = [
            _measure("reference", None, name, metric, estimate)
            for name, sample in zip(self.names, self.samples, strict=True)
            for metric, estimate in metrics.summaries(sample).items()
        ]

    def verdict(self) -> Verdict:
        """Judge one fresh run."""
        values = self.case.approximation(self.rng, DRAWS, self.case.d)[None]
        measures = list(self.summaries)
        for i, (name, sample) in enumerate(zip(self.names, self.samples, strict=True)):
            own = metrics.prepare(values[:, :, i], iid=True)
            figures = metrics.summaries(own) | metrics.compare_quantity(own, sample)
            measures += [_measure("method", 1, name, m, e) for m, e in figures.items()]
        found = metrics.compare_joint(metrics.Joint(values, self.joint, iid=True))
        measures += [_measure("method", 1, None, m, estimate) for m, estimate in found.items()]
        draws = Draws(self.names, values)
        spec = RunSpec("benchmark", "method", {}, 1, DRAWS)
        run = RunResult(spec, "", "ok", "", draws, None, {}, Cost(0.0), {})
        reference = Reference("exact", trusted=True, why="exact", draws=Draws(self.names, self.ref))
        return judge.judge_method(MODEL, "method", [run], measures, reference)


def _measure(
    method: str, seed: int | None, quantity: str | None, metric: str, estimate: Estimate
) -> Measure:
    return Measure("benchmark", method, seed, quantity, metric, *estimate, "exact")


@dataclass(frozen=True)
class Outcome:
    """The outcomes of a case's repetitions."""

    case: Case
    repetitions: int
    levels: Counter[str]
    reasons: Counter[str]
    seconds: float

    @property
    def misses(self) -> int:
        """The number of repetitions with the wrong verdict."""
        return self.repetitions - self.levels[self.case.expected]

    @property
    def good(self) -> bool:
        """Whether at most 1% were wrong; a single one says nothing about a rate."""
        return self.misses <= max(0.01 * self.repetitions, 1)


def run_case(case: Case, repetitions: int, seed: int) -> Outcome:
    """Repeat a case with fresh draws, and a fresh reference every ten times."""
    rng = np.random.default_rng([seed, case.d, *case.name.encode()])
    levels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    started = time.perf_counter()
    bench = Bench(case, rng)
    for repetition in range(repetitions):
        if repetition and repetition % SEEDS_PER_REFERENCE == 0:
            bench = Bench(case, rng)
        verdict = bench.verdict()
        levels[verdict.level] += 1
        if verdict.level != case.expected:
            reasons.update(f"{f.measure.metric} {f.level}" for f in verdict.findings)
    return Outcome(case, repetitions, levels, reasons, time.perf_counter() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all cases and print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--up-to", type=int, default=50, help="the largest number of quantities")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes")
    options = parser.parse_args(arguments)
    chosen = [i for i, c in enumerate(CASES) if options.only in c.name and c.d <= options.up_to]
    if not chosen:
        parser.error(f"no such case; there are {', '.join(dict.fromkeys(c.name for c in CASES))}")
    print(f"{'case':<30}{'d':>4}{'n':>6}  must be  missed     rate   s each  why")
    bad = 0
    # A case is named by its place in the table: samplers made by lambdas cannot be sent.
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        work = [pool.submit(_run, i, options.repetitions, options.seed) for i in chosen]
        for i, future in zip(chosen, work, strict=True):
            outcome = Outcome(CASES[i], *future.result())
            bad += not outcome.good
            print(_row(CASES[i], outcome), flush=True)
    return int(bad > 0)


def _run(index: int, repetitions: int, seed: int) -> tuple[int, Counter[str], Counter[str], float]:
    """Run one case in a worker, by name: its lambdas cannot be sent there."""
    done = run_case(CASES[index], repetitions, seed)
    return done.repetitions, done.levels, done.reasons, done.seconds


def _row(case: Case, outcome: Outcome) -> str:
    why = ", ".join(f"{k} × {v}" for k, v in outcome.reasons.most_common(3))
    return (
        f"{case.name:<30}{case.d:>4}{outcome.repetitions:>6}  {case.expected:<8}"
        f"{outcome.misses:>7}{outcome.misses / outcome.repetitions:>9.2%}"
        f"{outcome.seconds / outcome.repetitions:>9.3f}"
        f"  {'' if outcome.good else 'TOO MANY '}{why}"
    )


if __name__ == "__main__":
    sys.exit(main())
