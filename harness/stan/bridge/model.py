"""A Stan program with its data, for Python."""

from __future__ import annotations

import ctypes
import operator
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from harness.stan.bridge.arrays import described
from harness.stan.bridge.loading import BridgeError, PointBuffers, address, opened, text
from harness.stan.density import Evaluation, Status, check_parameters, points_at_once

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from harness.records import FloatArray

_WORDS = 1 << 16
"""The largest number of bytes of a message."""

_SEEDS = 2**32


STAGED = 1024
"""Numbers that are copied to and from buffers at known addresses, because looking up an array's
address costs more than copying up to this many."""


class Staged:
    """Buffers whose addresses are known, for a few points at a time."""

    def __init__(self, rows: int, dimension: int) -> None:
        self.rows = rows
        self.x, self.gradient = np.empty((2, rows, dimension))
        self.value = np.empty(rows)
        self.status = np.empty(rows, dtype=np.int32)
        self.at_x, self.at_gradient = address(self.x), address(self.gradient)
        self.at_value, self.at_status = address(self.value), address(self.status)


class BridgeModel:
    """A Stan program with its data.

    Several programs, and several data sets of one program, can exist side by side. Calls into one
    library hold a lock, because its tape of automatic differentiation is shared. After a fork,
    both processes can use the model; it cannot be pickled.

    Parameters
    ----------
    library
        The file from :func:`harness.bridge.library`.
    data
        By name: numbers or arrays of the program's shapes, strided or not, read only during the
        call. Complex numbers may be complex values or have a trailing dimension of 2. Integers
        may have any integer type.
    seed
        Seed of random numbers in ``transformed data``, from 0 to 2³² − 1.

    Raises
    ------
    BridgeError
        If the data do not fit or ``transformed data`` throws, with Stan's message; or if the
        library is damaged or has another interface.
    """

    engine: Literal["bridge"] = "bridge"
    constants: Literal[True] = True

    def __init__(self, library: Path, data: Mapping[str, Any], seed: int = 1) -> None:
        self.library = opened(library)
        arrays, kept = described(data)
        words = ctypes.create_string_buffer(_WORDS)
        with self.library.lock:
            handle = self.library.call.hb_new(arrays, len(kept), _seed(seed), words, _WORDS)
        if not handle:
            raise BridgeError(text(words))
        self.handle = handle
        self._free = weakref.finalize(self, self.library.call.hb_delete, handle)
        # At the interpreter's exit another thread may still use it; the system frees everything.
        self._free.atexit = False
        self._names: dict[tuple[int, bool, bool], tuple[str, ...]] = {}
        with self.library.lock:
            self._measure()

    def close(self) -> None:
        """Free the program and its data; later calls raise BridgeError."""
        with self.library.lock:
            self.library.call.hb_close(self.handle)
            self._names.clear()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled, because the handle belongs to this process."""
        raise TypeError(
            "a BridgeModel cannot be pickled; pass the library's path and the data to the other "
            "process, and make the model there"
        )

    @property
    def dimension(self) -> int:
        """The number of unconstrained parameters."""
        return self._dimension

    def rebind(self, data: Mapping[str, Any], seed: int = 1) -> None:
        """Replace the program's data; it keeps the old ones if the new ones do not fit.

        Raises
        ------
        BridgeError
            As for a new model.
        """
        arrays, kept = described(data)
        with self.library.lock:
            status = self.library.call.hb_rebind(self.handle, arrays, len(kept), _seed(seed))
            if status != Status.OK:
                raise BridgeError(self._error())
            self._names.clear()
            self._measure()

    def unconstrained_names(self) -> tuple[str, ...]:
        """Return the names of the unconstrained parameters in Stan's form, ``beta.2``.

        stanc 2.27 lists arrays with the first index fastest, but ``z`` has one element after the
        other. This affects names of arrays of vectors, of matrices, and with two indices.
        """
        return self._listed(0, transformed=False, generated=False)

    def constrained_names(
        self, *, transformed: bool = False, generated: bool = False
    ) -> tuple[str, ...]:
        """Return the names of the constrained values, in the order of :meth:`constrain`."""
        return self._listed(1, transformed=transformed, generated=generated)

    def at_point(self, *, propto: bool = False, jacobian: bool = True) -> Point:
        """Return a point with its own buffers, the fastest way to single gradients."""
        return Point(self, propto=propto, jacobian=jacobian)

    def log_density(
        self, z: ArrayLike, *, propto: bool = False, jacobian: bool = True
    ) -> Evaluation:
        """Evaluate the log density at points of shape ``(point, dimension)``."""
        return self._evaluate(z, gradient=False, propto=propto, jacobian=jacobian)

    def log_density_gradient(
        self, z: ArrayLike, *, propto: bool = False, jacobian: bool = True
    ) -> Evaluation:
        """Evaluate the log density and its gradient at points ``(point, dimension)``.

        The gradient is with respect to ``z``. Points that the program rejects do not affect the
        others.
        """
        return self._evaluate(z, gradient=True, propto=propto, jacobian=jacobian)

    def value_and_gradient(
        self, z: ArrayLike, *, propto: bool = False, jacobian: bool = True
    ) -> tuple[float, FloatArray]:
        """Evaluate at one point of shape ``(dimension,)``.

        Raises
        ------
        BridgeError
            If the program throws there, or the value or gradient is not finite.
        """
        point = np.asarray(z, dtype=np.float64)
        if point.shape != (self._dimension,):
            raise ValueError(f"a point of shape {point.shape}; allowed: ({self._dimension},)")
        found = self._evaluate(point[None], gradient=True, propto=propto, jacobian=jacobian)
        if found.status[0] != Status.OK or found.gradient is None:
            raise BridgeError(found.message)
        return float(found.value[0]), found.gradient[0]

    def constrain(
        self,
        z: ArrayLike,
        *,
        transformed: bool = True,
        generated: bool = False,
        seed: int = 1,
        keep: Sequence[int] | None = None,
    ) -> tuple[FloatArray, NDArray[np.int32]]:
        """Return constrained values ``(point, value)`` and each point's status.

        ``z`` has shape ``(point, dimension)``; ``seed`` is for generated random numbers. Of the
        values, those at the places ``keep``, or all.
        """
        call = self.library.call
        with self.library.lock:
            points = self._points(z)
            width = len(self.constrained_names(transformed=transformed, generated=generated))
            out = np.empty((len(points), width if keep is None else len(keep)))
            status = np.empty(len(points), dtype=np.int32)
            step = points_at_once(len(points), width, cut=keep is not None)
            rng = call.hb_rng_new(_seed(seed), 1)
            if not rng:
                raise MemoryError
            try:
                for i in range(0, len(points), step):
                    some, ended = points[i : i + step], status[i : i + step]
                    whole = out if keep is None else np.empty((len(some), width))
                    call.hb_constrain(
                        self.handle, rng, transformed, generated, *some.shape, address(some),
                        width, address(whole), address(ended),
                    )  # fmt: skip
                    if keep is not None:
                        out[i : i + step] = whole[:, keep]
            finally:
                call.hb_rng_delete(rng)
        return out, status

    def unconstrain(self, theta: Mapping[str, Any]) -> FloatArray:
        """Return the point ``(dimension,)`` for constrained parameters by name.

        Raises
        ------
        BridgeError
            If a parameter is missing, has another shape, or violates its constraint.
        """
        # Stan reads a value that is not there from memory that is not its own.
        check_parameters(theta, self.constrained_names())
        arrays, kept = described(theta)
        with self.library.lock:
            out = np.empty(self.dimension)
            status = self.library.call.hb_unconstrain(
                self.handle, arrays, len(kept), self.dimension, address(out)
            )
            if status != Status.OK:
                raise BridgeError(self._error())
        return out

    def messages(self) -> str:
        """Return what the program printed since the last call of this method."""
        with self.library.lock:
            size = self.library.call.hb_messages(self.handle, None, 0)
            words = ctypes.create_string_buffer(size)
            self.library.call.hb_messages(self.handle, words, size)
        return text(words)

    def last_error(self) -> str:
        """Return the message of the first failure in the last call that had one."""
        with self.library.lock:
            return self._error()

    def free_tape(self) -> None:
        """Free the memory of gradients, for all models of this library.

        Otherwise it is kept for the next gradient, so this pays only after a much larger one.
        """
        with self.library.lock:
            self.library.call.hb_free_tape()

    def _measure(self) -> None:
        """Look up the dimension, which may depend on the data, and allocate buffers."""
        self._dimension = d = int(self.library.call.hb_dimension(self.handle))
        if d < 0:
            raise BridgeError(self._error())
        rows = STAGED // max(d, 1)
        self._staged = Staged(rows, d)

    def _points(self, z: ArrayLike) -> FloatArray:
        points = np.ascontiguousarray(z, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self._dimension:  # noqa: PLR2004
            msg = f"points of shape {points.shape}; allowed: (any number, {self._dimension})"
            raise ValueError(msg)
        return points

    def _evaluate(
        self, z: ArrayLike, *, gradient: bool, propto: bool, jacobian: bool
    ) -> Evaluation:
        with self.library.lock:
            points = self._points(z)
            staged = self._staged
            n = len(points)
            if n <= staged.rows:
                staged.x[:n] = points
                bad = self.library.call.hb_log_density(
                    self.handle, propto, jacobian, n, self._dimension, staged.at_x,
                    staged.at_value, staged.at_gradient if gradient else None, staged.at_status,
                )  # fmt: skip
                value, status = staged.value[:n].copy(), staged.status[:n].copy()
                slope = staged.gradient[:n].copy() if gradient else None
            else:
                value, status = np.empty(n), np.empty(n, dtype=np.int32)
                slope = np.empty_like(points) if gradient else None
                bad = self.library.call.hb_log_density(
                    self.handle, propto, jacobian, n, self._dimension, address(points),
                    address(value), None if slope is None else address(slope), address(status),
                )  # fmt: skip
            message = self._error() if bad else ""
        return Evaluation(value, slope, status, message)

    def _error(self) -> str:
        words = ctypes.create_string_buffer(_WORDS)
        self.library.call.hb_error(self.handle, words, _WORDS)
        return text(words)

    def _listed(self, what: int, *, transformed: bool, generated: bool) -> tuple[str, ...]:
        key = (what, transformed, generated)
        with self.library.lock:
            if key not in self._names:
                names = self.library.call.hb_names
                size = names(self.handle, what, transformed, generated, None, 0)
                if size < 0:
                    raise BridgeError(self._error())
                words = ctypes.create_string_buffer(size)
                names(self.handle, what, transformed, generated, words, size)
                self._names[key] = tuple(text(words).splitlines())
            return self._names[key]


class Point:
    """A point for repeated evaluations, made by :meth:`BridgeModel.at_point`.

    Write the point into ``z`` (unconstrained, zero at first), call, and read ``gradient``, which
    every call overwrites, with NaN if evaluation failed; both have shape ``(dimension,)``. Points
    are cheap; each thread should have its own. The model exists as long as its points. After it
    is closed, or gets data that change its dimension, their calls fail with a message.
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
        """Return the log density at ``z``, nats, and set ``gradient``.

        −inf if the program rejects, NaN if it fails. ``status`` has the reason, also if the value
        is finite but the gradient is not.
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
        """Raise if the last call failed.

        Raises
        ------
        BridgeError
            With the program's message of the model's last failure.
        """
        if self._buffers.status:
            raise BridgeError(self._model.last_error())

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled, because the buffers belong to this process."""
        msg = "a Point cannot be pickled; make one with model.at_point() where it is needed"
        raise TypeError(msg)


def _seed(seed: int) -> int:
    number = operator.index(seed)
    if not 0 <= number < _SEEDS:
        raise ValueError(f"seed {number}; allowed: 0 to {_SEEDS - 1}")
    return number
