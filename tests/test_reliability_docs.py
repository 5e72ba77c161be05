"""docs/reliability.md promises nothing without a test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_promise_names_tests_that_exist() -> None:
    """Each row of the tables has a file in its last column, and all files are there."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    promises = [line for line in rows if not line.startswith("| fault ")]
    assert len(promises) > 20
    for row in promises:
        named = re.findall(r"`((?:tests|benchmarks)/[\w/]+\.py)`", row.split("|")[-2])
        assert named, row
        assert all((ROOT / path).is_file() for path in named), row
