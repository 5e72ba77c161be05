"""What docs/methods.md shows can be typed as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.methods import DEFAULT_METHODS, METHODS
from harness.models import folders
from harness.stan import CmdStan

PAGE = (Path(__file__).parents[1] / "docs" / "methods.md").read_text(encoding="utf-8")

PROGRAM = """
data { int<lower=0> N; vector[N] y; }
parameters { real m; real<lower=0> s; }
model { m ~ normal(0, 1); s ~ normal(0, 1); y ~ normal(m, s); }
"""


@pytest.mark.stan
def test_the_python_example_runs(cmdstan: CmdStan, tmp_path: Path) -> None:
    """Copied from the page into a fresh interpreter, beside a program of the reader's own."""
    (tmp_path / "my.stan").write_text(PROGRAM, encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(code) == 1
    done = subprocess.run(
        [sys.executable, "-c", code[0]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"ok \[.*\] \(\d+, 2\)\n", done.stdout), done.stdout
    assert cmdstan.path.is_dir()


def test_every_method_has_its_row() -> None:
    """The page's table has METHODS' names and words, and says which models get each."""
    table = PAGE.partition("|---|")[2].partition("## ")[0]
    rows = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    assert [row[0].strip() for row in rows] == [
        f"`{m.name}`{' ∇' if m.bridge else ''}" for m in METHODS.values()
    ]
    assert [row[1] for row in rows] == [m.what for m in METHODS.values()]
    lecture = [folders.load(name) for name in folders.lecture_models()]
    for (_, _, who), method in zip(rows, METHODS.values(), strict=True):
        assert ("every program" in who) is (method.name in DEFAULT_METHODS)
        own = {model.name for model in lecture if method.name in model.methods}
        assert own <= set(re.findall(r"`(\w+)`", who)), method.name


def test_the_options_it_names_exist() -> None:
    """``--set`` would take each of them."""
    for method, option in re.findall(r"`(\w+)\.(\w+)(?:=\w+)?`", PAGE):
        if method in METHODS:
            assert option in METHODS[method].defaults, f"{method}.{option}"
