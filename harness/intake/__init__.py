"""Draws that others made, turned into records: fits, trees, tables, arrays and files of them.

Objects of CmdStanPy, ArviZ and pandas are recognised by the names of their classes: none of these
packages has to be installed.
"""

from __future__ import annotations

from harness.intake.files import (
    NO_REFERENCE,
    TAKEN_FILES,
    content_of,
    files_of,
    read_draws_files,
    read_reference,
)
from harness.intake.given import TAKEN, is_fit, take
from harness.intake.taken import DrawsError, Taken, copied

__all__ = [
    "NO_REFERENCE",
    "TAKEN",
    "TAKEN_FILES",
    "DrawsError",
    "Taken",
    "content_of",
    "copied",
    "files_of",
    "is_fit",
    "read_draws_files",
    "read_reference",
    "take",
]
