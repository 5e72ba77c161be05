"""The code of docs/judge.md runs, and its claims hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.intake.fits import FITS

if TYPE_CHECKING:
    from scripts import Compiled

PAGE = (Path(__file__).parents[1] / "docs" / "judge.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

PROGRAM = """
data { real shift; }
parameters { vector[2] x; }
model { x ~ multi_normal([shift, 0]', [[1, 0.95], [0.95, 1]]); }
"""


@pytest.mark.parametrize("block", BLOCKS[1:], ids=["tree", "arrays"])
def test_draws_of_other_programs_are_judged_as_the_page_says(block: str) -> None:
    """The assertions in the page hold."""
    exec(compile(block, "docs/judge.md", "exec"), {})  # noqa: S102 - the page's own code


@pytest.mark.stan
def test_cmdstans_folders_are_judged_as_the_page_says(
    compiled: Compiled,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Files that CmdStan wrote, with the program: the cause is printed."""
    (tmp_path / "pair.stan").write_text(PROGRAM, "utf-8")
    model = compiled(tmp_path / "pair.stan")
    common: dict[str, Any] = {"data": {"shift": 1.0}}
    model.sample(**common, seed=1, show_progress=False, output_dir=tmp_path / "nuts")
    for seed in (1, 2):
        model.variational(
            **common, seed=1000 + seed, require_converged=False, output_dir=tmp_path / "advi"
        )
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[0], "docs/judge.md", "exec"), {})  # noqa: S102 - the page's own code
    said = capsys.readouterr().out
    assert "correlation" in said.splitlines()
    assert (tmp_path / "judged.html").is_file()


def test_the_page_names_every_fit_that_is_taken() -> None:
    """None is left out of the table."""
    assert all(f"`{name}`" in PAGE for name in FITS)
