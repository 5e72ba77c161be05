"""What is to be checked: baselines, the models behind them, and how they were asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from checking_builders import TOML, described, found, keep, mine, project, request
from click.testing import CliRunner, Result

from harness.check.baseline.file import read
from harness.check.baseline.form import BaselineError
from harness.check.request import Request, _target, as_asked, asked, engines_of, to_write
from harness.cli import main
from harness.cli.common import read_models
from harness.methods.settings import OptionError
from harness.models import folders
from harness.records import Model
from harness.stan import embedded


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a user's program, a model folder, and a lecture of two models."""
    return project(tmp_path, monkeypatch)


Maker = Callable[[Path], Model]


def _without_data(root: Path) -> Model:
    """Return the user's program in a form that declares no data."""
    program = root / "models" / "mine.stan"
    program.write_text("parameters { real x; } model { x ~ normal(0, 1); }", encoding="utf-8")
    return folders.user_model(program, None)


@pytest.mark.parametrize(
    "make",
    [
        mine,
        _without_data,
        lambda root: folders.load(str(root / "own")),
        lambda _: folders.load("mixture"),
    ],
    ids=["program", "without data", "folder", "lecture"],
)
def test_what_was_asked_is_found_again_elsewhere(root: Path, make: Maker) -> None:
    """The whole project moves: the same program, data, quantities and settings are found."""
    before = make(root)
    path = keep(root, before)
    expected = described(before)
    text = path.read_text(encoding="utf-8")
    assert str(root) not in text.replace(str(root / "lecture"), "")
    moved = root.rename(root.parent / "elsewhere")
    target = _target(moved / "baselines" / path.name)
    assert target.error is None
    assert target.old == read(moved / "baselines" / path.name)
    assert target.model is not None
    assert described(target.model) == expected
    for part in ("name", "quantities", "settings", "reference", "limits"):
        assert getattr(target.model, part) == getattr(before, part)


@pytest.mark.parametrize(
    "words", [("mine.stan", "mine.json"), ("./mine.stan", "../models/mine.json")]
)
def test_paths_are_kept_as_seen_from_the_baselines(
    root: Path, words: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the program was named, and wherever the command was given."""
    monkeypatch.chdir(root / "models")
    (model,) = read_models(words)
    assert asked(model, Request(Path("../baselines")))["source"] == {
        "program": "../models/mine.stan",
        "data": "../models/mine.json",
    }
    assert asked(model, Request(Path()))["source"] == {"program": "mine.stan", "data": "mine.json"}


@pytest.mark.parametrize("word", [".", "../own", "absolute"])
def test_a_model_folder_is_one_however_it_is_named(
    root: Path, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model folder named from inside keeps its settings and reference."""
    monkeypatch.chdir(root / "own")
    (model,) = read_models([str(root / "own") if word == "absolute" else word])
    kept = asked(model, request(root))
    assert kept["source"] == {"folder": "../own"}
    assert kept["quantities"] is None


def test_a_lecture_model_is_one_however_it_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, its path, and a relative path."""
    lecture = folders.models_root()
    monkeypatch.chdir(lecture.parent)
    for word in ("mixture", str(lecture / "mixture"), "lecture/mixture", "./lecture/mixture/"):
        (model,) = read_models([word])
        assert asked(model, request(root))["source"] == {"lecture": "mixture"}


def test_baselines_behind_a_link_find_their_program(root: Path) -> None:
    """A folder of baselines may be a link to one elsewhere."""
    real = root.parent / "store" / "deep"
    real.mkdir(parents=True)
    (root / "baselines").symlink_to(real, target_is_directory=True)
    keep(root, mine(root))
    assert found(root)["mine"].error is None


def test_chosen_quantities_are_asked_for_again(root: Path) -> None:
    """Chosen quantities are kept; a model folder's stay the folder's."""
    keep(root, replace(mine(root), quantities=("y",)))
    keep(root, replace(folders.load(str(root / "own")), quantities=("y", "x")))
    keep(root, folders.load("mixture"))
    targets = found(root, "mine", "own", "mixture")
    chosen = {name: t.model and t.model.quantities for name, t in targets.items()}
    assert chosen == {"mine": ("y",), "own": ("y", "x"), "mixture": ("x",)}
    program = (str(root / "models" / "mine.stan"), str(root / "models" / "mine.json"))
    for words in (program, (str(root / "own"),)):
        for target in found(root, *words).values():
            assert target.old is not None
            assert target.model is not None
            assert target.model.quantities == chosen[target.name]
    toml = root / "own" / "model.toml"
    keep(root, folders.load(str(root / "own")))
    toml.write_text(TOML.replace('["x"]', '["y"]'), encoding="utf-8")
    own = found(root)["own"].model
    assert own is not None
    assert own.quantities == ("y",)


def test_methods_seeds_and_reference_are_asked_for_again(root: Path) -> None:
    """The command line of a check says nothing of them; a reference's file moves along."""
    file = root / "reference.nc"
    file.touch()
    path = keep(root, mine(root), methods=("nuts", "meanfield"), seeds=3, reference=str(file))
    again = as_asked(read(path), request(root, budget=2, alpha=0.01))
    assert (again.methods, again.seeds, again.budget) == (("nuts", "meanfield"), 3, 2)
    assert Path(again.reference).resolve() == file
    assert read(path).request["reference"] == "../reference.nc"
    plain = as_asked(read(keep(root, mine(root))), request(root))
    assert (plain.methods, plain.seeds, plain.reference) == (None, None, "auto")


@pytest.mark.parametrize(
    ("written", "engines"),
    [
        ({"cmdstan": "2.27.0", "compiler": "g++"}, "cmdstan"),
        ({"cmdstan": "2.27.0", "embedded": "stanli 1"}, "both"),
        ({"embedded": "stanli 1"}, "embedded"),
        ({}, "auto"),
    ],
)
def test_a_check_uses_the_engines_of_its_baseline(
    root: Path, written: dict[str, str], engines: str
) -> None:
    """Whatever else the machine has: another engine is never the reason for a change."""
    kept = read(keep(root, mine(root)))
    assert engines_of(replace(kept, written=written)) == engines


def test_settings_are_kept_with_a_baseline_and_asked_for_again(root: Path) -> None:
    """Others replace them; a baseline without any has no such key."""
    model = mine(root)
    words = ("dadvi.starts=3", "advi.iterations=20000")
    kept = asked(model, request(root, settings=words))
    assert kept["settings"] == list(words)
    assert "settings" not in asked(model, request(root))
    path = keep(root, model)
    path.write_text(_with_settings(path, list(words)), encoding="utf-8")
    old = read(path)
    assert as_asked(old, request(root)).settings == words
    other = ("dadvi.starts=4",)
    assert as_asked(old, request(root, settings=other)).settings == other


def test_generated_quantities_stay_left_out_unless_they_are_asked_for(root: Path) -> None:
    """A baseline without them is checked and written again without; others have no such key."""
    model = mine(root)
    assert "generated" not in asked(model, request(root))
    path = keep(root, replace(model, generated=False))
    assert read(path).request["generated"] is False
    target = _target(path)
    assert target.model is not None
    assert not target.model.generated
    for given, expected in ((None, False), (True, True), (False, False)):
        (again,) = to_write([path.stem], request(root, generated=given), read_models)
        assert again.model is not None
        assert again.model.generated is expected
    assert replace(target.model, generated=True) == replace(model, generated=True)
    changed = json.loads(path.read_text(encoding="utf-8"))
    changed["request"]["generated"] = "perhaps"
    path.write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(BaselineError, match="generated"):
        read(path)


@pytest.mark.parametrize("words", [["dadvi.start=3"], ["nobody.x=1"], ["dadvi.starts=-1"]])
def test_a_baseline_with_settings_that_no_method_takes_is_an_error(
    root: Path, words: list[str]
) -> None:
    """It is not checked with the defaults instead."""
    path = keep(root, mine(root))
    path.write_text(_with_settings(path, words), encoding="utf-8")
    target = _target(path)
    assert target.model is None
    assert target.error is not None
    assert "has settings that cannot be used" in target.error


def test_settings_of_methods_that_are_not_run_are_refused(root: Path) -> None:
    """They would change nothing."""
    asked_for = request(root, methods=("laplace",), settings=("dadvi.starts=3",))
    with pytest.raises(OptionError, match="options of dadvi"):
        to_write([str(root / "own")], asked_for, read_models)


@pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")
def test_a_check_runs_what_its_baseline_was_set_to(
    tmp_path: Path, isolated_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same again with the setting; a change where the file has lost it."""
    assert isolated_cache
    monkeypatch.chdir(tmp_path)
    Path("pair.stan").write_text(
        "parameters { vector[2] x; } model { x ~ multi_normal([0, 0]', [[1, .9], [.9, 1]]); }",
        encoding="utf-8",
    )

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, [*words, "--timeout", "60"], catch_exceptions=False)

    options = ("--methods", "dadvi", "--set", "dadvi.family=fullrank", "--engine", "embedded")
    made = run("baseline", "pair.stan", *options, "--seeds", "2")
    assert made.exit_code == 0, made.output
    same = run("check", "pair")
    assert same.exit_code == 0, same.output
    path = Path("baselines/pair.json")
    path.write_text(_with_settings(path, []), encoding="utf-8")
    lost = run("check", "pair")
    assert lost.exit_code == 1, lost.output
    assert "family" in lost.output


def _with_settings(path: Path, words: list[str]) -> str:
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["request"]["settings"] = words
    return json.dumps(raw)
