"""What the text of a Stan program says before stanc reads it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

_TOKENS = re.compile(
    r"""^[ \t]*\#include[ \t]+[<"]?([^\s">]+)[>"]?|("[^"\n]*")|//[^\n]*|\#[^\n]*|/\*.*?\*/""",
    re.MULTILINE | re.DOTALL,
)
_STRING = re.compile(r'"[^"\n]*"')
_RANDOM = re.compile(r"[^;{}]*\b\w+_rng\s*\([^;]*;")
_GENERATED = re.compile(r"\bgenerated\s+quantities\s*\{")
_DECLARED = re.compile(r"(\w+)\s*;")
_BRACKETS = re.compile(r"\[[^\[\]]*\]")


def declared_data(stan_file: Path) -> tuple[str, ...]:
    """Return the names of the variables in the program's data block."""
    block = blocks(stan_file).get("data", "")
    while _BRACKETS.search(block):
        block = _BRACKETS.sub("", block)
    return tuple(_DECLARED.findall(block))


def random_data(stan_file: Path) -> tuple[str, ...]:
    """Return the statements of ``transformed data`` that draw random numbers.

    Stan requires that a function's name ends in ``_rng`` if it, or a function that it calls, draws.
    """
    found = _RANDOM.findall(blocks(stan_file).get("transformed data", ""))
    return tuple(" ".join(statement.split()) for statement in found)


@functools.cache
def generated_line(stan_file: Path) -> int | None:
    """Return the line on which generated quantities begin, None where there are none."""
    try:
        text = stan_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    begins = _GENERATED.search(_masked(text))
    return None if begins is None else text.count("\n", 0, begins.start()) + 1


def expanded(stan_file: Path) -> str:
    """Return a program's text with its includes and without comments."""
    return _expanded(stan_file, lambda string: string)


def blanked(text: str) -> str:
    """Return a text without what stands in strings; places stay the same."""
    return _STRING.sub(lambda match: " " * len(match.group()), text)


def without_generated(text: str) -> str:
    """Return an expanded program without its generated quantities."""
    code = blanked(text)
    begins = _GENERATED.search(code)
    return text if begins is None else text[: begins.start()] + text[closing(code, begins.end()) :]


def bare(stan_file: Path) -> str | None:
    """Return a program's own text with empty lines in place of its generated quantities.

    So other lines keep their numbers in messages, and includes stay. None where the file has no
    such block, or has not all of it because an include holds an end of it.
    """
    try:
        text = stan_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None  # stanc reports it better
    code = _masked(text)
    begins = _GENERATED.search(code)
    if begins is None:
        return None
    end = closing(code, begins.end())
    block = code[begins.start() : end]
    # It is the last block of a program: what comes behind its bracket would be a part of it too.
    whole = block.count("{") == block.count("}") and not code[end:].strip()
    if not whole or "#include" in text[end:]:
        return None
    return text[: begins.start()] + "\n" * block.count("\n") + text[end:]


def closing(code: str, start: int, pair: str = "{}") -> int:
    """Return the place after the bracket that closes what was opened before ``start``."""
    depth = 1
    for bracket in re.finditer(f"[{re.escape(pair)}]", code[start:]):
        depth += 1 if bracket.group() == pair[0] else -1
        if depth == 0:
            return start + bracket.end()
    return len(code)


def _masked(text: str) -> str:
    """Return a text with spaces for comments, strings and includes; places stay the same."""
    return _TOKENS.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def _code(stan_file: Path) -> str:
    """Return a program with its includes and without comments and strings."""
    return _expanded(stan_file, lambda _: '""')


def _expanded(
    stan_file: Path, string: Callable[[str], str], seen: frozenset[str] = frozenset()
) -> str:
    def replaced(match: re.Match[str]) -> str:
        name, text = match.groups()
        if text:
            return string(text)
        if name is None or name in seen:
            return " "
        return _expanded(stan_file.parent / name, string, seen | {name})

    try:
        text = stan_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # stanc reports it better
    return _TOKENS.sub(replaced, text)


_BLOCK = re.compile(r"\b((?:transformed\s+)?(?:data|parameters)|generated\s+quantities)\s*\{")


def blocks(stan_file: Path) -> dict[str, str]:
    """Return what stands in each block of declarations, without comments and strings."""
    code, found, at = _code(stan_file), {}, 0
    while begins := _BLOCK.search(code, at):
        at = closing(code, begins.end())
        found[" ".join(begins[1].split())] = code[begins.end() : at - 1]
    return found
