"""docs/without-nuts.md states the checks of the code, and its intervals are Wilson's."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import scripts

from harness.vi.short_chains import CHECKS, Check

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "without-nuts.md").read_text(encoding="utf-8")
FORMS = {"integer": "{:.0f}", "percent": "{:.1%}", "number": "{:g}"}


sys.path.insert(0, str(ROOT / "benchmarks"))
try:
    BENCHMARK = scripts.load(ROOT / "benchmarks" / "self_check.py")
finally:
    sys.path.remove(str(ROOT / "benchmarks"))
MARK, MARK_NEAR = BENCHMARK.MARK, BENCHMARK.MARK_NEAR


def line(check: Check) -> str:
    """Return the line of a check in the page's table."""
    limit = FORMS[check.form].format(check.rule.close)
    sign = "≥" if check.rule.at_least else "≤"
    return f"| `{check.id}` | {check.noun} | {sign} {limit} | {check.rule.why} |"


def test_the_page_states_every_check_and_no_other() -> None:
    """Names, limits and reasons are those of the code, in its order."""
    rows = [row for row in PAGE.split("<!-- checks -->")[1].splitlines() if row.startswith("| `")]
    assert rows == [line(check) for check in CHECKS]


def test_an_interval_solves_wilsons_equation() -> None:
    """At each end the share is 1.96 standard errors away, by the error that the end implies."""
    for count, of in ((2, 520), (448, 459)):
        for end in BENCHMARK.interval(count, of):
            away = abs(count / of - end) / math.sqrt(end * (1 - end) / of)
            assert away == pytest.approx(1.959964, rel=1e-5)


def test_an_interval_of_nothing_says_nothing() -> None:
    """No run is no evidence of a share of 0."""
    assert BENCHMARK.interval(0, 0) == (0, 1)
    low, high = BENCHMARK.interval(0, 20)
    assert low == 0
    assert high > 0.1


def test_a_table_is_written_between_its_own_marks(tmp_path: Path) -> None:
    """The table without far starts leaves the other alone."""
    page = tmp_path / "page.md"
    page.write_text(f"a {MARK} b {MARK} c {MARK_NEAR} d {MARK_NEAR} e", encoding="utf-8")
    BENCHMARK.write(page, MARK_NEAR, ["new"])
    assert page.read_text(encoding="utf-8") == (
        f"a {MARK} b {MARK} c {MARK_NEAR}\n\nnew\n\n{MARK_NEAR} e"
    )
