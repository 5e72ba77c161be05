"""stanli's shared library in ctypes: opened once per process, at the version that was tested.

The library has Stan's compiler and math kernels. It is young, so no other version than the pinned
one is used, and none with another binary interface.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from harness.stan.cache import ProgramError
from harness.stan.compile import program_hash
from harness.stan.density import EngineError
from harness.stan.source import expanded

VERSION = "0.24.0"
"""The version of stanli, as in pyproject.toml."""

STAN_VERSION = (2, 40)
"""The version of Stan whose language and services this version of stanli has."""

STAN = ".".join(map(str, STAN_VERSION))
"""The same in words."""

ABI = 2
"""Version of the C interface; libraries with another version are refused."""

LIBRARY = "HARNESS_EMBEDDED_LIBRARY"
"""An environment variable that names another library file, for tests of what a wrong one does."""

WORDS = 1 << 14
"""The largest number of bytes of a message."""

MOST_PRINTED = 1 << 16
"""Characters that are kept of what a program prints, so that printing cannot fill the memory."""


class ModelOptions(ctypes.Structure):
    """How a program is bound to its data."""

    _fields_ = (
        ("seed", ctypes.c_uint32),
        ("threads_per_chain", ctypes.c_int),
        ("fast_math", ctypes.c_int),
    )


class SampleOptions(ctypes.Structure):
    """Options of NUTS."""

    _fields_ = (
        ("seed", ctypes.c_uint32),
        ("chains", ctypes.c_int),
        ("chain_id", ctypes.c_int),
        ("warmup", ctypes.c_int),
        ("samples", ctypes.c_int),
        ("thin", ctypes.c_int),
        ("delta", ctypes.c_double),
        ("max_depth", ctypes.c_int),
        ("save_warmup", ctypes.c_int),
        ("init_radius", ctypes.c_double),
        ("inits", ctypes.c_void_p),
        ("num_threads", ctypes.c_int),
    )


class MetricOptions(ctypes.Structure):
    """Metric and step size of NUTS."""

    _fields_ = (
        ("metric", ctypes.c_int),
        ("inv_metric", ctypes.c_void_p),
        ("step_size", ctypes.c_double),
        ("adapt_engaged", ctypes.c_int),
        ("adapted_step_size", ctypes.c_void_p),
        ("adapted_inv_metric", ctypes.c_void_p),
    )


class SampleReport(ctypes.Structure):
    """What a chain of NUTS reports."""

    _fields_ = (
        ("warmup_seconds", ctypes.c_double),
        ("sampling_seconds", ctypes.c_double),
        ("n_divergent", ctypes.c_int64),
        ("n_max_treedepth", ctypes.c_int64),
    )


_Print = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)

# Arrays are passed as addresses: typed pointers cost more than a small gradient.
_P, _I, _L, _U, _B = (
    ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_uint32, ctypes.c_bool,
)  # fmt: skip
_S, _N = ctypes.c_char_p, ctypes.c_size_t

_FUNCTIONS: Sequence[tuple[str, Any, Sequence[Any]]] = (
    ("stanli_stan_to_mir_with_opts", _P, (_S, ctypes.POINTER(_S), _N, _I, _S, _N)),
    ("stanli_string_free", None, (_P,)),
    ("stanli_build_id", _S, ()),
    ("stanli_exact_lp", _I, ()),
    ("stanli_thread_safe", _I, ()),
    ("stanli_model_new_with_opts", _P, (_S, _S, _P, _S, _N)),
    ("stanli_model_free", None, (_P,)),
    ("stanli_warnings", _S, (_P,)),
    ("stanli_transformed_data_rng", _I, (_P,)),
    ("stanli_n_unconstrained", _L, (_P,)),
    ("stanli_n_constrained", _L, (_P,)),
    ("stanli_constrained_name", _S, (_P, _L)),
    ("stanli_grad", _I, (_P, _P, _P, _P)),
    ("stanli_constrain", _I, (_P, _P, _P)),
    ("stanli_unconstrain_inits", _I, (_P, _S, _P, _S, _N)),
    ("stanli_wa_n_columns", _L, (_P,)),
    ("stanli_wa_n_generated_start", _L, (_P,)),
    ("stanli_wa_column_name", _S, (_P, _L)),
    ("stanli_wa_seed", _I, (_P, _U)),
    ("stanli_wa_row", _I, (_P, _P, _P)),
    ("stanli_sample_opts_init", None, (_P,)),
    ("stanli_metric_opts_init", None, (_P,)),
    ("stanli_n_stored_draws", _L, (_P,)),
    (
        "stanli_sample_multi_metric",
        _I,
        (_P, _P, _P, _I, _P, _P, _P, _P, _P, _P, _P, _P, _P, _S, _N),
    ),
    ("bs_model_construct", _P, (_S, _U, _P)),
    ("bs_model_destruct", None, (_P,)),
    ("bs_free_error_msg", None, (_P,)),
    ("bs_param_unc_names", _S, (_P,)),
    ("bs_rng_construct", _P, (_U, _P)),
    ("bs_rng_destruct", None, (_P,)),
    ("bs_param_constrain", _I, (_P, _B, _B, _P, _P, _P, _P)),
    ("bs_set_print_callback", _I, (_Print, _P)),
)


class Sink:
    """What a program prints, up to some size."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0

    def add(self, text: str) -> None:
        """Keep a text."""
        if self._size < MOST_PRINTED:
            self._parts.append(text)
            self._size += len(text)

    def taken(self) -> str:
        """Return what was printed since this was last asked."""
        found = "".join(self._parts).strip()
        self._parts.clear()
        self._size = 0
        return found


class Printed(threading.local):
    """Where what a program prints on this thread goes."""

    to: Sink | None = None


class Locked(Protocol):
    """A model whose calls hold a lock."""

    lock: threading.RLock


class Library:
    """The open library with typed functions."""

    def __init__(self, path: Path) -> None:
        try:
            self.call = ctypes.CDLL(str(path))
            abi = self.call.stanli_abi_version()
        except (OSError, AttributeError) as error:
            raise EngineError(f"{path} cannot be used: {error}") from error
        if abi != ABI:
            msg = f"{path} has interface {abi}, this harness needs {ABI}"
            raise EngineError(msg)
        for name, result, arguments in _FUNCTIONS:
            function = getattr(self.call, name)
            function.restype, function.argtypes = result, arguments
        if not (self.call.stanli_exact_lp() and self.call.stanli_thread_safe()):
            raise EngineError(f"{path} was built without exact densities or without threads")
        self.build = self.call.stanli_build_id().decode()
        # Stan's ADVI, Pathfinder, Laplace and optimisation have a tape in this thread only.
        self.loaded_by = threading.current_thread()
        self.printed = Printed()
        self.making = threading.RLock()  # stanc and loading are not known to be safe in threads
        self.models: weakref.WeakSet[Locked] = weakref.WeakSet()
        # The library calls it as long as it is open, which is to the process's end.
        self._print = _Print(self._keep)
        self.call.bs_set_print_callback(self._print, None)

    def _keep(self, text: int | None, size: int) -> None:
        to = self.printed.to
        if to is not None and text:
            to.add(ctypes.string_at(text, size).decode(errors="replace"))


def version() -> str:
    """Return the engine's name and version, on which results depend."""
    return f"stanli {VERSION}"


@functools.cache
def available() -> str:
    """Say why the embedded engine cannot be used; empty if it can."""
    try:
        opened()
    except EngineError as error:
        return str(error)
    return ""


@functools.cache
def opened() -> Library:
    """Return the library, opened once per process.

    Raises
    ------
    EngineError
        If it is not installed, or is of another version or interface.
    """
    return Library(path())


def path() -> Path:
    """Return the library's file.

    Raises
    ------
    EngineError
        If stanli is not installed, or not at the tested version.
    """
    if named := os.environ.get(LIBRARY):
        return Path(named)
    # Found, not imported: stanli's Python part opens the library with types of its own.
    found = importlib.util.find_spec("stanli")
    if found is None or found.origin is None:
        raise EngineError("stanli is not installed")
    have = metadata.version("stanli")
    if have != VERSION:
        raise EngineError(f"stanli {have} is installed, this harness needs {VERSION}")
    names = {"darwin": "libstanli.dylib", "win32": "stanli.dll"}
    return Path(found.origin).parent / "_bin" / names.get(sys.platform, "libstanli.so")


def translated(stan_file: Path, edit: Callable[[str], str] | None = None) -> bytes:
    """Return a program in the engine's own form, made once per process for the same text.

    Includes are searched in the program's folder. ``edit`` changes the text, with its includes.

    Raises
    ------
    harness.stan.ProgramError
        If the program cannot be read, or the engine's stanc rejects it, with its message.
    """
    return _translated(stan_file, edit, program_hash(stan_file))


@functools.lru_cache(maxsize=64)
def _translated(stan_file: Path, edit: Callable[[str], str] | None, _: str) -> bytes:
    text = stan_file.read_bytes() if edit is None else edit(expanded(stan_file)).encode()
    call = opened().call
    words = ctypes.create_string_buffer(WORDS)
    folders = (ctypes.c_char_p * 1)(os.fsencode(stan_file.absolute().parent))
    with opened().making:
        made = call.stanli_stan_to_mir_with_opts(text, folders, 1, 0, words, WORDS)
    if not made:
        said = words.value.decode(errors="replace").strip()
        raise ProgramError(said.replace("'string'", f"'{stan_file}'"))
    try:
        return ctypes.string_at(made)
    finally:
        call.stanli_string_free(made)


_HELD: list[threading.RLock] = []


def _before_fork() -> None:
    # A child has only the forking thread. It must not inherit a lock that another thread holds,
    # or a model in the middle of a gradient.
    if opened.cache_info().currsize:
        engine = opened()
        _HELD.append(engine.making)
        engine.making.acquire()
        for model in list(engine.models):
            _HELD.append(model.lock)
            model.lock.acquire()


def _after_fork() -> None:
    while _HELD:
        _HELD.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
