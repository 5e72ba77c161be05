"""One look beside a baseline: methods, reference and lost runs; and the exact tier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from baseline_builders import conclusions, figures, place, sampler, scattered, whole
from checking_builders import compared, now

from harness.check.baseline.change import Change, Margins, NewMethod, exit_code
from harness.check.baseline.compare import compare_method
from harness.check.baseline.form import Baseline, Share
from harness.check.baseline.observe import Observation, Trouble
from harness.check.look import _changes, newly_usual
from harness.check.run import _exact
from harness.check.show.words import note, reason
from harness.records import Status


def exact(old: Baseline, seen: Observation) -> dict[str, Change]:
    """Compare to the last digit."""
    found = _exact("drug", old, seen, _changes("drug", old, seen, Margins()))
    names = [place(c, method=True) for c in found]
    assert len(set(names)) == len(names)
    return dict(zip(names, found, strict=True))


def test_equal_draws_and_verdicts_are_the_same() -> None:
    """One line for each seed, no figures."""
    old = whole({"nuts": sampler()})
    found = exact(old, now(old.methods))
    assert list(found) == ["nuts / level", "nuts / draws of seed 1", "nuts / draws of seed 2"]
    assert exit_code(found.values()) == 0


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        ({"fingerprints": ("0a1b2c3d4e5f6071", "8192a3b4c5d6e7f9")}, "draws of seed 2"),
        ({"fingerprints": ("none", "8192a3b4c5d6e7f8")}, "draws of seed 1"),
        ({"seeds": (1,), "fingerprints": ("0a1b2c3d4e5f6071",)}, "draws of seed 2"),
        ({"seeds": (1, 2, 3), "fingerprints": ("0a1b2c3d4e5f6071", "8192a3b4c5d6e7f8", "0")},
         "draws of seed 3"),
        ({"seeds": (11, 12)}, "draws of seed 11"),
        ({"level": "warn", "levels": {"warn": 2}}, "level"),
        ({"levels": {"pass": 1, "warn": 1}}, "level"),
        ({"causes": ("correlation",)}, "causes"),
        ({"kind": "independent"}, "kind"),
        ({"quantities": {}, "no_moments": "why"}, "moments"),
        ({"quantities": {"y": figures()}}, "x"),
    ],
)  # fmt: skip
def test_any_difference_is_changed(edit: dict[str, Any], where: str) -> None:
    """One seed's draws, a seed more or less, the level, a cause, the kind, a quantity."""
    old = whole({"nuts": sampler()})
    other = replace(old.methods["nuts"], **edit)
    found = exact(old, now({"nuts": other}))
    assert exit_code(found.values()) == 1
    assert found[f"nuts / {where}"].conclusion == "changed"
    if where != "moments":  # what was not worth keeping may be there again
        assert exit_code(exact(whole({"nuts": other}), now(old.methods)).values()) == 1


def test_a_level_within_chance_is_changed_under_the_exact_tier() -> None:
    """There nothing is chance."""
    old = scattered(1, fingerprints=tuple("abcdefghij"))
    new = scattered(0, fingerprints=tuple("abcdefghik"))
    assert conclusions(compare_method("drug", "q", old, new))["level"] == "same"
    found = exact(whole({"q": old}), now({"q": new}))
    assert found["q / level"].conclusion == "changed"


def test_a_method_that_is_missing_or_new_is_changed_under_the_exact_tier() -> None:
    """A missing or new method is a change, as without --exact."""
    a, b = {"nuts": sampler()}, {"nuts": sampler(), "q": sampler()}
    assert exact(whole(b), now(a))["q"].kind == "missing"
    assert exact(whole(a), now(b))["q"].kind == "new"
    assert exit_code(exact(whole(a), now(b)).values()) == 1


def test_a_baseline_without_fingerprints_is_never_exactly_the_same() -> None:
    """Its draws are not known."""
    old = whole({"nuts": sampler(fingerprints=())})
    found = exact(old, now({"nuts": sampler()}))
    assert found["nuts / draws of seed 1"].was == "not run"
    assert exit_code(found.values()) == 1


# --- one look ---------------------------------------------------------------------------------


def test_methods_that_are_missing_or_new_are_changed() -> None:
    """Each once; the others are compared."""
    old = whole({"nuts": sampler(), "gone": sampler()})
    found = compared(old, now({"nuts": sampler(), "fresh": sampler()}))
    assert (found["gone"].kind, found["gone"].conclusion) == ("missing", "changed")
    assert (found["fresh"].kind, found["fresh"].conclusion) == ("new", "changed")
    assert found["nuts / x / mean"].conclusion == "same"


def test_a_method_that_every_program_gets_by_now_is_no_change() -> None:
    """A newer harness has it; a baseline of chosen methods was to have no other."""
    seen = now({"nuts": sampler(), "pathfinder": sampler(), "fresh": sampler()})
    old = whole({"nuts": sampler()}, request={"methods": None})
    found = compared(old, seen)
    assert "pathfinder" not in {name.partition(" ")[0] for name in found}
    assert found["fresh"].kind == "new"
    assert newly_usual(old, seen) == ["pathfinder"]
    assert note(NewMethod("pathfinder")).startswith("pathfinder: every program gets it by now")
    chosen = whole({"nuts": sampler()}, request={"methods": ["nuts"]})
    assert compared(chosen, seen)["pathfinder"].conclusion == "changed"
    assert newly_usual(chosen, seen) == []


@pytest.mark.parametrize(
    ("more", "conclusion"),
    [({"kind": "nuts"}, "changed"), ({"trusted": False}, "inconclusive"),
     ({"kind": "none", "trusted": False}, "inconclusive")],
)  # fmt: skip
def test_another_reference_is_never_the_same(more: dict[str, Any], conclusion: str) -> None:
    """Levels against another reference, or one that is not trusted, are other levels."""
    old = whole({"nuts": sampler()})
    assert "reference" not in compared(old, now(old.methods))
    change = compared(old, now(old.methods, **more))["reference"]
    assert change.conclusion == conclusion
    assert change.was == "exact"


@pytest.mark.parametrize("status", ["failed", "timed_out", "killed"])
def test_a_run_that_was_lost_is_never_the_same(status: Status) -> None:
    """A sampler's, or that of a method without failures before: reported, and inconclusive."""
    old = whole({"nuts": sampler()})
    found = compared(old, now(old.methods, {"nuts": (Trouble(2, status, "why"),)}))
    words = status.replace("_", " ")
    assert found["nuts / runs"].conclusion == "inconclusive"
    assert reason(found["nuts / runs"]) == f"seed 2 {words}: why"
    many = tuple(Trouble(i, status, "x") for i in range(1, 6))
    said = reason(compared(old, now(old.methods, {"nuts": many}))["nuts / runs"])
    assert said == f"seed 1 {words}: x, seed 2 {words}: x, seed 3 {words}: x and 2 more"


def test_runs_that_failed_before_are_compared_by_their_share() -> None:
    """A method some of whose seeds fail has that in its baseline; a timeout is another matter."""
    kept = scattered(3, shares={"failed": Share(2, 10)})
    old = whole({"q": kept})
    failed = {"q": (Trouble(4, "failed", "why"),)}
    assert "q / runs" not in compared(old, now({"q": kept}, failed))
    late = {"q": (*failed["q"], Trouble(5, "timed_out", "late"))}
    assert reason(compared(old, now({"q": kept}, late))["q / runs"]) == "seed 5 timed out: late"
