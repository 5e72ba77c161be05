"""A figure with its standard error."""

from __future__ import annotations

import math
from typing import NamedTuple


class Estimate(NamedTuple):
    """A figure and its Monte Carlo standard error, in the same unit."""

    value: float
    mcse: float


NO_ESTIMATE = Estimate(math.nan, math.nan)
