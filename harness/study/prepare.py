"""A program tried with its data on each engine, before anything is run on it."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness import stan
from harness.methods.cmdstan import preflight
from harness.models.data import ModelError, check_data, kept_data
from harness.models.sizes import check_sizes
from harness.records import Model, Program, RunContext, RunSpec
from harness.records.faults import machine_fault, memory_fault
from harness.stan import bridge, embedded
from harness.stan.density import EngineError
from harness.stan.embedded.words import wrong_data
from harness.stan.engine import embed, open_density
from harness.stan.source import blocks
from harness.study.engines import Engines
from harness.study.store import cmdstan_seed
from harness.study.worker import limited, over_limit, unlimited_memory

TRIES = 100
"""Points at which a density is tried, as in Stan's initialisation."""

TRYING_S, TRYING_SHARE = 60.0, 0.1
"""What trying may take, where a run may take longer: seconds, or a share of a run's limit if that
is more. A solver or a loop that comes to no end at some point would else take as long as a run."""

TRYING = "trying"
"""The name of this for the pool."""


def trying_s(timeout_s: float) -> float:
    """Return the seconds that trying a program may take, given the limit of a run."""
    return min(timeout_s, max(TRYING_S, TRYING_SHARE * timeout_s))


class Prepared(NamedTuple):
    """A program that an engine serves, or why not."""

    program: Program | None = None
    refused: str = ""
    """Why the engine does not serve it; another one may."""
    error: str = ""
    """Why the program cannot be compared on any engine."""
    lasting: bool = True
    """Whether the engine would refuse it another time too, however busy the machine."""


def describe(stan_file: Path, engines: Engines) -> stan.ProgramInfo:
    """Return a program's declarations, by the embedded engine unless it is not used or refuses.

    Raises
    ------
    harness.stan.ProgramError
        If no engine accepts the program, with the words of the last that was asked.
    """
    if engines.embedded:
        try:
            return embedded.program_info(stan_file)
        except stan.ProgramError:
            if engines.cmdstan is None:
                raise
    assert engines.cmdstan is not None  # noqa: S101 - there is always one of the two
    return stan.program_info(stan_file, engines.cmdstan)


def start(model: Model, engines: Engines, timeout_s: float, data_hash: str) -> Prepared:
    """Load a program with its data into the embedded engine, and try it.

    Loading has the time limit of a run, trying one of its own. Runs in a worker process.
    """
    with limited(timeout_s):
        try:
            return _start(model, engines, timeout_s, data_hash)
        except Exception as error:
            if memory_fault(error) and (words := over_limit()):
                # Compiled, it may need less.
                return Prepared(refused=words, lasting=False)
            raise


def _start(model: Model, engines: Engines, timeout_s: float, data_hash: str) -> Prepared:
    try:
        data = kept_data(model.data_file, data_hash)
        info = describe(model.stan_file, engines)
        refusal = _refusal(model, info, data_hash)
        if refusal:
            return Prepared(error=refusal)
    except (stan.ProgramError, ModelError) as error:
        return Prepared(error=str(error))
    program = Program(model.stan_file, engines.versions, generated=model.generated)
    beside, generated = not engines.spare, model.generated
    trying = functools.partial(limited, trying_s(timeout_s), TRYING)
    program = embed(
        program,
        model.data_file,
        engines.cmdstan,
        beside=beside,
        generated=generated,
        trying=trying,
    )
    if not program.embedded:
        wrong = _wrong_data(model, program.embedded_error, engines)
        return Prepared(error=wrong) if wrong else Prepared(refused=program.embedded_error)
    try:
        wrong = check_sizes(program, model.data_file, data, info)
    except EngineError as error:
        if machine_fault(error):
            raise
        return Prepared(refused=f"the sizes of the data cannot be checked: {error}")
    if not wrong:
        with trying():
            wrong = _no_start(model, program, _seed(model, data_hash), data)
    return Prepared(error=wrong) if wrong else Prepared(program)


def _no_start(model: Model, program: Program, seed: int, data: Mapping[str, Any]) -> str:
    """Say why a program has no density at any of some random points; empty where it has."""
    density = open_density(program, model.data_file, {}, seed)
    rng = np.random.default_rng(seed)
    said = ""
    try:
        for _ in range(TRIES):
            value = density.log_density(rng.uniform(-2, 2, size=(1, density.dimension))).value[0]
            if np.isfinite(value):
                return ""
            said = density.last_error() or f"the log density is {value}"
    except EngineError as error:
        if machine_fault(error):
            raise
        said = str(error)
    finally:
        density.close()
    if holes := _without_number(data):
        said += f" ({holes} in {model.data_file.name if model.data_file else 'the data'} holds NaN)"
    return f"the program does not start at any of {TRIES} random points: {said}"


def _without_number(data: Mapping[str, Any]) -> str:
    """Return the names of data that hold NaN, with commas."""
    arrays = ((name, np.asarray(value)) for name, value in data.items())
    found = [name for name, a in arrays if a.dtype.kind == "f" and np.isnan(a).any()]
    return ", ".join(map(repr, found))


def _wrong_data(model: Model, refusal: str, engines: Engines) -> str:
    """Say that the data are refused, not the program; empty where CmdStan may see it otherwise."""
    wrong = wrong_data(refusal)
    if wrong:
        return f"the data do not fit the program: {wrong}"
    own = not refusal.startswith("stanli ") and "supported" not in refusal
    if engines.cmdstan is None and own and "transformed data" in blocks(model.stan_file):
        return f"transformed data stops with these data: {refusal}"
    return ""


def build(
    model: Model,
    engines: Engines,
    program: Program | None,
    parts: tuple[bool, bool],
    limits_s: tuple[float, float],
    data_hash: str = "",
) -> Prepared:
    """Compile a program and see that it starts with its data. Runs in a worker process.

    ``parts`` says whether its executable and its library are wanted; ``program`` is what earlier
    preparations made of it; ``limits_s`` are the time limits of compiling and of a run. A library
    that cannot be built is no error of the model: CmdStan's methods go on without it. Where a model
    is compared without generated quantities, both are built without them.
    """
    cmdstan, (executable, library) = engines.cmdstan, parts
    assert cmdstan is not None  # noqa: S101 - nothing is built without it
    generated = model.generated
    made = program or Program(model.stan_file, engines.versions, generated=generated)
    try:
        if not made.embedded:
            refusal = _refusal(model, stan.program_info(model.stan_file, cmdstan), data_hash)
            if refusal:
                return Prepared(error=refusal)
        if executable and made.executable is None:
            with limited(limits_s[0]), unlimited_memory():
                compiled = stan.compile_program(model.stan_file, cmdstan, generated=generated)
            made = dataclasses.replace(
                made, executable=compiled.executable, cmdstan=compiled.cmdstan
            )
            limit_s = trying_s(limits_s[1])
            context = RunContext(made, model.data_file, limit_s, _seed(model, data_hash))
            with tempfile.TemporaryDirectory(prefix="harness-start-") as scratch:
                refused = preflight(context, Path(scratch))
            if refused is not None:
                return Prepared(error=f"the program does not start: {refused}")
    except (stan.ToolchainError, stan.ProgramError) as error:
        return Prepared(refused=str(error))
    except ModelError as error:
        return Prepared(error=str(error))
    if library and made.library is None:
        try:
            with limited(limits_s[0]), unlimited_memory():
                built = bridge.library(model.stan_file, cmdstan, generated=generated)
            made = dataclasses.replace(made, library=built)
        except (stan.ToolchainError, stan.ProgramError) as error:
            made = dataclasses.replace(made, library_error=str(error))
    return Prepared(made)


def _seed(model: Model, data_hash: str) -> int:
    probe = RunSpec(model.name, "nuts", {}, 0, 1)
    return cmdstan_seed(probe, stan.program_hash(model.stan_file), data_hash)


def _refusal(model: Model, info: stan.ProgramInfo, data_hash: str) -> str:
    """Say why a program cannot be compared with its data; empty if it can, as far as is known."""
    if not info.parameters:
        return "the program has no parameters: there is nothing to infer"
    if random := stan.random_data(model.stan_file):
        more = "" if len(random) == 1 else f" and {len(random) - 1} more"
        return (
            f"transformed data draws random numbers (`{random[0]}`{more}), so that every run "
            "would fit other data; draw them once, declare the variable in the data block "
            "instead, and write its values to the data file"
        )
    data: Mapping[str, Any] = kept_data(model.data_file, data_hash)
    return "; ".join(
        check_data(data, info, model.data_file.name if model.data_file else "the data")
    )
