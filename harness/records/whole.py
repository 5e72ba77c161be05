"""Files that are whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a path to write to; it takes the place of ``path`` if nothing was raised.

    The folder is made if it does not exist. A full disk or an interrupt leaves what was there.

    Raises
    ------
    OSError
        If the folder cannot be made, or the file not be put into its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 with the line ends that it has; see :func:`replaced`."""
    with replaced(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        file.write(text)
