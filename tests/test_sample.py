"""The committed sample report is complete, and the README agrees with it."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import report_fixture

from harness.methods import METHODS
from harness.models import folders
from harness.report.terminal import SYMBOLS

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "reports" / "lecture"


def verdicts() -> dict[tuple[str, str], str]:
    """Return the sample's levels by model and method."""
    with (SAMPLE / "verdicts.csv").open(newline="", encoding="utf-8") as file:
        return {(r["model"], r["method"]): r["level"] for r in csv.DictReader(file)}


def results() -> dict[str, Any]:
    """Return the sample's results.json, which is compressed."""
    path = SAMPLE / "results.json"
    packed = path.with_name("results.json.gz")
    content = path.read_bytes() if path.is_file() else gzip.decompress(packed.read_bytes())
    found: dict[str, Any] = json.loads(content)
    return found


def test_the_sample_has_every_lecture_model() -> None:
    """Every model is in the committed report, and every one was compared."""
    names = {model for model, _ in verdicts()}
    assert names == set(folders.lecture_models())
    found = results()
    assert [m["error"] for m in found["models"]] == [None] * len(names)


def test_the_sample_writes_numbers_in_one_form() -> None:
    """Thousands, powers of ten, minus signs: the whole page and its figures, messages included."""
    page = (SAMPLE / "index.html").read_text(encoding="utf-8")
    assert report_fixture.other_forms(page) == []


_REMEDY = re.compile(r"(passes|is trusted|warns) \([\d.]+( × 10⁻[⁰-⁹¹²³]+)? m?s\)")

UNEXPLAINED = {("wide_normal", "laplace")}
"""Its covariance of 200 quantities is that of its draws, so that its gap has an error of a nat."""


def test_every_fail_and_warn_of_the_sample_says_why_and_what_helps() -> None:
    """Each has a cause with a figure, and a remedy that was run."""
    with (SAMPLE / "verdicts.csv").open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["level"] in {"fail", "warn"}]
    assert len(rows) > 20
    for row in rows:
        where = (row["model"], row["method"])
        known = row["cause"] not in {"", "not known", "not found"}
        assert known is (where not in UNEXPLAINED), where
        assert _REMEDY.search(row["remedy"]), where
    for model in results()["models"]:
        for verdict in model["verdicts"]:
            if verdict["level"] in {"fail", "warn"}:
                assert re.search(r"\d", " ".join(verdict["causes"])), verdict["method"]
                assert verdict["remedies"], verdict["method"]


def test_the_sample_is_small_and_tells_of_no_machine() -> None:
    """All files are under 6 MB together, and none contains a path of the machine that made it."""
    size = sum(path.stat().st_size for path in SAMPLE.iterdir() if path.is_file())
    assert size < 6_000_000
    assert not (SAMPLE / "draws").exists() or (ROOT / ".gitignore").read_text().count("draws")
    texts = {n: (SAMPLE / n).read_text(encoding="utf-8") for n in ("index.html", "runs.csv")}
    for name, text in {**texts, "results.json": json.dumps(results())}.items():
        assert not re.search(r"/(root|home|Users|tmp|work)/", text), name


def test_the_readme_shows_the_samples_verdicts() -> None:
    """Every cell of the README's table is the level in the sample's verdicts.csv."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("<!-- verdicts -->")[2].partition("<!-- /verdicts -->")[0]
    rows = [
        [c.strip() for c in line.strip("|").split("|")]
        for line in table.strip().splitlines()
        if line.startswith("|")
    ]
    names = {row.title: name for name, row in METHODS.items()}
    expected = verdicts()
    seen = set()
    for row in rows[2:]:
        for heading, cell in zip(rows[0][1:], row[1:], strict=True):
            if heading == "others":
                for other in filter(None, cell.split(", ")):
                    words, _, level = other.rpartition(" ")
                    words, _, symbol = words.rpartition(" ")
                    key = (row[0].strip("`"), names[words])
                    assert f"{symbol} {level}" == SYMBOLS[expected[key]], key
                    seen.add(key)
                continue
            key = (row[0].strip("`"), names[heading])
            if key in expected:
                assert cell == SYMBOLS[expected[key]], key
                seen.add(key)
            else:
                assert cell == "left out", key
    assert seen == set(expected)
