"""The words in which measures and methods are judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Closeness = Literal["close", "off", "wrong", "unsure"]
"""What one measure says once its Monte Carlo error is allowed for."""

Level = Literal["pass", "warn", "fail", "unknown", "reference"]
"""What a method's verdict on a model says."""

SYMBOLS: Mapping[str, str] = {
    "pass": "✓",
    "warn": "!",
    "fail": "✗",
    "unknown": "?",
    "reference": "–",
}
"""Levels are never colours only."""
