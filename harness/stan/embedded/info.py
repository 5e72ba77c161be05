"""What a Stan program declares, read from its text once the engine's stanc has accepted it.

CmdStan's ``stanc --info`` says the same, but needs CmdStan.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from harness.stan.compile import Declaration, ProgramInfo
from harness.stan.embedded.library import translated
from harness.stan.source import blocks

_VECTORS = (
    "simplex|ordered|positive_ordered|unit_vector|sum_to_zero_vector|(?:complex_)?(?:row_)?vector"
)
_MATRICES = (
    "cov_matrix|corr_matrix|cholesky_factor_corr|cholesky_factor_cov|row_stochastic_matrix"
    "|column_stochastic_matrix|sum_to_zero_matrix|(?:complex_)?matrix"
)

_INNERMOST = re.compile(
    r"\([^][(){}]*\)|\[([^][(){}]*)\]|(?P<head>[)\x01;{]|\belse|^)?\s*\{[^][(){}]*\}"
)
_DECLARED = re.compile(
    rf"""\s*(?:array\s*\x02(?P<array>\d+)\x03)?
    \s*(?:(?P<matrix>{_MATRICES})|(?P<vector>{_VECTORS})|(?P<scalar>int|real|complex|tuple))\b
    [\s\x01]*(?:<[^>]*>)?\s*(?:\x02\d+\x03)?(?P<names>.*)""",
    re.VERBOSE | re.DOTALL,
)
_NAMED = re.compile(r"\s*(\w+)\s*(?:\x02(\d+)\x03)?")


def program_info(stan_file: Path) -> ProgramInfo:
    """Return the declarations of a program.

    Raises
    ------
    harness.stan.ProgramError
        If the engine's stanc rejects the program, with its message.
    EngineError
        If there is no engine.
    """
    translated(stan_file)
    found = blocks(stan_file)
    return ProgramInfo(
        inputs=dict(_declared(found.get("data", ""))),
        parameters=dict(_declared(found.get("parameters", ""))),
        transformed_parameters=dict(_declared(found.get("transformed parameters", ""))),
        generated_quantities=dict(_declared(found.get("generated quantities", ""))),
    )


def _declared(block: str) -> Iterator[tuple[str, Declaration]]:
    """Return the variables that a block itself declares; statements inside it may have others."""
    before = ""
    while block != before:
        before, block = block, _INNERMOST.sub(_collapsed, block)
    for statement in block.split(";"):
        if found := _DECLARED.match(statement):
            own = 2 if found["matrix"] else 1 if found["vector"] else 0
            word = found["matrix"] or found["vector"] or found["scalar"]
            kind = "complex" if word.startswith("complex") else "real"
            if found["scalar"]:
                kind = found["scalar"]
            for named in found["names"].split(","):
                if name := _NAMED.match(named):
                    dimensions = int(found["array"] or 0) + int(name[2] or 0) + own
                    yield name[1], {"type": kind, "dimensions": dimensions}


def _collapsed(match: re.Match[str]) -> str:
    """Return a mark for a pair of brackets: how many indices, or that a statement ends."""
    text = match.group()
    if text.startswith("("):
        return "\x01"
    if text.startswith("["):
        return f"\x02{match[1].count(',') + 1}\x03"
    head = match["head"]
    # Behind a head the braces hold statements; elsewhere they are an array's elements.
    return "" if head is None else f"{head};"
