"""The Python side of the C interface."""

from __future__ import annotations

import ctypes
import enum
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from harness.records import FloatArray

INTERFACE = 1
"""Version of the C interface; a library of another one is refused."""

_WORDS = 1 << 16
"""Bytes of a message that are kept."""

_INT32 = 2**31


class BridgeError(RuntimeError):
    """What the Stan program threw, in its own words."""


class Status(enum.IntEnum):
    """How an evaluation ended."""

    OK = 0
    REJECT = 1
    FAILED = 2
    NOT_FINITE = 3


class _Array(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("kind", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("data", ctypes.c_void_p),
    )


_KINDS = {np.dtype(np.float64): 0, np.dtype(np.int32): 1, np.dtype(np.int64): 2}


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Log densities at several points.

    Attributes
    ----------
    value
        Shape ``(point,)``, nats; −inf where the program rejects, NaN where it fails.
    gradient
        Shape ``(point, dimension)``, or None where it was not asked for; NaN where there is none.
    status
        Shape ``(point,)``, see :class:`Status`.
    message
        The program's words at the first point that is not OK; empty if there is none.
    """

    value: FloatArray
    gradient: FloatArray | None
    status: NDArray[np.int32]
    message: str = ""

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which points are OK, shape ``(point,)``."""
        return np.asarray(self.status == Status.OK)


class BridgeModel:
    """A Stan program with its data.

    Several programs, and several data sets of one program, may live side by side. Calls into
    one library hold a lock, for its tape of the automatic differentiation is one.

    Parameters
    ----------
    library
        The file that :func:`harness.bridge.library` built.
    data
        By name: numbers or arrays of the program's shapes; strided arrays are read as they are.
        Complex values have a trailing dimension of 2. Integers may be of any integer type.
    seed
        Of random numbers in ``transformed data``.

    Raises
    ------
    BridgeError
        If the data do not fit, or ``transformed data`` throws, in Stan's words.
    """

    def __init__(self, library: Path, data: Mapping[str, Any], seed: int = 1) -> None:
        self._library = _opened(library)
        arrays, kept = _arrays(data)
        words = ctypes.create_string_buffer(_WORDS)
        with self._library.lock:
            handle = self._library.call.hb_new(arrays, len(kept), seed, words, _WORDS)
        if not handle:
            raise BridgeError(_text(words))
        self._handle = handle
        self._close = weakref.finalize(self, self._library.call.hb_delete, handle)
        self._names: dict[tuple[int, bool, bool], tuple[str, ...]] = {}

    def close(self) -> None:
        """Free the model; it must not be used afterwards."""
        self._close()

    @property
    def dimension(self) -> int:
        """The number of unconstrained parameters."""
        return int(self._library.call.hb_dimension(self._handle))

    def rebind(self, data: Mapping[str, Any], seed: int = 1) -> None:
        """Give the program other data; if they do not fit, it keeps those it has.

        Raises
        ------
        BridgeError
            As when the model is made.
        """
        arrays, kept = _arrays(data)
        with self._library.lock:
            status = self._library.call.hb_rebind(self._handle, arrays, len(kept), seed)
            if status != Status.OK:
                raise BridgeError(self._error())
            self._names.clear()

    def unconstrained_names(self) -> tuple[str, ...]:
        """Return the names of the unconstrained parameters, as Stan gives them: ``beta.2``."""
        return self._listed(0, transformed=False, generated=False)

    def constrained_names(
        self, *, transformed: bool = False, generated: bool = False
    ) -> tuple[str, ...]:
        """Return the names of the constrained values, in the order of :meth:`constrain`."""
        return self._listed(1, transformed=transformed, generated=generated)

    def build_info(self) -> tuple[str, ...]:
        """Return what stanc says of itself."""
        return self._listed(2, transformed=False, generated=False)

    def log_density(
        self, z: ArrayLike, *, propto: bool = False, jacobian: bool = True
    ) -> Evaluation:
        """Evaluate the log density at points of shape ``(point, dimension)``."""
        return self._evaluate(z, gradient=False, propto=propto, jacobian=jacobian)

    def log_density_gradient(
        self, z: ArrayLike, *, propto: bool = False, jacobian: bool = True
    ) -> Evaluation:
        """Evaluate the log density and its gradient at points ``(point, dimension)``.

        The gradient is with respect to ``z``. A point that the program rejects does not keep
        the others from being evaluated.
        """
        return self._evaluate(z, gradient=True, propto=propto, jacobian=jacobian)

    def value_and_gradient(
        self, z: ArrayLike, *, propto: bool = False, jacobian: bool = True
    ) -> tuple[float, FloatArray]:
        """Evaluate at one point of shape ``(dimension,)``.

        Raises
        ------
        BridgeError
            If the program throws there, or a figure is not finite.
        """
        point = np.asarray(z, dtype=np.float64)[None]
        found = self._evaluate(point, gradient=True, propto=propto, jacobian=jacobian)
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
    ) -> tuple[FloatArray, NDArray[np.int32]]:
        """Return constrained values ``(point, value)`` and each point's status.

        Parameters
        ----------
        z
            Shape ``(point, dimension)``.
        transformed, generated
            Whether transformed parameters and generated quantities are wanted too; the latter
            use random numbers of ``seed``.
        """
        points = self._points(z)
        width = len(self.constrained_names(transformed=transformed, generated=generated))
        out = np.empty((len(points), width))
        status = np.empty(len(points), dtype=np.int32)
        call = self._library.call
        with self._library.lock:
            rng = call.hb_rng_new(seed, 1)
            try:
                call.hb_constrain(
                    self._handle, rng, transformed, generated, len(points), _doubles(points),
                    width, _doubles(out), _ints(status),
                )  # fmt: skip
            finally:
                call.hb_rng_delete(rng)
        return out, status

    def unconstrain(self, theta: Mapping[str, Any]) -> FloatArray:
        """Return the point ``(dimension,)`` of parameters given by name, constrained.

        Raises
        ------
        BridgeError
            If a parameter is missing, of another shape, or violates its constraint.
        """
        arrays, kept = _arrays({k: np.asarray(v, dtype=np.float64) for k, v in theta.items()})
        out = np.empty(self.dimension)
        with self._library.lock:
            status = self._library.call.hb_unconstrain(
                self._handle, arrays, len(kept), _doubles(out)
            )
            if status != Status.OK:
                raise BridgeError(self._error())
        return out

    def messages(self) -> str:
        """Return what the program printed since this was last asked."""
        with self._library.lock:
            size = self._library.call.hb_messages(self._handle, None, 0)
            words = ctypes.create_string_buffer(size)
            self._library.call.hb_messages(self._handle, words, size)
        return _text(words)

    def last_error(self) -> str:
        """Return the words of the first failure of the last call that had one."""
        with self._library.lock:
            return self._error()

    # --- inside ------------------------------------------------------------------------------

    def _points(self, z: ArrayLike) -> FloatArray:
        points = np.ascontiguousarray(z, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self.dimension:  # noqa: PLR2004
            msg = f"points of shape {points.shape}; allowed: (any number, {self.dimension})"
            raise ValueError(msg)
        return points

    def _evaluate(
        self, z: ArrayLike, *, gradient: bool, propto: bool, jacobian: bool
    ) -> Evaluation:
        points = self._points(z)
        value = np.empty(len(points))
        slope = np.empty_like(points) if gradient else None
        status = np.empty(len(points), dtype=np.int32)
        with self._library.lock:
            bad = self._library.call.hb_log_density(
                self._handle, propto, jacobian, len(points), _doubles(points), _doubles(value),
                None if slope is None else _doubles(slope), _ints(status),
            )  # fmt: skip
            message = self._error() if bad else ""
        return Evaluation(value, slope, status, message)

    def _error(self) -> str:
        words = ctypes.create_string_buffer(_WORDS)
        self._library.call.hb_error(self._handle, words, _WORDS)
        return _text(words)

    def _listed(self, what: int, *, transformed: bool, generated: bool) -> tuple[str, ...]:
        key = (what, transformed, generated)
        if key not in self._names:
            names = self._library.call.hb_names
            with self._library.lock:
                size = names(self._handle, what, transformed, generated, None, 0)
                if size < 0:
                    raise BridgeError(self._error())
                words = ctypes.create_string_buffer(size)
                names(self._handle, what, transformed, generated, words, size)
            self._names[key] = tuple(_text(words).splitlines())
        return self._names[key]


# --- the library ------------------------------------------------------------------------------


class _Library:
    """An opened library with its functions' types and its lock."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self.call = ctypes.CDLL(str(path))
        for name, result, arguments in _FUNCTIONS:
            function = getattr(self.call, name)
            function.restype, function.argtypes = result, arguments
        found = self.call.hb_interface()
        if found != INTERFACE:
            msg = f"{path} has interface {found}, this harness needs {INTERFACE}; remove the file"
            raise BridgeError(msg)


_P, _I, _L = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
_DOUBLES, _INTS = ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_int32)
_ARRAYS, _CHARS = ctypes.POINTER(_Array), ctypes.c_char_p

_FUNCTIONS: Sequence[tuple[str, Any, Sequence[Any]]] = (
    ("hb_interface", _I, ()),
    ("hb_new", _P, (_ARRAYS, _L, ctypes.c_uint32, _CHARS, _L)),
    ("hb_rebind", _I, (_P, _ARRAYS, _L, ctypes.c_uint32)),
    ("hb_delete", None, (_P,)),
    ("hb_error", _L, (_P, _CHARS, _L)),
    ("hb_messages", _L, (_P, _CHARS, _L)),
    ("hb_names", _L, (_P, _I, _I, _I, _CHARS, _L)),
    ("hb_dimension", _L, (_P,)),
    ("hb_log_density", _L, (_P, _I, _I, _L, _DOUBLES, _DOUBLES, _DOUBLES, _INTS)),
    ("hb_rng_new", _P, (ctypes.c_uint32, ctypes.c_uint32)),
    ("hb_rng_delete", None, (_P,)),
    ("hb_constrain", _L, (_P, _P, _I, _I, _L, _DOUBLES, _L, _DOUBLES, _INTS)),
    ("hb_unconstrain", _I, (_P, _ARRAYS, _L, _DOUBLES)),
    ("hb_free_tape", None, ()),
)

_OPEN: dict[Path, _Library] = {}
_OPENING = threading.Lock()


def _opened(path: Path) -> _Library:
    with _OPENING:
        if path not in _OPEN:
            _OPEN[path] = _Library(path)
        return _OPEN[path]


def _doubles(array: FloatArray) -> Any:
    return array.ctypes.data_as(_DOUBLES)


def _ints(array: NDArray[np.int32]) -> Any:
    return array.ctypes.data_as(_INTS)


def _text(words: Any) -> str:
    return bytes(words.value).decode(errors="replace").strip()


def _arrays(data: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """Describe arrays to the C side; the list keeps alive what the description points to."""
    kept = []
    described = (_Array * len(data))()
    for slot, (name, value) in zip(described, data.items(), strict=True):
        array = _plain(name, value)
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        strides = (ctypes.c_int64 * array.ndim)(*array.strides)
        slot.name = name.encode()
        slot.kind = _KINDS[array.dtype]
        slot.ndim = array.ndim
        slot.shape, slot.strides = shape, strides
        slot.data = array.ctypes.data
        kept.append((array, shape, strides))
    return described, kept


def _plain(name: str, value: ArrayLike) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype in _KINDS and array.dtype.isnative:
        return array
    if array.dtype == np.bool_ or np.issubdtype(array.dtype, np.integer):
        if array.size and (array.max() >= _INT32 or array.min() < -_INT32):
            msg = f"{name} holds integers beyond 32 bits, which Stan does not have"
            raise BridgeError(msg)
        return array.astype(np.int64)
    if array.size == 0:
        return array.astype(np.float64)
    try:
        return array.astype(np.float64, casting="same_kind")
    except TypeError as error:
        msg = f"{name} holds {array.dtype}; allowed: real numbers and integers"
        raise BridgeError(msg) from error
