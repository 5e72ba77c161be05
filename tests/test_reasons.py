"""Causes and remedies in a whole comparison, from the pipeline and the command line."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import harness
from harness import cli, why
from harness.models import folders
from harness.records import Comparison, Cost, Model, ModelComparison, RunResult, RunSpec, Status
from harness.report import files
from harness.stan import CmdStan, bridge
from harness.stan.find import build_settings
from harness.study import analysing, comparing, explain, task
from harness.study.explain import explainable
from harness.study.plan import Plan
from harness.study.pool import Pool
from harness.study.progress import Progress
from harness.study.store import Store
from harness.study.task import AnalysisTask
from harness.why.verdicts import NEEDS_CAUSE
from harness.why.words import (
    cause_in_short,
    cause_sentences,
    remedy_in_short,
    remedy_sentences,
    trial_words,
)

MODEL = "linear_regression"
"""Mean-field never passes on it: its two coefficients correlate."""


# --- keys ------------------------------------------------------------------------------------


def light(method: str, status: Status = "ok", key: str = "k", **options: Any) -> RunResult:
    """Return a run's outcome without arrays."""
    spec = RunSpec("m", method, options, 1, 10)
    return RunResult(spec, key, status, "", None, None, {}, Cost(1.0), {})


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Return a model with a program of its own."""
    program = tmp_path / "m.stan"
    program.write_text("parameters { real x; } model { x ~ std_normal(); }", encoding="utf-8")
    return Model("m", "m", program, None)


def test_only_runs_of_a_gaussian_family_with_draws_can_be_explained() -> None:
    """Their method's own family counts, and an option goes before it."""
    assert explainable([light("meanfield")])
    assert explainable([light("nuts"), light("dadvi_lr")])
    assert explainable([light("meanfield", "not_converged"), light("nuts")])
    assert explainable([light("advi", family="fullrank")])
    for status in ("failed", "timed_out", "killed"):
        assert not explainable([light("meanfield", status)])
    for method in ("nuts", "svgd", "dadvi_psis", "quadrature_truncated"):
        assert not explainable([light(method)])
    assert not explainable([])


def asked(model: Model, runs: Sequence[RunResult], tmp_path: Path, **other: Any) -> AnalysisTask:
    """Return an analysis of some runs."""
    usual = {"program_hash": "p", "data_hash": "d", "reference": "auto", "judged": (), "notes": ()}
    folders_ = {"store_root": tmp_path, "draws_folder": None}
    return AnalysisTask(model=model, results=tuple(runs), **{**usual, **folders_, **other})


def test_an_explanation_is_kept_under_all_that_it_rests_on(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other runs, another status, reference, program, data, bridge or version: another key."""
    runs = [light("meanfield", key="a"), light("nuts", key="b")]

    def key(changed: Model = model, runs: Sequence[RunResult] = runs, **other: Any) -> str:
        return explain.explanation_key(asked(changed, runs, tmp_path, **other))

    supplied = tmp_path / "draws.nc"
    supplied.write_bytes(b"one")
    others = {
        key(runs=runs[:1]),
        key(runs=[light("meanfield", key="c"), runs[1]]),
        key(runs=[light("meanfield", "diverged", "a"), runs[1]]),
        key(reference="nuts"),
        key(reference=str(supplied)),
        key(program_hash="q"),
        key(data_hash="e"),
        key(dataclasses.replace(model, reference="normal_mean")),
    }
    usual = key()
    supplied.write_bytes(b"two")
    others.add(key(reference=str(supplied)))
    monkeypatch.setattr(bridge, "version", lambda: "another")
    others.add(key())
    monkeypatch.undo()
    monkeypatch.setattr(why, "VERSION", why.VERSION + 1)
    others.add(key())
    assert len(others) == 11
    assert usual not in others
    monkeypatch.undo()
    assert key() == usual


def test_seconds_and_words_of_a_run_do_not_make_another_explanation(
    model: Model, tmp_path: Path
) -> None:
    """The key of an explanation does not depend on a run's seconds or message."""
    run = light("meanfield")
    slow = dataclasses.replace(run, cost=Cost(99.0), message="slow")
    keys = {explain.explanation_key(asked(model, [r], tmp_path)) for r in (run, slow)}
    assert len(keys) == 1


def test_figures_and_verdicts_depend_on_all_of_the_code(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any file of the package that changes makes another analysis, but no other explanation."""
    package = tmp_path / "harness"
    for name in ("study/a.py", "report/deep/b.j2"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x = 1\n")
    monkeypatch.setattr(task, "__file__", str(package / "study" / "task.py"))
    analysis = asked(model, [light("meanfield")], tmp_path)

    def keys() -> tuple[str, str]:
        task.code_hash.cache_clear()
        return task.analysis_key(analysis), explain.explanation_key(analysis)

    seen = [keys()]
    for name in ("study/a.py", "report/deep/b.j2"):
        (package / name).write_text("x = 2\n")
        seen.append(keys())
    task.code_hash.cache_clear()
    assert len({analysis for analysis, _ in seen}) == 3
    assert len({explanation for _, explanation in seen}) == 1


# --- the command line ------------------------------------------------------------------------


def invoke(*args: str) -> Result:
    """Run the command in process."""
    return CliRunner().invoke(cli.main, list(args))


def test_remedies_without_causes_are_refused(isolated_cache: Path) -> None:
    """Before anything is run or built, with a sentence that says what to drop."""
    found = invoke("compare", MODEL, "--remedies", "--no-why")
    assert found.exit_code == 2
    assert "--remedies needs the causes that --no-why leaves out" in found.output
    assert not isolated_cache.exists()


# --- with CmdStan ----------------------------------------------------------------------------


@dataclass
class Recorder(Progress):
    """A display that remembers how much was done and what was said."""

    said: list[str]
    runs: int = 0

    def advance(self, name: str, detail: str = "") -> None:
        """Count runs."""
        assert detail
        self.runs += name == "run"

    def say(self, sentence: str) -> None:
        """Remember."""
        self.said.append(sentence)


@dataclass(frozen=True)
class Made:
    """A comparison of one model, with what it took."""

    comparison: Comparison
    runs: int
    libraries: int
    """How many there were in the cache afterwards."""

    @property
    def model(self) -> ModelComparison:
        """The model's."""
        (found,) = self.comparison.models
        assert found.error is None
        return found

    @property
    def levels(self) -> dict[str, str]:
        """Levels by method."""
        return {v.method: v.level for v in self.model.verdicts}


def made(cache: Path, methods: Sequence[str] = ("meanfield",), **plan: Any) -> Made:
    """Compare with two seeds."""
    recorder = Recorder([])
    planned = Plan((folders.load(MODEL),), tuple(methods), seeds=2, figures=False, **plan)
    comparison, _ = comparing.compare(planned, recorder)
    return Made(comparison, recorder.runs, len(list((cache / "bridge").glob("*.so"))))


def without_compiler(cmdstan: CmdStan, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Put a compiler before the real one that knows its version and compiles nothing."""
    command = build_settings(cmdstan).compiler[0]
    real = shutil.which(command)
    assert real is not None
    folder.mkdir(exist_ok=True)
    wrapper = folder / Path(command).name
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *-version*|*-dump*) exec {real} "$@";; esac\n'
        'echo "error: out of order" >&2\nexit 1\n'
    )
    wrapper.chmod(0o755)
    patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def link_libraries(cache: Path, cmdstan: CmdStan) -> None:
    """Let a cache have the libraries of the real one, that of the model among them."""
    real = (cache / "programs").resolve().parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(real))
        bridge.library(folders.load(MODEL).stan_file, cmdstan)
    shutil.rmtree(cache / "bridge", ignore_errors=True)
    (cache / "bridge").symlink_to(real / "bridge", target_is_directory=True)


@dataclass(frozen=True)
class Story:
    """The same comparison, time after time."""

    plain: Made
    """Nobody asked why."""
    blocked: Made
    """With why, and a compiler that is out of order."""
    told: Made
    """With the library."""
    again: Made
    """The library gone, the compiler out of order again."""


@pytest.fixture(scope="module")
def story(
    fresh_results: Path, cmdstan: CmdStan, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    """Compare four times in one cache."""
    if os.name == "nt":
        pytest.skip("the compiler that is out of order is a shell script")
    (fresh_results / "bridge").unlink()
    tools = tmp_path_factory.mktemp("tools")
    plain = made(fresh_results, explain=False)
    with pytest.MonkeyPatch.context() as patch:
        without_compiler(cmdstan, tools, patch)
        # The embedded engine needs no library.
        blocked = made(fresh_results, engine="cmdstan")
    link_libraries(fresh_results, cmdstan)
    told = made(fresh_results)
    (fresh_results / "bridge").unlink()
    with pytest.MonkeyPatch.context() as patch:
        without_compiler(cmdstan, tools, patch)
        again = made(fresh_results)
    yield Story(plain, blocked, told, again)
    shutil.rmtree(fresh_results / "bridge", ignore_errors=True)


@pytest.mark.stan
def test_nobody_asked_why(story: Story) -> None:
    """Without explanation there is no cause, no remedy and no library."""
    assert story.plain.runs == 4  # two seeds, NUTS and short chains
    assert story.plain.libraries == 0
    assert story.plain.model.explanation is None
    assert story.plain.model.trials == ()
    for verdict in story.plain.model.verdicts:
        assert verdict.level == "fail"
        assert (verdict.causes, verdict.remedies) == ((), ())


@pytest.mark.stan
def test_a_library_that_cannot_be_built_leaves_verdicts_standing(story: Story) -> None:
    """Verdicts lack causes, and a note has the compiler's message."""
    found = story.blocked
    assert found.runs == 1  # short chains, which need the library too
    assert found.libraries == 0
    assert found.levels == story.plain.levels
    assert found.model.explanation is not None
    assert found.model.explanation.gaps == ()
    (note,) = found.model.explanation.notes
    assert "gaps are unknown" in note
    assert "out of order" in note


@pytest.mark.stan
def test_verdicts_have_causes_and_remedies(story: Story) -> None:
    """Family: correlation, with its nats; and what does better here."""
    found = story.told
    assert found.runs == 0
    assert found.levels == story.plain.levels
    assert found.model.explanation is not None
    assert [(g.method, g.seed) for g in found.model.explanation.gaps] == [
        ("meanfield", 1), ("meanfield", 2),
    ]  # fmt: skip
    for gap in found.model.explanation.gaps:
        assert gap.family_gap.value > 4.5 * gap.family_gap.mcse
    (verdict,) = found.model.verdicts
    assert "correlation" in str(cause_in_short(verdict))
    assert any(c.startswith("Correlation") for c in cause_sentences(verdict))
    assert found.model.trials == ()


@pytest.mark.stan
def test_the_same_runs_are_explained_from_the_store(story: Story) -> None:
    """Without library and compiler: nothing is run or built, and every figure is the same."""
    assert story.again.runs == 0
    assert story.again.libraries == 0
    assert story.again.levels == story.told.levels
    assert repr(story.again.model.explanation) == repr(story.told.model.explanation)
    assert repr(story.again.model.verdicts) == repr(story.told.model.verdicts)


def words(model: ModelComparison) -> list[tuple[object, ...]]:
    """Return what verdicts say; their findings' figures are written with seven digits."""
    return [
        (
            v.method,
            v.level,
            v.headline,
            v.notes,
            str(cause_in_short(v)),
            cause_sentences(v),
            remedy_in_short(v),
            remedy_sentences(v),
        )
        for v in model.verdicts
    ]


@pytest.mark.stan
def test_results_with_causes_read_back_equal(story: Story, tmp_path: Path) -> None:
    """``results.json`` keeps gaps, causes, notes and unknown values."""
    for found in (story.told, story.blocked, story.plain):
        files.write(found.comparison, tmp_path)
        (back,) = files.read(tmp_path).models
        assert repr(back.explanation) == repr(found.model.explanation)
        assert words(back) == words(found.model)
        assert repr(back.trials) == repr(found.model.trials)


# --- remedies --------------------------------------------------------------------------------

REMEDIED = ("dadvi",)
"""Mean-field too, with remedies that take tenths of a second."""


@dataclass(frozen=True)
class Tries:
    """Another comparison, time after time."""

    hurried: Made
    """With why, but no time to find out."""
    before: Made
    """With time, without remedies."""
    found: Made
    """With remedies."""
    again: Made
    """And once more."""


@pytest.fixture(scope="module")
def tried(fresh_results: Path, cmdstan: CmdStan, story: Story) -> Iterator[Tries]:
    """Compare four times in one cache."""
    assert story
    link_libraries(fresh_results, cmdstan)
    made(fresh_results, REMEDIED, explain=False)
    yield Tries(
        made(fresh_results, REMEDIED, timeout_s=0.002),
        made(fresh_results, REMEDIED),
        made(fresh_results, REMEDIED, remedies=True),
        made(fresh_results, REMEDIED, remedies=True),
    )
    (fresh_results / "bridge").unlink()


@pytest.mark.stan
def test_an_explanation_that_ran_out_of_time_is_not_kept(tried: Tries) -> None:
    """It says so and has no figures; with more time there are causes."""
    late = tried.hurried.model.explanation
    assert late is not None
    # How far it came hangs on the machine: to the program's start, or into the search.
    assert any("time limit" in note or "took over" in note for note in late.notes)
    assert all(math.isnan(g.kl.value) for g in late.gaps)
    assert tried.hurried.levels == tried.before.levels
    assert not any("correlation" in str(cause_in_short(v)) for v in tried.hurried.model.verdicts)
    found = tried.before.model.explanation
    assert found is not None
    assert found.complete
    assert all("correlation" in str(cause_in_short(v)) for v in tried.before.model.verdicts)


@pytest.mark.stan
def test_a_comparison_made_again_is_recalled_in_one_piece(
    tried: Tries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is submitted to a process, and each model's analysis is looked up once."""
    looked: list[str] = []
    original = task.recall

    def counting(store: Store, key: str) -> task.Analysis | None:
        looked.append(key)
        return original(store, key)

    monkeypatch.setattr(analysing, "recall", counting)
    monkeypatch.setattr(Pool, "submit", lambda *_: pytest.fail("something was run"))
    planned = Plan((folders.load(MODEL),), REMEDIED, seeds=2, figures=False, remedies=True)
    (found,) = comparing.compare(planned)[0].models
    assert len(looked) == 1
    assert repr(found.trials) == repr(tried.found.model.trials)


@pytest.mark.stan
def test_remedies_are_tried_where_they_are_asked_for(tried: Tries) -> None:
    """Remedies are run, and each trial reports its effect with figures and seconds."""
    before, found = tried.before, tried.found
    assert before.model.trials == ()
    assert found.runs > 0
    assert found.levels == before.levels
    assert found.model.trials
    assert {t.method for t in found.model.trials} == {"dadvi"}
    for trial in found.model.trials:
        # NUTS is compared with NUTS from random starts.
        of_nuts = trial.remedy == "nuts from q"
        assert of_nuts or trial.level_before in NEEDS_CAUSE
        assert trial_words(trial)
    helped = [t for t in found.model.trials if t.helps]
    assert helped
    for trial in helped:
        assert trial.seconds > 0
    (verdict,) = found.model.verdicts
    assert remedy_in_short(verdict)
    assert any("full-rank" in s.lower() for s in remedy_sentences(verdict))


@pytest.mark.stan
def test_the_runs_of_the_comparison_stay_its_own(tried: Tries) -> None:
    """Runs of remedies are stored, but neither runs nor measures of the comparison."""
    before, found = tried.before, tried.found
    assert [r.key for r in found.model.runs] == [r.key for r in before.model.runs]
    assert repr(found.model.measures) == repr(before.model.measures)
    assert repr(found.model.explanation) == repr(before.model.explanation)


@pytest.mark.stan
def test_remedies_that_were_tried_are_not_tried_again(tried: Tries) -> None:
    """Their runs are in the store: none is made, and the trials are the same."""
    found, again = tried.found, tried.again
    assert again.runs == 0
    assert repr(again.model.trials) == repr(found.model.trials)
    assert repr(again.model.verdicts) == repr(found.model.verdicts)


@pytest.mark.stan
def test_results_with_trials_read_back_equal(tried: Tries, tmp_path: Path) -> None:
    """Trials that were made, and those that were not and why."""
    found = tried.found
    files.write(found.comparison, tmp_path)
    (back,) = files.read(tmp_path).models
    assert repr(back.trials) == repr(found.model.trials)
    assert words(back) == words(found.model)
    assert (tmp_path / "trials.csv").is_file()
    assert (tmp_path / "gaps.csv").is_file()


@pytest.mark.stan
def test_from_python_causes_are_the_default_and_remedies_are_not(tried: Tries) -> None:
    """``why=False`` leaves causes out, and the default is that of the plan."""
    usual = harness.compare(MODEL, methods=REMEDIED, seeds=2)
    assert words(usual.comparison.models[0]) == words(tried.before.model)
    assert usual.comparison.models[0].trials == ()
    bare = harness.compare(MODEL, methods=REMEDIED, seeds=2, why=False)
    assert bare.comparison.models[0].explanation is None
    assert bare.verdicts["dadvi"].causes == ()


@pytest.mark.stan
def test_the_command_says_why_and_what_to_try(tried: Tries, tmp_path: Path) -> None:
    """In its table; and with ``--no-why`` it says neither."""
    assert tried
    args = ["compare", MODEL, "--methods", "dadvi", "--seeds", "2", "--quiet", "--out"]
    found = invoke(*args, str(tmp_path / "a"), "--remedies")
    assert found.exit_code == 0, found.output
    assert "correlation" in found.output
    (with_trials,) = files.read(tmp_path / "a").models
    assert with_trials.trials
    found = invoke(*args, str(tmp_path / "b"), "--no-why")
    assert found.exit_code == 0, found.output
    assert "correlation" not in found.output
    (bare,) = files.read(tmp_path / "b").models
    assert bare.explanation is None
    assert bare.trials == ()
