"""Every rule: fires, does not, cannot tell, and NaN."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from harness import judgement, metrics
from harness.judgement.context import z_of
from harness.judgement.rules import typical_sizes
from harness.records import Closeness, Estimate, Measure, Model, Rule

BY_METRIC = judgement.rules_for()
NAMES = sorted(BY_METRIC)
Z = judgement.critical_z(3)

# For each rule: a value that is wrong, one that is off (None where nothing lies between the
# limits), one that is close, and an estimate that cannot be told.
CASES: dict[str, tuple[float, float | None, float, Estimate]] = {
    "bias": (-0.7, 0.3, -0.05, Estimate(0.05, 0.1)),
    "log_width_ratio": (math.log(0.5), math.log(1.3), math.log(0.95), Estimate(0.05, 0.1)),
    "median_bias": (-0.7, 0.3, -0.05, Estimate(0.05, 0.1)),
    "probability": (0.3, 0.15, 0.01, Estimate(0.01, 0.05)),
    "w1": (0.7, 0.3, -0.01, Estimate(0.05, 0.1)),
    "tail": (-1.0, 0.4, 0.1, Estimate(0.05, 0.2)),
    "missed_mass": (0.2, 0.03, 0.0, Estimate(0.0, 0.01)),
    "corr_error": (0.87, 0.2, 0.05, Estimate(0.05, 0.1)),
    "worst_direction": (-math.inf, -0.3, 0.05, Estimate(0.05, 0.1)),
    "sliced_w1": (0.7, 0.3, -0.01, Estimate(0.05, 0.1)),
    "seed_spread": (0.7, 0.3, 0.02, Estimate(0.05, 0.1)),
    "khat": (math.inf, 0.8, 0.5, Estimate(0.5, math.nan)),
    "rhat": (3.9, 1.05, 1.001, Estimate(1.0, math.nan)),
    "chain_modes": (0.66, None, 0.01, Estimate(0.1, math.inf)),
    "ess_bulk": (99.0, 399.0, 400.0, Estimate(4000.0, math.nan)),
    "ess_tail": (12.0, 200.0, 2000.0, Estimate(4000.0, math.nan)),
    "divergences": (0.02, 0.002, 0.0005, Estimate(0.0, math.nan)),
    "ebfmi": (0.1, 0.25, 0.9, Estimate(0.9, math.nan)),
    "treedepth_hits": (0.2, 0.05, 0.005, Estimate(0.0, math.nan)),
}


def _measure(metric: str, value: float, mcse: float = 0.0) -> Measure:
    return Measure("m", "meanfield", 1, "x", metric, value, mcse, "exact")


def _closeness(metric: str, value: float, mcse: float = 0.0) -> Closeness:
    return judgement.closeness(_measure(metric, value, mcse), BY_METRIC[metric], Z)


def test_every_rule_has_a_case() -> None:
    """Every rule has a case in which it fires."""
    assert set(CASES) == set(BY_METRIC)


@pytest.mark.parametrize("metric", NAMES)
def test_rule_fires(metric: str) -> None:
    """A value beyond the wrong limit is wrong, one between the limits off."""
    wrong, off, _, _ = CASES[metric]
    assert _closeness(metric, wrong, 0.0) == "wrong"
    if off is not None:
        assert _closeness(metric, off, 0.0) == "off"


@pytest.mark.parametrize("metric", NAMES)
def test_rule_does_not_fire(metric: str) -> None:
    """A value within the close limit, well measured, is close."""
    assert (
        _closeness(metric, CASES[metric][2], 0.001 if metric in {"bias", "w1"} else 0.0) == "close"
    )


@pytest.mark.parametrize("metric", NAMES)
def test_rule_cannot_tell(metric: str) -> None:
    """A value whose error is too large, or not known, is neither close nor wrong."""
    value, mcse = CASES[metric][3]
    if BY_METRIC[metric].alarm:
        # An alarm rings on its estimate: a known one needs no error.
        assert _closeness(metric, math.nan, 0.0) == "unsure"
        return
    assert _closeness(metric, value, mcse) == "unsure"


@pytest.mark.parametrize("metric", NAMES)
def test_nan_is_never_close(metric: str) -> None:
    """NaN, whatever its error, is unsure."""
    assert _closeness(metric, math.nan, 0.0) == "unsure"
    assert _closeness(metric, math.nan, math.nan) == "unsure"


@pytest.mark.parametrize("metric", NAMES)
def test_every_rule_gives_its_reason(metric: str) -> None:
    """Each limit stands with why it is there."""
    assert len(BY_METRIC[metric].why) > 20


def test_error_is_allowed_for() -> None:
    """A bias of 0.55 ± 0.1 is off, not wrong; of 0.35 ± 0.1 or 0.15 ± 0.02 undecided."""
    assert _closeness("bias", 0.55, 0.1) == "off"
    assert _closeness("bias", 0.35, 0.1) == "unsure"
    assert _closeness("bias", 0.15, 0.02) == "unsure"
    assert _closeness("bias", 0.1, 0.02) == "close"


def test_close_bounds_the_error() -> None:
    """By 1.5 times the limit, one-sided at 5% over three quantities; a tail by twice its limit."""
    z = NormalDist().inv_cdf(1 - 0.05 / 3)
    for metric, bound in (("bias", 0.15), ("tail", 0.4), ("w1", 0.15), ("probability", 0.075)):
        for value in (0.0, 0.05):
            assert _closeness(metric, value, 0.99 * (bound - value) / z) == "close"
            assert _closeness(metric, value, 1.01 * (bound - value) / z) == "unsure"


def test_the_bound_of_many_seeds_is_that_of_their_mean_size() -> None:
    """Signs do not cancel, and seeds that are off do not count."""
    values = (0.12, -0.02, -0.01, 0.03, 2.0)
    seeds = [
        Measure("m", "meanfield", s, "x", "bias", v, 0.02, "exact") for s, v in enumerate(values, 1)
    ]
    context = judgement.JudgeContext(3)
    found = judgement.levels(seeds, BY_METRIC, context)
    assert found == ("close", "close", "close", "close", "wrong")
    assert judgement.levels(seeds[:1], BY_METRIC, context) == ("unsure",)
    assert judgement.levels([seeds[0], seeds[4]], BY_METRIC, context) == ("unsure", "wrong")
    typical = typical_sizes(seeds, lambda m: BY_METRIC[m.metric], lambda _: Z)
    assert typical == {("meanfield", "x", "bias"): pytest.approx(0.045)}


def test_generated_quantities_are_a_group_of_their_own() -> None:
    """Thousands of them leave the parameters' critical value as it is."""
    names = ["mu", *(f"y_rep[{i}]" for i in range(3000))]
    z = z_of(judgement.JudgeContext(generated=frozenset(names[1:])), names)
    assert z("mu") == z(None) == judgement.critical_z(1)
    assert z("y_rep[7]") == judgement.critical_z(3000)


@pytest.mark.parametrize("k", [3, 5, 10])
def test_a_spread_over_few_seeds_has_the_error_of_a_variance(k: int) -> None:
    """Seeds five sds apart are wrong; exact ones are off in 0.1% (none in 1000 repetitions)."""
    rng = np.random.default_rng(k)
    ref = metrics.prepare(rng.normal(size=(1, 10_000)), iid=True)
    rule = BY_METRIC["seed_spread"]
    apart = metrics.seed_spread(np.linspace(0.0, 5.0 * k - 5.0, k), np.full(k, 0.01), ref)
    assert judgement.closeness(apart, rule, Z) == "wrong"
    # On the limit itself, the share of false alarms is that of the critical value, 0.04%.
    edge = [
        judgement.closeness(
            metrics.seed_spread(0.1 * rng.normal(size=k), np.zeros(k), ref), rule, Z
        )
        for _ in range(1000)
    ]
    assert edge.count("wrong") + edge.count("off") <= 3


def test_infinite_error_decides_nothing() -> None:
    """With an infinite error only an infinite value is wrong."""
    assert _closeness("bias", 100.0, math.inf) == "unsure"
    assert _closeness("bias", 100.0, -1.0) == "unsure"
    assert _closeness("bias", -math.inf, math.nan) == "wrong"
    assert _closeness("w1", -math.inf) == "unsure"
    assert _closeness("ess_bulk", math.inf) == "unsure"
    assert _closeness("ess_bulk", -math.inf) == "wrong"


def test_critical_z_is_the_designs() -> None:
    """The normal quantile at 1 − 0.005 / (4 d): 3.02 for one quantity, 4.06 for fifty."""
    assert judgement.critical_z(1) == pytest.approx(3.0233, abs=1e-4)
    assert judgement.critical_z(50) == pytest.approx(4.0556, abs=1e-4)
    assert judgement.critical_z(0) == judgement.critical_z(1)


def test_draws_needed_grow_with_the_square_of_the_error() -> None:
    """Ten times the allowed error needs a hundred times the draws, in round figures."""
    rule = BY_METRIC["bias"]
    enough = 0.15 / (Z + NormalDist().inv_cdf(1 - 0.05 / 3))
    found = _measure("bias", 0.0, 9.99 * enough)
    assert judgement.draws_needed(found, rule, Z, 1000) == 100_000
    # A value beyond the bound is decided when it is off.
    assert judgement.draws_needed(_measure("bias", 0.3, 1.99 / Z), rule, Z, 1000) == 100_000
    # Only a sample's own part of the error shrinks; where the rest is too large, nothing helps.
    assert judgement.draws_needed(found, rule, Z, 1000, share=0.995) == pytest.approx(
        200_000, rel=0.1
    )
    assert judgement.draws_needed(found, rule, Z, 1000, share=0.98) == math.inf
    assert judgement.draws_needed(_measure("bias", 0.0, math.nan), rule, Z, 1000) is None
    assert judgement.draws_needed(_measure("bias", 0.0, 1e300), rule, Z, 1000) == math.inf


@pytest.mark.parametrize("metric", ["bias", "tail", "probability", "log_width_ratio"])
def test_as_many_draws_as_needed_decide(metric: str) -> None:
    """The value without its noise, with as much noise again, is close; or the value is off."""
    rule = BY_METRIC[metric]
    for value in rule.close * np.linspace(0, 1.9, 20):
        found = _measure(metric, float(value), rule.close / 2)
        needed = judgement.draws_needed(found, rule, Z, 1000)
        assert needed is not None
        error = rule.close / 2 * math.sqrt(1000 / needed)
        again = max(float(value) - Z * rule.close / 2, 0.0) + Z * error
        levels = _closeness(metric, again, error), _closeness(metric, float(value), error)
        assert levels[0] == "close" or levels[1] == "off"


def _model(limits: dict[str, dict[str, float]]) -> Model:
    return Model("m", "m", Path("m.stan"), None, limits=limits)


def test_a_model_may_set_limits() -> None:
    """Its limits replace the defaults of that metric only."""
    rules = judgement.rules_for(_model({"bias": {"close": 0.05}, "ess_bulk": {"close": 100}}))
    assert (rules["bias"].close, rules["bias"].wrong) == (0.05, 0.5)
    assert rules["tail"] == BY_METRIC["tail"]
    assert judgement.closeness(_measure("ess_bulk", 150), rules["ess_bulk"], Z) == "close"
    assert judgement.closeness(_measure("ess_bulk", 99), rules["ess_bulk"], Z) == "wrong"


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        ({"biass": {"close": 0.1}}, "biass: no such metric; there are bias, "),
        ({"bias": {"off": 0.1}}, "bias.off: only close and wrong"),
        ({"bias": {"close": math.nan}}, "expected two numbers"),
        ({"bias": {"close": 0.6}}, "close 0.6 and wrong 0.5"),
        ({"bias": {"close": -0.1}}, "expected two numbers"),
        ({"bias": {"wrong": math.inf}}, "expected two numbers"),
    ],
)
def test_bad_limits_are_refused(limits: dict[str, dict[str, float]], match: str) -> None:
    """A limit that could never fire, or was misspelt, is an error, not a pass."""
    with pytest.raises(ValueError, match=match):
        judgement.rules_for(_model(limits))


def test_rules_are_plain_data() -> None:
    """Alarms are k-hat alone, and every limit is in order."""
    assert [metric for metric, r in BY_METRIC.items() if r.alarm] == ["khat"]
    for rule in BY_METRIC.values():
        assert isinstance(rule, Rule)
        sign = -1 if rule.at_least else 1
        assert sign * rule.wrong >= sign * rule.close
