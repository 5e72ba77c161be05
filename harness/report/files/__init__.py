"""A comparison on disk: tidy CSV files, one JSON with provenance, NetCDF draws.

The columns and keys are a contract with other people's scripts: additions are fine, changes
are not.
"""

from __future__ import annotations

from harness.report.files.reading import ResultsError, read
from harness.report.files.tables import COLUMNS, method_seconds, tables
from harness.report.files.writing import SCHEMA, gravest, write

__all__ = [
    "COLUMNS",
    "SCHEMA",
    "ResultsError",
    "gravest",
    "method_seconds",
    "read",
    "tables",
    "write",
]
