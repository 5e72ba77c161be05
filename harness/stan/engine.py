"""The door to both engines: a program's density from whichever engine makes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.stan.bridge import BridgeModel
from harness.stan.cache import ProgramError
from harness.stan.density import Density, EngineError
from harness.stan.embedded import EmbeddedModel
from harness.stan.embedded.constants import same_but_for_a_constant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import Program


def embed(program: Program, data_file: Path | None) -> Program:
    """Return a program with what the embedded engine says to it and its data.

    It does not check that the density is right: see :func:`disagreement`.
    """
    try:
        model = EmbeddedModel(program.stan_file, data_file)
    except (EngineError, ProgramError) as error:
        return dataclasses.replace(program, embedded=False, embedded_error=str(error))
    try:
        whole = EmbeddedModel(program.stan_file, data_file, constants=True)
        constants = same_but_for_a_constant(model, whole)
    except (EngineError, ProgramError):
        constants = False
    return dataclasses.replace(program, embedded=True, embedded_error="", constants=constants)


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
        return EmbeddedModel(program.stan_file, data_file, seed, constants=program.constants)
    if program.library is not None:
        return BridgeModel(program.library, data, seed)
    if program.embedded_error and not program.library_error:
        raise EngineError(f"needs a compiler: {program.embedded_error}")
    raise EngineError(program.library_error or "the program was not built as a library")
