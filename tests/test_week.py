"""The replay of a study on its queue: nothing is lost or doubled, whatever the workers do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import week


@pytest.mark.parametrize("life_s", [1e9, 200.0, 40.0])
def test_every_run_has_one_result(life_s: float) -> None:
    """Workers that die make runs be made twice; a run that takes two with it is killed."""
    posteriors = week.study(3, 5, 3)
    runs = sum(map(len, posteriors))
    found = week.replay(posteriors, 4, 10.0, life_s, 0.01)
    assert found["results"] + found["killed"] == runs
    assert (found["made_twice"] > 0) is (life_s < 1e9)
    assert (found["hours_wasted"] > 0) is (life_s < 1e9)


def test_time_is_what_the_runs_and_the_client_take() -> None:
    """One thread makes one run after another; a slow client keeps many threads waiting."""
    posteriors = week.study(2, 5, 3)
    runs = [run for those in posteriors for run in those]
    alone = week.replay(posteriors, 1, 1.0, 1e9, 0.0)["hours"]
    assert alone == pytest.approx(sum(run.seconds for run in runs) / 3600)
    crowded = week.replay(posteriors, len(runs), 1.0, 1e9, 10.0)["hours"]
    assert crowded == pytest.approx(10.0 * len(runs) / 3600, rel=0.05)
