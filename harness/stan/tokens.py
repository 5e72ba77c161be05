"""The tokens of a Stan program, with what splits them: brackets, commas, blocks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.stan.source import closing

PAIRS = {"(": ")", "[": "]", "{": "}"}
"""Opening brackets with what closes them."""

_TOKEN = re.compile(r"\d+\.?\d*(?:[eE][+-]?\d+)?|[A-Za-z]\w*|%/%|\.\*|\./|[<>=!]=|&&|\|\||\S")
_BLOCK = re.compile(
    r"\b(functions|(?:transformed\s+)?(?:data|parameters)|model|generated\s+quantities)\s*\{"
)


def parts(code: str) -> dict[str, list[str]]:
    """Return the tokens of each block of a program without comments and strings."""
    found, at = {}, 0
    while begins := _BLOCK.search(code, at):
        at = closing(code, begins.end())
        found[" ".join(begins[1].split())] = _TOKEN.findall(code[begins.end() : at - 1])
    return found


def close(tokens: Sequence[str], i: int) -> int:
    """Return where the bracket at ``i`` closes, or the last place."""
    depth, opens, closes = 0, tokens[i], PAIRS[tokens[i]]
    for j in range(i, len(tokens)):
        depth += (tokens[j] == opens) - (tokens[j] == closes)
        if not depth:
            return j
    return len(tokens) - 1


def split(tokens: Sequence[str], marks: str = ",") -> list[list[str]]:
    """Return the parts of tokens between marks outside of brackets; none of no tokens."""
    found: list[list[str]] = [[]]
    i = 0
    while i < len(tokens):
        if tokens[i] in marks:
            found.append([])
            i += 1
            continue
        end = close(tokens, i) if tokens[i] in PAIRS else i
        found[-1] += tokens[i : end + 1]
        i = end + 1
    return found if tokens else []


def after_bounds(tokens: Sequence[str], i: int) -> int:
    """Return where the bounds of a type, ``<lower=0>``, end that begin at ``i``."""
    j = i + 1
    while j < len(tokens) and tokens[j] != ">":
        j = close(tokens, j) + 1 if tokens[j] in PAIRS else j + 1
    return j
