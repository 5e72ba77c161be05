"""Which methods a model gets beside the usual ones, and which cannot be run on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from engine_builders import engines

from harness.cli.compare import left_out
from harness.methods import DEFAULT_METHODS
from harness.records import Model
from harness.stan import bridge
from harness.study.plan import Plan, usual_methods
from harness.study.planner import Planner
from harness.study.store import Store


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Return a model without batches, with an exact reference."""
    path = tmp_path / "m.stan"
    path.write_text("parameters { real m; } model { m ~ normal(0, 1); }")
    return Model("m", "t", path, None, reference="normal_mean")


def planner(tmp_path: Path, *methods: str) -> Planner:
    """Return a planner with an empty store."""
    plan = Plan((), methods=methods or None)
    return Planner(plan, engines(), Store(tmp_path / "store"))


def test_a_models_own_methods_come_before_the_sampler(model: Model) -> None:
    """Beside the usual ones, each once, and only where none are named."""
    own = usual_methods(replace(model, methods=("svgd", "dadvi", "advi")))
    assert own.count("dadvi") == 1
    assert own[-1] == "nuts"
    assert own[-3:-1] == ("svgd", "advi")
    assert set(usual_methods(model)) == set(DEFAULT_METHODS)
    split = replace(model, batch={"rows": ("y",), "size": "N", "scale": "s"})
    assert usual_methods(split)[-2:] == ("minibatch", "nuts")


def test_a_method_that_does_not_fit_is_left_out_with_the_reason(
    tmp_path: Path, model: Model
) -> None:
    """Named or not: the others go on; if none is left, that is the model's error."""
    work = planner(tmp_path, "meanfield", "minibatch").work(model)
    assert work.judged == ("meanfield",)
    assert work.error is None
    assert any("[batch]" in note for note in work.notes)
    work = planner(tmp_path, "minibatch", "cavi").work(model)
    assert work.error is not None
    assert "minibatch ADVI left out" in work.error
    assert "CAVI left out" in work.error
    assert not work.specs


def test_an_unknown_method_in_a_models_folder_is_told(tmp_path: Path, model: Model) -> None:
    """It is the model's error, with the name that may be meant."""
    work = planner(tmp_path).work(replace(model, methods=("sgvd",)))
    assert work.error is not None
    assert "no method 'sgvd'; did you mean svgd?" in work.error


def test_the_batch_table_is_part_of_a_minibatch_runs_key(tmp_path: Path, model: Model) -> None:
    """Other rows or another scale are another run."""
    batch = {"rows": ("y",), "size": "N", "scale": "s"}
    plan = planner(tmp_path, "minibatch")
    works = [
        plan.work(replace(model, batch=b)) for b in (batch, {**batch, "scale": "t"}, dict(batch))
    ]
    assert works[0].specs[0].options["batch"] == batch
    keys = [list(w.waiting) for w in works]
    assert keys[0] == keys[2] != keys[1]


def test_the_bridge_is_part_of_the_keys_of_methods_that_use_it(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another bridge makes other runs of them, and leaves CmdStan's alone."""
    plan = Plan((), methods=("meanfield", "svgd"))
    compiled = Planner(plan, engines(embedded=False), Store(tmp_path / "store"))
    before = compiled.work(model)
    monkeypatch.setattr(bridge, "version", lambda: "another")
    after = compiled.work(model)
    kept = set(before.waiting) & set(after.waiting)
    assert {before.waiting[k].method for k in kept} == {"meanfield"}
    assert {s.method for k, s in after.waiting.items() if k not in kept} == {"svgd"}


def test_the_command_line_says_which_named_methods_cannot_be_run(model: Model) -> None:
    """It says so with --quiet too."""
    said = left_out((model,), ("meanfield", "minibatch"))
    assert len(said) == 1
    assert said[0].startswith("m: minibatch ADVI left out: model.toml has no [batch]")
