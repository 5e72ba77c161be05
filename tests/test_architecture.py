"""docs/architecture.md and its figure show the code as it is."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
import scripts
from test_layers import FLOORS

DOCS = Path(__file__).parents[1] / "docs"
PACKAGES = [package for floor in FLOORS for package in floor]


@pytest.fixture(scope="module")
def figure() -> ModuleType:
    """Return the script that draws the figure."""
    return scripts.load(DOCS / "architecture_figure.py")


def test_the_figure_shows_todays_packages_floors_and_imports(figure: ModuleType) -> None:
    """The drawing was made from the code as it is; `make figure` (with Graphviz) renews it."""
    svg = (DOCS / "architecture.svg").read_text(encoding="utf-8")
    assert figure.drawn_source(svg) == figure.source()
    for package in PACKAGES:
        assert f">{package}</text>" in svg
    for table in " ".join(figure.TABLES.values()).split():
        assert table.strip(",") in svg


def test_every_package_has_a_caption(figure: ModuleType) -> None:
    """Packages and captions are the same set, and tables stand in packages that exist."""
    assert set(figure.CAPTIONS) == set(PACKAGES)
    assert set(figure.TABLES) <= set(PACKAGES)


def test_an_arrow_that_a_path_implies_is_not_drawn(figure: ModuleType) -> None:
    """With cli → check → study, the arrow cli → study is left out."""
    pairs = {("cli", "check"), ("check", "study"), ("cli", "study")}
    assert figure.reduced(pairs) == {("cli", "check"), ("check", "study")}
    assert figure.reduced(figure.arrows()) <= figure.arrows()


def test_the_row_on_the_page_is_the_row_in_the_code() -> None:
    """The example of a row stands in the file from which it is taken."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert row in (DOCS.parent / "harness" / "metrics" / "bias.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_path_that_a_page_names_exists(name: str) -> None:
    """Files, folders and links that the page names are in the repository."""
    root = DOCS.parent
    page = root / name
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:harness|tests|docs|benchmarks)/[\w/.]+)`", text)
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    found = [root / p for p in paths] + [page.parent / p for p in linked]
    assert found
    assert [p for p in found if not p.exists()] == []


def test_the_page_names_every_package() -> None:
    """A reader finds each package on the page."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for package in PACKAGES:
        assert f"`{package}/`" in page or f"`{package}.py`" in page, package
