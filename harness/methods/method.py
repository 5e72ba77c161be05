"""A row of the METHODS table: everything that is known about one way to fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from harness.methods.settings import OptionError, Options
from harness.records import (
    FAMILY_NAMES,
    Cost,
    FamilyName,
    Model,
    Reason,
    RunContext,
    RunResult,
    RunSpec,
    Status,
    Trace,
)
from harness.records.text import seconds

Kind = Literal[
    "sampler",
    "CmdStan's ADVI",
    "stochastic gradients",
    "deterministic",
    "weighted draws",
    "particles",
    "conjugate",
    "quadrature",
]

Run = Callable[[RunSpec, RunContext, Path], RunResult]

NO_COST = Cost(0.0)

Dash = str | tuple[float, tuple[float, ...]]

SOLID: Dash = "-"
DASHED: Dash = (0.0, (4.0, 1.6))
DOTTED: Dash = (0.0, (1.2, 1.4))


class Look(NamedTuple):
    """How figures draw a method: matplotlib's colour, dash and marker."""

    colour: str
    dash: Dash
    marker: str


def fits_any(_: Model) -> str | None:
    """Say that a method can be used on any model."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to fit.

    Attributes
    ----------
    name, title, what
        The name that users type, the name in sentences and figures, and one line that says what
        it is.
    run
        ``run(spec, context, scratch)`` returns a result and never raises for a run that failed;
        ``scratch`` is an empty folder of its own.
    version
        Raised when results are no longer comparable with stored ones.
    options
        The defaults: an instance of the method's own dataclass.
    draws, seeds
        How many, unless the user or the model says otherwise.
    usual
        Whether every program gets it unless ``--methods`` says otherwise.
    bridge
        Whether it needs the program's gradient in process.
    extends
        False where more draws would be another fit (particles).
    family
        The Gaussian family of q, None where q is no Gaussian; an option ``family`` goes before it.
    unfit
        Returns why the method cannot be used on a model, in a sentence, or None.
    repairable
        Whether remedies are tried where it fails: False for methods that are remedies themselves,
        and for those that no remedy fits.
    full_rank, tuned
        The method that is this one with correlations, and with careful settings; empty where
        there is none (or an option ``family`` makes the first).
    other_optimum
        Where its optimum differs from the family's largest ELBO by construction: the name of that
        cause and a sentence.
    other_family
        What q is, where it is no Gaussian on the unconstrained scale and ``kl`` is a diagnostic.
    one_mode
        Why it misses other modes of a posterior.
    """

    name: str
    title: str
    what: str
    kind: Kind
    run: Run
    version: int
    options: Options
    draws: int
    seeds: int
    look: Look
    usual: bool = False
    bridge: bool = False
    extends: bool = True
    family: FamilyName | None = None
    unfit: Callable[[Model], str | None] = fits_any
    repairable: bool = True
    full_rank: str = ""
    tuned: str = ""
    other_optimum: tuple[str, str] | None = None
    other_family: str = ""
    one_mode: str = "it stays in one of them"

    @property
    def approximate(self) -> bool:
        """Whether it is variational (several seeds, an ELBO) and no sampler."""
        return self.kind != "sampler"

    @property
    def batch(self) -> bool:
        """Whether the model's ``[batch]`` table is one of its options."""
        return "batch" in self.options.handed_over()

    @property
    def defaults(self) -> dict[str, Any]:
        """The options as a run's spec holds them."""
        return self.options.plain()

    @property
    def factorised(self) -> bool:
        """Whether q has independent parameters, unless an option says otherwise."""
        return self.kind == "conjugate" or self.family_of(self.defaults) == "meanfield"

    def family_of(self, options: Mapping[str, Any]) -> FamilyName | None:
        """Return the Gaussian family of a run's q, None where it is no Gaussian."""
        name = options.get("family", self.family)
        return next((f for f in FAMILY_NAMES if f == name), None)


Own = TypeVar("Own", bound=Options)


def with_options(
    kind: type[Own], run: Callable[[RunSpec, RunContext, Path, Own], RunResult]
) -> Run:
    """Return a method's ``run``, which reads the spec's options first; wrong ones are a result."""

    def checked(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:
        try:
            options = kind.read(spec.options)
        except OptionError as error:
            said = f"{spec.method} cannot be run: {error}"
            return without_draws(spec, context, "failed", Reason.OPTIONS, said)
        return run(spec, context, scratch, options)

    return checked


def over_time(context: RunContext) -> str:
    """Say that a run took longer than it may."""
    return f"stopped after the time limit of {seconds(context.timeout_s)}; a longer one: --timeout"


def ended_by(status: Status) -> Reason | None:
    """Return the reason that goes with a status where nothing more is known."""
    return _ENDED.get(status)


_ENDED: Mapping[Status, Reason] = {
    "not_converged": Reason.NOT_SETTLED,
    "diverged": Reason.DIVERGING,
    "failed": Reason.PROGRAM_ERROR,
    "timed_out": Reason.TIME_LIMIT,
    "killed": Reason.KILLED,
}


def without_draws(
    spec: RunSpec,
    context: RunContext,
    status: Status,
    reason: Reason,
    message: str,
    cost: Cost = NO_COST,
    trace: Trace | None = None,
    diagnostics: Mapping[str, float] | None = None,
    console: str = "",
) -> RunResult:
    """Return the result of a run that has no draws."""
    return RunResult(
        spec=spec,
        key="",
        status=status,
        message=message,
        draws=None,
        trace=trace,
        diagnostics={"cmdstan_seed": context.cmdstan_seed, **(diagnostics or {})},
        cost=cost,
        versions=context.program.versions,
        console=console,
        reason=reason,
    )
