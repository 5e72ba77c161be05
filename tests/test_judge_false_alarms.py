"""The benchmark of false alarms and of power, in short."""

from __future__ import annotations

from pathlib import Path

import pytest
import scripts

PATH = Path(__file__).parents[1] / "benchmarks" / "false_alarms.py"


BENCHMARK = scripts.load(PATH)
QUICK = [case for case in BENCHMARK.CASES if case.d == 1]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: f"{case.name}, {case.d}")
def test_exact_draws_pass_and_bad_ones_fail(case: object) -> None:
    """Among 30 repetitions at most one verdict is wrong; the benchmark runs 1000."""
    outcome = BENCHMARK.run_case(case, repetitions=30, seed=7)
    assert outcome.good, f"{dict(outcome.levels)}: {dict(outcome.reasons)}"


def test_ten_quantities_pass_together() -> None:
    """Joint metrics included."""
    case = next(c for c in BENCHMARK.CASES if c.d == 10 and "t, 3 df, corr" in c.name)
    assert BENCHMARK.run_case(case, repetitions=5, seed=7).good
