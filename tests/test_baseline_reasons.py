"""What else is different between a baseline and now, in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from baseline_builders import sampler

from harness.check.baseline.differs import (
    data_reason,
    method_reasons,
    program_reason,
    version_reasons,
)
from harness.check.baseline.observe import describe_data, describe_program
from harness.models import folders

PROGRAM = """\
data {
  int<lower=0> N;
  vector[N] y;
}
parameters {
  real m;
  real<lower=0> s;
}
model {
  m ~ normal(0, 1);
  y ~ normal(m, s);
}
"""

DATA = {"N": 3, "y": [1.0, 2.0, 3.0], "w": 0.5}


def program(folder: Path, text: str) -> dict[str, Any]:
    """Return what a baseline keeps of a program."""
    file = folder / "m.stan"
    file.write_text(text, encoding="utf-8")
    return describe_program(folders.user_model(file, None))


def data(folder: Path, values: Any) -> dict[str, Any]:
    """Return what a baseline keeps of data; a text is written as it is."""
    file = folder / "m.json"
    text = values if isinstance(values, str) else json.dumps(values)
    file.write_text(text, encoding="utf-8")
    (folder / "m.stan").write_text(PROGRAM, encoding="utf-8")
    return describe_data(folders.user_model(folder / "m.stan", file))


# --- the program ----------------------------------------------------------------------------


def test_the_same_program_is_no_reason(tmp_path: Path) -> None:
    """The same program, read once or twice, is no reason for a change."""
    made = program(tmp_path, PROGRAM)
    assert program_reason(made, program(tmp_path, PROGRAM)) == ("", "")
    assert made["text"] == PROGRAM.splitlines()
    assert len(made["hash"]) == 16


def test_a_changed_program_is_named_with_a_diff_of_its_text(tmp_path: Path) -> None:
    """Both hashes, and the lines with their neighbours."""
    old = program(tmp_path, PROGRAM)
    new = program(tmp_path, PROGRAM.replace("normal(0, 1)", "normal(0.3, 1)"))
    said, diff = program_reason(old, new)
    assert said == f"the program changed ({old['hash']} → {new['hash']})"
    lines = diff.splitlines()
    assert lines[:2] == ["--- program of the baseline", "+++ program now"]
    assert "-  m ~ normal(0, 1);" in lines
    assert "+  m ~ normal(0.3, 1);" in lines
    assert " data {" not in lines  # far away


@pytest.mark.parametrize(
    "change",
    [("\n", "\r\n"), ("  ", "\t"), ("}\n", "}\n\n\n"), ("normal(m, s)", "normal(m,  s)"),
     (";\n", "; \n"), ("  real", "real")],
)  # fmt: skip
def test_white_space_alone_is_said_to_be_that(tmp_path: Path, change: tuple[str, str]) -> None:
    """Line ends, tabs, empty lines, indents and trailing spaces change no posterior."""
    old, new = program(tmp_path, PROGRAM), program(tmp_path, PROGRAM)
    file = tmp_path / "m.stan"
    file.write_bytes(PROGRAM.replace(*change).encode())
    new = describe_program(folders.user_model(file, None))
    assert new["hash"] != old["hash"]
    assert program_reason(old, new)[0].endswith(", in white space only")


@pytest.mark.parametrize(
    "change",
    [("normal(m, s);", "normal(m, s); // y"), ("real m;", "real m; real k;"), ("N;", "M;"),
     ("real<lower=0> s;\n", ""), ("  m ~", "  // m ~"), ("m ~ normal(0, 1);\n  ", "")],
)  # fmt: skip
def test_anything_else_is_not_white_space(tmp_path: Path, change: tuple[str, str]) -> None:
    """A word more or less is a change of the program."""
    old, new = program(tmp_path, PROGRAM), program(tmp_path, PROGRAM.replace(*change))
    said, diff = program_reason(old, new)
    assert said.endswith(")")
    assert diff


def test_a_line_that_a_comment_swallows_is_no_white_space(tmp_path: Path) -> None:
    """Joined lines have the same words, and may mean something else."""
    text = PROGRAM.replace("model {\n", "model { // here\n")
    old, new = program(tmp_path, text), program(tmp_path, text.replace("// here\n", "// here"))
    assert not program_reason(old, new)[0].endswith("white space only")


def test_a_changed_include_is_named(tmp_path: Path) -> None:
    """The text of an included file is part of the program and of its hash."""
    text = PROGRAM.replace("parameters {", "#include priors.stan\nparameters {")
    (tmp_path / "priors.stan").write_text("// one\n", encoding="utf-8")
    old = program(tmp_path, text)
    (tmp_path / "priors.stan").write_text("// two\n", encoding="utf-8")
    new = program(tmp_path, text)
    said, diff = program_reason(old, new)
    assert said.startswith("the program changed")
    assert "+// two" in diff.splitlines()
    assert "// file priors.stan" in old["text"]


def test_a_baseline_without_a_program_can_be_compared() -> None:
    """Baselines of test suites have none."""
    assert program_reason({}, {}) == ("", "")
    said, diff = program_reason({}, {"hash": "0a", "text": ["model { }"]})
    assert said == "the program changed (None → 0a)"
    assert "+model { }" in diff


# --- the data -------------------------------------------------------------------------------


def test_the_same_data_are_no_reason(tmp_path: Path) -> None:
    """A known description comes back without the data being read again."""
    made = data(tmp_path, DATA)
    assert data_reason(made, data(tmp_path, DATA)) == ""
    assert {k: v["size"] for k, v in made["variables"].items()} == {"N": 1, "w": 1, "y": 3}
    model = folders.user_model(tmp_path / "m.stan", tmp_path / "m.json")
    known = {"hash": made["hash"], "variables": {"kept": {"size": 1, "hash": "?"}}}
    assert describe_data(model, known) == known
    assert describe_data(model, {"hash": "another"}) == made


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (DATA | {"y": [1.0, 123.0, 3.0]}, "values of y"),
        (DATA | {"y": [1.0, 2.0, 3.0 + 1e-15]}, "values of y"),
        (DATA | {"y": [1.0, 2.0]}, "y has 2 values, not 3"),
        ({"N": 3, "y": [1.0, 2.0, 3.0]}, "w is gone"),
        (DATA | {"z": 1}, "z is new"),
        (DATA | {"y": [[1.0], [2.0], [3.0]]}, "values of y"),
        ({"N": 3, "Y": [1.0, 2.0, 3.0], "w": 1.0}, "y is gone, Y is new and values of w"),
        ({}, "N is gone, w is gone and y is gone"),
    ],
)
def test_changed_data_are_named_by_variable(tmp_path: Path, now: dict[str, Any], said: str) -> None:
    """Variables that are gone, new, resized or changed are named."""
    old, new = data(tmp_path, DATA), data(tmp_path, now)
    assert data_reason(old, new) == f"the data changed ({old['hash']} → {new['hash']}): {said}"


def test_data_written_otherwise_are_said_to_be_that(tmp_path: Path) -> None:
    """Spaces, and the order of variables."""
    old = data(tmp_path, DATA)
    for text in (json.dumps(DATA, indent=1), json.dumps(dict(reversed(DATA.items())))):
        assert data_reason(old, data(tmp_path, text)).endswith("), in their form only")


def test_a_long_list_of_variables_is_cut(tmp_path: Path) -> None:
    """Six are named and the others counted."""
    old, new = (data(tmp_path, {f"v{i}": i + k for i in range(9)}) for k in (0, 1))
    assert data_reason(old, new).endswith("values of v4, values of v5 and 3 more")


def test_data_that_come_or_go_altogether(tmp_path: Path) -> None:
    """Data can be added to a program that had none, or removed."""
    without = describe_data(folders.user_model(Path(_stan(tmp_path)), None))
    assert without["variables"] == {}
    with_some = data(tmp_path, DATA)
    assert data_reason(without, with_some).endswith("N is new, w is new and y is new")
    assert data_reason({}, {}) == ""
    assert data_reason({}, with_some).endswith("y is new")


def _stan(folder: Path) -> Path:
    file = folder / "m.stan"
    file.write_text(PROGRAM, encoding="utf-8")
    return file


# --- options and versions -------------------------------------------------------------------


def test_changed_options_and_draws_are_named() -> None:
    """With both values; an option of one side only is not set on the other."""
    old = sampler(options={"chains": 4, "samples": 1000, "delta": 0.8})
    assert method_reasons("nuts", old, old) == []
    new = replace(old, options={"chains": 4, "samples": 500, "warmup": 9}, draws=2000)
    assert method_reasons("nuts", old, new, {"samples", "draws"}) == [
        "nuts: option delta was 0.8, is not set",
        "nuts: option samples was 1000, is 500",
        "nuts: option warmup was not set, is 9",
        "nuts: 4000 draws a run then, 2000 now",
    ]


def test_what_the_harness_changed_itself_is_no_reason() -> None:
    """NUTS that is made again with smaller steps or more draws follows from something else."""
    old = sampler(options={"chains": 4, "samples": 1000, "adapt_delta": 0.8, "max_treedepth": 10})
    changed = {"samples": 4000, "adapt_delta": 0.99, "max_treedepth": 12}
    new = replace(old, options={**old.options, **changed}, draws=16_000)
    assert method_reasons("nuts", old, new) == []
    assert method_reasons("nuts", old, new, {"adapt_delta"}) == [
        "nuts: option adapt_delta was 0.8, is 0.99"
    ]


def test_changed_versions_are_named() -> None:
    """One that is not known on a side is unknown there."""
    old, new = {"cmdstan": "2.37", "numpy": "2.4"}, {"cmdstan": "2.38", "numpy": "2.4", "new": "1"}
    assert version_reasons(old, new) == ["cmdstan 2.37 then, 2.38 now", "new unknown then, 1 now"]
    assert version_reasons(old, old) == []
