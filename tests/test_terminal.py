"""The table of verdicts on terminals of several widths, with few methods and with many."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness import terminal
from harness.records import Comparison, Model, ModelComparison, Reference, Verdict
from harness.titles import title

USUAL = ["meanfield", "fullrank", "meanfield_tuned", "fullrank_tuned", "dadvi", "dadvi_lr", "nuts"]
RARE = ["advi", "svgd", "minibatch"]


def model(name: str, methods: list[str]) -> ModelComparison:
    """Return a model on which all methods are off, with a reason."""
    found = tuple(Verdict(name, m, "warn", "warn", 1, 0, "a tail 0.3 sd off", ()) for m in methods)
    reference = Reference("exact", trusted=True, why="exact")
    return ModelComparison(
        Model(name, name, Path("none.stan"), None), None, reference, verdicts=found
    )


@pytest.fixture
def printed() -> io.StringIO:
    """Catch what is printed; the test sets the width."""
    return io.StringIO()


def show(
    comparison: Comparison, width: int, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Print the verdicts on a console of a width."""
    monkeypatch.setattr(terminal, "make_console", lambda: Console(file=out, width=width))
    terminal.print_verdicts(comparison)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 100, 120, 160, 220])
def test_no_verdict_is_lost_or_cut(
    width: int, printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every method of every model has its level, in the widest terminal and in the narrowest."""
    whole = Comparison((model("first_model", [*USUAL, *RARE]), model("second", USUAL)), (), {})
    text = show(whole, width, printed, monkeypatch)
    assert text.count("! warn") == len(USUAL) * 2 + len(RARE)
    assert all(len(line) <= width for line in text.splitlines())
    assert "first_model" in text
    for method in RARE:
        assert title(method).split()[0] in text
    assert "…" not in text


@pytest.mark.parametrize("width", [60, 120, 200])
def test_one_model_gives_its_reasons(
    width: int, printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many methods there are: below each other where they do not fit side by side."""
    whole = Comparison((model("only", [*USUAL, *RARE]),), (), {})
    text = " ".join(show(whole, width, printed, monkeypatch).split())
    assert text.count("! warn") == len(USUAL) + len(RARE)
    assert "a tail" in text
