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

_MEMORY = (os.strerror(errno.ENOMEM), "std::bad_alloc", "virtual memory exhausted")

_WORDS = (
    *(os.strerror(number) for number in sorted(_ERRNOS)),
    *_MEMORY,
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


def names_memory(text: str) -> bool:
    """Tell whether a program's output says that it got no more memory."""
    return any(words in text for words in _MEMORY)


def memory_fault(error: BaseException) -> bool:
    """Tell whether an error, or what caused it, is that there was no more memory."""
    fault = _fault_of(error)
    if isinstance(fault, OSError) and fault.errno is not None:
        return fault.errno == errno.ENOMEM
    return isinstance(fault, MemoryError) or (fault is not None and names_memory(str(fault)))


def fault_words(error: BaseException) -> str:
    """Return a machine's fault in a few words, with the file that it is about."""
    fault = _fault_of(error) or error
    if isinstance(fault, MachineFaultError):
        return str(fault)
    if isinstance(fault, OSError) and fault.strerror:
        about = f" ({fault.filename})" if fault.filename else ""
        return f"{fault.strerror}{about}"
    return f"{type(fault).__name__}: {fault}".rstrip(": ")


def machine_fault(error: BaseException) -> bool:
    """Tell whether an error, or what caused it, is the machine's: it may not happen again."""
    return _fault_of(error) is not None


def _fault_of(error: BaseException) -> BaseException | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError | MachineFaultError):
            return seen
        if isinstance(seen, OSError) and (
            # The loader's errors have no number.
            seen.errno in _ERRNOS or (seen.errno is None and named_fault(str(seen)))
        ):
            return seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None


def sent(number: int) -> bool:
    """Tell whether somebody else sent a signal: the system for memory, an operator, a limit."""
    return number not in _OWN_SIGNALS
