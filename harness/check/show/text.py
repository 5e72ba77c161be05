"""Text from elsewhere (names, messages, programs), made fit to stand in a table or a file."""

from __future__ import annotations

import re

# What XML forbids, and what moves a terminal's cursor or changes its colours.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_BREAKS = re.compile("\r\n?|\x85|\u2028|\u2029")


def clean(text: str) -> str:
    """Return the text with line feeds as its only breaks, and no control characters but tabs."""
    return _CONTROL.sub("", _BREAKS.sub("\n", text))


def one_line(text: str) -> str:
    """Return the clean text on one line, without spaces at its ends."""
    return " ".join(clean(text).split())


def clip(text: str, most: int) -> str:
    """Return at most so many characters, the last of them an ellipsis where some are lost."""
    return text if len(text) <= most else text[: most - 1] + "…"


def count(n: int, noun: str) -> str:
    """Write ``1 figure``, ``2 figures``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def head(text: str, lines: int) -> str:
    """Return the first lines, and how many more there are."""
    all_lines = clean(text).rstrip("\n").split("\n")
    more = len(all_lines) - lines
    if more <= 0:
        return "\n".join(all_lines)
    return "\n".join([*all_lines[:lines], f"… {count(more, 'more line')}"])
