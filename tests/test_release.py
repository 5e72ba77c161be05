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


def _needs(lines: list[str]) -> dict[str, str]:
    """Return the versions by name, without extras and markers."""
    parts = (re.fullmatch(r"([\w-]+)(?:\[\w+\])? ?([^;]*)(;.*)?", line) for line in lines)
    return {part[1]: part[2].replace(" ", "") for part in parts if part is not None}


def test_the_recipe_needs_what_the_package_needs() -> None:
    """Conda's version, Python, dependencies and commands are pyproject.toml's, but for stanli."""
    recipe = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["context"]["name"] == PROJECT["name"]
    assert recipe["context"]["version"] == PROJECT["version"]
    assert f">={recipe['context']['python_min']}" == PROJECT["requires-python"]
    package = _needs(PROJECT["dependencies"])
    engine = package.pop("stanli")
    package["matplotlib-base"] = package.pop("matplotlib")
    conda = _needs([line for line in recipe["requirements"]["run"] if line[:7] != "python "])
    assert conda.pop("xarray-einstats") == ""
    assert conda == package
    text = (ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8")
    assert f"pip install stanli{engine}" in text
    points = dict(line.split(" = ") for line in recipe["build"]["python"]["entry_points"])
    assert points == PROJECT["scripts"]


def test_every_version_of_the_changelog_is_dated_and_newer_than_the_next() -> None:
    """A section a version, newest first, with its date or the word that it was never released."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    titles = re.findall(r"(?m)^## (.+)$", text)
    assert titles[0] == "Unreleased" or titles[0].startswith(PROJECT["version"])
    form = r"(\d+)\.(\d+)\.(\d+), (\d{4}-\d\d-\d\d|not released)"
    released = [re.fullmatch(form, title) for title in titles[titles[0] == "Unreleased" :]]
    assert all(released), titles
    versions = [tuple(map(int, match.groups()[:3])) for match in released if match]
    dates = [match[4] for match in released if match and match[4] != "not released"]
    assert versions == sorted(set(versions), reverse=True)
    assert dates == sorted(dates, reverse=True)


def test_the_source_distribution_has_what_its_tests_read() -> None:
    """Every top-level file of the repository's own is included, and exists."""
    toml = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = toml["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert all(any(ROOT.glob(pattern)) for pattern in patterns)
    for needed in ("action.yml", "recipe", ".ci", ".github", "constraints.txt", "Makefile"):
        assert needed in patterns
