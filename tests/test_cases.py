"""The cases of benchmarks/cases that take seconds, and that their checker sees what is wrong."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

import harness

pytestmark = [pytest.mark.stan, pytest.mark.usefixtures("cmdstan")]

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

sys.path.insert(0, str(BENCHMARKS))
try:
    suite: Any = importlib.import_module("cases")
finally:
    sys.path.remove(str(BENCHMARKS))

QUICK = [name for name, case in suite.cases().items() if case.get("quick")]

WRONG = {
    "reference": {"reference": "refused"},
    "verdict": {"verdicts": {"dadvi": ["pass"]}},
    "verdict of a trusted reference": {"trusted": {"dadvi": ["pass"]}},
    "gap": {"gap": {"dadvi": [2.5, 0.02]}},
    "gap of none": {"gap": {"nuts": [1.9585, 0.02]}},
    "no gap": {"no_gap": True},
    "cause": {"cause": {"dadvi": ["skew"]}},
    "missing cause": {"cause": {"nuts": ["skew"]}},
    "sd of a mean": {"mean_sd": {"dadvi_psis": ["x", 0.5]}},
}
"""An expectation of every kind that two correlated normals do not meet."""


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_case_comes_out_right(name: str) -> None:
    """What benchmarks/cases/cases.toml says is what comes out."""
    _, found = suite.differences(name, suite.cases()[name])
    assert found == []


def test_there_are_quick_cases_of_fits_and_of_data() -> None:
    """A table that marks none as quick would test nothing."""
    assert {"corr2", "td_rng", "rdump", "scalar_len1", "extra_text"} <= set(QUICK)


@pytest.fixture(scope="module")
def correlated(cmdstan: object) -> harness.ComparisonResult:
    """Return the comparison of two correlated normals."""
    assert cmdstan
    folder = suite.FOLDER / "corr2"
    methods = [*suite.cases()["corr2"]["methods"], "nuts"]
    return harness.compare(folder / "model.stan", folder / "data.json", methods=methods, seeds=2)


@pytest.mark.parametrize("kind", WRONG)
def test_the_checker_reports_a_wrong_expectation(
    correlated: harness.ComparisonResult, kind: str
) -> None:
    """Every kind of check fails where something else came out."""
    assert suite.wrong(WRONG[kind], correlated)


def test_the_checker_reports_what_should_have_been_refused() -> None:
    """A program that runs although its refusal is expected differs."""
    case = {**suite.cases()["corr2"], "error": ["JSON"]}
    assert suite.differences("corr2", case) == ("it ran", ["it should have been refused"])


def test_the_checker_reports_what_should_not_have_been_refused() -> None:
    """A refusal that is not expected differs, and so does one that lacks the words."""
    case = {k: v for k, v in suite.cases()["rdump"].items() if k != "error"}
    _, found = suite.differences("rdump", case)
    assert found == ["it should not have been refused"]
    _, found = suite.differences("rdump", {**case, "error": ["no such word"]})
    assert found == ["the error does not mention 'no such word'"]
