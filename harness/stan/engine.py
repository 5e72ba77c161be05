"""The door to both engines: a program's density from whichever engine makes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.stan.bridge import BridgeModel
from harness.stan.density import Density, EngineError
from harness.stan.embedded import EmbeddedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import Program


def open_density(
    program: Program,
    data_file: Path | None,
    data: Mapping[str, NDArray[Any]],
    seed: int = 1,
) -> Density:
    """Return a program's density: the embedded engine's where that makes it, else the bridge's.

    The embedded engine reads the data file itself, which is quicker than JSON made of arrays; the
    bridge takes ``data``, the same as arrays.

    Raises
    ------
    harness.BridgeError
        If neither engine makes the density, or the program refuses the data.
    harness.stan.ProgramError
        If the embedded engine's stanc rejects the program.
    """
    if program.embedded:
        return EmbeddedModel(program.stan_file, data_file, seed)
    if program.library is not None:
        return BridgeModel(program.library, data, seed)
    raise EngineError(without_density(program))


def without_density(program: Program) -> str:
    """Say why neither engine makes a program's density."""
    if program.embedded_error and not program.library_error:
        return f"needs a compiler: {program.embedded_error}"
    return program.library_error or "the program was not built as a library"
