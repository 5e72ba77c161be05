"""Compare a method with its baseline: what is the same, what changed, what is never the same."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from baseline_builders import (
    against,
    against_seeds,
    any_figures,
    any_method,
    as_draws,
    conclusions,
    few,
    figures,
    fits,
    method,
    normals,
    sampler,
    shifted,
    walks,
)
from hypothesis import given
from hypothesis import strategies as st

from harness.check.baseline.change import (
    Change,
    Margins,
    conclude,
    conclude_at_once,
    exit_code,
)
from harness.check.baseline.compare import compare_method
from harness.check.baseline.form import SUMMARIES, Figure, MethodBaseline
from harness.check.baseline.summarise import of_draws, of_seeds, settle
from harness.records import Draws

EVERY = [f"x / {what}" for what in SUMMARIES]


def compared(old: MethodBaseline, new: MethodBaseline) -> list[Change]:
    """Compare methods that were built by hand."""
    return conclude(compare_method("m", "nuts", old, new))


def without(made: MethodBaseline) -> MethodBaseline:
    """Return a method whose draws are not known to be the same."""
    return replace(made, fingerprints=())


# --- properties -----------------------------------------------------------------------------


@few
@given(any_method())
def test_nothing_differs_from_itself(made: MethodBaseline) -> None:
    """A baseline compared with itself is never `changed`."""
    changes = compared(made, made)
    assert [c for c in changes if c.conclusion == "changed"] == []


@few
@given(any_method(), any_method())
def test_nothing_is_lost(old: MethodBaseline, new: MethodBaseline) -> None:
    """Any two methods can be compared; every quantity of either is reported, or why none is."""
    changes = compared(old, new)
    assert all(c.p is None or 0 <= c.p <= 1 for c in changes)
    if old.kind != new.kind and not new.no_moments:
        assert conclusions(changes)["kind"] == "changed"
    elif old.no_moments or new.no_moments:
        assert old.no_moments or exit_code(changes) != 0
    else:
        said = {c.quantity for c in changes if c.quantity}
        silent = {q for q, f in old.quantities.items() if all(v.why for v in f.values())}
        assert {*old.quantities, *new.quantities} - silent <= said


@few
@given(st.data(), st.sampled_from(["chains", "independent", "seeds"]), st.sampled_from(SUMMARIES))
def test_what_is_no_number_is_never_the_same(data: st.DataObject, kind: str, what: str) -> None:
    """One NaN or infinity among the values, on either side: that figure is not the same."""
    good = data.draw(any_figures(spread=kind == "seeds", gap=False))
    good = {k: replace(f, why="") for k, f in good.items()}
    hole = data.draw(st.sampled_from([math.nan, math.inf, -math.inf]))
    bad = good | {what: replace(good[what], value=hole)}
    a, b = (sampler(kind=kind, quantities={"x": f}, fingerprints=()) for f in (good, bad))
    for old, new in ((a, b), (b, a), (b, b)):
        same = replace(new, fingerprints=("0", "1"))
        for then, now in ((old, new), (replace(old, fingerprints=("0", "1")), same)):
            changes = compared(then, now)
            assert conclusions(changes)[f"x / {what}"] != "same"
            assert exit_code(changes) != 0


@pytest.mark.parametrize("power", [-250, -160, 160, 250])
@pytest.mark.parametrize("by", [0.0, 0.3])
def test_units_do_not_matter(power: int, by: float) -> None:
    """The unit does not change a conclusion, even if squares over- or underflow."""
    old, new = normals(1), shifted(normals(2), by)
    there = [shifted(d, times=10.0**power) for d in (old, new)]
    assert conclusions(against(*there)) == conclusions(against(old, new))
    runs = [fits(1), fits(2, mean=by)]
    far = [[r and shifted(r, times=10.0**power) for r in side] for side in runs]
    assert conclusions(against_seeds(*far)) == conclusions(against_seeds(*runs))


def test_an_sd_of_another_order_of_magnitude_is_changed() -> None:
    """Ratios are compared even if their squares overflow."""
    for power in (-300, -100, 100, 300):
        moved = conclusions(against(normals(1, 4000), shifted(normals(2, 4000), times=10.0**power)))
        assert moved["x / sd"] == "changed"


# --- what is missing, new, or no number -----------------------------------------------------


def test_a_quantity_that_is_gone_or_new_is_changed() -> None:
    """Each is named once, and the others are compared."""
    rng = np.random.default_rng(1)
    old = as_draws(rng.normal(size=(4, 2000, 2)), ("x", "old"))
    new = as_draws(rng.normal(size=(4, 2000, 2)), ("new", "x"))
    changes = against(old, new)
    kinds = {c.quantity: c.kind for c in changes if c.quantity != "x"}
    assert kinds == {"old": "missing", "new": "new"}
    assert all(c.conclusion == "changed" for c in changes if c.quantity != "x")
    assert [c.name for c in changes if c.quantity == "x"] == list(SUMMARIES)


@pytest.mark.parametrize("iid", [True, False])
def test_one_draw_that_became_nan_is_changed(iid: bool) -> None:
    """Every figure of the quantity, with the count of draws as the reason."""
    values = normals(2).values.copy()
    values[0, 5, 0] = math.nan
    changes = against(normals(1, iid=iid), as_draws(values, iid=iid))
    assert conclusions(changes) == dict.fromkeys(EVERY, "changed")
    assert {c.detail for c in changes} == {"not finite in 1 of 16000 draws"}
    assert {c.kind for c in changes} == {"unusable"}


def test_nan_in_the_baseline_is_never_the_same() -> None:
    """NaN equals neither NaN nor a number, even for identical draws."""
    values = normals(1).values.copy()
    values[0, 5, 0] = math.nan
    bad = as_draws(values)
    for new in (bad, normals(1), normals(2)):
        changes = against(bad, new)
        assert conclusions(changes) == dict.fromkeys(EVERY, "inconclusive")
        assert {c.reason for c in changes} == {"no figure before"}
        assert exit_code(changes) == 2


def test_an_approximation_that_gives_nan_is_not_the_same() -> None:
    """A quantity that is NaN in every seed leaves no moments, and the reason names it."""
    nan = [r and shifted(r, times=math.nan) for r in fits(2)]
    changes = against_seeds(fits(1), nan)
    assert exit_code(changes) != 0
    (moments,) = (c for c in changes if c.part == "moments")
    assert moments.now.endswith("not finite in some of them: x")


def test_errors_that_are_no_number_are_inconclusive() -> None:
    """A figure whose error is missing or zero, though the quantity varies, cannot be judged."""
    good = figures()
    for mcse, ess in ((math.nan, 1e4), (0.0, 1e4), (0.01, math.nan)):
        bad = good | {k: replace(good[k], mcse=mcse, ess=ess) for k in ("mean", "q50")}
        for old, new in ((good, bad), (bad, good)):
            found = conclusions(
                compared(
                    without(sampler(quantities={"x": old})), without(sampler(quantities={"x": new}))
                )
            )
            assert found["x / mean"] == found["x / q50"] == "inconclusive"
            assert found["x / sd"] == "same"


# --- constants ------------------------------------------------------------------------------


def test_a_constant_that_stays_is_the_same() -> None:
    """Constants need to agree to nine digits only, because they pass through text."""
    for now in (2.5, 2.5 * (1 + 5e-10)):
        found = against(as_draws(np.full((4, 50), 2.5)), as_draws(np.full((4, 80), now)))
        assert conclusions(found) == dict.fromkeys(EVERY, "same")


@pytest.mark.parametrize("now", [2.5 * (1 + 1e-8), 2.6, -2.5, 0.0, 25.0])
def test_a_constant_that_becomes_another_is_changed(now: float) -> None:
    """However near it is: a constant has no error."""
    changes = against(as_draws(np.full((4, 50), 2.5)), as_draws(np.full((4, 50), now)))
    found = conclusions(changes)
    assert {found[f"x / {what}"] for what in SUMMARIES if what != "sd"} == {"changed"}
    assert exit_code(changes) == 1


@pytest.mark.parametrize(("events", "expected"), [(1, "same"), (3, "same"), (40, "changed")])
@pytest.mark.parametrize("iid", [True, False])
def test_a_rare_event_that_one_side_lacks_is_compared_by_counts(
    events: int, expected: str, *, iid: bool
) -> None:
    """None and three of 4000 are one probability by chance; none and forty never are.

    The mean of a single event has no error worth stating, so as a baseline it is left out.
    """
    never = np.zeros((4, 1000))
    some = np.zeros(4000)
    some[np.random.default_rng(1).choice(4000, events, replace=False)] = 1.0
    sides = [as_draws(side, iid=iid) for side in (never, some.reshape(4, 1000))]
    for old, new in (sides, sides[::-1]):
        changes = against(old, new)
        assert conclusions(changes).get("x / mean", "same") == expected
        assert conclusions(conclude_at_once(changes)).get("x / mean", "same") == expected


def test_a_constant_that_begins_to_vary_is_changed() -> None:
    """So is a quantity that becomes a constant, over draws and over seeds."""
    constant, varying = as_draws(np.full((4, 4000), 2.5)), normals(1, mean=2.5)
    for old, new in ((constant, varying), (varying, constant)):
        assert conclusions(against(old, new))["x / sd"] == "changed"
    runs: list[Draws | None] = [as_draws(np.full((1, 400), 2.5))] * 10
    for a, b in ((runs, fits(1, mean=2.5)), (fits(1, mean=2.5), runs)):
        assert conclusions(against_seeds(a, b))["x / sd"] == "changed"


# --- margins and kinds ----------------------------------------------------------------------


def test_margins_are_the_users_or_wider_where_the_baseline_says_so() -> None:
    """Beyond a margin of 0.1 sd a difference of 0.2 is changed, within 0.3 it is the same."""
    old, new = normals(1), shifted(normals(2), by=0.2)
    assert conclusions(against(old, new))["x / mean"] == "changed"
    wide = conclusions(against(old, new, margins=Margins(0.3, 0.1)))
    assert wide["x / mean"] == "same"
    q = figures()
    loose = sampler(quantities={"x": q | {"mean": replace(q["mean"], margin=0.3)}})
    moved = sampler(quantities={"x": figures(mean=0.2)}, fingerprints=("a", "b"))
    assert conclusions(compared(loose, moved))["x / mean"] == "same"
    assert conclusions(compared(sampler(), moved))["x / mean"] == "changed"
    nan = sampler(quantities={"x": q | {"mean": replace(q["mean"], margin=math.nan)}})
    assert conclusions(compared(nan, moved))["x / mean"] == "changed"


@pytest.mark.parametrize(("by", "expected"), [(0.0, "inconclusive"), (0.25, "inconclusive"),
                                              (0.9, "changed")])  # fmt: skip
def test_what_the_errors_cannot_tell_is_inconclusive(by: float, expected: str) -> None:
    """With errors of 0.08 sd even a difference of zero is undecided: its interval is ± 0.22 sd."""
    old = sampler(quantities={"x": figures(error=0.08)})
    new = sampler(quantities={"x": figures(mean=by, error=0.08)}, fingerprints=("a", "b"))
    (mean,) = (c for c in compared(old, new) if c.name == "mean")
    assert mean.conclusion == expected
    half = 1.98 * 0.08 * math.sqrt(2)  # Student's t of 30 degrees of freedom is 2.04
    assert mean.interval == pytest.approx((by - half, by + half), abs=0.01)


def test_a_method_of_another_kind_is_changed() -> None:
    """A method that turns from seeds to chains has changed, whatever its figures."""
    chains = sampler()
    seeds = sampler(
        kind="seeds",
        quantities={"x": {k: replace(f, spread=0.01) for k, f in figures().items()}},
    )
    constant = {k: Figure(0.0 if k == "sd" else 2.0, 0.0, 9.0) for k in SUMMARIES}
    iid, fixed = (sampler(kind=k, quantities={"x": constant}) for k in ("independent", "chains"))
    none = sampler(kind="seeds", quantities={}, no_moments="one seed")
    for old, new in ((chains, seeds), (seeds, chains), (iid, fixed), (fixed, iid), (none, chains)):
        for now in (new, without(new)):
            changes = compared(old, now)
            assert conclusions(changes)["kind"] == "changed"
            (kind,) = (c for c in changes if c.part == "kind")
            assert (kind.was, kind.now) == (old.kind, new.kind)


# --- without moments ------------------------------------------------------------------------


def test_a_sampler_that_no_longer_mixes_is_changed() -> None:
    """It has moments in the baseline and none now, and says why."""
    values = walks(2).values.copy()
    values[1] += 3
    changes = against(walks(1), as_draws(values, iid=False))
    assert conclusions(changes) == {"moments": "changed"}
    assert "have not mixed" in changes[0].now


def test_a_sampler_that_begins_to_mix_is_not_the_same() -> None:
    """Its chains disagreed and agree now: no share of seeds has judged that."""
    values = walks(1).values.copy()
    values[1] += 3
    changes = against(as_draws(values, iid=False), walks(2))
    assert exit_code(changes) != 0


def test_seeds_that_no_longer_agree_are_not_the_same() -> None:
    """A baseline with moments beside seeds that scatter, that failed, or one alone."""
    for new in (fits(2, spread=30.0), [None] * 10, fits(2, count=1)):
        old = method(settle(of_seeds(fits(1))), fits(1))
        now = method(of_seeds(new, widths={"x": 1.0}, old=old), new)
        changes = compared(old, now)
        assert exit_code(changes) != 0
        assert conclusions(changes)["moments"] != "same"


def test_the_same_draws_are_the_same() -> None:
    """With equal fingerprints every figure is the same, also one with an error of its own."""
    draws = [as_draws(np.random.default_rng(3).normal(size=(4, 30))), walks(1)]
    for d in draws:
        changes = against(d, d)
        assert set(conclusions(changes).values()) == {"same"}
        assert all(c.difference == 0 for c in changes)


def test_the_same_draws_judged_otherwise_are_changed() -> None:
    """Another level, other counts of levels, or moments given up: the rules changed."""
    old = sampler()
    for now in (
        replace(old, level="warn", levels={"warn": 2}),
        replace(old, levels={"pass": 1, "warn": 1}),
        replace(old, level=None, levels={}),
    ):
        changes = compared(old, now)
        assert conclusions(changes)["level"] == "changed"
        assert changes[0].reason == "judged otherwise"
    for kind in ("chains", "seeds"):
        kept = sampler(kind=kind, kept=2)
        none = replace(kept, quantities={}, no_moments="why")
        assert conclusions(compared(kept, none))["moments"] == "changed"


def test_a_figure_that_the_baseline_gives_up_is_left_out() -> None:
    """Its value stands there for readers, with the reason; the others are compared."""
    rng = np.random.default_rng(1)
    cauchy = [as_draws(rng.standard_cauchy((4, 2500))) for _ in range(2)]
    assert [c.name for c in against(*cauchy)] == ["q5", "q50", "q95"]
    summary = settle(of_draws(cauchy[0]))
    assert {what for what, f in summary.quantities["x"].items() if f.why} == {"mean", "sd"}


# --- without a second look --------------------------------------------------------------------


def test_without_a_second_look_only_what_chance_cannot_explain_has_changed() -> None:
    """Beyond the margin and no chance: changed. Either alone: the same, whatever the interval."""
    figure = Change("m", "q", "x", "summary", "moved", "inconclusive", "mean", margin=0.1)
    figures = [
        replace(figure, difference=0.3, chance=1e-6),
        replace(figure, difference=0.3, chance=1e-3),
        replace(figure, difference=0.05, chance=1e-9),
        replace(figure, kind="unusable", reason="no error"),
        replace(figure, difference=math.nan, chance=1e-9),
    ]
    expected = ["changed", "same", "same", "inconclusive", "changed"]
    assert [c.conclusion for c in conclude_at_once(figures)] == expected
    # Holm: among 200 figures, one in a million is chance at 1e-4.
    many = [figures[0], *([replace(figure, difference=0.0, chance=1.0)] * 199)]
    assert conclude_at_once(many)[0].conclusion == "same"
