"""How many draws the harness takes without being asked, and what has to give for more."""

from __future__ import annotations

from typing import Literal

MAX_DRAWS = 100_000
"""An undecided comparison takes up to this many draws of q."""

MAX_NUTS_SAMPLES = 10_000
"""An undecided comparison lets NUTS take up to this many draws per chain."""

EXACT_DRAWS = 40_000
"""Exact draws cost little. With four times as many as q has, q's own error dominates."""

Scarce = Literal["run", "nuts", "ensemble", "exact", "supplied", "given"]
"""The sample whose draws are too few: a method's run, or the reference of one of these kinds."""
