"""Python callers get a typed error with the words of the command line, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness

PROGRAM = "data { int N; vector[N] y; } parameters { real m; } model { y ~ normal(m, 1); }\n"
DATA = {"N": 2, "y": [1.0, 2.0]}
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a program, with a cache of its own."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "m.stan").write_text(PROGRAM)
    return tmp_path / "m.stan"


def each(name: str, *values: Any) -> Iterator[tuple[str, Any]]:
    """Yield an argument with each of some values."""
    return ((name, value) for value in values)


OUT_OF_RANGE: tuple[tuple[str, Any, str], ...] = (
    *(("seeds", n, "seeds is .*; allowed: a whole number from 1 up to") for n in (0, -1, 1.5, 1e9)),
    *(("jobs", n, "jobs is .*; allowed: a whole number") for n in (0, 10**9)),
    *(
        ("timeout_s", s, "timeout_s is .*; allowed: a number above 0")
        for s in (0, -1, math.nan, math.inf, 10**400)
    ),
    *(
        (name, n, f"{name} is .*; allowed: a number above 0")
        for name in ("compile_timeout_s", "memory_gb")
        for n in (0, -1, math.nan, math.inf)
    ),
    ("seed", 0, "seed is 0"),
    ("engine", "x", "engine is 'x'; allowed: auto, embedded or cmdstan"),
    ("options", {"nuts": {"chains": 0}}, "chains is 0; allowed: a whole number from 1"),
    ("options", {"nuts": {"chains": "1e9"}}, "chains is '1e9'"),
    ("options", {"nobody": {}}, "no method 'nobody'"),
    ("methods", [], "methods is empty"),
    ("methods", ["nobody"], "unknown methods"),
    ("reference", "nothing.csv", "no such reference"),
    ("reference", [], "no draws"),
)

OTHER_KIND: tuple[tuple[str, Any], ...] = (
    *(("seeds", v) for v in ("3", True, [1])),
    ("jobs", "2"),
    ("timeout_s", None),
    ("timeout_s", "5"),
    ("timeout_s", True),
    *each("compile_timeout_s", None, "5", True),
    *each("memory_gb", "4", True, [4]),
    ("seed", None),
    ("engine", [1]),
    *each("quantities", 3, None, [1], [None], b"m"),
    *each("methods", 3, [3], [None], {"mine": 3}, {3: None}),
    *each("options", 3, [1], {"nuts": 3}, {3: {}}, {"nuts": {3: 1}}),
    *each("reference", 3, None, np.zeros(3)),
    *((name, "x") for name in ("reference_iid", "why", "remedies", "quick", "quiet")),
    *(("data", v) for v in (3, [1])),
)


@pytest.mark.parametrize(("name", "value", "words"), OUT_OF_RANGE, ids=repr)
def test_a_value_out_of_range_is_an_error_in_value(
    program: Path, name: str, value: Any, words: str
) -> None:
    """The message says what was got and what is allowed."""
    with pytest.raises(ValueError, match=words) as caught:
        harness.compare(program, DATA, **{name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), OTHER_KIND, ids=repr)
def test_another_kind_is_an_error_in_type(program: Path, name: str, value: Any) -> None:
    """None, text for a number, a number for a list: the argument is named."""
    given = {"data": DATA, name: value}
    with pytest.raises(TypeError, match=r"allowed|taken") as caught:
        harness.compare(program, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, b"m.stan"])
def test_a_program_is_a_path_or_a_name(value: Any) -> None:
    """In every function that takes one."""
    for call in (harness.compare, harness.target):
        with pytest.raises(TypeError, match=r"program is .*; allowed: a path or a name"):
            call(value)


@pytest.mark.parametrize(
    "data",
    [
        {"N": object(), "y": []},
        {1: 2},
        {"N": CYCLE},
        {"N": eval("[" * 90 + "]" * 90)},  # noqa: S307 - written above
        {"N": np.ma.masked_array([1], mask=[True]), "y": []},
    ],
    ids=["object", "key", "cycle", "deep", "masked"],
)
def test_data_from_python_are_numbers(program: Path, data: Any) -> None:
    """Objects, cycles and keys that are no names are refused, as in a file."""
    with pytest.raises(harness.ModelError):
        harness.compare(program, data, quick=True)


@pytest.mark.parametrize("data", [{"N": None, "y": []}, {"N": 10**400, "y": []}, {"N": "a"}])
def test_data_that_do_not_fit_are_that_models_error(program: Path, data: Any) -> None:
    """Nothing, a number of 400 digits and text are told by the variable's name."""
    with pytest.raises(harness.NothingToRunError, match="'N' in"):
        harness.compare(program, data, quick=True, methods=["laplace"])


def test_judge_checks_what_it_gets(program: Path) -> None:
    """As compare does."""
    draws = {"m": np.random.default_rng(1).normal(size=(4, 100))}
    for given in ({"timeout_s": math.nan}, {"timeout_s": -1}):
        with pytest.raises(harness.OptionError, match="timeout_s"):
            harness.judge(draws, draws, **given)
    for more in ({"quantities": 3}, {"why": "x"}, {"program": 3}, {"program": program, "data": 4}):
        with pytest.raises(TypeError, match="allowed"):
            harness.judge(draws, draws, **more)
    for nothing in (None, 3, {"m": draws["m"].astype(object)}):
        with pytest.raises(TypeError):
            harness.judge(nothing, draws)
        with pytest.raises(TypeError):
            harness.judge(draws, nothing)
    with pytest.raises(ValueError, match="no draws"):
        harness.judge({"m": np.zeros((4, 0))}, draws)
