"""The lecture's exercise: the regression with 50 000 rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 50_000
INTERCEPT = 1.0
SLOPES = (2.0, -1.0)
NOISE_SD = 0.5


def make_data(rows: int = 50_000) -> dict[str, NDArray[np.float64] | int]:
    """Simulate ``y = 1 + 2 x1 - x2 + N(0, 0.5)`` with predictors uniform on (0, 1).

    Returns
    -------
    dict
        ``N``, ``K``, ``x`` of shape ``(rows, 2)``, ``y`` of shape ``(rows,)``,
        ``likelihood_scale`` 1.
    """
    rng = np.random.default_rng(SEED)
    x = np.round(rng.random((rows, len(SLOPES))), 4)
    y = INTERCEPT + x @ np.array(SLOPES) + rng.normal(scale=NOISE_SD, size=rows)
    return {"N": rows, "K": len(SLOPES), "x": x, "y": np.round(y, 4), "likelihood_scale": 1}
