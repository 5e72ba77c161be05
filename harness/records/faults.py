"""Which errors are the machine's: they say nothing about a method or a model."""

from __future__ import annotations

import errno
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

_OWN_SIGNALS = frozenset(
    number
    for name in ("SIGSEGV", "SIGABRT", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP")
    if (number := getattr(signal, name, None)) is not None
)
"""With these a program ends itself."""


def machine_fault(error: BaseException) -> bool:
    """Tell whether an error, or what caused it, is the machine's: it may not happen again."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError):
            return True
        if isinstance(seen, OSError) and seen.errno in _ERRNOS:
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def sent(number: int) -> bool:
    """Tell whether somebody else sent a signal: the system for memory, an operator, a limit."""
    return number not in _OWN_SIGNALS
