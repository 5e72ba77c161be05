"""Generated quantities are chosen before they are computed: ``--quantities`` and ``--no-gq``."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from engine_builders import engines

from harness.cli import main
from harness.methods import METHODS, pathfinder, served
from harness.models.data import data_hash
from harness.records import Draws, FloatArray, Model, Program, RunContext, RunSpec
from harness.records.names import kept_places
from harness.stan import (
    CmdStan,
    ProgramError,
    cache_dir,
    compile_program,
    embedded,
    program_hash,
    program_texts,
    run_versions,
    translate,
    unconstrain,
)
from harness.stan.bridge import BridgeModel
from harness.stan.compile import _program_key
from harness.stan.csv import CsvError, read_chains, read_stan_csv
from harness.stan.source import bare
from harness.study import comparing, prepare, remote
from harness.study.engines import Engines
from harness.study.plan import Plan
from harness.study.planner import Planner
from harness.study.run_task import RunTask
from harness.study.store import _FORMAT, Store, digest, run_key

needs_engine = pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")

LEFT_OUT = {"y": ("y[2]",), "z": ()}

PROGRAM = """
parameters { real m; }
transformed parameters { real twice = 2 * m; }
model { m ~ normal(0, 1); }
generated quantities {
  vector[5] y;
  real z = square(m);
  for (i in 1:5) y[i] = sin(i * m);
}
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a program with generated quantities, and an empty cache for one test."""
    file = tmp_path / "many.stan"
    file.write_text(PROGRAM)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return file


def drawn(program: Path, method: str, left_out: Mapping[str, tuple[str, ...]] = {}) -> Draws:
    """Run a method in the embedded engine, and return its draws."""
    row = METHODS[method]
    spec = RunSpec("many", method, row.defaults, 1, row.draws, left_out)
    scratch = Path(tempfile.mkdtemp(dir=program.parent))
    embedded_one = Program(program, {"numpy": "2"}, embedded=True)
    found = row.run(spec, RunContext(embedded_one, None, 60.0, 20_261_129), scratch).draws
    assert found is not None
    return found


def by_name(draws: Draws) -> dict[str, FloatArray]:
    """Return the draws of each quantity."""
    return {name: draws.quantity(name) for name in draws.names}


def test_what_is_left_out_is_told_by_variable_and_element() -> None:
    """A variable goes with its elements, but for those that are named; others stay."""
    names = ("m", "y[1]", "y[2]", "y:1[2]", "z", "zz")
    assert kept_places(names, LEFT_OUT) == [0, 2, 5]
    assert kept_places(names, {}) is None
    assert kept_places(("m", "y[2]"), LEFT_OUT) is None


def test_a_run_without_them_has_a_key_of_its_own() -> None:
    """It never serves a comparison of them; a run that leaves nothing out knows of no choice."""
    spec = RunSpec("m", "advi", {}, 1, 10)
    specs = [spec, dataclasses.replace(spec, left_out={"y": ()})]
    specs.append(dataclasses.replace(spec, left_out=LEFT_OUT))
    keys = [run_key(s, "program", "data", 1, {}) for s in specs]
    assert len({*keys}) == 3
    before = {k: v for k, v in dataclasses.asdict(spec).items() if k not in {"model", "left_out"}}
    versions = {"program": "program", "data": "data", "method_version": 1, "versions": {}}
    assert keys[0] == digest({"format": _FORMAT, "spec": before, **versions})


def test_of_a_csv_only_what_is_kept_is_read(tmp_path: Path) -> None:
    """Columns that are left out are not there, and may hold anything; the others are right."""
    path = tmp_path / "a.csv"
    path.write_text("lp__,m,y.1,y.2,z\n-1,1,oh,3,4\n# a\n-2,5,no,7,nan\n")
    table = read_stan_csv(path, LEFT_OUT)
    assert table.columns == ("lp__", "m", "y.2")
    assert table.values.tolist() == [[-1, 1, 3], [-2, 5, 7]]
    found = read_chains([path, path], 2, ["lp__"], LEFT_OUT)
    assert found.quantities == ("m", "y[2]")
    assert found.values.tolist() == [[[1, 3], [5, 7]]] * 2
    assert found.statistics["lp__"].tolist() == [[-1, -2]] * 2
    path.write_text("lp__,m,y.1,y.2,z\n-1,1,2,3,4\n-2,nan,6,7,8\n")
    np.testing.assert_array_equal(read_stan_csv(path, LEFT_OUT).values[1], [-2, np.nan, 7])
    path.write_text("lp__,m,y.1,y.2,z\n-1,1,oh,3,4\n")
    with pytest.raises(CsvError, match="cannot be read"):
        read_stan_csv(path)


@needs_engine
@pytest.mark.parametrize("method", ["dadvi", "pathfinder", "nuts"])
def test_draws_are_the_same_without_the_others(program: Path, method: str) -> None:
    """Parameters, and generated quantities that are asked for, have the draws they always have."""
    whole = by_name(drawn(program, method))
    assert tuple(whole) == ("m", "twice", *(f"y[{i}]" for i in range(1, 6)), "z")
    own = drawn(program, method, {"y": (), "z": ()})
    assert own.names == ("m", "twice")
    chosen = drawn(program, method, LEFT_OUT)
    assert chosen.names == ("m", "twice", "y[2]")
    for found in (own, chosen):
        for name, values in by_name(found).items():
            np.testing.assert_allclose(values, whole[name], rtol=1e-12)


WITH_SIMPLEX = PROGRAM.replace("real m;", "real m; simplex[3] s;")


@needs_engine
@pytest.mark.parametrize("way", ["late", "late, one by one", "too many to invert", "on a bound"])
def test_many_are_computed_for_the_chosen_draws_only(
    program: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Pathfinder's draws are the same whether all proposals have generated quantities or not."""
    program.write_text(PROGRAM if way == "late" else WITH_SIMPLEX)
    asked: Mapping[str, tuple[str, ...]] = {} if way == "late" else LEFT_OUT
    whole = by_name(drawn(program, "pathfinder"))
    computed = []
    late = served._generated

    def counted(draws: Draws, *args: Any) -> Any:
        computed.append(draws.values.shape[1])
        return late(draws, *args)

    def on_a_bound(*args: Any) -> FloatArray:
        z = unconstrain.points(*args)
        z[7] = np.nan
        return z

    monkeypatch.setattr(served, "_generated", counted)
    # Of all proposals together, the parameters fit in, and the generated quantities do not.
    monkeypatch.setattr(pathfinder, "MOST_NUMBERS", 16_000 * 7)
    if way == "too many to invert":
        monkeypatch.setattr(served, "MOST_INVERTED", 4000 * 4 - 1)
    if way == "on a bound":
        monkeypatch.setattr(
            unconstrain,
            "unconstrained",
            lambda m, d, i: on_a_bound(m, *unconstrain.parameters(m, d, i)),
        )
    found = by_name(drawn(program, "pathfinder", asked))
    assert computed == ([4000] if way.startswith("late") else [])
    assert set(found) == (
        set(whole) if way == "late" else set(whole) - {"z", "y[1]", "y[3]", "y[4]", "y[5]"}
    )
    if way.startswith("late"):
        for name, values in found.items():
            np.testing.assert_allclose(values, whole[name], rtol=1e-9, atol=1e-12)
    else:
        assert all(np.isfinite(values).all() for values in found.values())


@needs_engine
@pytest.mark.parametrize(
    ("quantities", "generated", "draws", "left_out", "alone"),
    [
        ((), True, False, {}, False),
        ((), False, False, {"y": (), "z": ()}, True),
        ((), False, True, {"y": (), "z": ()}, True),
        (("m",), True, False, {"y": (), "z": ()}, True),
        (("m", "y[2]"), True, False, {"y": ("y[2]",), "z": ()}, False),
        (("m", "z", "y[2]"), True, False, {"y": ("y[2]",)}, False),
        (("m", "z"), True, False, {"y": ()}, False),
        (("y", "z"), True, False, {}, False),
        (("m",), True, True, {}, False),
    ],
)
def test_a_choice_is_planned(
    program: Path,
    quantities: tuple[str, ...],
    generated: bool,
    draws: bool,
    left_out: Mapping[str, tuple[str, ...]],
    alone: bool,
) -> None:
    """Where all draws are to be written, a choice of some leaves nothing out.

    The program runs without its block where all that it declares is left out.
    """
    model = Model("m", "m", program, None, quantities=quantities, generated=generated)
    work = Planner(Plan((), draws=draws), engines(), Store(program.parent / "store")).work(model)
    assert work.specs
    assert all(s.left_out == left_out for s in work.specs)
    assert work.bare is alone


@needs_engine
def test_a_run_with_everything_serves_a_choice_and_not_the_other_way_round(program: Path) -> None:
    """The second comparison makes the run again, with all quantities, and the third takes it."""
    keys: list[str] = []
    results = cache_dir() / "results"
    for generated in (False, True, False):
        before = set(results.glob("??/*"))
        model = Model("many", "many", program, None, generated=generated)
        plan = Plan(
            (model,), methods=("dadvi",), seeds=1, nuts=False, explain=False, engine="embedded"
        )
        found, _ = comparing.compare(plan)
        (run,) = [r for r in found.models[0].runs if r.spec.method == "dadvi"]
        stored = Store(results).get(run.key)
        assert stored is not None
        assert stored.draws is not None
        assert ("z" in stored.draws.names) is (generated or len(keys) > 1)
        keys.append(run.key)
        if len(keys) == 1:
            # The run of the second comparison is another one; the third finds both.
            shutil.rmtree(results / run.key[:2] / run.key)
        compared = {m.quantity for m in found.models[0].measures if m.quantity is not None}
        assert bool(compared & {"z", "y[1]"}) is generated
        assert compared >= {"m"}
    # The second may have drawn more to decide on more quantities, after what the third takes.
    assert keys[0] not in keys[1:]
    assert set(results.glob("??/*")) == before


def command(program: Path, *more: str) -> Result:
    """Run the command on the program."""
    return CliRunner().invoke(main, ["compare", str(program), "--quick", "--quiet", *more])


@needs_engine
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--quantities", "yy"], "no quantity 'yy'; did you mean y?"),
        (["--quantities", "yy", "--no-gq"], "no quantity 'yy'"),
        (["--quantities", "m,y[2]", "--no-gq"], "y[2] is a generated quantity, which --no-gq"),
    ],
)
def test_a_name_that_is_not_there_is_one_line(program: Path, more: list[str], words: str) -> None:
    """A name that does not exist, or is left out by the same command, ends it with code 2."""
    found = command(program, *more)
    assert found.exit_code == 2
    assert words in found.output
    assert len(found.output.strip().splitlines()) == 1


THROWS = """functions {
  real half_rng(real m) { return normal_rng(m, 0.5); }
}
parameters { real m; }
model { m ~ normal(0, 1); }
generated quantities {
#include more.stan
  real z = half_rng(m);
  if (z < 1e9) reject("these quantities were computed");
}
"""


@pytest.mark.stan
@pytest.mark.usefixtures("own_results")
def test_cmdstan_does_not_compute_what_is_left_out(tmp_path: Path, cmdstan: CmdStan) -> None:
    """Quantities that always throw end no run of ADVI, and stand in no library."""
    file = tmp_path / "throws.stan"
    file.write_text(THROWS)
    (tmp_path / "more.stan").write_text("real half = m / 2;\n")
    model = Model("throws", "throws", file, None, generated=False)
    there = Engines(run_versions(cmdstan), cmdstan)
    made = prepare.build(model, there, None, (True, True), (600.0, 60.0)).program
    assert made is not None
    assert made.executable is not None
    assert made.library is not None
    assert not made.generated
    alone = _program_key(file, cmdstan, bare(file))
    assert made.executable.parent.name == f"throws-{alone}"
    assert alone != _program_key(file, cmdstan)
    row = METHODS["meanfield"]
    spec = RunSpec("throws", row.name, row.defaults, 1, 100, {"half": (), "z": ()})
    scratch = Path(tempfile.mkdtemp(dir=tmp_path))
    found = row.run(spec, RunContext(made, None, 60.0, 20_261_129), scratch)
    assert found.draws is not None
    assert found.draws.names == ("m",)
    with closing(BridgeModel(made.library, {})) as density:
        assert density.constrained_names(transformed=True, generated=True) == ("m",)


@pytest.mark.stan
@pytest.mark.usefixtures("isolated_cache")
def test_without_them_messages_name_the_users_file_and_line(
    tmp_path: Path, cmdstan: CmdStan
) -> None:
    """An error in the model is on the line of the user's file, in the compiler's words."""
    file = tmp_path / "wrong.stan"
    file.write_text(PROGRAM.replace("normal(0, 1)", "normal(0, 1, 2)"))
    with pytest.raises(ProgramError, match=rf"in '{file}', line 4"):
        compile_program(file, cmdstan, generated=False)
    file.write_text(PROGRAM)
    text = bare(file)
    assert text is not None
    assert "'./wrong.stan', line 4" in translate(file, cmdstan, tmp_path, text).read_text()


@needs_engine
def test_a_dask_worker_prepares_both_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine has no complex numbers: only without that quantity does it serve the program."""
    monkeypatch.setattr(remote, "_folder", lambda: tmp_path)
    monkeypatch.setattr(remote, "_ready", {})
    (tmp_path / "m.stan").write_text(
        "parameters { real m; } model { m ~ normal(0, 1); }"
        "generated quantities { complex w = to_complex(m, 1); }"
    )
    given = Program(tmp_path / "m.stan", {}, embedded=True, constants=True, generated=False)
    model = Model("m", "m", given.stan_file, None)
    hashes = (program_hash(given.stan_file), data_hash(model))
    files = remote.Files(tuple(program_texts(given.stan_file)), None)

    def prepared(program: Program) -> Program:
        spec = RunSpec("m", "dadvi", {}, 1, 10)
        task = RunTask("key", spec, RunContext(program, None, 60.0, 1))
        order = remote.Order(task, "study", *hashes, (True, False), 60.0, 2.0, files)
        return remote._Call(order).prepared()[0]

    try:
        assert prepared(given).updated is not None
        with pytest.raises(remote.PreparationError, match="cannot compute generated quantities"):
            prepared(dataclasses.replace(given, generated=True))
        assert [key[2] for key in remote._ready] == [False]
    finally:
        for pool in remote._idle:
            pool.close()
        remote._idle.clear()
