"""What a check decides without running anything: looks, seeds, and what cannot be checked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from baseline_builders import figures, sampler, scattered, whole
from checking_builders import MODEL, now

from harness.check.baseline.change import Change, exit_code
from harness.check.baseline.file import read
from harness.check.baseline.form import Baseline, MethodBaseline
from harness.check.look import Looked
from harness.check.request import Request, Target
from harness.check.run import _Checking, check
from harness.check.show.words import note, reason
from harness.check.write import _sampler_runs, described, write_baselines
from harness.models import folders
from harness.study.progress import Quiet

FOLDER = Path("baselines")


def checking(old: Baseline | None = None, path: Path = FOLDER, **more: Any) -> _Checking:
    """Return a check of one model before its first look."""
    target = Target("drug", path / "drug.json", MODEL, old or whole())
    return _Checking([target], Request(path, **more), Quiet())


def looked(
    at: _Checking, changes: Sequence[Change], methods: Mapping[str, MethodBaseline] | None = None
) -> dict[tuple[str, str], int]:
    """Let a look have seen changes; return the seeds that it asks for."""
    given = at.old["drug"].methods if methods is None else methods
    seen = now({k: m if m.fingerprints else replace(m, fingerprints=("0a",))
                for k, m in given.items()})  # fmt: skip
    at.looked.update(Looked(observations={"drug": seen}, changes={"drug": list(changes)}))
    return at._more(at._conclude())


def open_question(method: str = "meanfield", **more: Any) -> Change:
    """Return an undecided figure."""
    given: dict[str, Any] = {"kind": "moved", "conclusion": "inconclusive", "p": 0.01} | more
    return Change("drug", method, "x", "summary", name="mean", **given)


# --- looks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "looks"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (64, 7)])
def test_looks_double_the_seeds_up_to_the_budget(budget: int, looks: int) -> None:
    """The looks share the false alarms, and the last one uses the whole budget."""
    at = checking(budget=budget)
    assert at.looks == looks
    sizes = [10]
    while more := looked(at, [open_question()]):
        assert set(more) == {("drug", "meanfield")}
        at.seeds.update(more)
        sizes.append(more["drug", "meanfield"])
    assert sizes == sorted({min(10 * 2**k, 10 * budget) for k in range(looks)})
    assert len(sizes) == looks


def test_looks_share_the_false_alarms() -> None:
    """With three looks a p-value must be under a third of alpha, over all models together."""
    for p, budget, code in ((4e-5, 4, 2), (3e-5, 4, 1), (4e-5, 1, 1), (2e-4, 1, 2)):
        at = checking(budget=budget, alpha=1e-4)
        looked(at, [open_question(p=p)])
        assert exit_code(at._conclude()["drug"]) == code
    # Of two figures in two models the smaller must be under half of it.
    both = checking(budget=1, alpha=1e-4)
    both.looked.update(
        Looked(
            observations={name: now({}) for name in ("drug", "other")},
            changes={name: [replace(open_question(p=6e-5), model=name)]
                     for name in ("drug", "other")},
        )
    )  # fmt: skip
    assert {exit_code(c) for c in both._conclude().values()} == {2}


def test_once_something_changed_no_more_is_run() -> None:
    """The answer is known; nor is more run where everything is the same."""
    assert looked(checking(), [open_question(), open_question(p=0.0)]) == {}
    assert looked(checking(), [open_question(conclusion="same")]) == {}
    assert looked(checking(), []) == {}


def test_more_seeds_are_not_run_where_they_cannot_tell() -> None:
    """More seeds do not help a figure without a p-value, a reference, or a method without draws."""
    assert looked(checking(), [open_question(p=None, kind="unusable")]) == {}
    assert looked(checking(), [open_question(method="", p=None)]) == {}
    lost = scattered(3, fingerprints=("none",) * 10)
    methods = whole().methods
    assert looked(checking(), [open_question()], {**methods, "meanfield": lost}) == {}


def test_seeds_that_all_ran_away_call_for_more() -> None:
    """They have draws: more of them tell ten of ten from chance, though none was kept."""
    away = scattered(10, kept=0, fingerprints=("0a",) * 10)
    changes = [replace(open_question(), part="share", name="ran_away"),
               replace(open_question(p=None), part="moments", name="")]  # fmt: skip
    for change in changes:
        more = looked(checking(), [change], {**whole().methods, "meanfield": away})
        assert more == {("drug", "meanfield"): 20}


def test_the_exact_tier_looks_once() -> None:
    """More seeds cannot make draws equal."""
    assert checking(exact=True, budget=64).looks == 1


# --- what cannot be checked -------------------------------------------------------------------


def test_what_cannot_be_checked_needs_no_cmdstan_and_is_no_success(tmp_path: Path) -> None:
    """A model that is gone has changed; one with an unreadable baseline is undecided."""
    path = tmp_path / "m.json"
    gone = Target("old_model", path, old=whole(), gone=True)
    broken = Target("broken", path, MODEL, error="it is damaged; write it again")
    for targets, code in (([gone], 1), ([broken], 2), ([gone, broken], 1), ([], 2)):
        outcome = check(targets, Request(tmp_path), Quiet())
        assert outcome.exit_code == code
        assert [m.model for m in outcome.models] == [t.name for t in targets]
    (one,) = check([gone], Request(tmp_path), Quiet()).models
    assert one.changes[0].kind == "missing"
    assert "remove its baseline" in reason(one.changes[0])
    (two,) = check([broken], Request(tmp_path), Quiet()).models
    assert (two.error, two.path) == (broken.error, path)
    assert list(tmp_path.iterdir()) == []


def test_an_outcome_says_what_was_asked(tmp_path: Path) -> None:
    """Alpha, tier, command and date are in it."""
    request = Request(tmp_path, alpha=0.01, exact=True, command="harness check --exact")
    outcome = check([], request, Quiet())
    assert (outcome.alpha, outcome.exact) == (0.01, True)
    assert outcome.command == "harness check --exact"


@pytest.fixture
def at(tmp_path: Path) -> _Checking:
    """Return the looks at a program that lies in a folder."""
    stan = tmp_path / "drug.stan"
    stan.write_text("parameters { real x; }\n", encoding="utf-8")
    heavy = {f"y[{i}]": {k: replace(f, why="tails too heavy") for k, f in figures().items()}
             for i in range(2)}  # fmt: skip
    wide = figures() | {"mean": replace(figures()["mean"], margin=0.25)}
    old = whole({"nuts": sampler(quantities={"x": wide, **heavy}), "q": scattered(3)})
    model = replace(MODEL, stan_file=stan)
    target = Target("drug", tmp_path / "drug.json", model, old)
    return _Checking([target], Request(tmp_path), Quiet())


def test_a_model_of_which_nothing_was_compared_is_an_error(at: _Checking) -> None:
    """No change is not the same as nothing changed."""
    assert "nothing to compare" in (at._model(at.models[0], []).error or "")
    at.looked.errors["drug"] = "it does not compile"
    assert at._model(at.models[0], []).error == "it does not compile"
    assert at._model(at.models[0], []).exit_code == 2


def test_notes_tell_what_a_reader_should_know(at: _Checking) -> None:
    """Notes name and count figures that are not compared, wide margins and added seeds."""
    at.seeds["drug", "q"] = 20
    looked(at, [open_question(conclusion="same")])
    made = at._model(at.models[0], [open_question(conclusion="same")])
    assert [note(said) for said in made.notes] == [
        (
            "nuts: 1 figure too imprecise for the usual margin; the widest margin is 0.25 sd "
            "(mean of x)"
        ),
        (
            "nuts: not compared: mean of y[0]: tails too heavy; sd of y[0]: tails too heavy; "
            "q5 of y[0]: tails too heavy; and 7 more"
        ),
        "q: 20 seeds where the baseline has 10",
        "q: compared by its level and by shares of its seeds only: only 3 of 10 seeds",
    ]
    assert made.reasons[0].startswith("the program changed")
    assert made.path == at.paths["drug"]


def test_identical_is_only_what_has_draws_that_are(at: _Checking) -> None:
    """All draws of all methods must be equal; without fingerprints they are not."""
    old = at.old["drug"].methods
    same = {**old, "nuts": old["nuts"]}
    other = replace(old["nuts"], fingerprints=("0a1b2c3d4e5f6071", "0"))
    cases = ((same, True), ({"nuts": other, "q": old["q"]}, False),
             ({"nuts": old["nuts"]}, False), ({**old, "new": old["nuts"]}, False))  # fmt: skip
    for methods, identical in cases:
        at.looked.update(Looked(observations={"drug": now(methods)}, changes={"drug": []}))
        assert at._model(at.models[0], []).identical == identical
    bare = replace(at.old["drug"], methods={"nuts": replace(old["nuts"], fingerprints=())})
    at.old["drug"] = bare
    at.looked.update(Looked(observations={"drug": now(bare.methods)}, changes={"drug": []}))
    assert not at._model(at.models[0], []).identical


def test_another_look_replaces_what_an_earlier_one_saw() -> None:
    """A later look replaces the figures and errors of its own models only."""
    seen = Looked(
        observations={"a": now({}), "b": now({})}, changes={"a": [], "b": []},
        errors={"c": "x"}, seconds={("a", "nuts"): 1.0},
    )  # fmt: skip
    seen.update(Looked(observations={"c": now({})}, changes={"c": []}, errors={"a": "lost"}))
    assert set(seen.observations) == set(seen.changes) == {"b", "c"}
    assert seen.errors == {"a": "lost"}


# --- how much is run --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("margin", "seconds", "seeds", "runs"),
    [
        (None, 1.0, 1, 4),  # errors small: the fewest
        (0.15, 1.0, 1, 4),  # 1.5² = 2.25 runs
        (0.25, 1.0, 1, 7),  # 2.5² = 6.25 runs
        (5.0, 1.0, 1, 8),  # the most
        (0.25, 1.0, 2, 8),  # of two runs' figures
        (5.0, 20.0, 1, 3),  # a minute
        (5.0, 30.0, 1, 2),
        (5.0, 1000.0, 1, 2),  # slow ones run twice
        (None, 1000.0, 1, 2),
        (0.25, 0.0, 1, 7),
        (0.25, float("nan"), 1, 7),  # not known
    ],
)
def test_samplers_run_as_often_as_their_errors_demand(
    margin: float | None, seconds: float, seeds: int, runs: int
) -> None:
    """Errors shrink with the square root of the runs; four to eight, in a minute, at least two."""
    q = figures() | {"mean": replace(figures()["mean"], margin=margin)}
    made = sampler(seeds=tuple(range(1, seeds + 1)), quantities={"x": figures(), "y": q})
    assert _sampler_runs(made, seconds) == runs


@pytest.mark.parametrize(("asked", "seeds"), [(None, 2), (1, 1)])
def test_a_slow_methods_one_seed_is_two_in_a_baseline(
    asked: int | None, seeds: int, tmp_path: Path, isolated_cache: Path
) -> None:
    """A model's settings may ask for one seed, whose spread is unknown; a user's word counts."""
    assert isolated_cache
    model = replace(folders.load("normal_mean"), settings={"laplace": {"seeds": 1}})
    request = Request(tmp_path, methods=("laplace",), seeds=asked, engine="embedded")
    ((_, path, words),) = write_baselines([model], request, Quiet())
    assert path is not None, words
    assert len(read(path).methods["laplace"].seeds) == seeds


def test_the_loosest_figure_decides_and_tails_have_twice_the_room() -> None:
    """A tail's margin of 0.5 is 2.5 times its usual one, as a mean's of 0.25."""
    for what, margin in itertools.product(("q5", "q95"), (0.5,)):
        q = figures() | {what: replace(figures()[what], margin=margin)}
        assert _sampler_runs(sampler(seeds=(1,), quantities={"x": q}), 1.0) == 7
    assert _sampler_runs(sampler(quantities={}, no_moments="stuck"), 1.0) == 4


def test_what_a_baseline_holds_in_a_few_words() -> None:
    """Methods and figures, and which have none."""
    assert described(whole({"nuts": sampler()})) == "1 method, 5 figures"
    words = "2 methods, 5 figures; level and shares only: meanfield"
    assert described(whole()) == words
    two = {"meanfield": replace(whole().methods["meanfield"], seeds=(1, 2))}
    assert described(whole(two)).endswith("meanfield; --seeds 10 would give more to compare")
