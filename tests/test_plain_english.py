"""The package's docstrings, comments and messages avoid the phrases that readers stumble over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FOREIGN = {
    r"to be had|cannot be had|is had": "there is; cannot be computed; is computed",
    r"(is|are) told by": "is shown by, is reported by",
    r"of which": "its, whose, or a sentence of its own",
    r"mend(s|ed|ing)?": "fix, remedy, help",
    r"so many": "the number, a fixed number, at most n",
    r"what (it|they|each|he|she) (brought|brings)": "its effect",
    r"for want of": "because there is no",
}
"""Phrases, as patterns, and what to write instead."""

FILES = sorted(
    path
    for folder, pattern in (
        ("harness", "*.py"),
        ("harness", "*.j2"),
        ("harness", "*.[ch]pp"),
        ("benchmarks", "*.py"),
        ("docs", "*.md"),
        ("stan", "model.toml"),
        (".", "*.md"),
    )
    for path in (ROOT.glob(pattern) if folder == "." else (ROOT / folder).rglob(pattern))
)


@pytest.mark.parametrize("phrase", FOREIGN)
def test_no_text_has_a_foreign_phrase(phrase: str) -> None:
    """No file of the package, its documents or its benchmarks contains the phrase."""
    pattern = re.compile(rf"\b({phrase})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {match[0]!r}, write: {FOREIGN[phrase]}"
        for path in FILES
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_there_are_files_to_read() -> None:
    """The patterns find the package, its pages and its models."""
    names = {path.relative_to(ROOT).parts[0] for path in FILES}
    assert {"harness", "docs", "stan", "benchmarks", "README.md"} <= names
