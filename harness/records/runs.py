"""What a run is asked to do and what comes of it: spec, draws, trace, cost, result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.records.method_titles import title
from harness.records.models import Model, Program

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

Status = Literal["ok", "not_converged", "diverged", "failed", "timed_out", "killed"]
"""How a run ended. The last three have no draws; the first three may be judged."""


WITHOUT_DRAWS: frozenset[Status] = frozenset({"failed", "timed_out", "killed"})


FamilyName = Literal["meanfield", "fullrank"]
"""The Gaussian families: diagonal covariance, any covariance (unconstrained scale)."""


FAMILY_NAMES: tuple[FamilyName, ...] = ("meanfield", "fullrank")


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run: which method on which model, with which options, seed and number of draws."""

    model: str
    method: str
    options: Mapping[str, Any]
    seed: int
    """The seed's number as the user counts them, from 1; CmdStan gets a hash of the spec."""
    draws: int


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Draws of the constrained quantities.

    Attributes
    ----------
    names
        Scalar names as Stan users write them: ``"beta[2]"``.
    values
        Shape ``(chain, draw, quantity)``, constrained scale.
    log_p, log_q
        Shape ``(chain, draw)`` or None: log density of the posterior (unnormalised) and
        of the approximation, unconstrained scale, nats. ``log_q`` may lack a constant.
    stats
        Sampler statistics, each ``(chain, draw)``: ``diverging``, ``energy``, ``tree_depth``.
    iid
        True where draws are independent (exact samplers, VI), False for Markov chains.
    """

    names: tuple[str, ...]
    values: FloatArray
    log_p: FloatArray | None = None
    log_q: FloatArray | None = None
    stats: Mapping[str, FloatArray] = field(default_factory=dict)
    iid: bool = True

    def quantity(self, name: str) -> FloatArray:
        """Return the draws of one scalar, shape ``(chain, draw)``."""
        return self.values[:, :, self.names.index(name)]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """An optimiser's path. The ELBO is in nats and larger is better, always.

    All arrays have shape ``(recorded iteration,)``.
    """

    iteration: FloatArray
    elapsed_s: FloatArray
    elbo: FloatArray
    extras: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took: seconds of one core, and density and gradient evaluations if known."""

    seconds: float
    log_density_evaluations: int | None = None
    gradient_evaluations: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """What became of a run. A failed run is a result like any other.

    Attributes
    ----------
    message
        One plain sentence with the program's own words; empty for ``ok``.
    diagnostics
        Scalars of the run: ``eta``, ``iterations``, ``max_tree_depth``, …
    console
        What CmdStan printed, as it printed it.
    """

    spec: RunSpec
    key: str
    status: Status
    message: str
    draws: Draws | None
    trace: Trace | None
    diagnostics: Mapping[str, float]
    cost: Cost
    versions: Mapping[str, str]
    console: str = ""


class RunContext(NamedTuple):
    """What a method needs besides its spec. Plain data, so that it crosses processes."""

    program: Program
    data_file: Path | None
    timeout_s: float
    cmdstan_seed: int
    """Well-mixed, from the hash of the spec: small seeds start CmdStan 2.27 in one place."""
    data_hash: str = ""
    """Under which the data are kept as arrays; empty: they are read from the file."""


def fits_any(_: Model) -> str | None:
    """Say that a method can be used on any model."""
    return None


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the METHODS table.

    ``run(spec, context, scratch)`` returns a RunResult and never raises for a run that
    failed; ``scratch`` is an empty folder of its own. ``defaults`` are the options that
    the spec may override. ``version`` is raised when results are no longer comparable.
    ``bridge`` says that it needs the program's gradient in process, ``batch`` that the model's
    ``[batch]`` table is one of its options. ``extends`` is False where more draws would be
    another fit (particles). ``family`` is the Gaussian family that q is of, empty where it is of
    none; an option ``family`` goes before it. ``unfit(model)`` returns why it cannot be used on
    a model, in a sentence, or None.
    """

    name: str
    run: Callable[[RunSpec, RunContext, Path], RunResult]
    version: int
    defaults: Mapping[str, Any]
    draws: int
    seeds: int
    approximate: bool
    """True for variational methods (several seeds, ELBO), False for samplers."""
    bridge: bool = False
    batch: bool = False
    extends: bool = True
    family: str = ""
    unfit: Callable[[Model], str | None] = fits_any

    @property
    def title(self) -> str:
        """What the method is called in words."""
        return title(self.name)

    def family_of(self, options: Mapping[str, Any]) -> FamilyName | None:
        """Return the Gaussian family of a run's q, None where it is no Gaussian's."""
        name = str(options.get("family", self.family))
        return next((f for f in FAMILY_NAMES if f == name), None)
