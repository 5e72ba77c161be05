"""Data whose sizes are not the declared ones, where a compiled program is not there to say so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.records import Program
from harness.stan import ProgramInfo
from harness.stan.embedded import wrong_sizes


def check_sizes(
    program: Program, data_file: Path | None, data: Mapping[str, Any], info: ProgramInfo
) -> str:
    """Compare the sizes of data with those that an embedded program declares for them.

    Returns
    -------
    str
        What is wrong, empty if nothing is.

    Raises
    ------
    harness.stan.density.EngineError
        If the engine cannot say what is declared.
    """
    shapes = {
        name: np.shape(data[name])
        for name, declared in info.inputs.items()
        if declared["type"] in {"int", "real"} and declared["dimensions"] > 1
    }
    wrong = wrong_sizes(program.embedded_file, data_file, shapes)
    where = "" if data_file is None else f" in {data_file.name}"
    return "; ".join(
        f"{name!r}{where} has size {_times(shapes[name])}, but is declared with size {_times(size)}"
        for name, size in wrong.items()
    )


def _times(size: tuple[int, ...]) -> str:
    """Write a size."""
    return " × ".join(map(str, size))
