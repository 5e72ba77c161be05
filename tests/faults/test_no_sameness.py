"""What has no moments is never the same as its baseline, and never becomes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.check.baseline.change import Margins
from harness.check.pytest_plugin.checking import Settings, run
from harness.check.pytest_plugin.intake import take
from harness.check.pytest_plugin.places import Place

SETTINGS = Settings(0.01, Margins())
GOOD = np.random.default_rng(20261129).normal(size=(4, 500))


def put(value: float) -> np.ndarray[Any, Any]:
    """Return good draws with one of them replaced."""
    found = GOOD.copy()
    found[1, 7] = value
    return found


BAD: dict[str, Any] = {
    "one NaN": {"m": put(np.nan)},
    "one infinity": {"m": put(-np.inf)},
    "all NaN": {"m": np.full((4, 500), np.nan)},
    "one draw": {"m": np.zeros((1, 1))},
    "one draw a chain": {"m": GOOD[:, :1]},
    "no draws": {"m": GOOD[:, :0]},
    "no chains": {"m": GOOD[:0]},
    "no variables": {},
    "objects": {"m": GOOD.astype(object)},
    "nothing as objects": {"m": np.full((4, 500), None)},
    "text": {"m": GOOD.astype(str)},
    "complex": {"m": GOOD + 1j},
    "masked": {"m": np.ma.masked_array(GOOD, mask=True)},
    "ragged": {"m": [[1.0, 2.0], [3.0]]},
    "seeds of one draw": [{"m": np.full((1, 1), float(i))} for i in range(10)],
    "no seeds": [],
    "copies of a chain": {"m": GOOD[[0, 0, 0, 0]]},
    "two copies among four": {"m": GOOD[[0, 1, 2, 1]]},
    "copies of a seed": [{"m": GOOD}] * 4,
    "nothing": None,
    "a number": 3,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return the place of a good baseline."""
    root = tmp_path_factory.mktemp("baselines")
    place = Place("m", root / "m.json", root, "test_m.py::test_m")
    assert not run(take({"m": GOOD}), place, SETTINGS, regenerate=True).failure
    return place


def test_the_good_draws_are_the_same(place: Place) -> None:
    """The others fail for what they are."""
    assert not run(take({"m": GOOD}), place, SETTINGS, regenerate=False).failure


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("regenerate", [False, True])
def test_bad_draws_are_never_the_same(
    place: Place, tmp_path: Path, kind: str, *, regenerate: bool
) -> None:
    """They are refused, or found to be changed or undecided, and no baseline is made of them."""
    if regenerate:
        place = Place("m", tmp_path / "m.json", tmp_path, "test_m.py::test_m")
    try:
        failure = run(take(BAD[kind]), place, SETTINGS, regenerate=regenerate).failure
    except (TypeError, ValueError) as error:
        failure = str(error)
    assert failure
    assert not (tmp_path / "m.json").exists()


def test_judge_takes_no_copies_for_chains_or_seeds() -> None:
    """Neither in the reference nor in a fit: R-hat and effective sizes would believe them."""
    copies = {"m": GOOD[[0, 0, 0, 0]]}
    for given in ((GOOD, copies["m"]), (copies["m"], GOOD)):
        with pytest.raises(harness.DrawsError, match="chains 1 and 2 are the same draws"):
            harness.judge({"m": given[0]}, {"m": given[1]})
    with pytest.raises(harness.DrawsError, match="no further seed"):
        harness.judge([{"m": GOOD}, {"m": GOOD}], {"m": GOOD})


def test_equal_chains_by_chance_are_no_copies() -> None:
    """Chains that hardly vary are often equal: stuck ones, and rare events."""
    stuck, rare = np.zeros((4, 500)), np.zeros((4, 500))
    rare[:, 0] = 1
    for values in (stuck, rare):
        assert harness.judge({"m": values}, {"m": GOOD}).comparison.models
