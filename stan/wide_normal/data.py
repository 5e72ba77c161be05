"""The lecture's wide data: 40 000 rows, 100 uniform columns of their own range and shift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 20180


def make_data(rows: int = 40_000, columns: int = 100) -> dict[str, NDArray[np.float64] | int]:
    """Simulate the data as the lecture does, from a generator with a fixed seed.

    Returns
    -------
    dict
        ``N``, ``D``, ``y`` of shape ``(rows, columns)``, ``likelihood_scale`` 1. Column ``d``
        is uniform on an interval of length 1 to 9 that starts between 0 and 10.
    """
    rng = np.random.default_rng(SEED)
    y = rng.random((rows, columns))
    y *= rng.integers(1, 10, size=columns)
    y += rng.random(columns) * 10
    # Four decimals keep the JSON file at 28 MB; the columns' sds are 0.29 and more.
    return {"N": rows, "D": columns, "y": np.round(y, 4), "likelihood_scale": 1}
