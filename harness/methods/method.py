"""A row of the METHODS table: everything that is known about one way to fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from harness import records
from harness.methods.settings import OptionError, Options
from harness.records import (
    Doubt,
    Draws,
    EngineName,
    FamilyName,
    Model,
    Reason,
    RunContext,
    RunSpec,
    Status,
    Trace,
)
from harness.records.names import kept_places, of_names
from harness.records.text import seconds

Kind = Literal[
    "sampler",
    "CmdStan's ADVI",
    "stochastic gradients",
    "deterministic",
    "score matching",
    "Laplace",
    "Pathfinder",
    "weighted draws",
    "short chains",
    "particles",
    "conjugate",
    "quadrature",
    "own",
]

Dash = str | tuple[float, tuple[float, ...]]

SOLID: Dash = "-"
DASHED: Dash = (0.0, (4.0, 1.6))
DOTTED: Dash = (0.0, (1.2, 1.4))


class Look(NamedTuple):
    """How figures draw a method: matplotlib's colour, dash and marker."""

    colour: str
    dash: Dash
    marker: str


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """How a fit ended: what a :class:`RunResult` has beside the run's spec and versions.

    Where no ``reason`` is given, one follows from the status.
    """

    status: Status
    cost: records.Cost = field(default_factory=lambda: records.Cost(0.0))
    message: str = ""
    reason: Reason | None = None
    draws: Draws | None = None
    trace: Trace | None = None
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    console: str = ""
    engine: EngineName | None = None
    versions: Mapping[str, str] = field(default_factory=dict)  # beside the program's own
    doubts: tuple[Doubt, ...] = ()
    family: FamilyName | None = None  # of q, where only this run's draws tell


def timed_out(context: RunContext, cost: records.Cost, trace: Trace | None = None) -> Outcome:
    """Return the outcome of a fit that took longer than it may."""
    limit = seconds(context.timeout_s)
    words = f"stopped after the time limit of {limit}; a longer one: --timeout"
    return Outcome("timed_out", cost, words, trace=trace)


_REASONS: Mapping[Status, Reason] = {
    "not_converged": Reason.NOT_SETTLED,
    "diverged": Reason.DIVERGING,
    "failed": Reason.PROGRAM_ERROR,
    "timed_out": Reason.TIME_LIMIT,
    "killed": Reason.KILLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to fit."""

    name: str  # what users type
    title: str  # in sentences and figures
    what: str  # one line that says what it is
    kind: Kind
    # Called with the options' own class; never raises for a fit that failed.
    fit: Callable[[RunSpec, RunContext, Path, Any], Outcome]
    options: Options  # the defaults, of the method's own dataclass
    look: Look
    version: int = 1  # raised when results are no longer comparable with stored ones
    draws: int = 10_000  # unless the user or the model says otherwise, as the seeds
    seeds: int = 5
    usual: bool = False  # every program gets it unless --methods says otherwise
    bridge: bool = False  # it needs the program's gradient in process
    rebinds: bool = False  # and binds new data to it while it runs: only a compiled library can
    # The first CmdStan that runs it, None where CmdStan does not.
    since: tuple[int, int] | None = None
    extends: bool = True  # False where more draws would be another fit (particles)
    # The options that, made larger, give a run of it the worth of more draws.
    sized_by: tuple[str, ...] = ()
    # The Gaussian family of q, None where q is no Gaussian; an option "family" goes before it.
    family: FamilyName | None = None
    # Whether q is of a part of that family, whose own best is not looked for.
    narrower: bool = False
    # Why the method cannot be used on a model, in a sentence.
    unfit: Callable[[Model], str | None] = lambda _: None
    # Whether a run with these options begins at another method's draws, which the embedded engine
    # may make though CmdStan makes the rest.
    helped: Callable[[Mapping[str, Any]], bool] = lambda _: False
    # Remedies are tried where it fails: not for methods that are remedies, or that none fits.
    repairable: bool = True
    # The method that is this one with correlations (unless an option "family" makes it), and with
    # careful settings.
    full_rank: str = ""
    tuned: str = ""
    # Where its optimum differs from the family's largest ELBO by construction: the name of that
    # cause and a sentence.
    other_optimum: tuple[str, str] | None = None
    # What q is, where it is no Gaussian on the unconstrained scale and "kl" is a diagnostic.
    other_family: str = ""
    one_mode: str = "it stays in one of them"  # why it misses other modes of a posterior

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
        return next((f for f in records.FAMILY_NAMES if f == name), None)

    def run(self, spec: RunSpec, context: RunContext, scratch: Path) -> records.RunResult:
        """Make one run in an empty folder of its own; a run that fails is a result, too."""
        try:
            options = type(self.options).read(spec.options)
        except OptionError as error:
            said = f"{spec.method} cannot be run: {error}"
            outcome = Outcome("failed", message=said, reason=Reason.OPTIONS)
        else:
            outcome = self.fit(spec, context, scratch, options)
        if (draws := outcome.draws) is not None:
            # Most methods never have the draws that are left out; Stan's services return them.
            keep = kept_places(draws.names, spec.left_out)
            if keep is not None:
                names = [draws.names[i] for i in keep]
                outcome = dataclasses.replace(outcome, draws=of_names(draws, names))
        ended = {f.name: getattr(outcome, f.name) for f in dataclasses.fields(outcome)}
        if (family := ended.pop("family")) is not None:
            spec = dataclasses.replace(spec, options={**spec.options, "family": family})
        ended["diagnostics"] = {"cmdstan_seed": context.cmdstan_seed, **outcome.diagnostics}
        ended["reason"] = outcome.reason or _REASONS.get(outcome.status)
        ended["versions"] = {**context.program.versions, **outcome.versions}
        return records.RunResult(spec=spec, key="", **ended)
