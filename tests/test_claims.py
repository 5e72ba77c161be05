"""Claims: figures found, summarised, and held against what was expected."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from pydantic import ValidationError

from harness.judgement.claims import check_claim
from harness.models.folders import _Figure
from harness.records import Claim, Cost, Measure, RunResult, RunSpec


def measure(seed: int | None, value: float, mcse: float = 0.01, quantity: str = "x") -> Measure:
    """Return one bias of mean-field."""
    return Measure("m", "meanfield", seed, quantity, "bias", value, mcse, "exact")


def run(seed: int, status: Any = "ok", iterations: float = 300.0) -> RunResult:
    """Return a run without draws."""
    return RunResult(
        RunSpec("m", "meanfield", {}, seed, 1), "", status, "", None, None,
        {"iterations": iterations}, Cost(1.0), {},
    )  # fmt: skip


def claim(figure: dict[str, Any], expect: dict[str, float]) -> Claim:
    """Return a claim about mean-field."""
    return Claim("text", "lecture", {"method": "meanfield", **figure}, expect)


MEASURES = [measure(1, 0.1), measure(2, -0.4), measure(3, 0.2)]


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("worst", -0.4),
        ("best", 0.1),
        ("median", 0.1),
        ("mean", -0.1 / 3),
        (
            "spread",
            math.sqrt(((0.1 + 0.1 / 3) ** 2 + (0.4 - 0.1 / 3) ** 2 + (0.2 + 0.1 / 3) ** 2) / 2),
        ),
    ],
)
def test_seeds_are_summarised_as_asked(over: str, expected: float) -> None:
    """Worst and best keep their sign; mean, median and spread are over seeds."""
    result = check_claim(
        "m", claim({"metric": "bias", "quantity": "x", "over": over}, {"at_most": 9}), MEASURES, []
    )
    assert result.measured == pytest.approx(expected)
    assert result.holds is True


@pytest.mark.parametrize(
    ("expect", "holds"),
    [
        ({"at_most": 0.3}, True),
        ({"at_most": 0.1}, False),
        ({"at_least": 0.1}, True),
        ({"at_least": 0.3}, False),
        ({"near": 0.2, "within": 0.001}, True),
        ({"near": 0.25, "within": 0.001}, False),
        ({"near": 0.215}, True),
    ],
)
def test_bounds_and_neighbourhoods(expect: dict[str, float], holds: bool) -> None:
    """``near`` allows ``within`` plus two standard errors (here 0.02)."""
    figure = {"metric": "bias", "quantity": "x", "over": "worst"}
    result = check_claim("m", claim(figure, expect), [measure(1, 0.2)], [])
    assert result.holds is holds


@pytest.mark.parametrize(
    "measures", [[], [measure(1, math.nan)], [measure(1, 0.1, quantity="other")]]
)
def test_what_cannot_be_measured_neither_holds_nor_fails(measures: list[Measure]) -> None:
    """A missing or NaN figure gives None and says so."""
    figure = {"metric": "bias", "quantity": "x"}
    result = check_claim("m", claim(figure, {"at_most": 1}), measures, [])
    assert result.holds is None
    assert "could not be measured" in result.sentence


def test_run_figures_and_shares() -> None:
    """Iterations and the share of a status come from the runs."""
    runs = [run(1), run(2, "not_converged", 10_000.0), run(3, "not_converged", 10_000.0)]
    worst = check_claim(
        "m", claim({"metric": "iterations", "over": "worst"}, {"at_least": 10_000}), [], runs
    )
    assert worst.measured == 10_000
    share = check_claim("m", claim({"metric": "share_not_converged"}, {"near": 0.6}), [], runs)
    assert share.measured == pytest.approx(2 / 3)
    assert share.holds is True
    assert check_claim("m", claim({"metric": "share_ok"}, {"at_most": 1}), [], []).holds is None


def test_a_runs_own_figures_can_be_claimed() -> None:
    """``run.NAME`` is summarised over the runs that have it, ``with.NAME`` is their share."""
    runs = [
        dataclasses.replace(run(seed), diagnostics={"fired_at": at})
        for seed, at in ((1, 300.0), (2, math.nan), (3, 500.0), (4, math.nan))
    ]
    mean = check_claim("m", claim({"metric": "run.fired_at"}, {"at_most": 450}), [], runs)
    assert mean.measured == pytest.approx(400)
    assert mean.holds is True
    assert "fired at" in mean.sentence
    share = check_claim("m", claim({"metric": "with.fired_at"}, {"at_most": 0.1}), [], runs)
    assert share.measured == pytest.approx(0.5)
    assert share.holds is False
    assert "50% of 4 runs" in share.sentence
    for metric in ("run.other", "with.other"):
        absent = check_claim("m", claim({"metric": metric}, {"at_most": 1}), [], runs)
        assert absent.holds is None


def timed(method: str, *seconds: float) -> list[RunResult]:
    """Return a method's runs that took some seconds, one a seed."""
    first = run(1)
    return [
        dataclasses.replace(
            first,
            spec=dataclasses.replace(first.spec, method=method, seed=seed),
            cost=Cost(cost),
        )
        for seed, cost in enumerate(seconds, 1)
    ]


def test_seconds_can_be_claimed_beside_another_methods() -> None:
    """The ratio of 10 and 2 seconds is 5, with the relative errors of both means in its error."""
    runs = [*timed("meanfield", 9.0, 11.0), *timed("minibatch", 1.9, 2.1)]
    figure = {"metric": "seconds", "beside": "minibatch"}
    result = check_claim("m", claim(figure, {"at_least": 4}), [], runs)
    assert result.measured == pytest.approx(5)
    # Both means have half of their two values' difference as standard error.
    assert result.error == pytest.approx(5 * math.hypot(1 / 10, 0.1 / 2))
    assert result.holds is True
    assert "divided by the mean of minibatch ADVI" in result.sentence
    assert check_claim("m", claim(figure, {"at_least": 6}), [], runs).holds is False
    worst = check_claim("m", claim({**figure, "over": "worst"}, {"at_most": 5}), [], runs)
    assert worst.measured == pytest.approx(5.5)
    assert worst.holds is False


@pytest.mark.parametrize("other", [(), (math.nan,), (0.0,)])
def test_a_ratio_without_a_divisor_is_not_measured(other: tuple[float, ...]) -> None:
    """Without seconds above zero to divide by, a claim neither holds nor fails."""
    runs = [*timed("meanfield", 9.0), *timed("minibatch", *other)]
    figure = {"metric": "seconds", "beside": "minibatch"}
    for expect in ({"at_least": 1.0}, {"at_most": 1.0}):
        result = check_claim("m", claim(figure, expect), [], runs)
        assert result.holds is None
        assert "no seconds of mean-field or minibatch ADVI" in result.sentence


@pytest.mark.parametrize("figure", [{"metric": "bias"}, {"metric": "seconds", "over": "spread"}])
def test_only_seconds_are_compared_with_another_methods(figure: dict[str, str]) -> None:
    """A claim on another figure beside a method's is refused when the folder is read."""
    with pytest.raises(ValidationError, match="beside compares seconds"):
        _Figure.model_validate({"method": "meanfield", "beside": "minibatch", **figure})
