"""One point with its own buffers: a gradient for little more than it costs in C++."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from harness.bridge.loading import BridgeError, PointBuffers, Status, address

if TYPE_CHECKING:
    from harness.bridge.model import BridgeModel
    from harness.records import FloatArray


class Point:
    """A place to evaluate a model at again and again; made by :meth:`BridgeModel.at_point`.

    Write the point into ``z``, call, read ``gradient``::

        point = model.at_point()
        point.z[:] = start
        value = point()

    Both are the point's own buffers: every call overwrites ``gradient``, so copy what is to be
    kept. Points are cheap to make; each thread should have its own. The model stays alive as
    long as its points; closing it, or binding data that change its dimension, makes their calls
    fail with words.

    Attributes
    ----------
    z
        Shape ``(dimension,)``, unconstrained; zero at first.
    gradient
        Shape ``(dimension,)``, of the last call; NaN where there is none.
    """

    __slots__ = ("_address", "_buffers", "_evaluate", "_lock", "_model", "gradient", "z")

    def __init__(self, model: BridgeModel, *, propto: bool, jacobian: bool) -> None:
        self._model = model
        self.z: FloatArray = np.zeros(model.dimension)
        self.gradient: FloatArray = np.full(model.dimension, np.nan)
        self._buffers = PointBuffers(
            model.handle, model.dimension, propto, jacobian,
            address(self.z), address(self.gradient), Status.OK,
        )  # fmt: skip
        self._address = ctypes.addressof(self._buffers)
        self._evaluate: Any = model.library.evaluate
        self._lock = model.library.lock

    def __call__(self) -> float:
        """Evaluate at ``z``: return the log density, nats, and leave its gradient.

        Returns
        -------
        float
            −inf where the program rejects, NaN where it fails; ``status`` tells, and also says
            where the value is finite but the gradient is not.
        """
        with self._lock:
            return self._evaluate(self._address)  # type: ignore[no-any-return]

    evaluate = __call__

    @property
    def status(self) -> Status:
        """How the last call ended."""
        return Status(self._buffers.status)

    @property
    def ok(self) -> bool:
        """Whether the last call gave a finite value and gradient."""
        return not self._buffers.status

    def check(self) -> None:
        """Raise if the last call did not end well.

        Raises
        ------
        BridgeError
            With the program's words of the model's last failure.
        """
        if self._buffers.status:
            raise BridgeError(self._model.last_error())

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: the buffers are this process's."""
        msg = "a Point cannot be pickled; make one with model.at_point() where it is needed"
        raise TypeError(msg)
