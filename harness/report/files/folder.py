"""The folder that results are written to: tried before the first run, and one writer at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

LOCK = ".lock"
"""Held while results are written; the file stays, the lock ends with its process."""

ROOM = 10_000_000
"""Bytes that must fit into the folder: what the report of one model may need."""


class OutputError(OSError):
    """A folder that results cannot be written to; the message says why, and what to do."""


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Keep a folder for one comparison, and make sure that results will fit into it.

    The folder is made if it does not exist.

    Raises
    ------
    OutputError
        If it cannot be written to, has no room left, or another comparison writes into it.
    """
    ours = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _probe(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    lock = filelock.FileLock(folder / LOCK)
    try:
        # Where a file system knows no locks, files that are replaced whole must do.
        with contextlib.suppress(NotImplementedError):
            lock.acquire(timeout=0)
    except filelock.Timeout as error:
        msg = (
            f"another comparison is writing into {folder}; wait until it ends, or name another "
            "folder with --out"
        )
        raise OutputError(msg) from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    except BaseException:
        if ours:
            # Where nothing came of it, no empty folder is left.
            _remove_empty(folder)
        raise
    finally:
        lock.release()


def _remove_empty(folder: Path) -> None:
    if {path.name for path in folder.iterdir()} <= {LOCK}:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)
            folder.rmdir()


def _probe(folder: Path) -> None:
    """Write as much as a report may need, and remove it: free space does not tell of quotas."""
    path = folder / f".probe.{os.getpid()}"
    try:
        with path.open("wb") as file:
            file.write(bytes(ROOM))
            file.flush()
            os.fsync(file.fileno())
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _unwritable(folder: Path, error: OSError) -> OutputError:
    why = error.strerror or str(error)
    return OutputError(
        f"cannot write results to {folder}: {why}; name a folder with room for {ROOM // 10**6} MB "
        "that you can write to with --out"
    )
