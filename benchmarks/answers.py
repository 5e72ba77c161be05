"""Answers that a benchmark compares with: figures of a posterior, by parameter, with errors."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.records import FloatArray

FIGURES = ("mean", "sd", "low", "median", "high")

STRETCHES = 10
"""Parts of a chain whose figures give the error of those of all: long beside its memory."""


@dataclass(frozen=True)
class Answer:
    """Mean, sd, and the 5%, 50% and 95% quantiles, unconstrained scale, each ``(d,)``."""

    mean: FloatArray
    sd: FloatArray
    low: FloatArray
    median: FloatArray
    high: FloatArray


def answer_of(draws: FloatArray) -> Answer:
    """Return the figures of draws, shape ``(draw, d)``."""
    low, median, high = np.quantile(draws, [0.05, 0.5, 0.95], axis=0)
    return Answer(draws.mean(axis=0), draws.std(axis=0), low, median, high)


def answer_with_error(chains: FloatArray) -> tuple[Answer, Answer]:
    """Return the figures of chains and their standard errors, by the spread of stretches.

    ``chains`` has shape ``(chain, draw, copy, d)``; copies are draws that are known to be as good,
    such as a draw with its labels exchanged, and make no error smaller.
    """
    d = chains.shape[-1]
    parts = [p for chain in chains for p in np.array_split(chain, STRETCHES)]
    each = [answer_of(p.reshape(-1, d)) for p in parts]
    spread = {
        name: np.std([getattr(a, name) for a in each], axis=0, ddof=1) / np.sqrt(len(each))
        for name in FIGURES
    }
    return answer_of(chains.reshape(-1, d)), Answer(**spread)


def write(path: Path, answer: Answer, error: Answer, facts: dict[str, Any]) -> None:
    """Write figures with their errors to six digits, and how they were made."""

    def lists(of: Answer) -> dict[str, list[float]]:
        found = dataclasses.asdict(of)
        return {k: [float(f"{x:.6g}") for x in v] for k, v in found.items()}

    whole = {"made": facts, "answer": lists(answer), "error": lists(error)}
    path.parent.mkdir(parents=True, exist_ok=True)
    # A line a figure keeps differences readable.
    text = re.sub(r"\s+(?=[-\d\]])", " ", json.dumps(whole, indent=1))
    path.write_text(f"{text}\n", encoding="utf-8")


def read(path: Path) -> tuple[Answer, Answer]:
    """Return the figures in a file, and their standard errors."""
    found = json.loads(path.read_text(encoding="utf-8"))
    answer, error = (
        Answer(**{name: np.array(found[part][name], dtype=np.float64) for name in FIGURES})
        for part in ("answer", "error")
    )
    return answer, error
