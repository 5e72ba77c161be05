"""Results on disk: the contract of columns, and a round trip that loses nothing."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import report_fixture as fixture

from harness import results
from harness.records import Comparison


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Return a comparison with failures, runaways and a model that could not be compared."""
    return fixture.build(tmp_path_factory.mktemp("models"))


def test_columns_are_the_contract(compared: Comparison, tmp_path: Path) -> None:
    """The columns of DESIGN come first and in order; additions stand behind."""
    results.write(compared, tmp_path)
    promised = {
        "verdicts": "model method level cause remedy seeds seeds_failed seconds reference",
        "measures": "model method seed quantity metric value mcse level",
        "claims": "model claim expected measured error holds",
        "runs": (
            "model method seed status message seconds iterations eta khat "
            "log_density_evaluations gradient_evaluations"
        ),
    }
    for name, columns in promised.items():
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            header = next(csv.reader(file))
        assert header[: len(columns.split())] == columns.split()


def test_every_verdict_run_and_measure_is_written(compared: Comparison, tmp_path: Path) -> None:
    """No row is lost, whatever its status."""
    results.write(compared, tmp_path)
    for name, count in {
        "verdicts": sum(len(m.verdicts) for m in compared.models),
        "runs": sum(len(m.runs) for m in compared.models),
        "measures": sum(len(m.measures) for m in compared.models),
        "claims": len(compared.claims),
    }.items():
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == count


def test_json_is_strict_and_reads_back(compared: Comparison, tmp_path: Path) -> None:
    """Non-finite figures are strings in the JSON and numbers again when read."""
    results.write(compared, tmp_path)

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    again = results.read(tmp_path)
    assert [m.model.name for m in again.models] == [m.model.name for m in compared.models]
    for old, new in zip(compared.models, again.models, strict=True):
        assert new.error == old.error
        assert [(v.method, v.level, v.headline) for v in new.verdicts] == [
            (v.method, v.level, v.headline) for v in old.verdicts
        ]
        assert [f.sentence for v in new.verdicts for f in v.findings] == [
            f.sentence for v in old.verdicts for f in v.findings
        ]
        assert new.levels == old.levels
        for a, b in zip(old.measures, new.measures, strict=True):
            same = a.value == b.value or (math.isnan(a.value) and math.isnan(b.value))
            assert same or b.value == pytest.approx(a.value, rel=1e-6)
    assert len(again.claims) == len(compared.claims)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "no results in"),
        ("{", "is damaged"),
        ("[]", "has schema list"),
        ('{"schema": 99}', "has schema 99"),
        ('{"schema": 1, "models": [{}], "claims": []}', "is damaged"),
    ],
)
def test_unreadable_results_say_what_to_do(tmp_path: Path, text: str | None, match: str) -> None:
    """Missing, cut and foreign files name the command that makes new ones."""
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(results.ResultsError, match=match) as caught:
        results.read(tmp_path)
    assert "harness compare" in str(caught.value)
