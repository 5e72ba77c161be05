"""Fixtures for every test, and no skips of required tests."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import cmdstanpy
    from scripts import Compiled

    from harness.records import Comparison, ModelComparison
    from harness.stan import CmdStan

REQUIRED = {"stan": "HARNESS_REQUIRE_STAN", "browser": "HARNESS_REQUIRE_BROWSER"}
"""Markers, and the variables that turn a skip of such a test into a failure when they are 1."""


def _required_by(item: pytest.Item) -> str | None:
    for marker, variable in REQUIRED.items():
        if item.get_closest_marker(marker) and os.environ.get(variable) == "1":
            return variable
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a required test into a failure."""
    report = yield
    variable = _required_by(item)
    if variable and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{variable}=1 forbids this skip: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole file into a failure where anything is required."""
    report = yield
    if report.skipped and any(os.environ.get(name) == "1" for name in REQUIRED.values()):
        report.outcome = "failed"
        report.longrepr = f"a required run skips no files: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


@pytest.fixture(scope="session")
def cmdstan() -> CmdStan:
    """Return the installed CmdStan; without one, the test is skipped."""
    from harness.stan import ToolchainError, find_cmdstan

    try:
        found = find_cmdstan()
    except ToolchainError as error:
        pytest.skip(str(error))
    if found is None:
        pytest.skip("there is no CmdStan; `make test` installs one")
    return found


@pytest.fixture(scope="session")
def compiled(cmdstan: CmdStan) -> Compiled:
    """Return what makes a model of CmdStanPy of a program's file."""
    import cmdstanpy

    from harness.stan import compile_program

    def model(program: Path) -> cmdstanpy.CmdStanModel:
        executable = str(compile_program(program, cmdstan).executable)
        return cmdstanpy.CmdStanModel(exe_file=executable)

    cmdstanpy.set_cmdstan_path(str(cmdstan.path))
    return model


def _without_results(cmdstan: CmdStan, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make a folder the cache, with what the real one has compiled, its locks, but no results."""
    from harness.stan import cache_dir  # the hooks above need no harness

    for compiled in ("programs", "bridge", "locks"):
        real = cache_dir() / compiled
        real.mkdir(parents=True, exist_ok=True)
        if not (folder / compiled).exists():
            (folder / compiled).symlink_to(real, target_is_directory=True)
    patch.setenv("HARNESS_CACHE", str(folder))
    patch.setenv("CMDSTAN", str(cmdstan.path))


@pytest.fixture(scope="module")
def fresh_results(cmdstan: CmdStan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a cache with what the real one has compiled but no results."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        _without_results(cmdstan, folder, patch)
        yield folder


@pytest.fixture
def own_results(cmdstan: CmdStan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache like :func:`fresh_results` for one test: none before it kept an analysis."""
    folder = tmp_path / "cache"
    folder.mkdir()
    _without_results(cmdstan, folder, monkeypatch)
    return folder


@pytest.fixture(scope="session")
def lecture_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache in which :func:`lecture` was made."""
    return tmp_path_factory.mktemp("lecture")


@pytest.fixture(scope="session")
def lecture(cmdstan: CmdStan, lecture_results: Path) -> Mapping[str, ModelComparison]:
    """Fit, judge and explain lecture models once for all tests: two with all seeds, others five."""
    from harness.models import folders
    from harness.study import comparing
    from harness.study.plan import Plan

    found: list[ModelComparison] = []
    with pytest.MonkeyPatch.context() as patch:
        _without_results(cmdstan, lecture_results, patch)
        for names, seeds in (
            (("normal_mean", "mixture"), None),
            (("linear_regression", "conjugate_regression", "student_t", "beta_unit"), 5),
        ):
            plan = Plan(tuple(folders.load(n) for n in names), seeds=seeds)
            found += comparing.compare(plan)[0].models
    return {m.model.name: m for m in found}


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Return five models with failures, runaways and one that could not be compared."""
    import report_fixture

    return report_fixture.build(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="session")
def report_page(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file with the report of :func:`comparison`."""
    from harness.report import html

    target = tmp_path_factory.mktemp("report") / "index.html"
    html.render(comparison, target)
    return target


@pytest.fixture
def isolated_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is the harness's cache for one test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HARNESS_CACHE", str(folder))
    return folder
