"""What is read from a program's text: its data, and random numbers in transformed data."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.stan import declared_data, random_data
from harness.stan.source import bare, generated_line


def program(folder: Path, text: str) -> Path:
    """Write a program."""
    path = folder / "m.stan"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("transformed data { real y; { y = normal_rng(0, 1); } }", ("y = normal_rng(0, 1);",)),
        (
            (
                "functions { real own_rng(real m) { return normal_rng(m, 1); } } "
                "transformed data { real a = 1; real y = 2 * own_rng(a); }"
            ),
            ("real y = 2 * own_rng(a);",),
        ),
        (
            "transformed   data{\n  for (i in 1:3) {\n    y[i] = poisson_rng(2); // here\n  }\n}",
            ("y[i] = poisson_rng(2);",),
        ),
        ("transformed data { /* y = normal_rng(0, 1); */ real y = 1; }", ()),
        ('transformed data { print("y = normal_rng(0, 1);"); }', ()),
        ("transformed data { // normal_rng(0, 1);\n real rng_scale = 1; }", ()),
        (
            "transformed data { real y = 1; }\ngenerated quantities { real z = normal_rng(0, 1); }",
            (),
        ),
        ("parameters { real x; } model { x ~ normal(0, 1); }", ()),
    ],
)
def test_statements_that_draw_data_are_found(
    tmp_path: Path, text: str, found: tuple[str, ...]
) -> None:
    """In transformed data only; not in comments, strings or generated quantities."""
    assert random_data(program(tmp_path, text)) == found


def test_an_include_may_hide_a_draw(tmp_path: Path) -> None:
    """Includes are read, also where one includes itself."""
    (tmp_path / "a.stan").write_text("#include b.stan\n real y = normal_rng(0, 1);\n")
    (tmp_path / "b.stan").write_text("#include b.stan\n real z;\n")
    found = random_data(program(tmp_path, 'transformed data {\n  #include "a.stan"\n}'))
    assert [f.rpartition(";")[0].split()[-1] for f in found] == ["1)"]


def test_names_of_data_are_found(tmp_path: Path) -> None:
    """Types, bounds, sizes, old arrays and comments do not matter; transformed data are no data."""
    text = """
    transformed data { int no; }
    data {
      int<lower=0> N;  // int M;
      array[N, 2] real y;
      vector<lower=0, upper=1>[N] x[3, size(y[1])];
    }
    parameters { real data_mean; }
    """
    assert declared_data(program(tmp_path, text)) == ("N", "y", "x")
    assert declared_data(tmp_path / "nowhere.stan") == ()


HEAD = '// generated quantities {\nparameters { real x; } /* } */\nmodel { print("}"); }\n'


@pytest.mark.parametrize(
    ("block", "left"),
    [
        ("generated quantities { real y = x; }\n", "\n"),
        (
            "generated\n quantities {\n  real y;\n  { y = x; } // }\n}  // end\n",
            "\n" * 4 + "  // end\n",
        ),
        ('generated quantities {\n  print("}");\n#include parts/y.stan\n}', "\n" * 3),
        ("", None),
        ("#include generated.stan\n", None),
        ("generated quantities {\n  real y;\n#include end.stan\n", None),
        ("generated quantities {\n  {\n#include end.stan\n}", None),
        ("generated quantities {\n#include opens.stan\n}\n}", None),
        ("generated quantities {\n real y;\n}\n#include more.stan\n", None),
    ],
)
def test_other_lines_stay_where_generated_quantities_go(
    tmp_path: Path, block: str, left: str | None
) -> None:
    """A block stays if an include has a part of it, or may have one; comments hide nothing."""
    file = program(tmp_path, HEAD + block)
    assert bare(file) == (None if left is None else HEAD + left)
    assert generated_line(file) == (None if not block or block[0] == "#" else 4)
    assert bare(tmp_path / "nowhere.stan") is None
