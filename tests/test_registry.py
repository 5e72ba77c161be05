"""Models and data: read strictly, refused with a clear word."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.cli.common import read_models
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
        ("N <- 3\ny <-\nc(1, 2)\n", "an R dump.*write JSON.*write_stan_json"),
        ('# by hand\n"N" <- 3', "an R dump"),
    ],
)
def test_bad_data_files_are_refused(tmp_path: Path, text: str, match: str) -> None:
    """Empty files, R dumps and JSON that is no object never reach CmdStan."""
    path = tmp_path / "d.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=match):
        read_data(path)


@pytest.mark.parametrize("name", ["d.data.R", "d.csv", "d.rds", "d.json"])
def test_a_file_that_is_no_json_says_how_to_write_it(tmp_path: Path, name: str) -> None:
    """Whatever the file is called, it is taken for data and never for a model."""
    (tmp_path / "m.stan").write_text("parameters { real m; } model { m ~ normal(0, 1); }")
    path = tmp_path / name
    path.write_bytes(b"\x1f\x8b\x08" if name.endswith("rds") else b"N <- 3\n")
    words = f"{path} is .*write JSON"
    with pytest.raises(ModelError, match=words):
        read_models([str(tmp_path / "m.stan"), str(path)])
    with pytest.raises(ModelError, match="a data file follows its program"):
        read_models([str(path), str(tmp_path / "m.stan")])


def test_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    """Some editors write one, and CmdStan does not read it."""
    path = tmp_path / "d.json"
    path.write_text("{}", encoding="utf-8-sig")
    with pytest.raises(ModelError, match="save it as UTF-8 without one"):
        read_data(path)


def test_a_program_that_declares_data_needs_them_at_once(tmp_path: Path) -> None:
    """Two programs with one data file: the first has none, which is an error before any run."""
    text = "// data { int k; }\ndata { int N; array[N] real y; vector[N] x[2, dims(y)[1]]; }\n"
    for name in ("one", "two"):
        (tmp_path / f"{name}.stan").write_text(text)
    (tmp_path / "d.json").write_text('{"N": 0}')
    words = [str(tmp_path / w) for w in ("one.stan", "two.stan", "d.json")]
    with pytest.raises(ModelError, match=r"one\.stan declares data \(N, y, x\)"):
        folders.require_data(read_models(words))
    folders.require_data(read_models(words[1:]))


def test_infinity_and_nan_are_read_as_cmdstan_reads_them(tmp_path: Path) -> None:
    """As tokens and as strings."""
    path = tmp_path / "d.json"
    path.write_text('{"y": [1, Infinity, "-Inf"], "z": [["NaN", NaN]], "x": "Inf", "s": "no"}')
    found = read_data(path)
    assert found["y"] == [1, math.inf, -math.inf]
    assert np.isnan(found["z"]).all()
    assert (found["x"], found["s"]) == (math.inf, "no")


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
        (
            {"y": 0.7},
            "is the single number 0.7, but declared real, an array of 1 dimension; write [0.7]",
        ),
        ({"N": [3]}, "is an array of 1 dimension, but declared int, a single number; write 3"),
        ({"y": [[1.0]]}, "is an array of 2 dimensions (1 × 1), but declared real, an array of 1"),
        ({"k": [1, 1.5]}, "'k' in the data holds 1.5, but declared int; give whole numbers"),
        ({"N": 20.0}, "holds 20.0, but declared int; write 20, without a point"),
        ({"N": math.inf}, "holds inf, but declared int"),
        ({"N": 2**31}, "beyond Stan's integers of 32 bits"),
        ({"y": [math.inf, math.nan]}, None),
        (
            {"k": [True, False]},
            "holds true or false, but CmdStan reads numbers only; write 1 and 0",
        ),
        ({"N": True}, "write 1 and 0"),
        ({"k": np.array([True])}, "write 1 and 0"),
        ({"y": [1.0, None]}, "holds null, but Stan has no missing values"),
        ({"y": ["a"]}, "holds text ('a')"),
        ({"y": [[1.0], [1.0, 2.0]]}, "has rows of different lengths"),
        ({"unit": "cm"}, "'unit' in the data holds text ('cm'): the program does not use it"),
        ({"meta": {"run": 3}}, "'meta' in the data holds an object: the program does not use it"),
        ({"unused": [1, 2]}, None),
    ],
)
def test_data_are_checked_against_the_program(
    data: dict[str, object], complaint: str | None
) -> None:
    """Each complaint has the name, what was found, what is declared, and how to write it."""
    if "Y" not in data:
        data = {"N": 1, "y": [1.0], "k": [1]} | data
    complaints = check_data(data, INFO)
    if complaint is None:
        assert complaints == []
    else:
        assert len(complaints) == 1
        assert complaint in complaints[0]


def test_data_from_python_are_written_once(isolated_cache: Path) -> None:
    """Equal data give one file; what is no number is refused."""
    path = write_data({"N": 2, "y": np.array([1.0, 2.5])})
    assert json.loads(path.read_text()) == {"N": 2, "y": [1.0, 2.5]}
    assert write_data({"N": 2, "y": [1.0, 2.5]}) == path
    with pytest.raises(ModelError, match="cannot be written as JSON"):
        write_data({"y": object()})
    with pytest.raises(ModelError, match="no missing values"):
        write_data({"y": np.ma.masked_equal([1, 2], 2)})
    assert isolated_cache in path.parents


@pytest.mark.usefixtures("isolated_cache")
@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.int64(3), "3"),
        (20.0, "20"),
        (np.array([1.0, 2.0]), "[1, 2]"),
        ([1.0, 0.5], "[1.0, 0.5]"),
        (True, "1"),
        (np.array([True, False]), "[1, 0]"),
        (range(3), "[0, 1, 2]"),
        ((1, 2), "[1, 2]"),
        ([np.array([1, 2]), np.array([3, 4])], "[[1, 2], [3, 4]]"),
        (pd.Series([1, 2], index=["a", "b"]), "[1, 2]"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": [0.5, 1.0]}), "[[1.0, 0.5], [2.0, 1.0]]"),
        (np.zeros((2, 0)), "[[], []]"),
        ([math.inf, -math.inf, math.nan], "[Infinity, -Infinity, NaN]"),
        (-0.0, "-0.0"),
    ],
)
def test_what_python_users_have_is_written_as_stan_reads_it(value: object, written: str) -> None:
    """NumPy's and pandas' types, ranges, booleans, and whole numbers where an int is declared."""
    assert write_data({"v": value}).read_text() == f'{{"v": {written}}}'


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
