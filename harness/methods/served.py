"""What CmdStan's rows share where CmdStan is missing or too old: Stan's services, embedded."""

from __future__ import annotations

import dataclasses
import math
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
    from harness.records import FloatArray
    from harness.stan.density import Density
    from harness.stan.embedded.model import EmbeddedModel
    from harness.stan.embedded.services import Served

Since = tuple[int, int]

MOST_INVERTED = 10**6
"""Numbers that are brought to the unconstrained scale one draw at a time: 2 to 4 seconds."""

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
    late_from: float = math.inf,
) -> Outcome:
    """Open the program in the embedded engine, fit, and return how that ended.

    Where draws have more than ``late_from`` numbers, generated quantities are computed once the fit
    has chosen its draws.

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
        ended = _fitted(spec, context, fit, clock, late_from)
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
    late_from: float,
) -> Outcome:
    """Fit; where a service ends because generated quantities throw, fit without them.

    They are then computed draw by draw, and those that throw are NaN. So are those that are kept
    where the run leaves some out, or there are many: of all proposals, only those that became
    draws have any.
    """
    from harness.stan.embedded.calls import ServiceError, ServiceTimeoutError
    from harness.stan.embedded.model import EmbeddedModel
    from harness.stan.unconstrain import unconstrained

    program = context.program
    file, data, seed = program.embedded_file, context.data_file, context.cmdstan_seed
    bare = _whole_without_generated if program.constants else without_generated
    with closing(EmbeddedModel(file, data, seed, constants=program.constants)) as model:
        thrown: ServiceError | None = None
        columns = len(model.constrained_names(transformed=True, generated=True))
        late = bool(spec.left_out) or (spec.draws * columns > late_from and generates(model))
        if not late or not _inverted_soon(model, spec):
            try:
                return fit(model, clock)
            except ServiceTimeoutError:
                raise
            except ServiceError as error:
                if not generates(model):
                    raise
                thrown = error
        try:
            with closing(EmbeddedModel(file, data, seed, edit=bare)) as other:
                ended = fit(other, clock)
        except ServiceTimeoutError:
            raise
        except ServiceError as error:
            raise thrown or error from None  # it was not for them
        kept = kept_generated(model, spec.left_out)
        if ended.draws is None or not kept:
            return ended
        z = unconstrained(model, ended.draws, range(ended.draws.values[..., 0].size))
        if thrown is None and not np.isfinite(z).all():
            return fit(model, clock)  # a draw on a bound has generated quantities, but no point
        draws, lost = _generated(ended.draws, z, model, seed, kept)
        words = "; ".join(w for w in (ended.message, lost) if w)
        cost = dataclasses.replace(ended.cost, seconds=clock.elapsed_s)
        return dataclasses.replace(ended, draws=draws, message=words, cost=cost)


def _inverted_soon(model: Density, spec: RunSpec) -> bool:
    """Return whether draws become points in seconds, or need none.

    That is one draw at a time where a transform is of several numbers.
    """
    parameters = len(model.constrained_names())
    alone = parameters == model.dimension or spec.draws * parameters <= MOST_INVERTED
    return alone or not kept_generated(model, spec.left_out)


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
    draws: Draws, z: FloatArray, model: EmbeddedModel, seed: int, kept: Sequence[int]
) -> tuple[Draws, str]:
    """Return draws with those generated quantities that are kept, and how many have none.

    ``z`` are the draws' points, ``(chain × draw, dimension)``.
    """
    chains, n, own = draws.values.shape
    written = map(stan_name, model.constrained_names(transformed=True, generated=True))
    places = {name: i for i, name in enumerate(written)}
    # One array for all, in which the draws stand as they are: there may be a GB of it.
    keep = [*(places[name] for name in draws.names), *kept]
    values, failures = model.constrain(z, transformed=True, generated=True, seed=seed, keep=keep)
    values[failures != 0] = np.nan
    values[:, :own] = draws.values.reshape(chains * n, own)
    every = tuple(places)
    names = (*draws.names, *(every[i] for i in kept))
    lost = int(np.count_nonzero(failures))
    words = f"{lost} of {chains * n} draws have no generated quantities: {model.last_error()}"
    whole = values.reshape(chains, n, -1)
    return dataclasses.replace(draws, names=names, values=whole), words if lost else ""


def draws_of(found: Served, *, iid: bool = True) -> Draws:
    """Return a service's rows as draws."""
    log_q = found.log_q
    return Draws(found.names, found.values, found.log_p, log_q, iid=iid)
