"""docs/tour.ipynb runs from its first cell to its last."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.stan import embedded

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "tour.ipynb"


def test_the_notebook_is_short_and_stored_without_outputs() -> None:
    """At most 15 cells, and none of a machine's figures in the repository."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert len(cells) <= 15
    assert not any(cell.get("outputs") for cell in cells)


def _shown(cell: Any) -> str:
    """Return all that a cell has printed and displayed, as text and HTML."""
    shown = []
    for output in cell.get("outputs", ()):
        shown += [str(text) for text in output.get("data", {}).values()] + [output.get("text", "")]
    return "\n".join(shown)


@pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cell raises; tables, progress, a figure and a verdict are shown."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    book = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=300, resources=resources).execute()
    shown = [_shown(cell) for cell in book.cells if cell.cell_type == "code"]
    assert "judge     " in shown[1]
    assert "ipywidgets" not in "\n".join(shown)
    assert "<table" in shown[1]
    assert "laplace" in shown[2]
    assert "<svg" in shown[4]
    assert "mine" in shown[6]
