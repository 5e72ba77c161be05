"""Models and data: read strictly, refused with a clear word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.models import folders
from harness.models.data import ModelError, check_data, load_data, read_data, write_data
from harness.stan import ProgramInfo

STAN = "parameters { real m; } model { m ~ normal(0, 1); }\n"


def folder(tmp_path: Path, toml: str, data: str | None = "{}") -> Path:
    """Write a model folder."""
    path = tmp_path / "tiny"
    path.mkdir()
    (path / "tiny.stan").write_text(STAN)
    (path / "model.toml").write_text(toml)
    if data is not None:
        (path / "data.json").write_text(data)
    return path


def test_all_lecture_models_are_there_in_order() -> None:
    """The ten models of the lecture are found, none by another name."""
    assert folders.lecture_models() == folders.LECTURE_ORDER


def test_an_unknown_model_names_the_nearest() -> None:
    """A typing error is answered with what was probably meant."""
    with pytest.raises(ModelError, match=r"unknown model 'mixtur': did you mean mixture"):
        folders.load("mixtur")
    with pytest.raises(ModelError, match=r"known: student_t"):
        folders.load("zzzzzzzz")


@pytest.mark.parametrize(
    ("toml", "match"),
    [
        ("title = ", "Invalid value"),
        ("name = 'no title'", "title"),
        ("title = 't'\ntypo = 1", "typo"),
        ("title='t'\n[limits.bias]\nclose=-1", "greater than 0"),
        (
            (
                "title='t'\n[[claims]]\ntext='c'\nfigure={method='nuts',metric='rhat'}\n"
                "expect={at_most=1,near=2}"
            ),
            "exactly one of",
        ),
        (
            "title='t'\n[[claims]]\ntext='c'\nfigure={method='nuts',metric='rhat'}\nexpect={}",
            "exactly one of",
        ),
    ],
)
def test_a_bad_model_toml_is_refused(tmp_path: Path, toml: str, match: str) -> None:
    """Unknown keys, missing keys and impossible values are errors that name the file."""
    with pytest.raises(ModelError, match=match) as caught:
        folders.load(str(folder(tmp_path, toml)))
    assert "model.toml" in str(caught.value)


def test_a_folder_by_path_is_a_model(tmp_path: Path) -> None:
    """Users may keep folders of their own."""
    model = folders.load(str(folder(tmp_path, "title = 't'")))
    assert model.name == "tiny"
    assert load_data(model) == {}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("[1, 2]", "JSON list"),
        ("3", "JSON int"),
        ('{"N": 3,', "line 1"),
        ('{"y": [1, NaN]}', "NaN in the data"),
        ('{"y": -Infinity}', "-Infinity in the data"),
        ('{"y": [[1, 1e999]]}', "y holds inf"),
        ('{"y": [1, null]}', "y holds None"),
        ('{"y": ["a"]}', "expected numbers"),
    ],
)
def test_bad_data_files_are_refused(tmp_path: Path, text: str, match: str) -> None:
    """Empty, non-object and non-finite JSON never reach CmdStan."""
    path = tmp_path / "d.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=match):
        read_data(path)


def test_a_missing_data_file_is_refused(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(ModelError, match=r"nowhere\.json"):
        read_data(tmp_path / "nowhere.json")
    with pytest.raises(ModelError, match="no such Stan program"):
        folders.user_model(tmp_path / "nowhere.stan", None)


INFO = ProgramInfo(
    inputs={
        "N": {"type": "int", "dimensions": 0},
        "y": {"type": "real", "dimensions": 1},
        "k": {"type": "int", "dimensions": 1},
    },
    parameters={},
    transformed_parameters={},
    generated_quantities={},
)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"N": 1, "y": [1.0], "k": [1]}, None),
        ({"N": 0, "y": [], "k": []}, None),
        ({"N": 1, "Y": [1.0], "k": [1]}, "did you mean 'Y'"),
        ({"N": 1, "y": 1.0, "k": [1]}, "'y' has 0 dimensions in the data, declared 1"),
        ({"N": 1, "y": [1.0], "k": [1.5]}, "'k' is declared int and has fractions"),
        ({"N": 1, "y": [[1.0]], "k": [1]}, "'y' has 2 dimensions"),
    ],
)
def test_data_are_checked_against_the_program(
    data: dict[str, object], complaint: str | None
) -> None:
    """Missing names, wrong dimensions and fractions for integers are reported together."""
    complaints = check_data(data, INFO)
    if complaint is None:
        assert complaints == []
    else:
        assert complaint in "; ".join(complaints)


def test_data_from_python_are_written_once(isolated_cache: Path) -> None:
    """Equal data give one file; NaN is refused."""
    import numpy as np

    path = write_data({"N": 2, "y": np.array([1.0, 2.0])})
    assert json.loads(path.read_text()) == {"N": 2, "y": [1.0, 2.0]}
    assert write_data({"N": 2, "y": [1.0, 2.0]}) == path
    with pytest.raises(ModelError, match="NaN"):
        write_data({"y": float("nan")})
    with pytest.raises(ModelError, match="cannot be written as JSON"):
        write_data({"y": object()})
    assert isolated_cache in path.parents


@pytest.mark.usefixtures("isolated_cache")
def test_generated_data_are_made_once_per_version_of_the_script(tmp_path: Path) -> None:
    """``make_data()`` runs again only when its text changes, and its failure is reported."""
    path = folder(tmp_path, "title = 't'", data=None)
    (path / "data.py").write_text("def make_data():\n    return {'N': 1}\n")
    first = folders.load(str(path)).data_file
    assert first is not None
    assert folders.load(str(path)).data_file == first
    (path / "data.py").write_text("def make_data():\n    return {'N': 2}\n")
    assert folders.load(str(path)).data_file != first
    (path / "data.py").write_text("def make_data():\n    return 1 / 0\n")
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        folders.load(str(path))


def test_a_batch_table_must_name_the_scale(tmp_path: Path) -> None:
    """Without the likelihood's scale a minibatch would give another posterior, in silence."""
    whole = 'title = "T"\nmethods = ["svgd"]\n[batch]\nrows = ["y"]\nsize = "N"\nscale = "s"\n'
    path = folder(tmp_path, whole)
    found = folders.load(str(path))
    assert found.batch == {"rows": ("y",), "size": "N", "scale": "s"}
    assert found.methods == ("svgd",)
    for line in ('scale = "s"\n', 'size = "N"\n', 'rows = ["y"]\n'):
        (path / "model.toml").write_text(whole.replace(line, ""), encoding="utf-8")
        with pytest.raises(ModelError, match=f"batch.{line.split()[0]}"):
            folders.load(str(path))
    (path / "model.toml").write_text(whole.replace('["y"]', "[]"), encoding="utf-8")
    with pytest.raises(ModelError, match=r"batch.rows"):
        folders.load(str(path))
