"""Which errors are the machine's: they say nothing about a method or a model."""

from __future__ import annotations

import errno
import os
import signal

_ERRNOS = frozenset(
    number
    for name in (
        "ENOSPC",
        "EDQUOT",
        "EFBIG",
        "EMFILE",
        "ENFILE",
        "ENOMEM",
        "EAGAIN",
        "EIO",
        "EROFS",
        "ENOBUFS",
    )
    if (number := getattr(errno, name, None)) is not None
)
"""Disk, quota, open files, memory, processes, a failing disk."""

_WORDS = (
    *(os.strerror(number) for number in sorted(_ERRNOS)),
    "std::bad_alloc",
    "virtual memory exhausted",
    "Killed signal terminated program",
)
"""How the same faults read where only words are left: the loader's, a compiler's, CmdStan's."""

_OWN_SIGNALS = frozenset(
    number
    for name in ("SIGSEGV", "SIGABRT", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP")
    if (number := getattr(signal, name, None)) is not None
)
"""With these a program ends itself."""


class MachineFaultError(RuntimeError):
    """The machine, and no program or method, kept something from being done; it may work later."""


def named_fault(text: str) -> str:
    """Return the line of a program's output that names a fault of the machine; empty if none."""
    return next((s.strip() for s in text.splitlines() if any(w in s for w in _WORDS)), "")


def fault_words(error: BaseException) -> str:
    """Return a machine's fault in a few words, with the file that it is about."""
    if isinstance(error, MachineFaultError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        about = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{about}"
    return f"{type(error).__name__}: {error}".rstrip(": ")


def machine_fault(error: BaseException) -> bool:
    """Tell whether an error, or what caused it, is the machine's: it may not happen again."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError | MachineFaultError):
            return True
        if isinstance(seen, OSError):
            # The loader's errors have no number.
            known = seen.errno in _ERRNOS if seen.errno else bool(named_fault(str(seen)))
            if known:
                return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def sent(number: int) -> bool:
    """Tell whether somebody else sent a signal: the system for memory, an operator, a limit."""
    return number not in _OWN_SIGNALS
