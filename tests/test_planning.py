"""Plans: which runs a model gets, which of them are stored, and how far they may be extended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_builders import engines

from harness.methods import DEFAULT_METHODS, METHODS
from harness.records import Cost, Model, RunResult, RunSpec, Status
from harness.records.budget import MAX_DRAWS, MAX_NUTS_SAMPLES
from harness.study.expected import expected_work
from harness.study.plan import QUICK, Plan
from harness.study.planner import Planner
from harness.study.store import Store
from harness.study.task import Known, Needs, Want, with_draws


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Return a model with an exact reference."""
    path = tmp_path / "m.stan"
    path.write_text("parameters { real m; } model { m ~ normal(0, 1); }")
    return Model("m", "t", path, None, reference="normal_mean")


def planner(tmp_path: Path, **options: Any) -> Planner:
    """Return a planner with an empty store."""
    return Planner(Plan((), **options), engines(), Store(tmp_path / "store"))


def count(work_specs: list[RunSpec]) -> Mapping[str, int]:
    """Count runs by method."""
    return {m: sum(s.method == m for s in work_specs) for m in {s.method for s in work_specs}}


def test_defaults_are_all_methods_with_their_seeds(tmp_path: Path, model: Model) -> None:
    """Each variational method with its seeds, one run of NUTS, none stored."""
    work = planner(tmp_path).work(model)
    assert work.judged == DEFAULT_METHODS
    assert count(work.specs) == {m: METHODS[m].seeds for m in DEFAULT_METHODS}
    assert len(work.waiting) == 4 * 10 + 5 * 5 + 1
    assert not work.done


def test_settings_lower_seeds_and_leave_methods_out_with_the_reason(
    tmp_path: Path, model: Model
) -> None:
    """A method that model.toml leaves out is listed with its reason, and runs if it is named."""
    model = replace(
        model,
        settings={"meanfield": {"seeds": 3, "draws": 500}, "fullrank": {"skip": "an hour a seed"}},
    )
    work = planner(tmp_path).work(model)
    assert "fullrank" not in work.judged
    assert any("an hour a seed" in note for note in work.notes)
    assert {s.draws for s in work.specs if s.method == "meanfield"} == {500}
    assert count(work.specs)["meanfield"] == 3
    named = planner(tmp_path, methods=("fullrank",), seeds=2).work(model)
    assert count(named.specs) == {"fullrank": 2}


@pytest.mark.parametrize(
    ("reference", "chosen", "has_nuts"),
    [("normal_mean", "auto", False), (None, "auto", True), ("normal_mean", "nuts", True)],
)
def test_nuts_runs_where_it_is_the_reference(
    tmp_path: Path, model: Model, reference: str | None, chosen: str, has_nuts: bool
) -> None:
    """NUTS runs as the reference even if only other methods are named, and is not judged then."""
    model = replace(model, reference=reference)
    work = planner(tmp_path, methods=("meanfield",), seeds=1, reference=chosen).work(model)
    assert ("nuts" in {s.method for s in work.specs}) is has_nuts
    assert work.judged == ("meanfield",)


@pytest.mark.parametrize(
    ("options", "made", "judged"),
    [
        ({}, {"nuts", "short_chains"}, {"nuts", "short_chains"}),
        ({"nuts": False, "methods": QUICK}, {"short_chains"}, {"short_chains"}),
        ({"methods": ("meanfield",)}, {"nuts", "short_chains"}, set()),
        ({"reference": "nuts"}, {"nuts"}, {"nuts"}),
        ({"reference": "ensemble", "methods": ("meanfield",)}, {"short_chains"}, set()),
    ],
)
def test_short_chains_confirm_nuts_or_stand_in_for_it(
    tmp_path: Path, model: Model, options: dict[str, Any], made: set[str], judged: set[str]
) -> None:
    """One run without an exact posterior; its verdict is shown unless other methods are named."""
    work = planner(tmp_path, **options).work(replace(model, reference=None))
    samplers = {"nuts", "short_chains"}
    assert samplers & {s.method for s in work.specs} == made
    assert samplers & set(work.judged) == judged
    assert count(work.specs).get("short_chains", 1) == 1


def test_where_nothing_evaluates_the_program_nuts_stands_alone(
    tmp_path: Path, model: Model
) -> None:
    """Chains that are left out are no error."""
    model = replace(model, reference=None, settings={"short_chains": {"skip": "a minute"}})
    work = planner(tmp_path, methods=("meanfield",)).work(model)
    assert work.error is None
    assert {s.method for s in work.specs} == {"meanfield", "nuts"}


def _store(tmp_path: Path, key: str, spec: RunSpec, status: Status, timeout_s: float) -> None:
    result = RunResult(spec, key, status, "", None, None, {"timeout_s": timeout_s}, Cost(1.0), {})
    Store(tmp_path / "store").put(result)


@pytest.mark.parametrize(
    ("status", "stored_s", "asked_s", "again"),
    [
        ("failed", 1.0, 600.0, False),
        ("timed_out", 600.0, 600.0, False),
        ("timed_out", 600.0, 60.0, False),
        ("timed_out", 1.0, 600.0, True),
    ],
)
def test_a_timed_out_run_is_made_again_only_with_more_time(
    tmp_path: Path, model: Model, status: Status, stored_s: float, asked_s: float, again: bool
) -> None:
    """Every other stored result stands."""
    first = planner(tmp_path, methods=("meanfield",), seeds=1).work(model)
    ((key, spec),) = first.waiting.items()
    _store(tmp_path, key, spec, status, stored_s)
    second = planner(tmp_path, methods=("meanfield",), seeds=1, timeout_s=asked_s).work(model)
    assert (key in second.waiting) is again
    assert (key in second.done) is not again


def test_more_draws_never_fewer_and_never_beyond_the_budget() -> None:
    """Q grows up to its budget, NUTS by samples per chain up to its own."""
    vi = RunSpec("m", "meanfield", {}, 1, 10_000)
    assert with_draws(vi, 30_000).draws == 30_000
    assert with_draws(vi, 10**9).draws == MAX_DRAWS
    assert with_draws(vi, 10).draws == 10_000
    nuts = RunSpec("m", "nuts", {"chains": 4, "samples": 1000}, 1, 4000)
    assert with_draws(nuts, 9000).options["samples"] == 2250
    assert with_draws(nuts, 10**9).options["samples"] == MAX_NUTS_SAMPLES
    assert with_draws(nuts, 10).draws == 4000


def test_extending_replaces_a_run_in_place(tmp_path: Path, model: Model) -> None:
    """The run with more draws takes the place of the first, once."""
    plan = planner(tmp_path, methods=("meanfield",), seeds=2)
    work = plan.work(model)
    plan.meet(work, Needs(draws=(Want("meanfield", 2, 50_000),)), Known())
    assert [s.draws for s in work.specs] == [10_000, 50_000]
    assert work.met
    assert len(work.waiting) == 3


def test_an_unreadable_program_is_the_models_error(tmp_path: Path, model: Model) -> None:
    """Planning goes on with the other models."""
    work = planner(tmp_path).work(replace(model, stan_file=tmp_path / "gone.stan"))
    assert work.error is not None
    assert "gone.stan" in work.error
    assert work.specs == []


def test_tuned_runs_are_expected_to_take_longest() -> None:
    """The schedule starts what takes longest first."""
    specs = {m: RunSpec("m", m, METHODS[m].defaults, 1, 1) for m in DEFAULT_METHODS}
    work = {m: expected_work(s) for m, s in specs.items()}
    assert max(work, key=lambda m: work[m]) in {"meanfield_tuned", "fullrank_tuned"}
    assert min(work, key=lambda m: work[m]) in {"meanfield", "fullrank"}
