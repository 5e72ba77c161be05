"""A program compiled and tried with its data, before anything is run on it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness import stan
from harness.methods import METHODS
from harness.methods.cmdstan import preflight
from harness.models.data import ModelError, check_data, kept_data
from harness.records import Model, Program, RunContext, RunSpec
from harness.stan import bridge
from harness.study.store import cmdstan_seed


def needs_library(methods: Iterable[str]) -> bool:
    """Tell whether one of these methods needs the program's gradient in process."""
    return any(METHODS[name].bridge for name in methods)


def prepare(
    model: Model,
    cmdstan: stan.CmdStan,
    timeout_s: float,
    library: bool,  # noqa: FBT001 - the pool passes arguments by position
    data_hash: str = "",
) -> Program | str:
    """Compile a program and see that it starts with its data; a string says why it does not.

    A library that cannot be built is no error of the model: CmdStan's methods go on without it.
    Runs in a worker process. ``library`` says whether the gradient is needed in process.
    """
    try:
        info = stan.program_info(model.stan_file, cmdstan)
        refusal = _refusal(model, info, kept_data(model.data_file, data_hash))
        if refusal:
            return refusal
        program = stan.compile_program(model.stan_file, cmdstan)
    except (stan.ToolchainError, stan.ProgramError, ModelError) as error:
        return str(error)
    probe = RunSpec(model.name, "nuts", {}, 0, 1)
    seed = cmdstan_seed(probe, stan.program_hash(model.stan_file), data_hash)
    context = RunContext(program, model.data_file, timeout_s, seed)
    with tempfile.TemporaryDirectory(prefix="harness-start-") as scratch:
        refused = preflight(context, Path(scratch))
    if refused is not None:
        return f"the program does not start: {refused}"
    if library:
        try:
            built = bridge.library(model.stan_file, cmdstan)
        except (stan.ToolchainError, stan.ProgramError) as error:
            return dataclasses.replace(program, library_error=str(error))
        program = dataclasses.replace(program, library=built)
    return program


def _refusal(model: Model, info: stan.ProgramInfo, data: Mapping[str, Any]) -> str:
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
    return "; ".join(
        check_data(data, info, model.data_file.name if model.data_file else "the data")
    )
