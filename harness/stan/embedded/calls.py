"""How a service of the embedded engine is called: options, text, errors, and how it is stopped."""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.records.faults import names_memory
from harness.records.text import head
from harness.stan.density import EngineError
from harness.stan.embedded.library import Sink

if TYPE_CHECKING:
    from types import FrameType

    from harness.records import FloatArray
    from harness.stan.embedded.model import EmbeddedModel

ERROR_BYTES = 8192

SAID_LINES = 6
"""An optimiser that fails says so once for each step that it tried."""

_Log = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_char_p, ctypes.c_void_p)
_Poll = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_SEED = ("seed", ctypes.c_uint32)
LBFGS = ("init_alpha", "tol_obj", "tol_rel_obj", "tol_grad", "tol_rel_grad", "tol_param")
_Field = tuple[str, Any]


def _whole(*names: str) -> list[_Field]:
    return [(n, ctypes.c_int) for n in names]


def _real(*names: str) -> list[_Field]:
    return [(n, ctypes.c_double) for n in names]


def _pointer(*names: str) -> list[_Field]:
    return [(n, ctypes.c_void_p) for n in names]


# The layouts of ABI version 2. tests/test_services.py compares their defaults with Stan's: a field
# at another place would be misread in silence.


class VariationalOptions(ctypes.Structure):
    """``stanli_variational_opts``."""

    _fields_ = [
        _SEED,
        *_whole("chain_id", "algorithm", "iter", "grad_samples", "elbo_samples"),
        *_real("eta"),
        *_whole("adapt_engaged", "adapt_iter"),
        *_real("tol_rel_obj"),
        *_whole("eval_elbo", "output_samples"),
        *_real("init_radius"),
        *_pointer("init"),
    ]


class PathfinderOptions(ctypes.Structure):
    """``stanli_pathfinder_opts``."""

    _fields_ = [
        _SEED,
        *_whole("chain_id", "num_paths", "num_draws", "num_psis_draws", "num_elbo_draws"),
        *_whole("max_lbfgs_iters", "history_size"),
        *_real(*LBFGS, "init_radius"),
        *_pointer("inits"),
        *_whole("psis_resample", "calculate_lp", "refresh"),
    ]


class LaplaceOptions(ctypes.Structure):
    """``stanli_laplace_opts``."""

    _fields_ = [_SEED, *_whole("draws", "jacobian", "calculate_lp", "refresh")]


class OptimizeOptions(ctypes.Structure):
    """``stanli_optimize_opts``."""

    _fields_ = [
        _SEED,
        *_whole("chain_id", "iter", "jacobian"),
        *_real(*LBFGS),
        *_whole("history_size"),
        *_real("init_radius"),
        *_pointer("init"),
    ]


class Line(NamedTuple):
    """What a service printed, and when."""

    elapsed_s: float
    level: int
    """0 information, 1 a warning, 2 an error."""
    text: str


class ServiceError(EngineError):
    """A service that ended with an error, in Stan's words; ``lines`` are what it printed."""

    def __init__(self, words: str, lines: Sequence[Line] = ()) -> None:
        super().__init__(words)
        self.lines = tuple(lines)


class ServiceTimeoutError(ServiceError):
    """A service that was stopped because it took longer than allowed."""


def text_of(lines: Sequence[Line]) -> str:
    """Return printed lines as one text."""
    return "\n".join(line.text for line in lines)


def filled(model: EmbeddedModel, kind: type[Any], service: str) -> Any:
    """Return a service's options with Stan's defaults, which the engine fills in.

    Raises
    ------
    EngineError
        If the engine fills more than the structure holds.
    """
    size, room = ctypes.sizeof(kind), 256
    buffer = ctypes.create_string_buffer(b"\xa5" * (size + room), size + room)
    fill = model.library.call[f"{service}_opts_init"]
    fill.restype = None
    fill(buffer)
    if buffer.raw[size:] != b"\xa5" * room:
        raise EngineError(f"{service} of the embedded engine has options of another layout")
    return kind.from_buffer_copy(buffer)


def changed(options: Any, **more: Any) -> Any:
    """Change some options."""
    for name, value in more.items():
        number = int(value) if isinstance(value, bool) else value
        getattr(options, name)  # a structure takes any attribute
        setattr(options, name, number)
        # ctypes keeps the lowest bits of a number that is too large.
        if getattr(options, name) != number:
            raise EngineError(f"{name} is {value}: too large for the embedded engine")
    return options


def address(array: FloatArray) -> ctypes.c_void_p:
    """Return the address of an array's numbers."""
    return ctypes.c_void_p(array.ctypes.data)


def argument(value: Any) -> Any:
    """Return what ctypes passes: of an array, its address."""
    return address(value) if isinstance(value, np.ndarray) else value


def said(words: Any) -> str:
    """Return the text of an error buffer: its first lines, and each of them once."""
    text = str(words.value.decode(errors="replace")).strip()
    return head("\n".join(dict.fromkeys(text.split("\n"))), SAID_LINES)


def serve(
    model: EmbeddedModel, name: str, before: Sequence[Any], limit_s: float
) -> tuple[tuple[Line, ...], str]:
    """Call a service whose last arguments are a log, a poll and an error buffer.

    Return what it logged, and what the program printed.
    """
    begin = time.perf_counter()
    lines: list[Line] = []

    def log(level: int, text: bytes | None, _: int | None) -> None:
        words = (text or b"").decode(errors="replace")
        lines.append(Line(time.perf_counter() - begin, level, words))

    words = ctypes.create_string_buffer(ERROR_BYTES)
    stopped = ctypes.c_int(0)
    with owned(model) as printed, stopping(limit_s) as stopper:
        failed = model.library.call[name](
            ctypes.c_void_p(model.handle), *map(argument, before), _Log(log), None, stopper.poll,
            None, ctypes.byref(stopped), words, ctypes.c_size_t(ERROR_BYTES),
        )  # fmt: skip
    stopper.check(stopped.value, lines)
    if failed and names_memory(said(words)):
        raise MemoryError(said(words))
    if failed:
        raise ServiceError(said(words) or f"{name} ended with code {failed}", lines)
    return tuple(lines), printed.taken()


@contextmanager
def owned(model: EmbeddedModel) -> Iterator[Sink]:
    """Hold the model's lock and yield what its program prints meanwhile.

    A thread in which Stan's autodiff would write to nowhere is refused.
    """
    if threading.current_thread() is not model.library.loaded_by:
        msg = (
            "Stan's services in the embedded engine run only in the thread that loaded it: call "
            "them from there, or from a process of their own"
        )
        raise EngineError(msg)
    printed = Sink()
    with model.lock:
        here = model.library.printed
        before, here.to = here.to, printed
        try:
            yield printed
        finally:
            here.to = before


class Stopper:
    """Stops a service after some seconds, or at Ctrl-C.

    Stan asks about every 0.1 s, in the thread that called. Python would raise KeyboardInterrupt
    inside that call from C, where it is lost: the signal is only noted there.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._ends = time.perf_counter() + limit_s
        self.interrupted: tuple[int, FrameType | None] | None = None
        self.poll = _Poll(self._asked)
        self.before: Callable[[int, FrameType | None], Any] | int | None = None

    def note(self, number: int, frame: FrameType | None) -> None:
        """Be the handler of a signal."""
        self.interrupted = (number, frame)

    def _asked(self, _: int | None) -> int:
        return int(self.interrupted is not None or time.perf_counter() > self._ends)

    def check(self, stopped: int, lines: Sequence[Line]) -> None:
        """Raise what ended the service early."""
        if self.interrupted is not None:
            if callable(self.before):
                self.before(*self.interrupted)
            raise KeyboardInterrupt
        if stopped:
            raise ServiceTimeoutError(f"stopped after {self._limit_s:g} s", lines)


@contextmanager
def stopping(limit_s: float) -> Iterator[Stopper]:
    """Yield what stops a service, and handle Ctrl-C by it in the main thread."""
    stopper = Stopper(limit_s)
    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    stopper.before = signal.signal(signal.SIGINT, stopper.note)
    try:
        yield stopper
    finally:
        signal.signal(signal.SIGINT, stopper.before or signal.SIG_DFL)
