"""A suite, which is a folder of model folders, is one study; its parts joined are the whole."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import cli
from harness.cli import common
from harness.models import folders
from harness.models.data import ModelError

MODELS = ("beta_unit", "normal_mean", "student_t")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Return a folder with three model folders and something else."""
    for name in MODELS:
        shutil.copytree(folders.models_root() / name, tmp_path / "suite" / name)
    (tmp_path / "suite" / "notes").mkdir()
    return tmp_path / "suite"


def test_a_suite_is_all_its_model_folders(suite: Path) -> None:
    """By name; beside other models too, but none twice."""
    assert [m.name for m in common.read_models([str(suite)])] == list(MODELS)
    both = common.read_models([str(suite), "mixture"])
    assert [m.name for m in both] == [*MODELS, "mixture"]
    with pytest.raises(ModelError, match="student_t is named twice"):
        common.read_models([str(suite), str(suite / "student_t")])


def test_what_is_no_suite_is_what_it_was(suite: Path) -> None:
    """A model folder is a model, and a folder without models is none."""
    assert folders.suite(str(suite / "student_t")) == ()
    assert folders.suite("mixture") == ()
    with pytest.raises(ModelError, match="unknown model"):
        common.read_models([str(suite / "notes")])


def test_a_model_of_a_suite_that_cannot_be_read_is_an_error(suite: Path) -> None:
    """A study without one of its models would look complete."""
    (suite / "student_t" / "model.toml").write_text("title = 3", encoding="utf-8")
    with pytest.raises(ModelError, match=r"student_t.model\.toml"):
        common.read_models([str(suite)])


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "league.csv").open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "results"} for row in csv.DictReader(file)]


def test_parts_of_a_study_joined_are_the_whole(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row of the league is the same, but for the folder that it is from."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def harness(*words: str) -> None:
        done = CliRunner().invoke(cli.main, words)
        assert done.exit_code == 0, done.output

    common_words = ("--quick", "--methods", "laplace", "--jobs", "1", "-q")
    harness("compare", str(suite), *common_words)
    # The same runs again from the cache: their seconds are the same too.
    harness("compare", str(suite / MODELS[0]), *common_words, "--out", "first")
    harness("compare", *(str(suite / m) for m in MODELS[1:]), *common_words, "--out", "second")
    harness("league", "reports/suite", "--out", "whole")
    harness("league", "first", "second", "--out", "joined")
    whole, joined = _rows(tmp_path / "whole"), _rows(tmp_path / "joined")
    assert {row["posterior"] for row in whole} == set(MODELS)
    assert joined == whole
