"""The door to both engines: a program's density from whichever engine makes it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.records.faults import machine_fault
from harness.records.text import count, number
from harness.stan.bridge import BridgeModel
from harness.stan.cache import ProgramError, ToolchainError
from harness.stan.compile import rewritten_program, updated_program
from harness.stan.density import Density, EngineError
from harness.stan.embedded import EmbeddedModel
from harness.stan.embedded.constants import same_but_for_a_constant
from harness.stan.embedded.lacking import lacked, with_function
from harness.stan.source import blocks, expanded, without_generated
from harness.stan.unconstrain import MissingParametersError, parameters, points, undetermined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import Draws, FloatArray, Program
    from harness.stan.find import CmdStan

_NEW_SIMPLEX = (2, 37, 0)
"""Until then a simplex was transformed by breaking a stick."""

COMPARED = 20
"""Draws at which an embedded density must equal CmdStan's up to one constant."""

CANDIDATES = 100
"""They are taken from this many, because digits are lost in draws close to a bound."""

TOLERANCE = 1e-8
"""Of the density, beside ten times what the last digit of the draw changes in it."""


def embed(
    program: Program,
    data_file: Path | None,
    cmdstan: CmdStan | None = None,
    *,
    beside: bool = True,
    generated: bool = True,
    trying: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Program:
    """Return a program with what the embedded engine says to it and its data.

    The stanc of ``cmdstan`` updates a program in an older syntax. Where it runs methods ``beside``
    the engine, and transforms a parameter in another way, both would have Gaussians on different
    scales: the engine then leaves the program to it. Whether the density is right is another
    question: see :func:`disagreement`. Without ``generated``, a program that is refused is loaded
    without its generated quantities, if that serves. Points are evaluated inside ``trying``.
    """
    older = cmdstan is not None and beside and cmdstan.version < _NEW_SIMPLEX
    if older and cmdstan is not None and _has_simplex(program.stan_file):
        why = f"CmdStan {cmdstan.version_text} has another transform of a simplex"
        return dataclasses.replace(program, embedded=False, embedded_error=why)
    try:
        try:
            model = _loaded(program.stan_file, data_file, generated=generated)
        except ProgramError:
            if cmdstan is None:
                raise
            newer = updated_program(program.stan_file, cmdstan)
            model = _loaded(newer, data_file, generated=generated)
    except (EngineError, ProgramError, ToolchainError) as error:
        if machine_fault(error):
            raise
        return dataclasses.replace(program, embedded=False, embedded_error=str(error))
    if model.random_data:
        why = "transformed data draws random numbers: every run would fit other data"
        return dataclasses.replace(program, embedded=False, embedded_error=why)
    try:
        whole = EmbeddedModel(model.stan_file, data_file, constants=True)
        with trying():
            constants = same_but_for_a_constant(model, whole)
    except (EngineError, ProgramError):
        constants = False
    updated = None if model.stan_file == program.stan_file else model.stan_file
    return dataclasses.replace(
        program, embedded=True, embedded_error="", constants=constants, updated=updated
    )


def _loaded(stan_file: Path, data_file: Path | None, *, generated: bool) -> EmbeddedModel:
    """Load a program, with functions that the engine lacks defined in it where that serves.

    Without ``generated``, a program that is refused is also tried without that block.
    """
    try:
        return EmbeddedModel(stan_file, data_file)
    except EngineError as error:
        refusal = error
    text = expanded(stan_file)
    changed: str | None = text if generated else without_generated(text)
    if changed == text:
        changed = with_function(text, lacked(str(refusal)))
    while changed is not None and changed != text:
        text = changed
        try:
            return EmbeddedModel(rewritten_program(text), data_file)
        except (EngineError, ProgramError) as error:
            if machine_fault(error):
                raise
            changed = with_function(text, lacked(str(error)))
    raise refusal


def _has_simplex(stan_file: Path) -> bool:
    declared = blocks(stan_file).get("parameters", "")
    return re.search(r"\bsimplex\b|_stochastic_matrix\b", declared) is not None


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
        return EmbeddedModel(program.embedded_file, data_file, seed, constants=program.constants)
    if program.library is not None:
        return BridgeModel(program.library, data, seed)
    if program.embedded_error and not program.library_error:
        raise EngineError(f"needs a compiler: {program.embedded_error}")
    raise EngineError(program.library_error or "the program was not built as a library")


def disagreement(model: Density, draws: Draws, log_p: FloatArray) -> str:
    """Say how a density differs from what CmdStan wrote beside its draws; empty if it does not.

    ``log_p`` is NUTS's ``lp__`` or ADVI's ``log_p__``, shape ``(chain, draw)``. The two may differ
    by one constant. A density that cannot be compared disagrees.
    """
    total = log_p.size
    index = np.unique(np.linspace(0, total - 1, min(CANDIDATES, total)).astype(int))
    try:
        names, theta = parameters(model, draws, index.tolist())
    except MissingParametersError as error:
        return f"the densities cannot be compared: {error}"
    if undetermined(model).any():
        return (
            "the densities cannot be compared: draws do not determine the radius of a unit_vector"
        )
    theirs = log_p.reshape(-1)[index]
    z = points(model, names, theta)
    beside = points(model, names, theta * (1 + np.finfo(float).eps))
    usable = np.isfinite(theirs) & np.isfinite(z).all(axis=1) & np.isfinite(beside).all(axis=1)
    theirs, z, beside = theirs[usable], z[usable], beside[usable]
    ours = model.log_density(z).value
    if lost := int(np.count_nonzero(~np.isfinite(ours))):
        return f"the density is not finite at {lost} of {count(len(z), 'draw')} of CmdStan"
    # What the last digit changes: close to a bound, a draw does not determine its point.
    digit = np.nan_to_num(np.abs(model.log_density(beside).value - ours), nan=np.inf)
    allowed = TOLERANCE * np.maximum(np.abs(theirs), 1) + 10 * digit
    chosen = np.argsort(allowed, kind="stable")[:COMPARED]
    chosen = chosen[np.isfinite(allowed[chosen])]
    if len(chosen) < COMPARED:
        return f"the densities can be compared at {count(len(chosen), 'draw')} only"
    difference = (ours - theirs)[chosen]
    off = np.abs(difference - np.median(difference))
    wrong = int(np.count_nonzero(off > allowed[chosen]))
    if not wrong:
        return ""
    most = number(float(off.max()))
    return f"the density differs from CmdStan's by up to {most} nats at {wrong} of {COMPARED} draws"
