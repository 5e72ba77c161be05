"""The C interface in ctypes, and the open libraries."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.stan.density import EngineError

INTERFACE = 2
"""Version of the C interface; libraries with another version are refused."""

_NAMED = re.compile(r"(?:bridge|batch)-[0-9a-f]+-(?P<content>[0-9a-f]{16})\.so")


BridgeError = EngineError  # the name that Python users know


class Array(ctypes.Structure):
    """A NumPy array, valid during a call."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("kind", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("data", ctypes.c_void_p),
    )


class PointBuffers(ctypes.Structure):
    """The buffers of a point, as the C side reads them."""

    _fields_ = (
        ("model", ctypes.c_void_p),
        ("dimension", ctypes.c_int64),
        ("propto", ctypes.c_int32),
        ("jacobian", ctypes.c_int32),
        ("x", ctypes.c_void_p),
        ("gradient", ctypes.c_void_p),
        ("status", ctypes.c_int32),
    )


# Arrays are passed as addresses: typed pointers cost more than a small gradient.
_P, _I, _L, _U = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_uint32
_ARRAYS, _CHARS = ctypes.POINTER(Array), ctypes.c_char_p

_FUNCTIONS: Sequence[tuple[str, Any, Sequence[Any]]] = (
    ("hb_new", _P, (_ARRAYS, _L, _U, _CHARS, _L)),
    ("hb_rebind", _I, (_P, _ARRAYS, _L, _U)),
    ("hb_close", None, (_P,)),
    ("hb_delete", None, (_P,)),
    ("hb_error", _L, (_P, _CHARS, _L)),
    ("hb_messages", _L, (_P, _CHARS, _L)),
    ("hb_names", _L, (_P, _I, _I, _I, _CHARS, _L)),
    ("hb_dimension", _L, (_P,)),
    ("hb_log_density", _L, (_P, _I, _I, _L, _L, _P, _P, _P, _P)),
    ("hb_rng_new", _P, (_U, _U)),
    ("hb_rng_delete", None, (_P,)),
    ("hb_constrain", _L, (_P, _P, _I, _I, _L, _L, _P, _L, _P, _P)),
    ("hb_unconstrain", _I, (_P, _ARRAYS, _L, _L, _P)),
    ("hb_free_tape", None, ()),
)


class Library:
    """An open library with typed functions and a lock.

    Every call that may run the program holds ``lock``, because all threads share one tape of
    automatic differentiation. ``evaluate`` also keeps Python's own lock, because releasing it
    costs as much as a small gradient.
    """

    def __init__(self, path: Path) -> None:
        _check_content(path)
        try:
            self.call = ctypes.CDLL(str(path))
            quick = ctypes.PyDLL(str(path))
        except OSError as error:
            msg = f"{path} cannot be opened: {error}; remove it, and it is built again"
            raise BridgeError(msg) from error
        if not hasattr(self.call, "hb_interface"):
            msg = f"{path} is not a library of the bridge; build one with harness.bridge.library"
            raise BridgeError(msg)
        found = self.call.hb_interface()
        if found != INTERFACE:
            msg = f"{path} has interface {found}, this harness needs {INTERFACE}; remove the file"
            raise BridgeError(msg)
        for name, result, arguments in _FUNCTIONS:
            function = getattr(self.call, name)
            function.restype, function.argtypes = result, arguments
        self.evaluate = quick.hb_evaluate
        self.evaluate.restype, self.evaluate.argtypes = ctypes.c_double, (_P,)
        self.lock = threading.RLock()


def content_hash(path: Path) -> str:
    """Return the hash of a library's bytes, with which its file name ends."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def intact(path: Path) -> bool:
    """Return whether the bytes of a library of the harness match the hash in its name."""
    named = _NAMED.fullmatch(path.name)
    try:
        return named is not None and content_hash(path) == named["content"]
    except OSError:  # missing or unreadable
        return False


def _check_content(path: Path) -> None:
    # Opening a truncated library kills the process (SIGBUS); no exception could be caught.
    if not path.is_file():
        raise BridgeError(f"there is no library {path}; build one with harness.bridge.library")
    if not intact(path):
        msg = f"{path} is damaged or not a library of the bridge; remove it, and it is built again"
        raise BridgeError(msg)


_OPEN: dict[Path, Library] = {}
_OPENING = threading.Lock()


def opened(path: Path) -> Library:
    """Return a library, opened once per process.

    Raises
    ------
    BridgeError
        If it is damaged, not a library of the bridge, or has another interface.
    """
    path = Path(path)
    with _OPENING:
        if path not in _OPEN:
            _OPEN[path] = Library(path)
        return _OPEN[path]


def _before_fork() -> None:
    # A child has only the forking thread. It must not inherit a lock that another thread holds,
    # or a tape in the middle of a gradient.
    _OPENING.acquire()
    for library in _OPEN.values():
        library.lock.acquire()


def _after_fork() -> None:
    for library in _OPEN.values():
        library.lock.release()
    _OPENING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


def address(array: Any) -> int:
    """Return the address of a contiguous array's data, which the caller keeps alive."""
    return int(array.__array_interface__["data"][0])


def text(words: Any) -> str:
    """Return a C string as text."""
    return bytes(words.value).decode(errors="replace").strip()
