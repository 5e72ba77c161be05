"""What a release says about itself agrees in every file that says it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def citation() -> dict[str, str]:
    """Return the entries of CITATION.cff."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    entries: dict[str, str] = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - only texts
    return entries


def test_the_newest_version_of_the_changelog_is_the_packages(citation: dict[str, str]) -> None:
    """Version and date are the same in CHANGELOG.md, CITATION.cff and pyproject.toml."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"(?m)^## (\S+), (\d{4}-\d\d-\d\d)$", text)
    assert newest is not None
    assert newest.groups() == (citation["version"], citation["date-released"])
    assert newest[1] == PROJECT["version"]


def test_there_is_one_license(citation: dict[str, str]) -> None:
    """The package, the citation and LICENSE name the same license and the same holder."""
    assert PROJECT["license"] == citation["license"] == "BSD-3-Clause"
    (file,) = PROJECT["license-files"]
    text = (ROOT / file).read_text(encoding="utf-8")
    assert text.startswith("BSD 3-Clause License")
    assert f"Copyright (c) {citation['date-released'][:4]}, the {PROJECT['name']} dev" in text


def test_no_address_is_invented(citation: dict[str, str]) -> None:
    """There is no home page and no DOI yet, so none is given."""
    assert "urls" not in PROJECT
    assert not {"url", "doi", "repository-code", "identifiers"} & set(citation)
