"""What comes from strangers is checked where it enters: the size of files, JSON, names of files.

Results folders, baselines, model folders and databases may be anybody's. Each function refuses
with a ``ValueError`` of one line; the readers put the file's name and what to do before it.
"""

from __future__ import annotations

import json
import re
import stat
import sys
import zipfile
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 30
"""Bytes of a file of numbers: data, results. What people write by hand is far smaller."""

MOST_TEXT = 1 << 24
"""Bytes of a file that a person writes: ``model.toml``, a record of a database, a baseline."""

LONGEST_NAME = 100
"""Bytes of a name that becomes a file's; suffixes are added, and systems allow 255."""

MOST_SEEDS = 1000
MOST_SEED = 10**6
"""The number of a first seed."""
MOST_JOBS = 1024
MOST_GB = 1e6
MOST_SECONDS = 1e7
"""Four months; what a system can wait for ends not far beyond."""

# Letters that turn others around; a name with one reads as another name.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_SEPARATORS = "/\\"


def file_name(name: object) -> str:
    """Return a name that a file or folder can have on its own, inside the folder it is put into.

    Raises
    ------
    ValueError
        If it is no text, empty, too long, begins with a dot, or has separators, control or
        bidirectional characters.
    """
    if not isinstance(name, str):
        raise ValueError(f"a name is {type(name).__name__}; allowed: text")  # noqa: TRY004 - untrusted data
    if not name:
        raise ValueError("a name is empty")
    size = len(name.encode("utf-8", "surrogatepass"))
    if size > LONGEST_NAME:
        raise ValueError(f"the name {name[:20]!a}… has {size} bytes; allowed: {LONGEST_NAME}")
    if name.startswith("."):
        raise ValueError(f"the name {name!a} begins with a dot")
    if any(c in _SEPARATORS for c in name):
        raise ValueError(f"the name {name!a} has a separator of folders")
    if _UNSEEN.search(name):
        raise ValueError(f"the name {name!a} has control or bidirectional characters")
    return name


def inside(path: Path, folder: Path) -> Path:
    """Return a path if it stays inside a folder, wherever links lead.

    Raises
    ------
    ValueError
        If it leads out.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{ascii(str(path))[1:-1]} leads out of {folder}")
    return path


def is_file(path: Path) -> bool:
    """Tell whether there is a file; a name that no file can have is none's."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder; a name that no folder can have is none's."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file that is one, and not too large.

    Raises
    ------
    ValueError
        If it is larger, or no file (a device or a pipe might never end).
    OSError
        If it cannot be read.
    """
    status = path.stat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise ValueError("it is no regular file")
    if status.st_size > most:
        raise ValueError(f"it has {status.st_size} bytes; allowed: {most}")
    return path.read_bytes()


def unpacked(archive: zipfile.ZipFile, name: str, most: int = MOST_BYTES) -> bytes:
    """Return one file of an archive, unless it is larger unpacked than it may be.

    Raises
    ------
    ValueError
        If it is larger. Python unpacks no more than the size that is checked.
    """
    size = archive.getinfo(name).file_size
    if size > most:
        raise ValueError(f"it has {size} bytes unpacked; allowed: {most}")
    return archive.read(name)


def parse_json(content: bytes | str, *, constants: bool = True) -> Any:
    """Return what JSON holds; every key once, and ``NaN`` and the like only with ``constants``.

    Raises
    ------
    ValueError
        If it is no JSON (then a ``json.JSONDecodeError``) or no UTF-8, a key stands twice, it is
        nested too deeply, or a whole number has thousands of digits.
    """
    text = content.decode() if isinstance(content, bytes) else content
    options: dict[str, Any] = {} if constants else {"parse_constant": _refuse}
    try:
        return json.loads(text, object_pairs_hook=_once, **options)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if "integer string conversion" in str(error):
            most = sys.get_int_max_str_digits()
            raise ValueError(f"a whole number has more than {most} digits") from error
        raise


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice: a merge that kept both sides, or a mistake."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!a:.60} stands twice")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")
