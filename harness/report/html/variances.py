"""The table of gradient variances beside its figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.records.text import estimate, number
from harness.report.figures.variance import rows

if TYPE_CHECKING:
    from harness.records import ModelComparison


@dataclass(frozen=True, slots=True)
class Row:
    """An estimator with its variance, and that over the reparameterised gradient's."""

    title: str
    variance: str
    ratio: str


def table(entry: ModelComparison) -> tuple[Row, ...]:
    """Return a row an estimator; none where no run measured them."""
    _, _, found = rows(entry)
    return tuple(
        Row(
            r.title,
            estimate(r.variance, r.error) if math.isfinite(r.error) else number(r.variance),
            number(r.ratio),
        )
        for r in found
    )
