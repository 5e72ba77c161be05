"""Sizes that a program declares for its data, which the engine compares only as totals.

CmdStan refuses 3 × 2 numbers for ``matrix[2, 3]``; the engine would read them in another order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from harness.stan.embedded.model import EmbeddedModel
from harness.stan.source import blanked
from harness.stan.source import closing as end_of

_KEPT = re.compile(r"\b(functions|(?<!transformed\s)data)\s*\{")


def wrong_sizes(
    stan_file: Path, data: Path | bytes | None, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return the declared sizes of data that have others, by name.

    Parameters
    ----------
    stan_file
        The program.
    data
        Its data, which the engine takes.
    shapes
        Sizes of the arrays in the data, by name. Only arrays of two dimensions or more that are
        not empty can be wrong here: of others the engine checks the size, or there is nothing.

    Raises
    ------
    EngineError
        If the engine cannot say what is declared.
    """
    asked = {name: size for name, size in shapes.items() if len(size) > 1 and 0 not in size}
    if not asked:
        return {}
    sizes = " ".join(
        f"array[{len(size)}] int h{i}_ = dims({name});"
        for i, (name, size) in enumerate(asked.items())
    )

    def edit(text: str) -> str:
        code = blanked(text)
        kept = "".join(
            text[found.start() : end_of(code, found.end())] for found in _KEPT.finditer(code)
        )
        return f"{kept} parameters {{ real h_; }} generated quantities {{ {sizes} }}"

    with closing(EmbeddedModel(stan_file, data, edit=edit)) as model:
        values, _ = model.constrain(np.zeros((1, 1)), generated=True)
        names = model.constrained_names(transformed=True, generated=True)
        # Of arrays of vectors the engine's dims() has a 1 more: its columns are read by name.
        written = dict(zip(names, values[0], strict=True))
    found = {
        name: tuple(int(written[f"h{i}_.{k + 1}"]) for k in range(len(size)))
        for i, (name, size) in enumerate(asked.items())
    }
    return {name: size for name, size in found.items() if size != asked[name]}
