"""A handful of ratios beside those of the last release, and what checks them."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest
import scripts

# The history is of the kind of machine that has a compiler: without one batches cost more.
pytestmark = pytest.mark.stan

ROOT = Path(__file__).parents[1]
ratios = scripts.load(ROOT / "benchmarks" / "ratios.py")


def busy(seconds: float) -> None:
    """Use the CPU for some seconds of its time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.mark.parametrize("name", [ratio.name for ratio in ratios.RATIOS])
def test_no_ratio_has_doubled_since_the_last_release(name: str) -> None:
    """Each ratio is at most twice that of the history's last line, at the second try at least."""
    (ratio,) = [r for r in ratios.RATIOS if r.name == name]
    last = ratios.history()[-1]
    sides = ratio.sides()
    said = []
    for _ in range(2):
        said = ratios.slower({name: ratios.median_ratio(*sides)}, last)
        if not said:
            return
    pytest.fail(said[0])


def test_what_became_twice_as_slow_is_found() -> None:
    """A call that takes three times as long as before is named; an equal one is not."""
    beside = lambda: busy(0.01)  # noqa: E731 - a call without arguments
    found = ratios.median_ratio(lambda: busy(0.03), beside, 3)
    assert found == pytest.approx(3, rel=0.3)
    assert ratios.slower({"x": found}, {"x": "1.0"}) != []
    assert ratios.slower({"x": found}, {"x": "3.0"}) == []


def test_a_slower_loop_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every fit is made four times, the ratio of the loop is over that of the history."""
    fit = ratios.loop.fit

    def slowly(*given: object) -> None:
        for _ in range(4):
            fit(*given)

    monkeypatch.setattr(ratios.loop, "fit", slowly)
    (ratio,) = [r for r in ratios.RATIOS if r.name == "loop"]
    found = ratios.median_ratio(*ratio.sides(), 3)
    assert ratios.slower({"loop": found}, ratios.history()[-1]) != []


@pytest.mark.parametrize("was", ["", "nan", "0"])
def test_a_ratio_that_is_not_known_is_not_fine(was: str) -> None:
    """A new ratio without a figure in the history fails, as does one that could not be measured."""
    assert ratios.slower({"x": 1.0}, {"x": was}) != []
    assert ratios.slower({"x": 1.0}, {}) != []
    assert ratios.slower({"x": float("nan")}, {"x": "1.0"}) != []


def test_a_release_and_machine_has_one_line(tmp_path: Path) -> None:
    """Recording again replaces the line, and keeps those of other releases."""
    path = tmp_path / "history.csv"
    found = {ratio.name: 1.0 for ratio in ratios.RATIOS}
    ratios.record("1.0", found, path)
    ratios.record("1.1", found, path)
    ratios.record("1.1", {**found, "nuts": 2.0}, path)
    assert [(x["release"], x["nuts"]) for x in ratios.history(path)] == [("1.0", "1"), ("1.1", "2")]


def test_the_history_has_every_ratio_of_every_release() -> None:
    """The committed history has numbers in all columns of its last line, and no other columns."""
    with ratios.HISTORY.open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
    assert columns == ["release", "machine", *(ratio.name for ratio in ratios.RATIOS)]
    assert all(float(ratios.history()[-1][ratio.name]) > 0 for ratio in ratios.RATIOS)
