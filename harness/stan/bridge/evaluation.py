"""The result of an evaluation at several points, and buffers for a few points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.stan.bridge.loading import Status, address

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import FloatArray

STAGED = 1024
"""Numbers that are copied to and from buffers at known addresses, because looking up an array's
address costs more than copying up to this many."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Log densities at several points."""

    value: FloatArray
    """Shape ``(point,)``, nats; −inf where the program rejects, NaN where it fails."""
    gradient: FloatArray | None
    """Shape ``(point, dimension)``, NaN where evaluation fails; None if it was not requested."""
    status: NDArray[np.int32]
    """Shape ``(point,)``, see :class:`Status`."""
    message: str = ""
    """The program's message at the first point that is not OK; empty if there is none."""

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which points are OK, shape ``(point,)``."""
        return np.asarray(self.status == Status.OK)


class Staged:
    """Buffers whose addresses are known, for a few points at a time."""

    def __init__(self, rows: int, dimension: int) -> None:
        self.rows = rows
        self.x, self.gradient = np.empty((2, rows, dimension))
        self.value = np.empty(rows)
        self.status = np.empty(rows, dtype=np.int32)
        self.at_x, self.at_gradient = address(self.x), address(self.gradient)
        self.at_value, self.at_status = address(self.value), address(self.status)
