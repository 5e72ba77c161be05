"""The benchmark of the regression check's calibration, in short."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"


def _load(name: str) -> Any:
    """Import a module of the benchmark, which finds the others beside it."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


calibration, cases, replays, pages, fixture = (
    _load(n) for n in ("calibration", "calibration_cases", "replays", "calibration_page", "fixture")
)
Approximation, Sampler = replays.Approximation, replays.Sampler

NOTHING_CHANGED = {
    "normal": (cases.independent("normal", 1000), 4, 200),
    "exponential, then four times as many": (cases.independent("exponential", 400, 4), 4, 200),
    "lognormal": (cases.independent("lognormal", 400), 4, 200),
    "Student t, then four times as many": (cases.independent("t3", 400, 4), 4, 200),
    "many quantities": (cases.independent("normal", 400), 40, 30),
    "correlated quantities": (Sampler(shared=0.9, runs=1, chains=1, draws=400), 40, 30),
    "chains of effective size 330": (Sampler(rho=0.5, runs=1, draws=250), 1, 120),
    "chains of effective size 200": (cases.short(0.905), 1, 60),
    "skewed chains": (cases.short(0.9, "exponential"), 1, 60),
    "seeds": (Approximation(0.05, draws=400), 4, 120),
    "seeds that do not move": (Approximation(0.0, draws=400), 4, 120),
    "seeds with heavy tails": (Approximation(0.1, heavy=True, draws=400), 4, 120),
    "seeds that run away": (Approximation(0.02, runaway=0.05, draws=400), 4, 120),
    "four times as many seeds": (Approximation(0.05, draws=400, growth=4), 2, 60),
}


def alarms(law: Any, d: int, count: int, seed: int = 1) -> int:
    """Return how many replays of "nothing changed" raise a false alarm at 0.05."""
    rng = np.random.default_rng([seed, d, count])
    return sum(replays.without_margins(law, d, 0.05, rng).code == 1 for _ in range(count))


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTHING_CHANGED)
def test_the_test_alone_raises_no_more_false_alarms_than_it_promises(name: str) -> None:
    """Without margins, family-wise: at most 5% and 4.5 binomial standard errors."""
    law, d, count = NOTHING_CHANGED[name]
    most = 0.05 * count + 4.5 * math.sqrt(0.05 * 0.95 * count)
    assert alarms(law, d, count) <= most


@pytest.mark.slow
def test_the_test_alone_does_raise_some() -> None:
    """One figure more or less independent of the others: a bound of zero would be no test."""
    found = alarms(cases.independent("normal", 1000), 1, 1200)
    assert found > 0.01 * 1200  # it is about 3%: 4.5 standard errors are 2%


@pytest.mark.slow
def test_the_draws_own_error_would_be_the_wrong_one_for_seeds() -> None:
    """The same seeds: taken for independent draws they are changed nearly always."""
    law = Approximation(0.05, draws=2000)
    wrong = Approximation(0.05, draws=2000, ignored=True)
    count = 40
    most = 0.05 * count + 4.5 * math.sqrt(0.05 * 0.95 * count)
    assert alarms(law, 4, count) <= most
    assert alarms(wrong, 4, count) > 0.8 * count


AS_USED = {
    "normal": cases.independent("normal", 4000),
    "exponential": cases.independent("exponential", 4000),
    "Student t": cases.independent("t3", 16_000),
    "chains": Sampler(rho=0.5, runs=2),
    "seeds": Approximation(0.02, draws=1000),
    "seeds that run away": Approximation(0.05, runaway=0.05, draws=1000),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", AS_USED)
def test_a_check_of_what_did_not_change_finds_no_change(name: str) -> None:
    """In 25 checks of three quantities, none is changed and hardly any undecided."""
    rng = np.random.default_rng(3)
    done = [replays.as_used(AS_USED[name], 3, calibration.ALPHAS, rng) for _ in range(25)]
    assert not any(r.code == 1 for pair in done for r in pair)
    assert sum(pair[0].code == 2 for pair in done) <= 2


POWER = {
    "independent draws": (cases.independent("normal", 10_000), 20),
    "chains": (Sampler(rho=0.23), 4),
    "seeds": (Approximation(0.02), 8),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", POWER)
def test_what_a_check_must_find_is_found(name: str) -> None:
    """At the default sizes, in one of three quantities: all, up to one in twenty."""
    law, count = POWER[name]
    rng = np.random.default_rng(4)
    for _ in range(count):
        found = replays.with_faults(law, (3,), cases.DEMANDED, 1e-4, rng)
        assert {key: r.code for key, r in found.items()} == dict.fromkeys(found, 1)


@pytest.mark.slow
def test_a_change_within_the_margin_is_none() -> None:
    """A mean moved by 0.02 sd and an sd by 2% are the same."""
    rng = np.random.default_rng(5)
    faults = {"mean": replays.moved(0.02), "sd": replays.shrunk(0.98)}
    for _ in range(10):
        found = replays.with_faults(cases.independent("normal", 10_000), (3,), faults, 1e-4, rng)
        assert all(r.code == 0 for r in found.values())


FIXTURE = {
    "independent": ("normal, 4 × 1000 independent", 10, 300),
    "many quantities": ("normal, 4 × 1000 independent", 500, 10),
    "chains": ("normal, 4 × 1000, ρ 0.5", 10, 50),
    "short chains": ("normal, 4 × 2000, ρ 0.9", 10, 50),
    "heavy tails": ("Student t, 3 df, 4 × 1000 independent", 10, 300),
    "rare events": ("events of probability 0.0002", 10, 100),
    "seeds": ("10 seeds × 1000, spread 0.05", 10, 50),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXTURE)
def test_the_pytest_fixture_keeps_its_promise(name: str) -> None:
    """No check fails, undecided included; 1% without margins; two margins are found in 95%.

    Counts are up to 4.5 binomial standard errors from what is promised.
    """
    words, d, count = FIXTURE[name]
    case = next(c for c in fixture.CASES if (c.words, c.d) == (words, d))
    found = fixture.replay(case, count, (7,))
    assert found["changed"] + found["inconclusive"] == 0
    assert found["inflated"] <= 0.01 * count + 4.5 * math.sqrt(0.01 * count)
    assert found["found"] >= 0.95 * found["faults"] - 4.5 * math.sqrt(0.05 * found["faults"])


# --- the benchmark itself -------------------------------------------------------------------


def row(kind: str, changed: int, count: int = 2000, what: str = "") -> Any:
    """Return a row of the tables."""
    case = cases.Case(kind, "draws", Sampler(), (10,))
    return calibration.Row(case, 10, what, calibration.Tally(count, changed))


def test_a_missed_demand_is_seen() -> None:
    """Too many false alarms, a false change, a fault that slips through, a blunt control."""
    assert row("test", 139).good
    assert not row("test", 141).good
    assert row("test", 8, 100).good  # 8% of 100 may be chance
    assert not row("test", 12, 100).good
    assert row("check", 0, what="0.0001").good
    assert not row("check", 1, what="0.0001").good
    assert row("check", 100, what="0.05").good
    assert not row("check", 101, what="0.05").good
    assert row("fault", 1900).good
    assert not row("fault", 1899).good
    assert not row("control", 1000).good
    assert row("curve", 0).good


def test_the_page_names_what_was_missed() -> None:
    """In its summary and in the row."""
    checks = [row("check", 0, what=what) for what in ("0.0001", "0.05")]
    rows = [row("test", 400), row("control", 2000), *checks, row("fault", 2000), row("curve", 0)]
    text = pages.page(rows, 2000, 1)
    assert "**Missed**: test: draws, 10 quantities" in text
    assert "| draws | 10 |  | 2000 | 20.0% ± 0.9% | **missed** |" in text
    assert "No demand is missed" in pages.page(rows[1:], 2000, 1)


def test_parts_of_a_case_add_up() -> None:
    """Two parts of a case and their sum, row by row."""
    case = cases.Case("check", "draws", cases.independent("normal", 200), (1,))
    parts = [calibration.run_case(case, n, (1, i)) for i, n in enumerate((2, 3))]
    whole = calibration.merged(parts)
    assert [(r.what, r.tally.replays) for r in whole] == [("0.0001", 5), ("0.05", 5)]
    assert len(whole[0].tally.ess) == 5


def test_the_committed_page_is_of_these_cases() -> None:
    """It has a row for every case, the command, and no demand missed."""
    text = PAGE.read_text(encoding="utf-8")
    assert "python benchmarks/calibration.py --markdown docs/calibration.md" in text
    assert "No demand is missed." in text
    for case in cases.CASES:
        assert f"| {case.words} |" in text
    for template in (pages.TEST, pages.CHECK, pages.FAULT, pages.LIMITS):
        assert template in text
