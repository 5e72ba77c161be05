"""The Stan program, coloured by Pygments."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers.modeling import StanLexer


class Program(NamedTuple):
    """A program's file name, its number of lines and its coloured text."""

    name: str
    lines: int
    html: Markup


def program(path: Path) -> Program:
    """Return the program for display, or why it could not be read."""
    if path == Path():
        return Program("", 0, escape("It was not given: draws were judged without it."))
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return Program(path.name, 0, escape(f"The program could not be read: {error}"))
    coloured = highlight(text, StanLexer(), HtmlFormatter(nowrap=True))
    # Pygments escapes the program's text itself.
    return Program(path.name, len(text.splitlines()), Markup(coloured.rstrip()))  # noqa: S704
