"""Levels and shares of seeds, Holm's procedure, and exit codes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from baseline_builders import conclusions, place, sampler, scattered
from hypothesis import given
from hypothesis import strategies as st

from harness.check.baseline.change import (
    ALPHA,
    Change,
    CheckOutcome,
    Conclusion,
    ModelCheck,
    conclude,
    exit_code,
)
from harness.check.baseline.compare import compare_method
from harness.check.baseline.form import MethodBaseline, Share
from harness.records import Level


def compared(old: MethodBaseline, new: MethodBaseline) -> dict[str, Change]:
    """Compare methods without draws of their own; return the changes by what they are of."""
    changes = conclude(compare_method("m", "meanfield", old, new))
    assert len(conclusions(changes)) == len(changes)
    return {place(c): c for c in changes}


def levels(method: MethodBaseline, **counts: int) -> MethodBaseline:
    """Return a method with these numbers of seeds at each level; its level is the worst of them."""
    order: tuple[Level, ...] = ("fail", "warn", "unknown", "pass", "reference")
    worst = next(level for level in order if counts.get(level))
    seeds = tuple(range(1, sum(counts.values()) + 1))
    return replace(
        method, seeds=seeds, levels={k: counts[k] for k in order if k in counts}, level=worst
    )


# --- shares ---------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["failed", "ran_away", "doubted"])
def test_all_seeds_against_none_is_never_the_same(what: str) -> None:
    """Ten of ten is what chance makes of none of ten once in 90 000 times, either way."""
    none, every = (scattered(3, shares={what: Share(n, 10)}) for n in (0, 10))
    for old, new in ((none, every), (every, none)):
        change = compared(old, new)[f"seeds {what.replace('_', ' ')}"]
        assert change.conclusion == "changed"
        assert change.p == pytest.approx(2 / math.comb(20, 10))
        assert abs(change.difference) == 1
        assert {change.was, change.now} == {"0 of 10", "10 of 10"}


@pytest.mark.parametrize(("was", "now"), [(1, 0), (0, 1), (3, 3), (2, 5), (10, 8), (0, 0)])
def test_shares_that_chance_sets_apart_are_the_same(was: int, now: int) -> None:
    """One seed of ten against none is the same."""
    old, new = (scattered(3, shares={"failed": Share(n, 10)}) for n in (was, now))
    assert compared(old, new)["seeds failed"].conclusion == "same"


def test_shares_that_chance_hardly_sets_apart_are_not_called_the_same() -> None:
    """Nine of ten against none: once in 5000 is too rare for `same`, too often for `changed`."""
    old, new = (scattered(3, shares={"failed": Share(n, 10)}) for n in (0, 9))
    change = compared(old, new)["seeds failed"]
    assert change.conclusion == "inconclusive"
    assert ALPHA < (change.p or 0) < 1e-3


def test_more_seeds_tell_more() -> None:
    """The same shares, inconclusive with ten seeds, are changed with forty."""
    old = scattered(3, shares={"failed": Share(0, 10)})
    for of, conclusion in ((10, "inconclusive"), (40, "changed")):
        new = scattered(3, shares={"failed": Share(9 * of // 10, of)})
        assert compared(old, new)["seeds failed"].conclusion == conclusion


def test_a_share_that_is_missing_or_new_is_changed() -> None:
    """A share that only one side has is a change."""
    old = scattered(3, shares={"failed": Share(0, 10)})
    new = scattered(3, shares={"doubted": Share(0, 10)})
    found = compared(old, new)
    assert found["seeds failed"].kind == "missing"
    assert found["seeds doubted"].kind == "new"
    assert found["seeds failed"].conclusion == found["seeds doubted"].conclusion == "changed"


def test_a_share_of_no_seeds_is_not_the_same() -> None:
    """If nothing ran, the share is undecided."""
    old, new = (scattered(3, shares={"failed": Share(0, n)}) for n in (10, 0))
    assert compared(old, new)["seeds failed"].conclusion != "same"
    assert compared(new, old)["seeds failed"].conclusion != "same"
    assert compared(new, new)["seeds failed"].conclusion != "same"


def test_metrics_by_which_seeds_are_off_are_shares_too() -> None:
    """A metric that no seed was off by counts as none of the seeds, on either side."""
    old, new = scattered(3, faults={"tail": 2}), scattered(3, faults={"bias": 10})
    found = compared(old, new)
    assert found["seeds off: error of the mean"].conclusion == "changed"
    assert found["seeds off: error of the 5% or 95% quantile"].conclusion == "same"
    assert (
        found["seeds off: error of the 5% or 95% quantile"].was,
        found["seeds off: error of the 5% or 95% quantile"].now,
    ) == (
        "2 of 10",
        "0 of 10",
    )


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_any_shares_can_be_compared(a: int, b: int, c: int, d: int) -> None:
    """The conclusion does not depend on which of two shares is the old one."""
    one, two = Share(min(a, b), max(a, b)), Share(min(c, d), max(c, d))
    there = compared(*(scattered(3, shares={"failed": s}) for s in (one, two)))["seeds failed"]
    back = compared(*(scattered(3, shares={"failed": s}) for s in (two, one)))["seeds failed"]
    assert there.conclusion == back.conclusion
    assert there.p == pytest.approx(back.p)


def test_shares_of_one_chance_are_seldom_changed() -> None:
    """Among 2000 pairs of ten seeds with the same chance, at most 2 are not the same."""
    rng = np.random.default_rng(1)
    odd = 0
    for chance in np.linspace(0.05, 0.95, 20):
        for was, now in rng.binomial(10, chance, (100, 2)):
            old, new = (scattered(3, shares={"failed": Share(int(n), 10)}) for n in (was, now))
            odd += compared(old, new)["seeds failed"].conclusion != "same"
    assert odd <= 2


# --- levels ---------------------------------------------------------------------------------


def test_a_level_that_differs_as_seeds_do_is_the_same_and_says_so() -> None:
    """One seed of ten that fails where none did, and warns in both: chance."""
    old, new = levels(scattered(0), warn=10), levels(scattered(1), warn=9, fail=1)
    for change in (compared(old, new)["level"], compared(new, old)["level"]):
        assert change.conclusion == "same"
        assert change.reason == "as seeds differ"
    assert compared(old, new)["level"].now == "fail (1 of 10 seeds)"


def test_levels_without_overlap_are_never_the_same() -> None:
    """However few the seeds: no seed is as any of the baseline's was."""
    order: tuple[Level, ...] = ("reference", "pass", "unknown", "warn", "fail")
    for a, b in itertools.permutations(order, 2):
        for n, m in ((1, 1), (3, 2), (10, 10)):
            change = compared(levels(scattered(0), **{a: n}), levels(scattered(0), **{b: m}))
            assert change["level"].conclusion != "same"
    change = compared(levels(scattered(0), warn=3), levels(scattered(0), fail=3))
    assert change["level"].reason == "no common level"


def test_levels_of_all_seeds_that_are_others_are_changed() -> None:
    """Ten seeds that fail where ten warned."""
    found = compared(levels(scattered(0), warn=10), levels(scattered(10), fail=10))
    assert found["level"].conclusion == "changed"


def test_the_share_of_a_level_counts_and_not_the_worst_seed_alone() -> None:
    """Fail stays fail: with one of twenty seeds then, and with nineteen now."""
    old = levels(scattered(1), fail=1, warn=19)
    new = levels(scattered(1), fail=19, warn=1)
    assert compared(old, new)["level"].conclusion == "changed"


def test_a_level_that_is_none_is_not_the_same_as_one() -> None:
    """A level on one side only is a change; without a level on either side there is no note."""
    old = scattered(3)
    none = replace(old, level=None, levels={})
    assert compared(old, none)["level"].conclusion == "changed"
    assert compared(none, old)["level"].conclusion == "changed"
    assert compared(none, old)["level"].reason is None
    assert "level" not in compared(none, none)


def test_other_causes_are_changed() -> None:
    """The causes of a verdict are part of it."""
    old = scattered(3, causes=("correlation",))
    found = compared(old, replace(old, causes=("skew", "modes")))["causes"]
    assert (found.conclusion, found.was, found.now) == ("changed", "correlation", "skew; modes")
    assert compared(old, replace(old, causes=()))["causes"].now == "none"
    assert "causes" not in compared(old, old)


def test_a_method_without_moments_is_compared_by_its_seeds() -> None:
    """The same shares and levels are the same, and no moment is invented."""
    found = compared(scattered(3), scattered(4))
    assert {k: c.conclusion for k, c in found.items()} == {
        "level": "same",
        "seeds ran away": "same",
    }
    agree = replace(scattered(3), kind="seeds", no_moments="", quantities=sampler().quantities)
    assert compared(scattered(3), agree)["moments"].now == "moments worth comparing"


# --- deciding -------------------------------------------------------------------------------


def family(*ps: float | None, conclusion: Conclusion = "inconclusive") -> list[Change]:
    """Return changes with these p-values."""
    return [Change("m", "a", f"x[{i}]", "summary", "moved", conclusion, "mean", p=p)
            for i, p in enumerate(ps)]  # fmt: skip


def rejected(*ps: float | None, alpha: float = 0.05) -> list[int]:
    """Return which p-values Holm's procedure rejects."""
    found = conclude(family(*ps), alpha)
    return [i for i, c in enumerate(found) if c.conclusion == "changed"]


def test_holms_procedure_on_an_example() -> None:
    """Among 0.01, 0.04, 0.03 and 0.005, Holm rejects the first and last at 0.05."""
    assert rejected(0.01, 0.04, 0.03, 0.005) == [0, 3]
    assert rejected(0.0125, 0.05, 0.025, 0.016) == [0, 1, 2, 3]
    assert rejected(0.06) == rejected(1.0, 1.0) == rejected() == []
    assert rejected(0.0, None, 0.0, 0.9) == [0, 2]


def test_what_has_no_p_value_keeps_its_conclusion_and_costs_nothing() -> None:
    """A missing quantity has changed already and does not count in the family of tests."""
    kept = conclude(family(None, None, conclusion="changed"))
    assert [c.conclusion for c in kept] == ["changed", "changed"]
    assert rejected(0.05, *[None] * 100) == [0]


def test_what_holm_rejects_is_changed_whatever_it_was() -> None:
    """An alpha above the suspicious share changes nothing."""
    assert [c.conclusion for c in conclude(family(0.002, conclusion="same"), 0.05)] == ["changed"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(1e-6, 0.2))
def test_holm_rejects_what_bonferroni_does_and_no_more_than_each_test_alone(
    ps: list[float], alpha: float
) -> None:
    """Order and all: the rejected are the smallest."""
    found = rejected(*ps, alpha=alpha)
    assert {i for i, p in enumerate(ps) if p <= alpha / len(ps)} <= {*found}
    assert all(ps[i] <= alpha for i in found)
    kept = [p for i, p in enumerate(ps) if i not in found]
    assert not kept or all(ps[i] <= min(kept) for i in found)


@pytest.mark.parametrize("figures", [1, 20, 500])
def test_the_family_wise_error_is_held(figures: int) -> None:
    """4000 checks in which nothing changed: as many false alarms as promised, ± 4.5 errors."""
    checks, alpha = 4000, 0.05
    ps = np.sort(np.random.default_rng(figures).random((checks, figures)), axis=1)
    # The smallest p-value decides whether any is rejected.
    smallest = ps[:, 0] <= alpha / figures
    alarms = sum(bool(rejected(*row, alpha=alpha)) for row in ps[: 4000 // figures])
    assert alarms == np.count_nonzero(smallest[: 4000 // figures])
    expected = 1 - (1 - alpha / figures) ** figures
    assert abs(smallest.mean() - expected) < 4.5 * math.sqrt(expected / checks)


# --- exit codes -----------------------------------------------------------------------------


def made(*found: Conclusion, error: str | None = None) -> ModelCheck:
    """Return a model's check with these conclusions."""
    return ModelCheck("m", tuple(family(1.0, conclusion=c)[0] for c in found), error=error)


@pytest.mark.parametrize(
    ("found", "code"),
    [((), 2), (("same",), 0), (("same", "same"), 0), (("inconclusive",), 2),
     (("same", "inconclusive"), 2), (("changed",), 1), (("same", "changed", "inconclusive"), 1)],
)  # fmt: skip
def test_exit_codes(found: Sequence[Conclusion], code: int) -> None:
    """Nothing compared is 2, anything changed is 1, and only if all is the same it is 0."""
    check = made(*found)
    assert exit_code(check.changes) == check.exit_code == CheckOutcome((check,)).exit_code == code
    assert made(*found, error="broken").exit_code == (code or 2)


def test_the_exit_code_of_several_models() -> None:
    """One changed model makes it 1, else an undecided one makes it 2; no model at all is 2."""
    same, open_, changed = made("same"), made("inconclusive"), made("changed")
    nothing, broken = made(), made(error="no data")
    assert CheckOutcome(()).exit_code == 2
    assert CheckOutcome((same, same)).exit_code == 0
    for bad in (open_, nothing, broken, made("same", error="one run was lost")):
        assert CheckOutcome((same, bad)).exit_code == 2
        assert CheckOutcome((bad, changed, same)).exit_code == 1


def test_the_family_is_counted() -> None:
    """Tests are the figures with a p-value, over all models."""
    several = ModelCheck("m", tuple(family(0.5, None, 0.1)))
    assert CheckOutcome((several, several)).tests == 4
