"""Which models a check looks at, and what became of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from baseline_builders import whole
from checking_builders import described, found, keep, mine, project, request

from harness.check.baseline.file import CANDIDATE, read, write
from harness.check.baseline.form import BaselineError
from harness.check.request import locate, to_write
from harness.cli.common import read_models
from harness.models import folders
from harness.models.data import ModelError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a user's program, a model folder, and a lecture of two models."""
    return project(tmp_path, monkeypatch)


# --- everything -------------------------------------------------------------------------------


def test_no_words_are_all_baselines(root: Path) -> None:
    """In the order of their names; other files in the folder are none."""
    keep(root, folders.load(str(root / "own")))
    keep(root, mine(root))
    (root / "baselines" / "README.md").write_text("", encoding="utf-8")
    (root / "baselines" / "mine.part").write_text("", encoding="utf-8")
    targets = found(root)
    assert list(targets) == ["mine", "own"]
    assert all(t.error is None and t.old is not None and t.model for t in targets.values())


def test_a_lecture_models_baseline_calls_for_all_of_them(root: Path) -> None:
    """A lecture model without a baseline is a target without one."""
    keep(root, mine(root))
    keep(root, folders.load("mixture"))
    targets = found(root)
    assert set(targets) == {"mine", "mixture", "normal_mean"}
    new = targets["normal_mean"]
    assert new.old is None
    assert new.error is None
    assert new.model == folders.load("normal_mean")
    assert new.path == root / "baselines" / "normal_mean.json"


@pytest.mark.parametrize("make", [lambda _: None, lambda path: path.mkdir()])
def test_an_empty_folder_is_an_error_that_says_what_to_do(
    root: Path, make: Callable[[Path], None]
) -> None:
    """Whether the folder is empty or not there: nothing to check is never fine."""
    make(root / "baselines")
    with pytest.raises(BaselineError, match=r"no baselines in .*harness baseline.*harness check"):
        locate((), request(root), read_models)


def test_a_candidate_that_nobody_accepted_is_checked_as_missing(root: Path) -> None:
    """Its model is run again and compared with nothing, until the candidate is renamed."""
    path = keep(root, mine(root))
    candidate = path.rename(path.with_name(f"mine{CANDIDATE}"))
    for words in ((), ("mine.candidate",)):
        target = found(root, *words)["mine"]
        assert (target.old, target.error, target.path) == (None, None, path)
        assert target.model is not None
        assert described(target.model) == described(mine(root))
    shutil.copy(candidate, path)
    assert list(found(root)) == ["mine"]
    assert found(root)["mine"].old is not None


def test_a_candidate_is_no_baseline_of_the_lecture(root: Path) -> None:
    """One of a lecture model alone does not call for the others."""
    path = keep(root, folders.load("mixture"))
    path.rename(path.with_name(f"mixture{CANDIDATE}"))
    assert list(found(root)) == ["mixture"]


def test_a_damaged_candidate_is_an_error(root: Path) -> None:
    """It is not left out."""
    (root / "baselines").mkdir()
    (root / "baselines" / f"mine{CANDIDATE}").write_text("{", encoding="utf-8")
    target = found(root)["mine"]
    assert target.model is None
    assert "is not JSON" in (target.error or "")


# --- what is gone -------------------------------------------------------------------------------


def test_a_lecture_model_that_is_gone_is_a_target(root: Path) -> None:
    """Its baseline is still there."""
    path = keep(root, folders.load("mixture"))
    shutil.rmtree(folders.models_root() / "mixture")
    target = found(root)["mixture"]
    assert target.gone
    assert target.old == read(path)
    assert target.model is None


@pytest.mark.parametrize("lost", ["models/mine.stan", "models/mine.json", "models", "own"])
@pytest.mark.parametrize("by", ["moved", "deleted"])
def test_a_program_that_is_gone_is_an_error_that_names_it(root: Path, lost: str, by: str) -> None:
    """Moved or deleted: the baseline stays a target, the message names baseline and file."""
    keep(root, mine(root))
    keep(root, folders.load(str(root / "own")))
    if by == "moved":
        (root / lost).rename(root / "new")
    else:
        (shutil.rmtree if (root / lost).is_dir() else Path.unlink)(root / lost)
    name = "own" if lost == "own" else "mine"
    targets = found(root)
    assert set(targets) == {"mine", "own"}
    assert targets[name].model is None
    assert f"{name}.json cannot be read" in (targets[name].error or "")
    assert lost.rpartition("/")[2] in (targets[name].error or "").partition("cannot be read")[2]


def test_data_that_are_broken_are_an_error(root: Path) -> None:
    """Broken data are an error, as in a comparison."""
    keep(root, mine(root))
    (root / "models" / "mine.json").write_text('{"N": 3', encoding="utf-8")
    assert "not valid JSON" in (found(root)["mine"].error or "")


def test_a_program_without_the_data_it_declares_is_an_error_at_once(root: Path) -> None:
    """For a baseline and a check of it alike, by its name, its file or its folder."""
    program = root / "models" / "mine.stan"
    program.write_text("data { int N; } parameters { real m; } model { m ~ normal(0, N); }")
    said = r"mine\.stan declares data \(N\), and no data file follows it: name one behind it"
    for look in (locate, to_write):
        with pytest.raises(ModelError, match=said):
            look([str(program)], request(root), read_models)
    path = keep(root, folders.user_model(program, None))
    for look in (locate, to_write):
        (target,) = look(["mine"], request(root), read_models)
        assert re.search(said, target.error or "")
        assert target.model is None
    path.unlink()
    own = root / "own"
    shutil.copy(program, own / "own.stan")
    for data in own.glob("data.*"):
        data.unlink()
    with pytest.raises(ModelError, match=r"own\.stan declares data \(N\); write .*own/data\.json"):
        locate([str(own)], request(root), read_models)


def test_a_damaged_baseline_is_an_error_and_hides_nothing(root: Path) -> None:
    """The others are checked, also where the damaged one is asked for by its program."""
    keep(root, mine(root)).write_text("<<<<<<< HEAD\n", encoding="utf-8")
    keep(root, folders.load("mixture"))
    assert set(found(root)) == {"mine", "mixture", "normal_mean"}
    files = [str(root / "models" / f"mine.{suffix}") for suffix in ("stan", "json")]
    for words in ((), ("mine",), files):
        assert "is not JSON" in (found(root, *words)["mine"].error or "")


@pytest.mark.parametrize("other", ["normal_mean", "renamed"])
def test_a_baseline_under_another_name_is_an_error(root: Path, other: str) -> None:
    """A baseline is never compared with another model's draws."""
    for model in (folders.load("mixture"), mine(root)):
        path = keep(root, model)
        path.rename(path.with_name(f"{other}.json"))
        target = found(root, other)[other]
        assert target.model is None
        assert f"{other}.json is the baseline of {model.name!r}" in (target.error or "")
        assert f"rename it to {model.name}.json" in (target.error or "")


def test_a_baseline_of_another_model_is_an_error(root: Path) -> None:
    """A baseline whose text and request name different models is an error."""
    path = keep(root, replace(mine(root), name="mine"))
    other = whole(model="other", request=read(path).request)
    write(other, path)
    program = (str(root / "models" / "mine.stan"), str(root / "models" / "mine.json"))
    for words in ((), ("mine",), program):
        target = found(root, *words)["mine"]
        assert target.model is None
        assert "is the baseline of 'other', but its model is 'mine'" in (target.error or "")


def test_a_baseline_of_a_method_that_is_not_there_is_an_error(root: Path) -> None:
    """One that a later harness dropped, or that was misspelt by hand; none is left out."""
    keep(root, mine(root), methods=("nuts", "nutz"))
    program = (str(root / "models" / "mine.stan"), str(root / "models" / "mine.json"))
    for words in ((), ("mine",), program):
        target = found(root, *words)["mine"]
        assert target.model is None
        assert "methods that are unknown: nutz" in (target.error or "")


def test_a_baseline_that_names_no_model_is_an_error(root: Path) -> None:
    """Those of test suites, say."""
    path = keep(root, mine(root))
    write(whole(model="mine", request={"from": "a dict", "test": "test_fit.py::test_fit"}), path)
    assert "does not name its model" in (found(root)["mine"].error or "")


# --- words --------------------------------------------------------------------------------------


def test_words_are_baselines_lecture_models_and_programs(root: Path) -> None:
    """In one command, those without a baseline too; lecture models are not all called for."""
    keep(root, folders.load(str(root / "own")))
    targets = found(
        root, "own", "mixture", str(root / "models" / "mine.stan"), str(root / "models/mine.json")
    )
    assert list(targets) == ["own", "mixture", "mine"]
    assert targets["own"].old is not None
    assert targets["mixture"].old is targets["mine"].old is None
    assert targets["mine"].model == mine(root)


def test_a_baselines_name_stands_for_its_own_program(root: Path) -> None:
    """Though a lecture model has the same name."""
    (root / "models" / "mine.stan").rename(root / "models" / "mixture.stan")
    model = folders.user_model(root / "models" / "mixture.stan", root / "models" / "mine.json")
    keep(root, model)
    assert found(root, "mixture")["mixture"].model == model


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mixtur",), "did you mean mixture"),
        (("no.stan",), "no such Stan program"),
        (("mine", "mixture", "nothing"), "unknown model 'nothing'"),
        (("mine", "mine"), "mine is named twice"),
        (("mixture", "mixture"), "mixture is named twice"),
        (("mine", "{root}/models/mine.stan", "{root}/models/mine.json"), "mine is named twice"),
    ],
)
def test_words_that_name_nothing_or_one_thing_twice_are_errors(
    root: Path, words: Sequence[str], said: str
) -> None:
    """Never a check of less than was asked for."""
    keep(root, mine(root))
    with pytest.raises(ModelError, match=said):
        found(root, *(w.format(root=root) for w in words))
