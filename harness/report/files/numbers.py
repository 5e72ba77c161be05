"""Values for JSON and back: figures that are not finite become strings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_NAMES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


EXACT = 17
"""Digits that tell any two numbers apart."""


def to_json(value: Any, digits: int = 7) -> Any:
    """Return a value for JSON, with few digits and the names of numbers that are not finite.

    Seven digits are far beyond any Monte Carlo error; :data:`EXACT` ones restore every number.
    """
    if isinstance(value, (np.floating, float)):
        number = float(value)
        return float(f"{number:.{digits}g}") if math.isfinite(number) else _NAMES[repr(number)]
    if isinstance(value, Mapping):
        return {str(k): to_json(v, digits) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v, digits) for v in value]
    if isinstance(value, np.integer):
        return int(value)
    return str(value) if isinstance(value, Path) else value


def from_json(value: Any) -> Any:
    """Return numbers for the names of those that are not finite."""
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, list):
        return [from_json(v) for v in value]
    if isinstance(value, dict):
        return {k: from_json(v) for k, v in value.items()}
    return value
