"""What CmdStan's rows share where CmdStan is missing or too old: Stan's services, embedded."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from harness.methods.method import Outcome, timed_out
from harness.records import STAN, Cost, Draws, Program, RunContext, RunSpec
from harness.records.faults import machine_fault
from harness.records.names import kept_places, stan_name
from harness.stan import console
from harness.stan.cache import ProgramError
from harness.stan.source import without_generated
from harness.vi.target import Clock

if TYPE_CHECKING:
    from harness.stan.density import Density
    from harness.stan.embedded.model import EmbeddedModel
    from harness.stan.embedded.services import Served

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
    spec: RunSpec,
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
    from harness.stan.embedded import library
    from harness.stan.embedded.calls import ServiceError, ServiceTimeoutError, text_of

    program = context.program
    if not program.embedded:
        needs = f"{method} needs CmdStan {since[0]}.{since[1]} or the embedded engine"
        why = program.embedded_error
        return Outcome("failed", message=f"{needs}: {why}" if why else needs)
    if constants and not program.constants:
        return Outcome("failed", message=f"{method}: {_LACKING}")
    clock = Clock(context.timeout_s)
    try:
        ended = _fitted(spec, context, fit, clock)
    except ServiceTimeoutError as error:
        ended = timed_out(context, Cost(clock.elapsed_s))
        ended = dataclasses.replace(ended, console=console.excerpt(text_of(error.lines)))
    except ServiceError as error:
        said = console.excerpt(text_of(error.lines))
        ended = Outcome("failed", Cost(clock.elapsed_s), str(error), console=said)
    except (EngineError, ProgramError) as error:
        if machine_fault(error):
            raise
        ended = Outcome("failed", Cost(clock.elapsed_s), str(error))
    return dataclasses.replace(
        ended, engine="embedded", versions={STAN: f"Stan {library.STAN} (embedded)"}
    )


def _fitted(
    spec: RunSpec,
    context: RunContext,
    fit: Callable[[EmbeddedModel, Clock], Outcome],
    clock: Clock,
) -> Outcome:
    """Fit; where a service ends because generated quantities throw, fit without them.

    They are then computed draw by draw, and those that throw are NaN. Where the run leaves all of
    them out, they are never computed.
    """
    from harness.stan.embedded.calls import ServiceError, ServiceTimeoutError
    from harness.stan.embedded.model import EmbeddedModel

    program = context.program
    file, data, seed = program.embedded_file, context.data_file, context.cmdstan_seed
    bare = _whole_without_generated if program.constants else without_generated
    with closing(EmbeddedModel(file, data, seed, constants=program.constants)) as model:
        if spec.left_out and not kept_generated(model, spec.left_out):
            with closing(EmbeddedModel(file, data, seed, edit=bare)) as other:
                return fit(other, clock)
        try:
            return fit(model, clock)
        except ServiceTimeoutError:
            raise
        except ServiceError as error:
            if not generates(model):
                raise
            try:
                with closing(EmbeddedModel(file, data, seed, edit=bare)) as other:
                    ended = fit(other, clock)
            except ServiceTimeoutError:
                raise
            except ServiceError:
                raise error from None  # it was not for them
        if ended.draws is None:
            return ended
        draws, lost = _generated(ended.draws, model, seed, kept_generated(model, spec.left_out))
        words = "; ".join(w for w in (ended.message, lost) if w)
        cost = dataclasses.replace(ended.cost, seconds=clock.elapsed_s)
        return dataclasses.replace(ended, draws=draws, message=words, cost=cost)


def generates(model: EmbeddedModel) -> bool:
    """Return whether a program has generated quantities, which may throw."""
    return len(model.constrained_names(generated=True)) > len(model.constrained_names())


def kept_generated(model: Density, left_out: Mapping[str, tuple[str, ...]]) -> list[int]:
    """Return which generated quantities are kept, by their places among all values."""
    own = len(model.constrained_names(transformed=True))
    names = tuple(map(stan_name, model.constrained_names(transformed=True, generated=True)))
    keep = kept_places(names, left_out)
    return [i for i in (range(len(names)) if keep is None else keep) if i >= own]


def _whole_without_generated(text: str) -> str:
    from harness.stan.embedded.constants import with_constants

    return without_generated(with_constants(text))


def _generated(
    draws: Draws, model: EmbeddedModel, seed: int, kept: Sequence[int]
) -> tuple[Draws, str]:
    """Return draws with those generated quantities that are kept, and how many have none."""
    from harness.stan.unconstrain import unconstrained

    chains, n, _ = draws.values.shape
    z = unconstrained(model, draws, range(chains * n))
    values, failures = model.constrain(z, transformed=True, generated=True, seed=seed, keep=kept)
    values[failures != 0] = np.nan
    whole = np.concatenate([draws.values, values.reshape(chains, n, -1)], axis=2)
    written = model.constrained_names(transformed=True, generated=True)
    names = (*draws.names, *(stan_name(written[i]) for i in kept))
    lost = int(np.count_nonzero(failures))
    words = f"{lost} of {chains * n} draws have no generated quantities: {model.last_error()}"
    return dataclasses.replace(draws, names=names, values=whole), words if lost else ""


def draws_of(found: Served, *, iid: bool = True) -> Draws:
    """Return a service's rows as draws."""
    log_q = found.log_q
    return Draws(found.names, found.values, found.log_p, log_q, iid=iid)
