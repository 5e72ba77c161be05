"""What CmdStan's rows share where CmdStan is missing or too old: Stan's services, embedded."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.methods.method import Outcome, timed_out
from harness.records import Cost, Draws, Program, RunContext
from harness.stan import console
from harness.stan.cache import ProgramError
from harness.vi.target import Clock

if TYPE_CHECKING:
    from harness.stan.embedded.model import EmbeddedModel
    from harness.stan.embedded.services import Served

LABEL = "Stan 2.40 (embedded)"
"""The version of Stan in a record of what the embedded engine's services made."""

Since = tuple[int, int]

_LACKING = (
    "the embedded engine's density lacks constants that ~ drops, and Stan's ADVI stops at a "
    "relative change of the ELBO, which would be another one: it needs CmdStan, or a program that "
    "writes target += in place of ~"
)


def cmdstan_version(program: Program) -> Since | None:
    """Return the version of the CmdStan that a program is built with; None without one."""
    if program.executable is None:
        return None
    found = re.match(r"(\d+)\.(\d+)", program.versions.get("cmdstan", ""))
    return (int(found[1]), int(found[2])) if found else None


def by_cmdstan(program: Program, since: Since) -> bool:
    """Return whether the program's CmdStan is there, and new enough."""
    version = cmdstan_version(program)
    return version is not None and version >= since


def served(
    context: RunContext,
    method: str,
    since: Since,
    fit: Callable[[EmbeddedModel, Clock], Outcome],
    *,
    constants: bool = False,
) -> Outcome:
    """Open the program in the embedded engine, fit, and return how that ended.

    With ``constants``, a program whose dropped constants are unknown is refused: a rule that stops
    at a relative change of the ELBO would be another rule.
    """
    from harness.stan.density import EngineError
    from harness.stan.embedded.model import EmbeddedModel
    from harness.stan.embedded.services import ServiceError, ServiceTimeoutError, text_of

    program = context.program
    if not program.embedded:
        needs = f"{method} needs CmdStan {since[0]}.{since[1]} or the embedded engine"
        why = program.embedded_error
        return Outcome("failed", message=f"{needs}: {why}" if why else needs)
    if constants and not program.constants:
        return Outcome("failed", message=f"{method}: {_LACKING}")
    clock = Clock(context.timeout_s)
    try:
        model = EmbeddedModel(
            program.embedded_file,
            context.data_file,
            context.cmdstan_seed,
            constants=program.constants,
        )
        try:
            ended = fit(model, clock)
        finally:
            model.close()
    except ServiceTimeoutError as error:
        ended = timed_out(context, Cost(clock.elapsed_s))
        ended = dataclasses.replace(ended, console=console.excerpt(text_of(error.lines)))
    except ServiceError as error:
        said = console.excerpt(text_of(error.lines))
        ended = Outcome("failed", Cost(clock.elapsed_s), str(error), console=said)
    except (EngineError, ProgramError) as error:
        ended = Outcome("failed", Cost(clock.elapsed_s), str(error))
    return dataclasses.replace(ended, engine="embedded", versions={"stan": LABEL})


def draws_of(found: Served, *, iid: bool = True) -> Draws:
    """Return a service's rows as draws."""
    log_q = found.log_q
    return Draws(found.names, found.values, found.log_p, log_q, iid=iid)
