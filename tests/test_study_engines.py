"""Which engine makes which run, what its key depends on, and what is left out without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_builders import CMDSTAN, engines

from harness.methods import METHODS
from harness.records import EngineName, Model, Program, RunSpec
from harness.stan import CmdStan, ToolchainError, bridge
from harness.study.engines import NoEngineError
from harness.study.plan import QUICK, Plan, Work
from harness.study.planner import Planner
from harness.study.prepare import build
from harness.study.store import Store

SPEC = RunSpec("m", "nuts", {}, 1, 10)

METHOD = ("meanfield", "dadvi", "minibatch", "cavi", "nuts")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Return a model whose data split by rows."""
    path = tmp_path / "m.stan"
    path.write_text("parameters { real m; } model { m ~ normal(0, 1); }")
    batch = {"rows": ("y",), "size": "N", "scale": "s"}
    return Model("m", "t", path, None, reference="normal_mean", batch=batch)


def of(model: Model, name: str, **machine: Any) -> EngineName | str | None:
    """Return the engine of a method, or why there is none."""
    refused = machine.pop("refused", {})
    try:
        return engines(**machine).of(METHODS[name], model, refused)
    except NoEngineError as error:
        return str(error)


def test_each_engine_makes_the_runs_that_are_its_own(model: Model) -> None:
    """CmdStan's rows by CmdStan, densities embedded, rebinding compiled, and some by neither."""
    assert [of(model, name) for name in METHOD] == [
        "cmdstan",
        "embedded",
        "cmdstan",
        None,
        "cmdstan",
    ]
    assert of(model, "dadvi", embedded=False) == "cmdstan"
    assert of(model, "nuts", cmdstan=False) == "embedded"
    wished = replace(model, settings={"dadvi": {"engine": "cmdstan"}})
    assert of(wished, "dadvi") == "cmdstan"
    assert of(wished, "dadvi", cmdstan=False) == "embedded"


def test_what_an_engine_refuses_goes_to_the_other(model: Model) -> None:
    """Or needs a compiler, in the engine's words."""
    refused = {"embedded": "no complex numbers"}
    assert of(model, "dadvi", refused=refused) == "cmdstan"
    said = of(model, "dadvi", refused=refused, cmdstan=False)
    assert said == "needs a compiler: no complex numbers; there is no CmdStan"
    assert of(model, "nuts", refused={"cmdstan": "new syntax"}) == "embedded"
    assert of(model, "nuts", refused={**refused, "cmdstan": "a typo"}) == "a typo"
    binds = of(model, "minibatch", cmdstan=False)
    assert binds == "needs a compiler: it binds new data at every step; there is no CmdStan"


def test_a_spare_cmdstan_makes_only_what_the_embedded_engine_refuses(model: Model) -> None:
    """Not what is its own elsewhere; and a program that an older one rejects may be right."""
    spare = replace(engines(), spare=True)
    assert spare.of(METHODS["nuts"], model, {}) == "embedded"
    lacks: dict[EngineName, str] = {"embedded": "stanli compile: unsupported function svd_U"}
    assert spare.of(METHODS["dadvi"], model, lacks) == "cmdstan"
    with pytest.raises(NoEngineError, match=r"svd_U.*2\.27\.0 may be too old.*says: a typo"):
        spare.of(METHODS["dadvi"], model, {**lacks, "cmdstan": "a typo"})
    late: dict[EngineName, str] = {"embedded": "loading and trying it took longer than 600 s"}
    old = "Semantic error in 'm.stan': undeclared identifier 'solve_newton'"
    with pytest.raises(NoEngineError, match=r"took longer.*2\.27\.0 may be too old.*Semantic"):
        spare.of(METHODS["dadvi"], model, {**late, "cmdstan": old})
    typo: dict[EngineName, str] = {"embedded": old, "cmdstan": old}
    with pytest.raises(NoEngineError, match=r"^Semantic"):
        spare.of(METHODS["dadvi"], model, typo)


def test_a_method_newer_than_cmdstan_runs_embedded(model: Model) -> None:
    """And where there is no embedded engine, it says which CmdStan it needs."""
    row = replace(METHODS["nuts"], since=(2, 33))
    assert engines().of(row, model, {}) == "embedded"
    with pytest.raises(NoEngineError, match=r"needs CmdStan 2\.33 or the embedded engine"):
        engines(embedded=False).of(row, model, {})
    newer = replace(engines(), cmdstan=replace(CMDSTAN, version=(2, 33, 0)))
    assert newer.of(row, model, {}) == "cmdstan"


def plan(model: Model, tmp_path: Path, *methods: str, **machine: Any) -> tuple[Planner, Work]:
    """Plan a model on a machine."""
    asked = Plan((model,), methods=methods or None)
    planner = Planner(asked, engines(**machine), Store(tmp_path / "store"))
    return planner, planner.work(model)


def test_results_of_one_engine_are_never_taken_for_the_others(model: Model, tmp_path: Path) -> None:
    """The key has the engine's version; what no engine makes has the same key everywhere."""
    keys = {}
    for name in ("nuts", "dadvi", "cavi"):
        machines: tuple[dict[str, Any], ...] = (
            {"embedded": False},
            {"cmdstan": False},
            {"cmdstan": False, "version": "stanli 2"},
        )
        keys[name] = [list(plan(model, tmp_path, name, **m)[1].waiting) for m in machines]
    for name in ("nuts", "dadvi"):
        assert len({k for (k, *_) in keys[name]}) == 3
    assert keys["cavi"][0] == keys["cavi"][1] == keys["cavi"][2]


def test_a_program_of_a_run_has_one_engine(model: Model, tmp_path: Path) -> None:
    """A run cannot take another engine than the one in its key, nor report its version."""
    both = engines()
    program = Program(
        model.stan_file, both.versions, tmp_path, tmp_path, library=tmp_path, embedded=True
    )
    own, compiled = (
        both.of_run(program, name, METHODS[SPEC.method], SPEC) for name in ("embedded", "cmdstan")
    )
    assert (own.executable, own.library, own.embedded) == (None, None, True)
    assert set(own.versions) == {"python", "embedded"}
    assert (compiled.embedded, compiled.library) == (False, tmp_path)
    assert set(compiled.versions) == {"python", "cmdstan", "compiler", "cmdstanpy"}


def test_a_refusal_is_remembered_and_gives_the_runs_to_the_bridge(
    model: Model, tmp_path: Path
) -> None:
    """The runs wait under other keys, and the next comparison plans them so from the start."""
    planner, work = plan(model, tmp_path, "meanfield", "dadvi")
    embedded = {k for k, s in work.waiting.items() if s.method == "dadvi"}
    planner.refuse(work, "embedded", "no complex numbers")
    again = plan(model, tmp_path, "meanfield", "dadvi")[1]
    assert set(again.waiting) == set(work.waiting)
    assert embedded
    assert not embedded & set(work.waiting)
    assert again.refused == {"embedded": "no complex numbers"}


def test_a_refusal_without_a_compiler_leaves_methods_out(model: Model, tmp_path: Path) -> None:
    """What needs no engine goes on; if nothing is left, the refusal is the model's error."""
    planner, work = plan(model, tmp_path, "dadvi", cmdstan=False)
    planner.refuse(work, "embedded", "no complex numbers")
    assert work.error is not None
    assert work.error.startswith("needs a compiler: no complex numbers")
    # What was learnt is recalled, and the reason that both share is said once.
    again = plan(model, tmp_path, "dadvi", "dadvi_lr", cmdstan=False)[1]
    assert again.error == work.error
    split = plan(model, tmp_path, "dadvi", "minibatch", cmdstan=False, version="other")[1]
    assert split.judged == ("dadvi",)
    assert any("needs a compiler" in note for note in split.notes)


def test_a_doubt_takes_the_runs_from_the_embedded_engine(model: Model, tmp_path: Path) -> None:
    """It does not count as a refusal of the program, because another CmdStan may agree."""
    planner, work = plan(model, tmp_path, "meanfield", "dadvi")
    assert planner.agreement(work)
    planner.refuse(work, "embedded", "another density", doubt=True)
    assert work.doubt == "another density"
    assert planner.agreement(work) == ""
    assert all(planner.engine(work, spec.method) == "cmdstan" for spec in work.waiting.values())
    assert plan(model, tmp_path, "dadvi", cmdstan=False)[1].refused == {}


def test_without_cmdstan_nothing_is_left_to_compare_with(model: Model, tmp_path: Path) -> None:
    """The comparison of densities is due only where both engines are there and used."""
    assert plan(model, tmp_path, "dadvi", cmdstan=False)[0].agreement(Work(model)) == ""
    planner, work = plan(model, tmp_path, "dadvi", embedded=False)
    assert planner.agreement(work) == ""


def test_quick_methods_compile_nothing_and_sample_nothing() -> None:
    """They are the usual ones without CmdStan's ADVI and NUTS."""
    assert {"dadvi", "dadvi_lr", "dadvi_psis"} <= set(QUICK)
    assert not {"meanfield", "fullrank", "nuts", "minibatch"} & set(QUICK)


@pytest.mark.stan
def test_a_library_that_cannot_be_built_is_no_error_of_the_model(
    cmdstan: CmdStan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is prepared all the same; only methods on the bridge get the reason."""
    from harness.models import folders

    def refuse(*_: Any, **__: Any) -> Path:
        msg = "the bridge: the linker is missing"
        raise ToolchainError(msg)

    monkeypatch.setattr(bridge, "library", refuse)
    model = folders.load("normal_mean")
    machine = replace(engines(), cmdstan=cmdstan)
    found = build(model, machine, None, (True, True), (600.0, 60.0)).program
    assert found is not None
    assert found.executable is not None
    assert found.library is None
    assert "the linker is missing" in found.library_error
    untouched = build(model, machine, None, (True, False), (600.0, 60.0)).program
    assert untouched is not None
    assert untouched.library_error == ""
