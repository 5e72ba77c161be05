"""A study's desk: what is said of a model that is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records import Model
from harness.study.desk import Desk
from harness.study.plan import Plan
from harness.study.progress import Progress


class Heard(Progress):
    """Keeps the lines that stay."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, sentence: str) -> None:
        """Keep a line."""
        self.lines.append(sentence)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Return a model without data."""
    program = tmp_path / "m.stan"
    program.write_text("parameters { real m; } model { m ~ normal(0, 1); }", encoding="utf-8")
    return Model("m", "t", program, None)


@pytest.mark.parametrize(
    ("why", "line"),
    [
        ("stanc: no such type\n  line 3", "m: stanc: no such type"),
        ("", "m: it was given up without a reason"),
        ("\n", "m: it was given up without a reason"),
    ],
)
def test_a_model_that_is_given_up_has_an_error_and_no_runs(
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
    line: str,
) -> None:
    """An empty reason too: a model without an error would count as one that is well."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    heard = Heard()
    desk = Desk(Plan((model,), methods=("dadvi",), engine="embedded"), heard)
    try:
        (work,) = desk.works
        assert work.waiting
        desk.give_up(work, why)
    finally:
        desk.close(kill=True)
    assert work.error
    assert work.error.splitlines()[0] == line.removeprefix("m: ")
    assert not work.waiting
    assert desk.due == [work]
    assert heard.lines[-1] == line
