"""A league: the verdicts of several results folders in one table."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import cli
from harness.cli import common
from harness.metrics import W1
from harness.records import Comparison
from harness.report import files
from harness.report import league as report
from harness.report.html import league_page


@pytest.fixture
def folders(comparison: Comparison, tmp_path: Path) -> list[Path]:
    """Return two results folders, each with a part of the models."""
    out = []
    for name, models in (("one", comparison.models[:2]), ("two", comparison.models[2:])):
        files.write(replace(comparison, models=models, claims=()), tmp_path / name)
        out.append(tmp_path / name)
    return out


def test_every_verdict_has_a_row(comparison: Comparison, folders: list[Path]) -> None:
    """With the folder that it is from; what could not be compared is listed with its reason."""
    found = report.league(folders)
    verdicts = [(m.model.name, v.method, v.level) for m in comparison.models for v in m.verdicts]
    rows = [(e.posterior, e.method, e.level) for e in found.entries]
    assert sorted(rows) == sorted(verdicts)
    by_name = {e.posterior: e.results for e in found.entries}
    assert {by_name[m.model.name] for m in comparison.models[:2] if m.verdicts} == {"one"}
    assert [name for name, _ in found.errors] == [
        m.model.name for m in comparison.models if m.error is not None
    ]


def test_a_folder_that_is_named_twice_counts_once(folders: list[Path]) -> None:
    """By another path, too."""
    again = folders[0] / ".." / folders[0].name
    assert report.league([*folders, folders[0], again]) == report.league(folders)


def test_standings_count_levels_and_put_the_best_first(folders: list[Path]) -> None:
    """A share is of what was decided; a method without any has none, and stands last."""
    found = report.league(folders)
    for standing in found.standings:
        own = [e.level for e in found.entries if e.method == standing.method]
        assert dict(standing.counts) == {level: own.count(level) for level in set(own)}
        decided = [level for level in own if level in {"pass", "warn", "fail"}]
        if decided:
            assert standing.share == decided.count("pass") / len(decided)
        else:
            assert math.isnan(standing.share)
    shares = [s.share for s in found.standings if not math.isnan(s.share)]
    assert shares == sorted(shares, reverse=True)
    assert not any(math.isnan(s.share) for s in found.standings[: len(shares)])


def test_an_unknown_distance_is_the_worst(comparison: Comparison) -> None:
    """A figure that is NaN never makes a method look close."""
    model = next(m for m in comparison.models if m.verdicts)
    method = model.verdicts[0].method
    measures = tuple(
        replace(m, value=math.nan) if m.metric == W1.id and m.method == method else m
        for m in model.measures
    )
    broken = replace(comparison, models=(replace(model, measures=measures),))
    entry = next(e for e in report.entries_of(broken, "x") if e.method == method)
    assert math.isinf(entry.w1)


def test_the_command_writes_a_page_and_a_table(folders: list[Path], tmp_path: Path) -> None:
    """The CSV has the promised columns, the page a sortable table of all rows."""
    out = tmp_path / "league"
    done = CliRunner().invoke(cli.main, ["league", *map(str, folders), "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = report.league(folders)
    with (out / "league.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.entries)
    assert tuple(rows[0]) == report.COLUMNS
    assert not any("nan" in row.values() for row in rows)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page == league_page(found)
    assert page.count("sortable") >= 2
    assert all(entry.posterior in page for entry in found.entries)


def test_a_folder_that_cannot_be_made_is_one_line(folders: list[Path], tmp_path: Path) -> None:
    """Exit code 2, and where it was to be."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = CliRunner().invoke(cli.main, ["league", str(folders[0]), "--out", f"{tmp_path}/file/x"])
    assert done.exit_code == common.EXIT_UNUSABLE
    assert "cannot write the league to" in done.output


def test_a_folder_without_results_is_one_line(tmp_path: Path) -> None:
    """Exit code 2, and how to make some."""
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(cli.main, ["league", str(tmp_path / "empty")])
    assert done.exit_code == common.EXIT_UNUSABLE
    assert "no results in" in done.output
