"""Rounds of an analysis: what each one needs, and that nothing is read or measured twice."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trial_records
from engine_builders import engines

from harness.metrics import measure
from harness.models import data
from harness.models.data import ModelError, data_hash, kept_data
from harness.models.folders import user_model
from harness.records import Cost, Draws, Model, Program, RunResult, RunSpec
from harness.study import task as tasks
from harness.study.analysis import analyse
from harness.study.plan import Plan
from harness.study.planner import Planner
from harness.study.reference import exact_draws
from harness.study.store import Store
from harness.study.task import AnalysisTask

WITHOUT = Program(Path("m.stan"), {}, library_error="no compiler")
"""A program whose density no engine can evaluate."""

X = [0.5, 1.5, 2.0]
"""The posterior's mean is Σx / 4 = 1, its sd 1/2."""


@pytest.fixture
def model(tmp_path: Path, isolated_cache: Path) -> Model:
    """Return the normal mean with three numbers."""
    assert isolated_cache
    program, file = tmp_path / "m.stan", tmp_path / "m.json"
    program.write_text("parameters { real m; } model { m ~ normal(0, 1); }", encoding="utf-8")
    file.write_text(json.dumps({"N": len(X), "x": X}), encoding="utf-8")
    return dataclasses.replace(user_model(program, file), reference="normal_mean")


def run(method: str, seed: int, n: int, sd: float = 0.5) -> RunResult:
    """Return a run whose q is N(1, sd), with ``n`` draws."""
    values = np.random.default_rng([seed, n]).normal(1.0, sd, size=(1, n, 1))
    spec = RunSpec("m", method, {"iter": 10_000}, seed, n)
    key = f"{method}{seed}{n}{sd}".replace(".", "").ljust(64, "0")
    return RunResult(spec, key, "ok", "", Draws(("m",), values), None, {}, Cost(1.0), {})


def asked(model: Model, runs: list[RunResult], root: Path, **other: Any) -> AnalysisTask:
    """Store runs and return the first round of their analysis."""
    for each in runs:
        Store(root).put(each)
    return AnalysisTask(
        model=model,
        program_hash="p",
        data_hash=data_hash(model),
        results=tuple(dataclasses.replace(r, draws=None) for r in runs),
        reference="auto",
        judged=tuple(dict.fromkeys(r.spec.method for r in runs)),
        notes=(),
        store_root=root,
        draws_folder=None,
        figures=False,
        **other,
    )


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count by key how often a run is measured."""
    seen: Counter[str] = Counter()
    original = measure.Yardstick.run

    def counting(self: measure.Yardstick, result: RunResult, **options: Any) -> Any:
        seen[result.key] += 1
        return original(self, result, **options)

    monkeypatch.setattr(measure.Yardstick, "run", counting)
    yield seen
    assert seen


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count by key how often a run's arrays are loaded."""
    seen: Counter[str] = Counter()
    original = Store.get

    def counting(self: Store, key: str, *, with_arrays: bool = True) -> RunResult | None:
        seen[key] += with_arrays
        return original(self, key, with_arrays=with_arrays)

    monkeypatch.setattr(Store, "get", counting)
    return seen


def test_a_run_is_measured_once_though_others_are_extended(
    model: Model, tmp_path: Path, measured: Counter[str]
) -> None:
    """The round after more draws measures only the run that has them."""
    runs = [run("meanfield", 1, 60), run("meanfield", 2, 20_000)]
    first = asked(model, runs, tmp_path)
    undecided = analyse(first)
    assert undecided.comparison is None
    (want,) = undecided.needs.draws
    assert (want.method, want.seed) == ("meanfield", 1)
    more = [run("meanfield", 1, 30_000), runs[1]]
    again = asked(model, more, tmp_path, known=undecided.known)
    decided = analyse(again)
    assert decided.comparison is not None
    assert not decided.needs
    assert measured == {runs[0].key: 1, runs[1].key: 1, more[0].key: 1}
    fresh = analyse(dataclasses.replace(again, known=tasks.Known()))
    assert repr(fresh.comparison) == repr(decided.comparison)


def test_what_the_first_verdicts_measured_is_not_measured_again(
    model: Model, tmp_path: Path, measured: Counter[str]
) -> None:
    """The analysis of all runs measures only those that were made meanwhile, and ends the same."""
    early, late = run("laplace", 1, 20_000), run("meanfield", 1, 20_000)
    told = analyse(asked(model, [early], tmp_path))
    assert told.comparison is not None
    task = asked(model, [early, late], tmp_path, known=told.known)
    found = analyse(task)
    assert measured == {early.key: 1, late.key: 1}
    fresh = analyse(dataclasses.replace(task, known=tasks.Known()))
    assert repr(fresh.comparison) == repr(found.comparison)


@pytest.mark.parametrize(("samples", "draws", "limits"), [(50, 10_000, "nuts"), (4000, 60, "advi")])
def test_what_limits_is_lengthened(
    model: Model, tmp_path: Path, samples: int, draws: int, limits: str
) -> None:
    """NUTS where its ESS is the smaller, q where it has fewer draws."""
    wanted = trial_records.spec("nuts", draws=4 * samples, samples=samples, warmup=1000)
    nuts = trial_records.chains(wanted)
    q = trial_records.run(trial_records.spec("advi", draws=draws))
    nuts, q = (dataclasses.replace(r, key=k * 64) for r, k in ((nuts, "a"), (q, "b")))
    task = asked(model, [q, nuts], tmp_path)
    # Only NUTS that can be trusted is lengthened for the sake of a comparison.
    settings = {"ess_bulk": {"close": 10}, "ess_tail": {"close": 10}}
    task = dataclasses.replace(
        task, reference="nuts", model=dataclasses.replace(model, limits=settings)
    )
    (want,) = analyse(task).needs.draws
    assert want.method == limits
    assert want.draws > (4 * samples if limits == "nuts" else draws)


def test_remedies_are_judged_without_loading_or_measuring_the_runs_again(
    model: Model, tmp_path: Path, measured: Counter[str], loaded: Counter[str]
) -> None:
    """The last round loads only what the remedies need, and ends like an analysis in one."""
    runs = [run("meanfield", s, 10_000, sd=0.2) for s in (1, 2)]
    first = asked(model, runs, tmp_path, explain=True, remedies=True, program=WITHOUT)
    proposing = analyse(first)
    assert proposing.comparison is None
    assert proposing.needs.remedies
    assert loaded == {r.key: 1 for r in runs}
    trials = tuple((p, ()) for p in proposing.needs.remedies)
    last = dataclasses.replace(first, trials=trials, known=proposing.known)
    found = analyse(last)
    assert found.comparison is not None
    assert len(found.comparison.trials) == len(trials)
    assert all(measured[r.key] == 1 for r in runs)
    reweighted = {r.key for r in runs if any(p.remedy == "reweighted" for p, _ in trials)}
    assert {key for key, n in loaded.items() if n > 1} <= reweighted
    whole = analyse(dataclasses.replace(last, known=tasks.Known())).comparison
    assert whole is not None
    assert repr(whole.verdicts) == repr(found.comparison.verdicts)


def test_a_library_is_asked_for_only_where_something_can_be_explained(
    model: Model, tmp_path: Path
) -> None:
    """A Gaussian q needs the program's density; particles do not."""
    gaussian = asked(model, [run("meanfield", 1, 20_000)], tmp_path, explain=True)
    assert analyse(gaussian).needs.density
    particles = asked(model, [run("svgd", 1, 20_000)], tmp_path, explain=True)
    assert not analyse(particles).needs


def test_what_an_analysis_needs_is_kept_and_recalled(model: Model, tmp_path: Path) -> None:
    """Comparisons, needs and proposals read back equal; what may change is not kept."""
    store = Store(tmp_path)
    runs = [run("meanfield", 1, 10_000, sd=0.2)]
    first = asked(model, runs, tmp_path, explain=True, remedies=True, program=WITHOUT)
    proposing = analyse(first)
    assert not proposing.lasting
    tasks.keep(store, "a", proposing)
    assert tasks.recall(store, "a") is None
    for key, analysis in {
        "b": dataclasses.replace(proposing, lasting=True),
        "c": analyse(dataclasses.replace(first, explain=False, remedies=False)),
        "d": analyse(asked(model, [run("meanfield", 1, 60)], tmp_path)),
    }.items():
        tasks.keep(store, key, analysis)
        back = tasks.recall(store, key)
        assert back is not None
        assert repr(back.comparison) == repr(analysis.comparison)
        assert bool(back.needs) is bool(analysis.needs)
        assert back.needs.draws == analysis.needs.draws
        assert [(p.method, p.remedy, p.spec) for p in back.needs.remedies] == [
            (p.method, p.remedy, p.spec) for p in analysis.needs.remedies
        ]


def test_a_study_reads_and_hashes_a_data_file_once(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the model, planning, running and judging take one look at the JSON file."""
    assert model.data_file is not None
    data._taken_in.cache_clear()
    data._kept.cache_clear()
    reads: Counter[str] = Counter()
    read_bytes, load = Path.read_bytes, np.load
    monkeypatch.setattr(
        Path, "read_bytes", lambda self: (reads.update([self.name]), read_bytes(self))[1]
    )
    monkeypatch.setattr(np, "load", lambda *a, **k: (reads.update(["load"]), load(*a, **k))[1])
    read = user_model(model.stan_file, model.data_file)
    work = Planner(Plan(()), engines(), Store(tmp_path / "s")).work(read)
    for _ in range(3):
        given = kept_data(read.data_file, work.data_hash)
    exact_draws(model, work.data_hash)
    np.testing.assert_array_equal(given["x"], X)
    assert (reads["m.json"], reads["load"]) == (1, 1)


def test_changed_data_are_read_again(model: Model) -> None:
    """A file that was rewritten has another hash and other numbers."""
    assert model.data_file is not None
    before = data_hash(model)
    model.data_file.write_text(json.dumps({"N": 2, "x": [7.0, 8.0]}), encoding="utf-8")
    after = data_hash(model)
    assert after != before
    assert list(kept_data(model.data_file, after)["x"]) == [7.0, 8.0]


@pytest.mark.parametrize("content", ['{"a": [[1], [1, 2]]}', '{"a": {"1": 2.0, "2": [1, 2]}}'])
def test_data_that_are_no_arrays_are_read_as_they_are(
    tmp_path: Path, isolated_cache: Path, content: str
) -> None:
    """Ragged lists and Stan's tuples are not squeezed into arrays."""
    assert isolated_cache
    file = tmp_path / "d.json"
    file.write_text(content, encoding="utf-8")
    model = Model("m", "m", tmp_path / "m.stan", file)
    assert kept_data(file, data_hash(model)) == json.loads(content)


@pytest.mark.parametrize("how", ["a bit", "cut", "swapped", "empty", "no checksum"])
def test_kept_arrays_that_are_damaged_are_read_from_the_file(
    tmp_path: Path, isolated_cache: Path, how: str
) -> None:
    """Nothing but the numbers of the file itself is ever used; a changed file is an error."""
    hashes: list[str] = []
    for name, x in (("two", [3.0, 4.0]), ("one", [1.0, 2.0])):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({"N": 2, "x": x}), encoding="utf-8")
        hashes.insert(0, data_hash(Model(name, name, tmp_path / "m.stan", file)))
    kept, other = (isolated_cache / "data" / f"{h}.npz" for h in hashes)
    whole = kept.read_bytes()
    if how == "a bit":
        at = whole.index(np.array([1.0, 2.0]).tobytes())
        kept.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    elif how == "swapped":
        kept.write_bytes(other.read_bytes())
    elif how == "no checksum":
        np.savez(kept, **{"data.x": np.array([9.0, 9.0])})  # type: ignore[arg-type]
    else:
        kept.write_bytes(whole[: len(whole) // 2] if how == "cut" else b"")
    data._kept.cache_clear()
    assert list(kept_data(file, hashes[0])["x"]) == [1.0, 2.0]
    file.write_text(json.dumps({"N": 2, "x": [5.0, 6.0]}), encoding="utf-8")
    data._kept.cache_clear()
    with pytest.raises(ModelError, match="was changed while the comparison ran"):
        kept_data(file, hashes[0])


def test_data_from_python_that_are_damaged_are_written_again(isolated_cache: Path) -> None:
    """A file in the cache with other numbers is never fitted."""
    first = data.publish("k", '{"N": 1}')
    first.write_text('{"N": 2}', encoding="utf-8")
    assert data.publish("k", '{"N": 1}').read_text(encoding="utf-8") == '{"N": 1}'
    assert isolated_cache in first.parents
