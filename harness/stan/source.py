"""What the text of a Stan program says before stanc reads it."""

from __future__ import annotations

import functools
import re
from pathlib import Path

_TOKENS = re.compile(
    r"""^[ \t]*\#include[ \t]+[<"]?([^\s">]+)[>"]?|("[^"\n]*")|//[^\n]*|\#[^\n]*|/\*.*?\*/""",
    re.MULTILINE | re.DOTALL,
)
_RANDOM = re.compile(r"[^;{}]*\b\w+_rng\s*\([^;]*;")
_DECLARED = re.compile(r"(\w+)\s*;")
_BRACKETS = re.compile(r"\[[^\[\]]*\]")


def declared_data(stan_file: Path) -> tuple[str, ...]:
    """Return the names of the variables in the program's data block."""
    block = _block(_code(stan_file), r"(?<!transformed)(?:^|\s)data")
    while _BRACKETS.search(block):
        block = _BRACKETS.sub("", block)
    return tuple(_DECLARED.findall(block))


def random_data(stan_file: Path) -> tuple[str, ...]:
    """Return the statements of ``transformed data`` that draw random numbers.

    Stan requires that a function's name ends in ``_rng`` if it, or a function that it calls, draws.
    """
    found = _RANDOM.findall(_block(_code(stan_file), r"\btransformed\s+data"))
    return tuple(" ".join(statement.split()) for statement in found)


@functools.cache
def generated_line(stan_file: Path) -> int | None:
    """Return the line on which generated quantities begin, None where there are none."""
    try:
        text = stan_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    code = _TOKENS.sub(lambda match: "\n" * match.group().count("\n"), text)
    begins = re.search(r"\bgenerated\s+quantities\s*\{", code)
    return None if begins is None else code.count("\n", 0, begins.start()) + 1


def without_generated(program: bytes) -> bytes:
    """Return a program's text without its generated quantities, unless an include has them."""
    text = program.decode(errors="surrogateescape")
    # Comments and strings become blanks of their length, so that places stay the same.
    blank = _TOKENS.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    begins = re.search(r"\bgenerated\s+quantities\s*\{", blank)
    if begins is None:
        return program
    end = _closing(blank, begins.end())
    return (text[: begins.start()] + text[end + 1 :]).encode(errors="surrogateescape")


def _code(stan_file: Path, seen: frozenset[str] = frozenset()) -> str:
    """Return a program with its includes and without comments and strings."""

    def replaced(match: re.Match[str]) -> str:
        name, string = match.groups()
        if name is None or name in seen:
            return '""' if string else " "
        return _code(stan_file.parent / name, seen | {name})

    try:
        text = stan_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # stanc reports it better
    return _TOKENS.sub(replaced, text)


def _block(code: str, name: str) -> str:
    """Return what stands in a block's braces."""
    start = re.search(rf"{name}\s*\{{", code)
    if start is None:
        return ""
    end = _closing(code, start.end())
    return code[start.end() : end]


def _closing(code: str, start: int) -> int:
    """Return where the brace closes that was opened before ``start``."""
    depth = 1
    for brace in re.finditer(r"[{}]", code[start:]):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return start + brace.start()
    return len(code)
