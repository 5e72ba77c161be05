"""What the cache holds by kind, and how it is kept small: the least recently used go first."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.stan.cache import cache_dir

KINDS = {
    "results": "runs and what was found in them",
    "data": "data given from Python, and all data as arrays",
    "references": "draws given from Python as a reference",
    "programs": "compiled programs",
    "bridge": "compiled densities",
    "embedded": "the embedded engine's loop",
    "updated": "programs rewritten for their engine",
    "unoptimised": "programs compiled in a hurry",
    "cmdstan": "CmdStan itself",
}
"""Folders of the cache, and what is in them. Others are listed by their name."""

_INSTALLED = frozenset({"cmdstan"})
_LOCKS = "locks"

RECENT_S = 3600.0
"""What was used this recently stays: a comparison that runs may need it again."""

FORGOTTEN_S = 30 * 86_400.0
"""After this long without use, data and references given from Python are removed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder of the cache that goes as a whole."""

    kind: str
    path: Path
    size: int
    """Bytes."""
    used: float
    """When it was last used, in seconds since the epoch."""


def used(path: Path) -> None:
    """Note that an entry is used; a cache that cannot be written to is no error."""
    with contextlib.suppress(OSError):
        os.utime(path)


def entries() -> list[Entry]:
    """Return everything in the cache, the least recently used first."""
    found = []
    for folder in _children(cache_dir()):
        if folder.name == _LOCKS or not folder.is_dir() or folder.is_symlink():
            continue
        # Runs lie a folder deeper, by the first letters of their keys.
        within = [folder] if folder.name != "results" else list(_children(folder))
        paths = (path for parent in within for path in _children(parent))
        found += [_entry(folder.name, path) for path in paths]
    return sorted(found, key=lambda e: (e.used, str(e.path)))


def shrink(size: int, *, now: float | None = None) -> list[Entry]:
    """Remove the least recently used entries until the rest is no larger; return what went.

    An installed CmdStan stays, and so does what was used within the last hour.

    Parameters
    ----------
    size
        Bytes that may stay, the installed CmdStan not counted.
    now
        Seconds since the epoch; by default the clock's.
    """
    before = (time.time() if now is None else now) - RECENT_S
    there = [e for e in entries() if e.kind not in _INSTALLED]
    left, gone = sum(e.size for e in there), []
    for entry in there:
        if left > size and entry.used < before and _remove(entry.path):
            left -= entry.size
            gone.append(entry)
    return gone


def clear(kind: str | None = None) -> list[Entry]:
    """Remove everything of one kind, or all but the installed CmdStan; return what went."""
    wanted = [e for e in entries() if (kind or e.kind) == e.kind]
    return [e for e in wanted if (kind or e.kind not in _INSTALLED) and _remove(e.path)]


def forget(folder: Path, *, now: float | None = None) -> None:
    """Remove files of a folder that were not used for 30 days, such as other people's data."""
    before = (time.time() if now is None else now) - FORGOTTEN_S
    for path in _children(folder):
        if path.is_file() and _entry("", path).used < before:
            _remove(path)


def _children(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder, but for what is still being written (a dot before its name)."""
    with contextlib.suppress(OSError):
        yield from (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


def _entry(kind: str, path: Path) -> Entry:
    """Measure a file or folder; links are not followed, and what vanishes counts nothing."""
    files = [path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())]
    size, last = 0, 0.0
    for file in files:
        with contextlib.suppress(OSError):
            status = file.lstat()
            size += 0 if file.is_dir() else status.st_size
            last = max(last, status.st_mtime, 0.0 if file.is_dir() else status.st_atime)
    return Entry(kind, path, size, last)


def _remove(path: Path) -> bool:
    """Remove a file or folder; a folder moves aside first, so that no half of it is found."""
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            aside = path.with_name(f".{path.name}.{os.getpid()}.gone")
            path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
    except OSError:
        return False
    return True
